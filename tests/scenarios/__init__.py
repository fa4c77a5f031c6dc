"""Golden cases as data. Each file: the messages given, in order of arrival, what must be sent, the records at the end.

`common` is merged into every given value. `sent` holds, for each change, the fields that matter, in order of each
record's sequence; a dead letter is given by its reason code and what its explanation says. `records` is what
`ratchet simulate --records` prints of a record, its certificate by status, without an `expires_at` that is null.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]


class Scenario(NamedTuple):
    """One golden case."""

    name: str
    given: list[tuple[str, Json]]
    """Short topic name and value."""
    sent: list[Json]
    records: dict[str, Json]


class Happened(NamedTuple):
    """What came of a scenario, whichever way it was run."""

    changes: Mapping[str, list[tuple[str, Json]]]
    """By key: topic and value, in order of publication."""
    dead_letters: list[tuple[str, str]]
    """Reason and explanation."""
    records: Mapping[str, Json]


def _load(path: Path) -> Scenario:
    data = json.loads(path.read_text())
    assert set(data) == {"about", "source", "common", "given", "sent", "records"}, path
    given = [(message["topic"], _merged(data["common"], message)) for message in data["given"]]
    return Scenario(path.stem, given, data["sent"], data["records"])


def _merged(common: Json, message: Json) -> Json:
    value = {**common, **message["value"]}
    if message["topic"] == "course-defined":
        del value["learner_id"]
    return value


SCENARIOS = [_load(path) for path in sorted(Path(__file__).parent.glob("*.json"))]


def compare(scenario: Scenario, happened: Happened) -> None:
    """Assert that what happened is what the scenario says, nothing less and nothing more."""
    expected: dict[str, list[Json]] = defaultdict(list)
    for message in scenario.sent:
        if message["topic"] != "dead-letter":
            common = scenario.given[0][1]
            learner = message["value"].get("learner_id", "l1")
            expected[f"{common['tenant_id']}/{learner}/{common['course_id']}"].append(message)
    assert {key: len(sent) for key, sent in expected.items()} == {
        key: len(sent) for key, sent in happened.changes.items() if sent
    }, happened.changes
    for key, messages in expected.items():
        for wanted, (topic, value) in zip(messages, happened.changes[key], strict=True):
            assert topic == wanted["topic"], (wanted, value)
            _assert_holds(wanted["value"], value)
            assert (
                (value["certificate"]["certificate_id"] is None) == (value["certificate"]["action"] == "none")
                if topic == "course-completion-changed"
                else True
            )
    letters = [message for message in scenario.sent if message["topic"] == "dead-letter"]
    assert [reason for reason, _ in sorted(happened.dead_letters)] == sorted(letter["reason"] for letter in letters)
    for letter in letters:
        assert any(
            reason == letter["reason"] and letter["says"] in explanation
            for reason, explanation in happened.dead_letters
        ), (letter, happened.dead_letters)
    assert set(happened.records) == set(scenario.records)
    for key, state in scenario.records.items():
        _assert_state(state, happened.records[key])


def _assert_state(wanted: Json, state: Json) -> None:
    certificate = state["certificate"]
    course = {name: value for name, value in state["course"].items() if (name, value) != ("expires_at", None)}
    shown = {**state, "course": course, "certificate": certificate and {"status": certificate["status"]}}
    assert shown == wanted


def _assert_holds(wanted: Mapping[str, Any], value: Mapping[str, Any]) -> None:
    for name, expected in wanted.items():
        if isinstance(expected, dict):
            _assert_holds(expected, value[name])
        else:
            assert value[name] == expected, (name, wanted, value)


def split_lines(lines: Iterable[Json]) -> Mapping[str, Happened]:
    """What `ratchet simulate` printed, by tenant, which is the scenario's name. Dead letters stand under ''."""
    changes: dict[str, dict[str, list[tuple[str, Json]]]] = defaultdict(lambda: defaultdict(list))
    records: dict[str, dict[str, Json]] = defaultdict(dict)
    dead: list[tuple[str, str]] = []
    for line in lines:
        if "record" in line:
            records[line["record"].split("/")[0]][line["record"]] = line["state"]
        elif line["topic"] == "dead-letter":
            dead.append((line["reason"], line["message"]))
        else:
            changes[line["key"].split("/")[0]][line["key"]].append((line["topic"], line["value"]))
    found = {name: Happened(changes[name], [], records[name]) for name in {*changes, *records}}
    return {**found, "": Happened({}, dead, {})}
