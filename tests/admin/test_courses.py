"""`ratchet courses`: tried, sent, capped, released; records are decided again whatever befalls the workers."""

import asyncio
import csv
import json
import re
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient

from service.admin import courses
from service.kafka.partitioner import partition_of
from service.kafka.sender import Sender
from service.mongo.store import MongoStore
from tests.commands.test_commands import ATTENDED
from tests.stack.service import RATCHET, Serving, World
from tests.stack.wire import Wire

WAIT_SECONDS = 60.0
TWO_EVENTS = {
    "tenant_id": "acme",
    "course_id": "c-1",
    "steps": [
        {"step_id": "e1", "kind": "event", "scheduled_minutes": 60},
        {"step_id": "e2", "kind": "event", "scheduled_minutes": 60},
    ],
}
ONE_EVENT = {**TWO_EVENTS, "steps": TWO_EVENTS["steps"][:1]}
"""Completes those who attended e1."""
LONGER = {**TWO_EVENTS, "steps": [{"step_id": "e1", "kind": "event", "scheduled_minutes": 90}]}
"""Completes none of them."""


def write(folder: Path, definition: dict[str, Any], name: str = "course.yaml") -> Path:
    """A definition as a file."""
    file = folder / name
    file.write_text(yaml.safe_dump(definition))
    return file


