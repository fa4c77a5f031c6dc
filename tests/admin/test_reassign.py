"""`ratchet reassign`: a look before the leap, a bound, each learner once."""

import asyncio
import csv
import json
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.admin.test_upload import everything_sent
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.stack.service import RATCHET, Ran, World
from tests.stack.wire import Wire

ABOUT = ("--tenant", "acme", "--course", "c-1")


def reassign(world: World, folder: Path, *options: str) -> Ran:
    """In a folder of its own, because it writes a file."""
    return world.run("reassign", *ABOUT, *options, check=False, folder=str(folder))


@pytest.mark.full
async def test_a_look_a_bound_and_the_leap(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    for day, learners in ((2, (1, 2, 3)), (9, (4,))):
        for number in learners:
            attended = {**ATTENDED, "learner_id": f"l-{number}", "message_id": f"m{number}"}
            await wire.send([("attendance-changed", {**attended, "changed_at": f"2026-01-0{day}T09:00:00Z"})])
    await wire.settled()

    looked = reassign(world, tmp_path, "--completed-before", "2026-01-05T00:00:00Z", "--dry-run", "--json")
    assert json.loads(looked.stdout) == {
        "records": 3,
        "effects": {"loses the step": 3, "loses the course": 3, "loses the certificate": 3},
        "sent": 0,
        "refused": None,
        "undo_with": None,
    }
    shown = reassign(world, tmp_path, "--learner", "l-4", "--dry-run").stdout
    assert "acme/l-4/c-1" in shown and "Nothing was sent." in shown
    assert await wire.read("reassigned") == []
    refused = reassign(world, tmp_path, "--completed-before", "2026-01-05T00:00:00Z", "--max", "2")
    assert refused.returncode == 2
    assert "3 completions and 3 certificates would be removed, more than --max 2" in refused.stderr
    assert await wire.read("reassigned") == []

    done = reassign(
        world, tmp_path, "--completed-before", "2026-01-05T00:00:00Z", "--max", "2", "--yes", "--reason", "new law"
    )
    assert done.returncode == 0 and "3 reassignments were sent." in done.stdout, done.stderr
    rows = list(csv.DictReader((tmp_path / "c-1.reassign.csv").read_text("utf-8-sig").splitlines()))
    assert {row["effects"] for row in rows} == {"loses the step; loses the course; loses the certificate"}
    await everything_reassigned(wire)
    changes = [message.json for message in await wire.read("course-completion-changed")]
    assert sorted(change["learner_id"] for change in changes if change["status"] == "incomplete") == [
        "l-1",
        "l-2",
        "l-3",
    ]
    assert "new law" in world.run("explain", "acme", "l-1", "c-1").stdout
    nobody = reassign(world, tmp_path, "--completed-before", "2026-01-05T00:00:00Z")
    assert "0 reassignments were sent." in nobody.stdout
    assert await asyncio.to_thread(serving.stop) == 0


async def test_a_mistake_is_taken_back(world: World, wire: Wire, tmp_path: Path) -> None:
    """Of a command, or of a file's learners: what had been earned stands again; nothing is taken back twice."""
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    for number in (1, 2, 3):
        await wire.send([("attendance-changed", {**ATTENDED, "learner_id": f"l-{number}", "message_id": f"m{number}"})])
    await wire.settled()
    file = tmp_path / "learners.csv"
    file.write_text("Learner\nl-1\nl-2\n")
    done = json.loads(reassign(world, tmp_path, "--file", str(file), "--wait", "--json").stdout)
    assert (done["sent"], done["effects"]["loses the certificate"]) == (2, 2)
    shown = reassign(world, tmp_path, "--learner", "l-3", "--wait").stdout
    command = shown.partition("A mistake? ratchet reassign --tenant acme --course c-1 --undo ")[2].split()[0]

    looked = reassign(world, tmp_path, "--undo", command, "--dry-run")
    assert "Nothing was sent." in looked.stdout and "acme/l-3/c-1" in looked.stdout and "l-1" not in looked.stdout
    undone = reassign(world, tmp_path, "--undo", command, "--wait", "--by", "kim", "--reason", "wrong course")
    assert "1 withdrawal was sent, and all are decided." in undone.stdout, undone.stderr
    state, told = state_of(world, "l-3"), world.run("explain", "acme", "l-3", "c-1", "--json").stdout
    assert (state["attempt"], state["course"]["status"], state["certificate"]["status"]) == (3, "completed", "issued")
    assert "withdrawn (actor kim, reason wrong course)" in told and "completion-reinstated" in told
    again = reassign(world, tmp_path, "--undo", command)
    assert (again.returncode, again.stdout) == (2, "")
    assert "no learner has such a reassignment in force; nothing was sent" in again.stderr

    file.write_text("Learner\nl-1\nl-2\nl-3\n")
    of_file = reassign(world, tmp_path, "--undo", str(file), "--wait", "--json")
    assert "1 learner has no reassignment in force, and nothing to take back" in of_file.stderr
    told_of = json.loads(of_file.stdout)
    assert (told_of["sent"], told_of["effects"]["gains the course"], told_of["undo_with"]) == (2, 2, None)
    assert {state_of(world, f"l-{number}")["course"]["status"] for number in (1, 2, 3)} == {"completed"}
    changes = [message.json for message in await wire.read("course-completion-changed")]
    actions = Counter(change["certificate"]["action"] for change in changes)
    assert actions == {"issue": 3, "revoke": 3, "reinstate": 3}
    assert len({change["certificate"]["certificate_id"] for change in changes}) == 3, "each its own, all the time"
    assert await asyncio.to_thread(serving.stop) == 0


def state_of(world: World, learner_id: str) -> dict[str, Any]:
    """As explain has it."""
    state = json.loads(world.run("explain", "acme", learner_id, "c-1", "--json").stdout)["state"]
    assert isinstance(state, dict)
    return state


@pytest.mark.full
async def test_a_wait_that_is_broken_off_goes_on_and_reassigns_nobody_again(
    world: World, wire: Wire, tmp_path: Path
) -> None:
    """Also where those who were reassigned would not be chosen any more."""
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    for number in (1, 2):
        await wire.send([("attendance-changed", {**ATTENDED, "learner_id": f"l-{number}", "message_id": f"m{number}"})])
    await wire.settled()
    assert await asyncio.to_thread(serving.stop) == 0
    options = ("--completed-before", "2026-02-01T00:00:00Z", "--wait", "--json")
    waiting = subprocess.Popen(
        [RATCHET, "reassign", *ABOUT, *options], env=world.settings, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    while len(await wire.read("reassigned")) < 2:
        assert waiting.poll() is None
        await asyncio.sleep(0.1)
    waiting.send_signal(signal.SIGINT)
    says = (await asyncio.to_thread(waiting.communicate))[1]
    assert "stopped; the same command goes on where it stopped" in says
    serving = world.serve().wait_until_ready()
    await everything_reassigned(wire)
    again = reassign(world, tmp_path, *options)
    told = json.loads(again.stdout)
    assert (told["sent"], told["effects"]["loses the course"]) == (2, 2) and told["undo_with"]
    assert "goes on with the same command of 20" in again.stderr
    assert {state_of(world, f"l-{number}")["attempt"] for number in (1, 2)} == {2}
    assert await asyncio.to_thread(serving.stop) == 0


async def test_the_steps_are_kept(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION), ("attendance-changed", ATTENDED)])
    await wire.settled()
    learner = str(ATTENDED["learner_id"])
    done = reassign(world, tmp_path, "--learner", learner, "--keep-progress", "--wait", "--json")
    assert json.loads(done.stdout)["sent"] == 1, done.stderr
    state = state_of(world, learner)
    assert (state["attempt"], state["course"]["status"]) == (2, "completed")
    assert all(step["complete"] for step in state["steps"].values())
    assert "the steps are kept" in world.run("explain", "acme", learner, "c-1").stdout
    assert await asyncio.to_thread(serving.stop) == 0


