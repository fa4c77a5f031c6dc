"""`ratchet learner`: everything given out, everything erased, and nothing that comes back."""

import asyncio
import json
import os
import pty
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from contracts.topics import (
    COMPLETION_GRANTED,
    EQUIVALENCY_GRANTED,
    LEARNER_ERASED,
    REASSIGNED,
    REASSIGNMENT_WITHDRAWN,
    Topic,
)
from service.admin.learners import _fact_json
from service.lanes.translate import HeardFact, read
from tests.commands.test_commands import ATTENDED, DEFINITION, RESET
from tests.stack.service import RATCHET, Serving, World
from tests.stack.wire import Wire

SECOND_COURSE = {**DEFINITION, "message_id": "d2", "course_id": "c-2"}


def about(learner: str, **said: Any) -> tuple[str, Mapping[str, Any]]:
    """An attendance of a learner."""
    message = {**ATTENDED, "learner_id": learner, **said}
    return "attendance-changed", {**message, "message_id": f"{learner}-{message['message_id']}"}


async def some_learners(wire: Wire) -> None:
    """Two records of l-1, one of l-10 and l-2 each."""
    await wire.send([("course-defined", DEFINITION), ("course-defined", SECOND_COURSE)])
    await wire.settled()
    await wire.send([about("l-1"), about("l-10"), about("l-2")])
    reset = {**RESET, "source": "mass_upload", "upload_id": "march"}
    await wire.send([about("l-1", **reset), about("l-1", course_id="c-2", attended=None, attended_minutes=30)])
    await wire.settled()


def exported(world: World, learner: str) -> dict[str, Any]:
    """What is known of a learner of this tenant."""
    document = json.loads(world.run("learner", "export", "acme", learner).stdout)
    assert isinstance(document, dict)
    return document


