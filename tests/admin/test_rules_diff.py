"""`ratchet rules diff`: what a candidate would decide differently, on real records; nothing is changed."""

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.commands.test_commands import ATTENDED, DEFINITION, RESET
from tests.stack.service import World
from tests.stack.wire import Wire

COURSE = Path(__file__).parents[2] / "rules" / "course.yaml"


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """A course table by which steps complete a course without a certificate."""
    steps = "trigger: [step, definition], requirement: met, certificate: any}\n    then: {course: completed_via_steps, "
    return edited(tmp_path, f"{steps}certificate: issue_if_awarded", f"{steps}certificate: keep")


def edited(folder: Path, old: str, new: str) -> Path:
    """The shipped course table with one text replaced."""
    text = COURSE.read_text()
    assert text.count(old) == 1
    file = folder / "course.yaml"
    file.write_text(text.replace(old, new))
    return file


async def some_records(world: World, wire: Wire) -> None:
    """Two learners of c-1 complete, one of c-2 who is not, and one of another tenant who is."""
    serving = world.serve().wait_until_ready()
    other = {**DEFINITION, "course_id": "c-2", "message_id": "d2"}
    foreign = {**DEFINITION, "tenant_id": "umbra", "message_id": "d3"}
    await wire.send([("course-defined", definition) for definition in (DEFINITION, other, foreign)])
    await wire.settled()
    short = {**ATTENDED, "attended": None, "attended_minutes": 30}
    await wire.send(
        [
            ("attendance-changed", ATTENDED),
            ("attendance-changed", RESET),
            ("attendance-changed", {**ATTENDED, "learner_id": "l-2"}),
            ("attendance-changed", {**short, "learner_id": "l-3", "course_id": "c-2"}),
            ("attendance-changed", {**ATTENDED, "tenant_id": "umbra"}),
        ]
    )
    await wire.settled()
    assert await asyncio.to_thread(serving.stop) == 0


def documents(world: World) -> dict[str, list[dict[str, Any]]]:
    """The whole database."""
    with MongoClient[dict[str, Any]](world.database.address) as client:
        database = client[world.name]
        return {name: list(database[name].find()) for name in sorted(database.list_collection_names())}


async def test_what_would_be_decided_differently_row_by_row_and_in_sum(
    world: World, wire: Wire, candidate: Path, tmp_path: Path
) -> None:
    await some_records(world, wire)
    before = documents(world)

    ran = world.run("rules", "diff", str(candidate), "--json", check=False)
    assert (ran.returncode, ran.stderr) == (1, "")
    *records, sums = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [record["record"] for record in records] == ["acme/l-1/c-1", "acme/l-2/c-1", "umbra/l-1/c-1"]
    assert [len(record["facts"]) for record in records] == [2, 1, 1]
    fact = records[0]["facts"][0]
    assert (fact["message_id"], fact["changed_at"]) == ("m1", "2026-01-02T09:00:00Z")
    assert fact["now"]["rules"] == fact["then"]["rules"] == ["fact-is-newest", "step-reached", "completed-by-steps"]
    assert fact["now"]["course"] == fact["then"]["course"]
    assert (fact["now"]["certificate"], fact["then"]["certificate"]) == ({"attempt": 1, "status": "issued"}, None)
    assert [change["certificate"]["action"] for change in fact["now"]["announced"][1:]] == ["issue"]
    assert [change["certificate"]["action"] for change in fact["then"]["announced"][1:]] == ["none"]
    assert sums == {
        "records": 4,
        "differing": 3,
        "rules": [
            {"now": "completed-by-steps", "then": "completed-by-steps", "facts": 3, "records": 3},
            {"now": "completion-preserved", "then": "completion-preserved", "facts": 1, "records": 1},
        ],
    }

    file = tmp_path / "diff.csv"
    shown = world.run("rules", "diff", str(candidate), "--tenant", "acme", "--output", str(file), check=False)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "acme/l-2/c-1" in shown.stdout and "umbra" not in shown.stdout
    assert "certificate issued" in shown.stdout and "no certificate" in shown.stdout
    assert shown.stdout.endswith("2 of 3 records would decide differently.\n")
    rows = list(csv.DictReader(file.read_text("utf-8-sig").splitlines()))
    assert [(row["learner"], row["message_id"]) for row in rows] == [("l-1", "m1"), ("l-1", "m2"), ("l-2", "m1")]
    assert rows[0]["rules now"] == "fact-is-newest step-reached completed-by-steps"
    assert "certificate issued" in rows[0]["now"] and "no certificate" in rows[0]["then"]

    assert documents(world) == before, "nothing is changed"