async def everything_reassigned(wire: Wire) -> None:
    """Until what the command has sent is dealt with."""
    for message in await wire.read("reassigned"):
        wire.expect(message)
    await everything_sent(wire)


@pytest.mark.full
async def test_an_interrupted_command_goes_on_and_a_finished_one_begins_anew(
    world: World, wire: Wire, tmp_path: Path
) -> None:
    file = tmp_path / "learners.csv"
    file.write_text("Name,User ID\nAnna,l-1\nBen,l-2\nAnna again,l-1\n")

    def sent_ids() -> set[str]:
        assert reassign(world, tmp_path, "--file", str(file), "--allow-unknown").returncode == 0
        return {document["_id"] for document in uploads.find()}

    with MongoClient[dict[str, Any]](world.database.address) as client:
        uploads = client[world.name]["uploads"]
        assert sent_ids() == set(), "nothing is left of a finished command"
        first = {message.json["message_id"]: message.json for message in await wire.read("reassigned")}
        assert sorted(message["learner_id"] for message in first.values()) == ["l-1", "l-2"]
        await asyncio.sleep(1.1)
        started_at = next(iter(first.values()))["changed_at"]
        uploads.insert_one({"_id": interrupted_identity(file), "started_at": started_at, "through": 0})
        assert sent_ids() == set()
        assert Counter(await ids(wire)) == dict.fromkeys(first, 2), "the same messages: each counts once"
        sent_ids()
        assert len(set(await ids(wire))) == 4, "a finished command given again means it again"


async def ids(wire: Wire) -> list[str]:
    """Of all reassignments."""
    return [message.json["message_id"] for message in await wire.read("reassigned")]


def interrupted_identity(file: Path) -> str:
    """Under which the command is remembered."""
    from service.admin.reassignments import Selection

    return Selection("acme", "c-1", file=file).identity


@pytest.mark.full
def test_what_is_asked_wrongly_is_said(world: World, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("learner\nl-1\nl 2\n")
    for options, says in (
        ((), "say whom"),
        (("--undo", "reassign-1"), "--undo: 'reassign-1' is neither a file nor the id that ratchet reassign told"),
        (("--undo", "x.csv", "--learner", "l-1"), "--undo says itself whom: without --learner"),
        (("--learner", "l-1", "--completed-before", "2026-01-01T00:00:00Z"), "say whom"),
        (("--learner", "l 1"), "--learner: 'l 1' is no learner's id"),
        (("--file", str(bad)), "line 3: 'l 2' is no learner's id"),
        (("--file", str(tmp_path / "none.csv")), "No such file"),
        (("--completed-before", "yesterday"), "--completed-before"),
    ):
        ran = reassign(world, tmp_path, *options)
        assert (ran.returncode, says in ran.stderr, "Traceback" in ran.stderr) == (2, True, False), ran.stderr
