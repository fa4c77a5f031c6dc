"""`rules` against a naive reference written apart from it: random lives, said to both in the same order of arrival."""

import json
import random
from typing import Any

import pytest

from contracts.fields import parse_timestamp
from service.admin.simulate import Simulation
from tests.oracle import Oracle, Said
from tests.rules.lives import life

LIVES = 4000
PARTS = 4
NOW = "2027-01-01T00:00:00Z"
Json = dict[str, Any]


@pytest.mark.long
@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.full) for part in range(1, PARTS))])
@pytest.mark.timeout(600)
def test_rules_decide_as_the_reference_does(part: int) -> None:
    for seed in range(part, LIVES, PARTS):
        said = life(random.Random(seed))
        if decided(said) != referred(said):
            pytest.fail(told(shrunk(said)))


def test_a_difference_is_found_and_shrunk() -> None:
    """Of a life that completes the course, a fact or two and a definition are enough for that."""

    def completes(said: list[Said]) -> bool:
        return bool(said) and decided(said).get("course", {}).get("completed_via") is not None

    said = next(said for seed in range(1000) if completes(said := life(random.Random(seed))) and len(said) > 6)
    small = shrunk(said, completes)
    assert len(small) < len(said)
    assert any(topic == "course-defined" for topic, _ in small)
    assert "completed" in told(small)


def decided(said: list[Said]) -> Json:
    """The record as Ratchet has it, in the words of the reference."""
    simulation = Simulation()
    lines = (json.dumps({"topic": topic, "value": value, "now": NOW}).encode() for topic, value in said)
    letters = [line for line in simulation.lines(lines) if line["topic"] == "dead-letter"]
    assert not letters, letters
    found = [record["state"] for record in simulation.records()]
    return _plain(found[0]) if found else {}


def _plain(state: Json) -> Json:
    course, certificate = dict(state["course"]), state["certificate"]
    for name in ("completed_at", "expires_at"):
        course[name] = None if course[name] is None else parse_timestamp(course[name])
    steps = {name: {"percent": step["percent"], "complete": step["complete"]} for name, step in state["steps"].items()}
    return {
        "attempt": state["attempt"],
        "steps": {name: step for name, step in steps.items() if step["percent"] or step["complete"]},
        "course": course,
        "certificate": "issued" if certificate and certificate["status"] == "issued" else "none",
    }


def referred(said: list[Said]) -> Json:
    """The record as the reference has it."""
    oracle = Oracle()
    for topic, value in said:
        oracle.say(topic, value)
    found: list[Json] = list(oracle.records().values())
    return found[0] if found else {}


def differs(said: list[Said]) -> bool:
    """Whether the two part."""
    return decided(said) != referred(said)


def shrunk(said: list[Said], still: Any = differs) -> list[Said]:
    """As few of the messages as are needed for it."""
    for number in range(len(said)):
        fewer = said[:number] + said[number + 1 :]
        if still(fewer):
            return shrunk(fewer, still)
    return said


def told(said: list[Said]) -> str:
    """A life, and what becomes of it on both sides, as `ratchet simulate FILE --records` would take it."""
    lines = [json.dumps({"topic": topic, "now": NOW, "value": value}) for topic, value in said]
    return "\n".join([*lines, f"rules:     {json.dumps(decided(said))}", f"reference: {json.dumps(referred(said))}"])