async def test_everything_is_given_out(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await some_learners(wire)
    document = exported(world, "l-1")
    assert (document["tenant_id"], document["learner_id"]) == ("acme", "l-1")
    first, second = document["records"]
    story = json.loads(world.run("explain", "acme", "l-1", "c-1", "--json").stdout)
    assert {name: value for name, value in first.items() if name != "facts"} == story
    assert first["state"]["certificate"]["status"] == "issued"
    assert first["facts"] == [
        {
            "message_id": "l-1-m1",
            "changed_at": "2026-01-02T09:00:00Z",
            "kind": "attendance",
            "step_id": "e1",
            "session_id": None,
            "value": {"unit": "attended", "amount": 100},
            "details": {"source": "manual"},
        },
        {
            "message_id": "l-1-m2",
            "changed_at": "2026-01-03T09:00:00Z",
            "kind": "attendance",
            "step_id": "e1",
            "session_id": None,
            "value": {"unit": "minutes", "amount": 0},
            "details": {"source": "mass_upload", "upload_id": "march"},
        },
    ]
    assert second["record"] == "acme/l-1/c-2"
    assert second["state"]["steps"] == {"e1": {"percent": 50, "complete": False}}

    file = tmp_path / "l-1.json"
    said = world.run("learner", "export", "acme", "l-1", "--output", str(file)).stdout
    assert said == f"2 records of acme/l-1: {file}\n"
    assert json.loads(file.read_text()) == document
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    told = world.run("learner", "export", "acme", "l-1", "--output", str(file), "--json").stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "also where the file was there"
    assert json.loads(told) == {"records": 2, "output": str(file)}
    assert json.loads(world.run("learner", "export", "acme", "l-1", "--json").stdout) == document
    assert await asyncio.to_thread(serving.stop) == 0


async def test_an_erased_learner_does_not_come_back_and_the_others_are_untouched(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await some_learners(wire)
    others = {learner: standing(world, learner) for learner in ("l-10", "l-2")}
    before = await changes(wire)

    refused = world.run("learner", "erase", "acme", "l-1", check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "ratchet: 2 records, 1 course completion, 1 certificate of acme/l-1 will be erased for good; "
        "give --yes if that is right\n"
    )
    assert len(exported(world, "l-1")["records"]) == 2

    erased = world.run("learner", "erase", "acme", "l-1", "--yes", "--json")
    assert json.loads(erased.stdout) == {"records": 2, "completions": 1, "certificates": 1}
    (told,) = await wire.read("learner-erased")
    assert told.key == b"acme/l-1" and told.json.keys() == {"tenant_id", "learner_id", "erased_at"}
    assert (told.json["tenant_id"], told.json["learner_id"]) == ("acme", "l-1")
    assert (told.header("ce_type"), told.header("ce_time")) == (LEARNER_ERASED.name, told.json["erased_at"])
    gone = world.run("learner", "export", "acme", "l-1", check=False)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr == "ratchet: nothing is known about acme/l-1: was erased\n"
    assert world.run("explain", "acme", "l-1", "c-1", check=False).returncode == 1

    late = [about("l-1"), about("l-1", message_id="m7"), about("l-1", message_id="m8", course_id="c-2")]
    ahead = about("l-1", message_id="m9", changed_at="2099-01-01T00:00:00Z")
    newer = {**DEFINITION, "version": 2, "message_id": "d3", "changed_at": "2026-01-04T09:00:00Z"}
    await wire.send([*late, ahead, about("l-3"), ("course-defined", newer)])
    await wire.settled()
    assert kept(world) == {"acme/l-10/c-1", "acme/l-2/c-1", "acme/l-3/c-1"}
    assert counted(serving, "ratchet_erased_total") == 4
    assert await wire.read("dead-letter") == []
    after = await changes(wire)
    assert after.pop("l-3") == 2
    assert after == before, "nothing is announced of it, neither again nor anew"
    assert {learner: standing(world, learner) for learner in others} == others

    again = world.run("learner", "erase", "acme", "l-1", "--yes").stdout
    assert again == (
        "Erased: 0 records, 0 course completions, 0 certificates of acme/l-1. "
        "Later messages about this learner are dropped.\n"
    )
    first, second = await wire.read("learner-erased")
    assert (first.value, first.headers) == (second.value, second.headers), "told again, the same"
    assert await asyncio.to_thread(serving.stop) == 0


def standing(world: World, learner: str) -> list[Any]:
    """All but the timeline, in which a new definition has its place."""
    return [(record["record"], record["state"], record["facts"]) for record in exported(world, learner)["records"]]


async def changes(wire: Wire) -> dict[str, int]:
    """How many changes were announced of each learner."""
    count: dict[str, int] = {}
    for message in await wire.read("step-completion-changed", "course-completion-changed"):
        learner = message.json["learner_id"]
        count[learner] = count.get(learner, 0) + 1
    return count


def kept(world: World) -> set[str]:
    """All records."""
    with MongoClient[dict[str, Any]](world.database.address) as client:
        return {document["_id"] for document in client[world.name]["records"].find({}, {"_id": 1})}


def counted(serving: Serving, name: str) -> float:
    """A counter of the worker."""
    _, body = serving.get("/metrics")
    return next(float(line.split()[1]) for line in body.splitlines() if line.startswith(f"{name} "))


async def test_a_person_is_asked(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await some_learners(wire)
    assert await asyncio.to_thread(serving.stop) == 0
    asks = "2 records, 1 course completion, 1 certificate of acme/l-1 will be erased for good. Go on? [y/N]: "
    status, shown = at_a_terminal(world, "n", "learner", "erase", "acme", "l-1")
    assert (status, asks in shown, "ratchet: nothing was erased" in shown) == (2, True, True), shown
    assert "acme/l-1/c-1" in kept(world)
    status, shown = at_a_terminal(world, "y", "learner", "erase", "acme", "l-1")
    assert (status, asks in shown) == (0, True), shown
    assert kept(world) == {"acme/l-10/c-1", "acme/l-2/c-1"}


def at_a_terminal(world: World, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command for somebody who answers; gives the exit status and what was shown."""
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    ran = subprocess.run(
        [RATCHET, *arguments],
        env={**os.environ, **world.settings},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    return ran.returncode, ran.stdout


def test_what_is_asked_wrongly_is_said(world: World) -> None:
    for command, status, says in (
        (["export", "acme", "nobody"], 1, "nothing is known about acme/nobody: nothing was ever reported"),
        (["export", "a/b", "l-1"], 2, "TENANT: 'a/b' is not an id"),
        (["erase", "acme", "l 1", "--yes"], 2, "LEARNER: 'l 1' is not an id"),
        (["export", "acme"], 2, "Missing argument"),
        (["erase", "acme", "nobody"], 2, "0 records, 0 course completions, 0 certificates of acme/nobody"),
    ):
        ran = world.run("learner", *command, check=False)
        assert (ran.returncode, says in ran.stderr, "Traceback" in ran.stderr) == (status, True, False), ran.stderr
    nowhere = world.run(
        "learner", "erase", "acme", "l", "--yes", check=False, RATCHET_MONGODB_URI="nonsense", RATCHET_START_SECONDS="2"
    )
    assert (nowhere.returncode, "RATCHET_MONGODB_URI" in nowhere.stderr) == (2, True)


async def test_a_file_that_cannot_be_written_is_said(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await some_learners(wire)
    assert await asyncio.to_thread(serving.stop) == 0
    ran = world.run("learner", "export", "acme", "l-1", "--output", str(tmp_path), check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"ratchet: {tmp_path}: cannot be written: Is a directory\n"


@pytest.mark.parametrize(
    ("topic", "says", "given_out"),
    [
        (
            REASSIGNED,
            {"progress": "keep", "due_at": "2026-06-30T00:00:00Z", "actor": "kim"},
            {"kind": "reassigned", "progress": "keep", "due_at": "2026-06-30T00:00:00Z", "details": {"actor": "kim"}},
        ),
        (REASSIGNED, {}, {"progress": "reset", "due_at": None}),
        (
            REASSIGNMENT_WITHDRAWN,
            {"reassignment_message_id": "r-1", "reason": "wrong course"},
            {"kind": "withdrawn", "reassignment_message_id": "r-1", "details": {"reason": "wrong course"}},
        ),
        (
            COMPLETION_GRANTED,
            {"source": "import", "certificate_id": "OLD-1"},
            {"kind": "granted", "certificate": "none", "details": {"source": "import", "certificate_id": "OLD-1"}},
        ),
        (
            EQUIVALENCY_GRANTED,
            {"step_id": "e1"},
            {"kind": "equivalency", "step_id": "e1", "value": {"unit": "granted", "amount": 100}},
        ),
    ],
)
def test_everything_that_was_said_is_given_out(topic: Topic, says: dict[str, Any], given_out: dict[str, Any]) -> None:
    about = {"tenant_id": "acme", "learner_id": "l-1", "course_id": "c-1", "changed_at": "2026-01-01T00:00:00Z"}
    item = read(topic, json.dumps({**about, "message_id": "m", **says}).encode(), None)
    assert isinstance(item, HeardFact)
    told = _fact_json(item.fact)
    assert {name: told[name] for name in given_out} == given_out
