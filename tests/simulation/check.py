"""What must hold after a run: nothing lost, nothing doubled, in order, every record what its facts make it."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from contracts.fields import course_key_of
from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from rules.decide import decide, redecide
from rules.values import Change, Record
from service.ports import StoredCourse, StoredRecord
from service.translate import stored_change, timeline_of

Json = dict[str, Any]


class Outcome(NamedTuple):
    """What a run left behind."""

    published: Mapping[str, list[list[tuple[bytes | None, Json]]]]
    """By topic: of each partition, key and value in order."""
    dead_letters: list[bytes | None]
    records: Mapping[str, StoredRecord]
    courses: Mapping[str, StoredCourse]


class Expected(NamedTuple):
    """What went in: the message ids of each record's facts, and the values that cannot be used."""

    facts: Mapping[str, set[str]]
    poison: Counter[bytes | None]


def check(outcome: Outcome, expected: Expected) -> None:
    """Raise AssertionError with what does not hold."""
    by_key: dict[str, list[Json]] = defaultdict(list)
    for topic in (STEP_COMPLETION_CHANGED.name, COURSE_COMPLETION_CHANGED.name):
        for partition in outcome.published[topic]:
            last: dict[bytes | None, int] = {}
            for key, value in partition:
                assert value["sequence"] > last.get(key, 0), f"out of order or doubled: {value}"
                last[key] = value["sequence"]
                by_key[(key or b"").decode()].append(value)
    for record_key, known in expected.facts.items():
        assert record_key in outcome.records, f"lost: the record {record_key}"
        record = outcome.records[record_key].record
        assert set(record.facts) == known, f"lost: facts of {record_key}: {known ^ set(record.facts)}"
        changes = _folded(record_key, record, outcome.courses)
        sequences = sorted(value["sequence"] for value in by_key[record_key])
        assert sequences == list(range(1, record.sequence + 1)), f"lost or doubled: {record_key} published {sequences}"
        published = {value["sequence"]: value for value in by_key[record_key]}
        for change in changes:
            assert published[change.sequence] == json.loads(stored_change(record_key, change, None).value), record_key
    assert set(outcome.records) == set(expected.facts)
    assert set(by_key) <= set(expected.facts)
    assert Counter(outcome.dead_letters) == expected.poison, "dead letters are exactly the poison"


def _folded(key: str, record: Record, courses: Mapping[str, StoredCourse]) -> list[Change]:
    """Fold the facts one by one, in the order in which they were decided; the record must be the same."""
    course = courses.get(course_key_of(key))
    versions = () if course is None else course.versions
    folded = Record()
    announced: list[Change] = []
    for decision in record.decisions:
        known = timeline_of(tuple(v for v in versions if v.version <= decision.definition_version))
        fact = record.facts.get(decision.message_id)
        if fact is None:
            folded, changes = redecide(folded, known, decision.decided_at)
        else:
            folded, changes = decide(folded, fact, known, decision.decided_at)
        announced += changes
    assert replace(folded, decisions=()) == replace(record, decisions=()), f"{key} is not what its facts make it"
    if versions and record.in_progress:
        assert record.definition_version == versions[-1].version, f"{key} was not decided under the newest definition"
    return announced