async def test_records_are_chosen_by_tenant_and_course_and_at_random(
    world: World, wire: Wire, candidate: Path, tmp_path: Path
) -> None:
    await some_records(world, wire)

    def looked(*options: str) -> tuple[int, int, int]:
        ran = world.run("rules", "diff", str(candidate), "--json", *options, check=False)
        sums = json.loads(ran.stdout.splitlines()[-1])
        return ran.returncode, sums["differing"], sums["records"]

    assert looked("--course", "c-1") == (1, 3, 3)
    assert looked("--tenant", "umbra", "--course", "c-1") == (1, 1, 1)
    assert looked("--course", "c-2") == (0, 0, 1)
    assert looked("--course", "c-") == (0, 0, 0)
    assert looked("--tenant", "acm") == (0, 0, 0)
    assert looked("--sample", "100") == (1, 3, 4)
    assert looked("--sample", "1")[2] == 1
    assert looked("--sample", "2", "--tenant", "acme", "--course", "c-1") == (1, 2, 2)
    same = world.run("rules", "diff", str(COURSE))
    assert same.stdout == "0 of 4 records would decide differently.\n"
    steps = edited(tmp_path, "id: completed-by-steps", "id: all-steps-complete")
    renamed = world.run("rules", "diff", str(steps), "--course", "c-1", check=False)
    assert "all-steps-complete" in renamed.stdout


async def test_the_screen_shows_some_and_says_how_many_more(world: World, wire: Wire, candidate: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    await wire.send([("attendance-changed", {**ATTENDED, "learner_id": f"l-{number}"}) for number in range(120)])
    await wire.settled()
    assert await asyncio.to_thread(serving.stop) == 0
    shown = world.run("rules", "diff", str(candidate), check=False).stdout
    assert sum(line.count("acme/l-") for line in shown.splitlines()) == 20
    assert "… and 100 more facts; --output FILE writes them all" in shown
    assert "120 of 120 records would decide differently." in shown


def test_what_is_asked_wrongly_is_said(world: World, candidate: Path, tmp_path: Path) -> None:
    refused = edited(
        tmp_path,
        "trigger: equivalency, requirement: any, certificate: any}",
        "trigger: whim, requirement: any, certificate: any}",
    )
    told = world.run("rules", "check", str(refused), check=False)
    ran = world.run("rules", "diff", str(refused), check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", told.stderr)
    arrival = tmp_path / "arrival.yaml"
    text = (COURSE.parent / "arrival.yaml").read_text()
    candidate.write_text(COURSE.read_text())
    arrival.write_text(text.replace("facts: keep", "facts: count"))
    for command, status, says in (
        ([str(tmp_path / "none.yaml")], 2, "No such file"),
        ([str(arrival)], 1, "fact = before_definition: can only be kept"),
        ([str(candidate), "--tenant", "a/b"], 2, "--tenant: 'a/b' is not an id"),
        ([str(candidate), "--course", "c 1"], 2, "--course: 'c 1' is not an id"),
        ([str(candidate), "--sample", "0"], 2, "--sample"),
        ([str(candidate), "--output", str(tmp_path)], 2, f"{tmp_path}: cannot be written: Is a directory"),
    ):
        ran = world.run("rules", "diff", *command, check=False)
        assert (ran.returncode, says in ran.stderr, "Traceback" in ran.stderr) == (status, True, False), ran.stderr
    nowhere = world.run(
        "rules", "diff", str(candidate), check=False, RATCHET_MONGODB_URI="nonsense", RATCHET_START_SECONDS="2"
    )
    assert (nowhere.returncode, "RATCHET_MONGODB_URI" in nowhere.stderr) == (2, True)