def documents(world: World, collection: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """As MongoDB has them."""
    with MongoClient[dict[str, Any]](world.database.address) as client:
        return list(client[world.name][collection].find(query))


async def until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again, up to the deadline."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.05)


def start(world: World, *arguments: str) -> "subprocess.Popen[str]":
    """A command beside the test."""
    return subprocess.Popen(
        [RATCHET, *arguments], env=world.settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


async def run(world: World, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command to its end, while the test's own tasks go on."""
    return await asyncio.to_thread(world.run, *arguments, check=False)


async def attend(wire: Wire, minutes: dict[str, int]) -> None:
    """Learners attend e1, each so many minutes."""
    await wire.send(("attendance-changed", attendance(learner, attended)) for learner, attended in minutes.items())
    await wire.settled()


def attendance(learner: str, minutes: int, course: str = "c-1") -> dict[str, Any]:
    """A fact."""
    about = {"learner_id": learner, "course_id": course, "message_id": f"m-{learner}"}
    return {**ATTENDED, **about, "attended": None, "attended_minutes": minutes}


async def completions(wire: Wire) -> Counter[str]:
    """By learner, how often it was announced."""
    return Counter(
        message.json["learner_id"]
        for message in await wire.read("course-completion-changed")
        if message.json["status"] == "completed"
    )


def impact(file: Path) -> dict[str, str]:
    """What becomes of each learner that the preview's file names."""
    with file.with_name(f"{file.name}.impact.csv").open(encoding="utf-8-sig", newline="") as lines:
        return {row["learner"]: row["effects"] for row in csv.DictReader(lines)}


async def test_a_definition_is_applied_tried_shown_and_known(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    file = write(tmp_path, TWO_EVENTS)
    applied = await run(world, "courses", "apply", str(file), "--wait")
    assert applied.stdout == ("acme/c-1: version 1 was sent\nacme/c-1: version 1: 0 records decided again\n"), (
        applied.stderr
    )
    known = await run(world, "courses", "apply", str(file), "--json")
    assert json.loads(known.stdout) == {"course": "acme/c-1", "version": 1, "sent": False}
    assert len(await wire.read("course-defined")) == 1
    await attend(wire, {"l-0": 60, "l-1": 60, "l-2": 30, "l-3": 60})
    about = {name: ATTENDED[name] for name in ("tenant_id", "course_id", "changed_at")}
    await wire.send([("equivalency-granted", {**about, "learner_id": "l-3", "message_id": "q"})])
    await wire.settled()
    assert await completions(wire) == {"l-3": 1}

    shorter = write(tmp_path, ONE_EVENT, "shorter.yaml")
    tried = json.loads((await run(world, "courses", "preview", str(shorter), "--json")).stdout)
    effects = tried.pop("effects")
    assert tried == {"course": "acme/c-1", "version": 2, "is_new": True, "records": 4, "would_pause": False}
    assert {effect: count for effect, count in effects.items() if count} == {
        "gains the course": 2,
        "gets a certificate": 2,
    }
    assert effects["loses the course"] == 0
    gains = "gains the course; gets a certificate"
    assert impact(shorter) == {"l-0": gains, "l-1": gains}
    longer = write(tmp_path, LONGER, "longer.yaml")
    shown = (await run(world, "courses", "preview", str(longer))).stdout
    assert "4 records would be decided again, 0 certificates issued, 0 completions lost." in shown
    assert impact(longer) == {
        "l-0": "loses the step",
        "l-1": "loses the step",
        "l-2": "gets another percent",
        "l-3": "loses the step",
    }, "who has completed the course keeps it, and steps move all the same"
    capped = world.run("courses", "preview", str(shorter), RATCHET_MAX_NEW_COMPLETIONS="1").stdout
    assert "More than 1 learner would complete it, so it would wait for ratchet courses release." in capped
    assert len(await wire.read("course-defined")) == 1, "a preview sends nothing"

    applied = await run(world, "courses", "apply", str(shorter), "--wait", "--json")
    assert json.loads(applied.stdout) == {
        "course": "acme/c-1",
        "version": 2,
        "sent": True,
        "state": "done",
        "records": 4,
        "would_complete_at_least": 0,
        "would_certify_at_least": 0,
    }
    await wire.settled()
    assert await completions(wire) == {"l-0": 1, "l-1": 1, "l-3": 1}
    listed = json.loads((await run(world, "courses", "list", "--json")).stdout)
    assert (listed["course_id"], listed["version"], listed["steps"], listed["state"]) == ("c-1", 2, 1, "done")
    assert "c-1" not in (await run(world, "courses", "list", "--tenant", "other")).stdout
    page = (await run(world, "courses", "show", "acme", "c-1")).stdout
    assert "acme/c-1, version 2 since" in page and "e1" in page and "e2" not in page and "version 1 since" in page
    versions = json.loads((await run(world, "courses", "show", "acme", "c-1", "--json")).stdout)["versions"]
    assert [(known["version"], len(known["steps"])) for known in versions] == [(1, 2), (2, 1)]
    again = await run(world, "courses", "preview", str(shorter))
    assert "acme/c-1, version 2: known already; nothing was sent." in again.stdout and impact(shorter) == {}
    assert await asyncio.to_thread(serving.stop) == 0


@pytest.mark.full
async def test_a_definition_sent_twice_before_a_worker_has_it_counts_once(
    world: World, wire: Wire, tmp_path: Path
) -> None:
    file = write(tmp_path, TWO_EVENTS)
    world.run("courses", "apply", str(file))
    waiting = start(world, "courses", "apply", str(file), "--wait", "--json")
    said_nothing = await asyncio.to_thread(waiting.stderr.readline) if waiting.stderr else ""
    assert said_nothing == "ratchet: no worker has taken the definition yet; ratchet lag tells why\n"
    sent = await wire.read("course-defined")
    assert len(sent) == 2 and sent[0].json["message_id"] == sent[1].json["message_id"]
    serving = world.serve().wait_until_ready()
    said, _ = await asyncio.to_thread(waiting.communicate, None, WAIT_SECONDS)
    assert (waiting.returncode, json.loads(said)["state"]) == (0, "done")
    for message in sent:
        wire.expect(message)
    await wire.settled()
    assert await wire.read("dead-letter") == []
    assert len(documents(world, "courses", {})[0]["versions"]) == 1
    assert await asyncio.to_thread(serving.stop) == 0


async def test_what_is_decided_before_the_command_looks_is_counted_too(
    world: World, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def applied_and_done(sender: Sender, store: MongoStore, candidate: courses.Candidate) -> None:
        await apply(sender, store, candidate)
        async for _ in courses.watch(store, candidate.key, candidate.definition.version):
            pass

    serving, apply = world.serve().wait_until_ready(), courses.apply
    monkeypatch.setattr(courses, "apply", applied_and_done)
    await run(world, "courses", "apply", str(write(tmp_path, TWO_EVENTS)))
    await attend(wire, {"l-0": 60, "l-1": 30, "l-2": 60})
    said = await run(world, "courses", "apply", str(write(tmp_path, ONE_EVENT)), "--wait")
    assert said.stdout.endswith("acme/c-1: version 2: 3 records decided again\n"), said
    assert await asyncio.to_thread(serving.stop) == 0


@pytest.mark.full
async def test_more_completions_than_the_cap_wait_for_their_release(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    world = make_world(RATCHET_MAX_NEW_COMPLETIONS="2")
    async with Wire(world) as wire:
        serving = world.serve().wait_until_ready()
        await run(world, "courses", "apply", str(write(tmp_path, TWO_EVENTS)), "--wait")
        await attend(wire, {**dict.fromkeys(["l-0", "l-1", "l-2", "l-3"], 60), "l-4": 30})
        assert (await run(world, "courses", "release", "acme", "c-1")).returncode == 1, "nothing is paused"
        shorter = write(tmp_path, ONE_EVENT, "shorter.yaml")
        applied = await run(world, "courses", "apply", str(shorter), "--wait")
        assert applied.returncode == 1
        paused = "paused: would complete more than 2 learners; ratchet courses release acme c-1"
        assert f"acme/c-1: version 2: {paused}" in applied.stdout
        assert paused in (await run(world, "courses", "list")).stdout
        listed = json.loads((await run(world, "courses", "list", "--json")).stdout)
        assert (listed["state"], listed["records_behind"], listed["would_complete_at_least"]) == ("paused", 5, 3)
        await until(lambda: paused_courses(serving) == 1, "the metric tells")
        status, ready = serving.get("/readyz")
        assert (status, sum(lane["paused_reevaluations"] for lane in json.loads(ready)["lanes"])) == (200, 1)
        assert (await run(world, "courses", "apply", str(shorter), "--wait")).returncode == 1, "known, and paused"

        await attend(wire, {"l-5": 60})
        assert await completions(wire) == {"l-5": 1}, "what is reported now is decided under the new definition"
        assert await asyncio.to_thread(serving.stop) == 0
        serving = world.serve().wait_until_ready()
        await until(lambda: paused_courses(serving) == 1, "the next worker knows")
        assert len(documents(world, "records", {"definition_version": 1})) == 5, "nothing was decided again"

        released = await run(world, "courses", "release", "acme", "c-1", "--wait")
        assert (released.returncode, released.stdout) == (
            0,
            "acme/c-1: version 2 is released\nacme/c-1: version 2: 5 records decided again\n",
        ), released
        await wire.settled()
        assert await completions(wire) == {f"l-{number}": 1 for number in (0, 1, 2, 3, 5)}
        await until(lambda: paused_courses(serving) == 0, "the metric tells")
        told = [json.loads(line)["event"] for line in serving.log.read_text().splitlines()]
        assert "re-evaluation is done" in told
        assert await asyncio.to_thread(serving.stop) == 0


def paused_courses(serving: Serving) -> int:
    """What the metrics say, over all lanes."""
    found = re.findall(r'^ratchet_paused_reevaluations\{lane="\d+"\} (\S+)$', serving.get("/metrics")[1], re.MULTILINE)
    return int(sum(map(float, found)))


@pytest.mark.full
async def test_certificates_for_those_who_completed_before_the_course_awarded_one(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    """A public report of another system: the certificate was set up only after the learners had completed."""
    world = make_world(RATCHET_MAX_NEW_CERTIFICATES="1")
    async with Wire(world) as wire:
        serving = world.serve().wait_until_ready()
        reported = yaml.safe_load((Path(__file__).parent / "files" / "C08-c08.yaml").read_text())
        awarding = {**reported, "tenant_id": "acme"}
        silent = {**awarding, "awards_certificate": False}
        await run(world, "courses", "apply", str(write(tmp_path, silent, "silent.yaml")), "--wait")
        await attend(wire, {"l-0": 60, "l-1": 60, "l-2": 10})
        file = write(tmp_path, awarding, "awarding.yaml")
        looked = json.loads((await run(world, "courses", "preview", str(file), "--json")).stdout)
        assert looked["effects"]["gets a certificate"] == 2 and looked["would_pause"]
        shown = (await run(world, "courses", "preview", str(file))).stdout
        assert "3 records would be decided again, 2 certificates issued, 0 completions lost." in shown
        assert "More than 1 certificate would be issued, so it would wait for ratchet courses release." in shown

        applied = await run(world, "courses", "apply", str(file), "--wait")
        paused = "paused: would issue more than 1 certificate; ratchet courses release acme c-1"
        assert (applied.returncode, paused in applied.stdout) == (1, True), applied
        listed = json.loads((await run(world, "courses", "list", "--json")).stdout)
        assert (listed["would_complete_at_least"], listed["would_certify_at_least"]) == (0, 2)
        released = await run(world, "courses", "release", "acme", "c-1", "--wait", "--json")
        assert (released.returncode, json.loads(released.stdout)) == (
            0,
            {
                "course": "acme/c-1",
                "version": 2,
                "released": True,
                "state": "done",
                "records": 3,
                "would_complete_at_least": 0,
                "would_certify_at_least": 0,
            },
        ), released
        await wire.settled()
        changes = [message.json for message in await wire.read("course-completion-changed")]
        issued = [change for change in changes if change["certificate"]["action"] == "issue"]
        assert sorted(change["learner_id"] for change in issued) == ["l-0", "l-1"]
        assert {(change["status"], change["previous_status"]) for change in issued} == {("completed", "completed")}
        assert {change["rule_id"] for change in issued} == {"certificate-by-definition"}
        assert await asyncio.to_thread(serving.stop) == 0


async def test_a_newer_definition_is_judged_anew(make_world: Callable[..., World], tmp_path: Path) -> None:
    world = make_world(RATCHET_MAX_NEW_COMPLETIONS="0")
    async with Wire(world) as wire:
        serving = world.serve().wait_until_ready()
        await run(world, "courses", "apply", str(write(tmp_path, TWO_EVENTS)), "--wait")
        await attend(wire, {"l-0": 60})
        assert (await run(world, "courses", "apply", str(write(tmp_path, ONE_EVENT)), "--wait")).returncode == 1
        await wire.send([("reassigned", reassigned("l-0"))])
        await wire.settled()
        applied = await run(world, "courses", "apply", str(write(tmp_path, LONGER)), "--wait")
        assert (applied.returncode, "version 3: " in applied.stdout) == (0, True), applied
        assert await completions(wire) == {}
        assert await asyncio.to_thread(serving.stop) == 0


def reassigned(learner: str) -> dict[str, Any]:
    """After the attendance, before any definition but the first."""
    about = {name: ATTENDED[name] for name in ("tenant_id", "course_id")}
    return {**about, "learner_id": learner, "message_id": f"r-{learner}", "changed_at": "2026-01-03T00:00:00Z"}


@pytest.mark.full
async def test_a_worker_killed_in_the_middle_leaves_the_rest_to_its_successor(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    learners = 120
    world = make_world(RATCHET_REEVALUATIONS_PER_SECOND="20", RATCHET_KAFKA_SESSION_TIMEOUT_SECONDS="6")
    async with Wire(world) as wire:
        serving = world.serve().wait_until_ready()
        await run(world, "courses", "apply", str(write(tmp_path, TWO_EVENTS)), "--wait")
        await attend(wire, {f"l-{number}": 60 for number in range(learners)})
        began = time.monotonic()
        waiting = start(world, "courses", "apply", str(write(tmp_path, ONE_EVENT)), "--wait", "--json")
        await until(lambda: len(decided_again(world)) > 0, "some are decided again")
        assert await asyncio.to_thread(serving.stop, signal.SIGKILL) == -signal.SIGKILL
        done = decided_again(world)
        assert 0 < len(done) < learners, "in the middle"
        assert waiting.poll() is None
        listed = json.loads((await run(world, "courses", "list", "--json")).stdout)
        assert (listed["state"], listed["records_behind"]) == ("under way", learners - len(done))
        shown = (await run(world, "courses", "list")).stdout
        assert f"{learners - len(done)} records being decided again" in shown
        successor = world.serve().wait_until_ready()
        said, errors = await asyncio.to_thread(waiting.communicate, None, 2 * WAIT_SECONDS)
        assert (waiting.returncode, json.loads(said)["records"]) == (0, learners), errors
        assert time.monotonic() - began > learners / 20 - 2, "no faster than the rate"
        await wire.settled()
        after = {document["_id"]: document["rev"] for document in decided_again(world)}
        assert len(after) == learners
        assert {document["_id"]: after[document["_id"]] - document["rev"] for document in done} == {
            document["_id"]: 0 for document in done
        }, "what was done is not done again"
        assert await completions(wire) == {f"l-{number}": 1 for number in range(learners)}
        assert await asyncio.to_thread(successor.stop) == 0


def decided_again(world: World) -> list[dict[str, Any]]:
    """Records that carry version 2."""
    return documents(world, "records", {"definition_version": 2})


@pytest.mark.full
async def test_a_batch_that_was_in_flight_when_the_definition_came(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    """One worker stands still with a batch loaded, while another one stores the definition and sweeps the course."""
    world = make_world(partitions=2)
    if not world.broker.real:
        pytest.skip("the mock broker shares its lanes out in its own way")
    async with Wire(world) as wire:
        still = world.serve(RATCHET_FAILPOINT="after_load:1:20")
        other = world.serve()
        await until(lambda: {lanes(still), lanes(other)} == {(0,), (1,)}, "a lane each")
        (still_lane,), (other_lane,) = lanes(still), lanes(other)
        course = next(f"c-{n}" for n in range(99) if partition_of(f"acme/c-{n}".encode(), 2) == other_lane)
        keys = ((f"l-{n}", f"acme/l-{n}/{course}".encode()) for n in range(99))
        learner = next(learner for learner, key in keys if partition_of(key, 2) == still_lane)
        first = write(tmp_path, {**TWO_EVENTS, "course_id": course})
        assert (await run(world, "courses", "apply", str(first), "--wait")).returncode == 0
        await wire.send([("attendance-changed", attendance(learner, 60, course))])
        await until(lambda: stands_still(still), "the batch is loaded")
        second = write(tmp_path, {**ONE_EVENT, "course_id": course})
        applied = await run(world, "courses", "apply", str(second), "--wait", "--json")
        assert json.loads(applied.stdout)["state"] == "done", applied.stderr
        assert documents(world, "records", {}) == [], "the batch is still in flight"
        await wire.settled()
        (record,) = documents(world, "records", {})
        assert (record["definition_version"], record["rev"]) == (2, 2), "stored under version 1, then decided again"
        assert await completions(wire) == {learner: 1}
        assert await asyncio.to_thread(still.stop) == 0
        assert await asyncio.to_thread(other.stop) == 0


def lanes(serving: Serving) -> tuple[int, ...]:
    """Those that are open here."""
    try:
        return tuple(lane["lane"] for lane in json.loads(serving.get("/readyz")[1])["lanes"] if lane["ready"])
    except OSError:
        return ()


def stands_still(serving: Serving) -> bool:
    """Whether it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{serving.port}/livez", timeout=1):
            return False
    except OSError:
        return True


async def test_what_is_asked_wrongly_is_said(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    assert (await run(world, "courses", "apply", str(write(tmp_path, TWO_EVENTS)), "--wait")).returncode == 0
    assert await asyncio.to_thread(serving.stop) == 0
    step = {"step_id": "e1", "kind": "event", "scheduled_minutes": 0}
    wrong: list[tuple[str | dict[str, Any], str]] = [
        ("tenant_id: [", "is no YAML"),
        ("&a [*a]", "is no YAML"),
        ("steps: !!python/object:os.system {}", "is no YAML"),
        ("just a text", "must be a mapping with tenant_id, course_id and steps"),
        ("tenant_id: acme\ncourse_id: c-1", "steps: Field required"),
        ({**TWO_EVENTS, "steps": [step]}, "steps.0.scheduled_minutes: Input should be greater than"),
        ({**TWO_EVENTS, "tenant_id": "a b"}, "tenant_id: String should match pattern"),
        ({**ONE_EVENT, "version": 1}, "version: 1 with this content is not newer than the known version 1"),
        ({**ONE_EVENT, "changed_at": "2099-01-01T00:00:00Z"}, "changed_at: is "),
    ]
    file = tmp_path / "wrong.yaml"
    for number, (content, says) in enumerate(wrong):
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        command = ("preview", "apply")[number % 2]  # both read it in the same way
        refused(world.run("courses", command, str(file), check=False), 2, f"{file}: {says}")
    file.write_bytes(b"\xff\xfe")
    refused(world.run("courses", "apply", str(file), check=False), 2, "is not UTF-8 text")
    refused(world.run("courses", "preview", str(tmp_path / "none"), check=False), 2, "No such file")
    refused(world.run("courses", "show", "acme", "c-9", check=False), 1, "course acme/c-9 has no definition")
    refused(world.run("courses", "release", "acme", "c-9", check=False), 1, "course acme/c-9 has no definition")
    refused(world.run("courses", "release", "acme", "c-1", check=False), 1, "version 1 is not paused")
    refused(world.run("courses", "release", "a/b", "c-1", check=False), 2, "TENANT: 'a/b' is not an id")
    refused(world.run("courses", "show", "acme", "c 1", check=False), 2, "COURSE: 'c 1' is not an id")
    assert len(await wire.read("course-defined")) == 1, "nothing that is wrong was sent"
    good = write(tmp_path, ONE_EVENT)
    nowhere = {"RATCHET_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "RATCHET_START_SECONDS": "3"}
    refused(world.run("courses", "apply", str(good), check=False, **nowhere), 2, "RATCHET_KAFKA_BOOTSTRAP_SERVERS")
    (tmp_path / "course.yaml.impact.csv").mkdir()
    refused(world.run("courses", "preview", str(good), check=False), 2, "cannot be written")


def refused(ran: "subprocess.CompletedProcess[str]", status: int, says: str) -> None:
    """With this status and reason, in one line, and no traceback."""
    assert (ran.returncode, says in ran.stderr, ran.stderr.count("\n")) == (status, True, 1), ran.stderr


async def test_waiting_ends_with_ctrl_c(world: World, tmp_path: Path) -> None:
    waiting = start(world, "courses", "apply", str(write(tmp_path, TWO_EVENTS)), "--wait")
    assert waiting.stdout is not None
    assert await asyncio.to_thread(waiting.stdout.readline) == "acme/c-1: version 1 was sent\n"
    waiting.send_signal(signal.SIGINT)
    _, errors = await asyncio.to_thread(waiting.communicate, None, WAIT_SECONDS)
    assert (waiting.returncode, errors) == (130, "ratchet: stopped; the workers go on with what they have\n")
