"""The promise, as a check of what a run left behind. The same for the simulation and for real servers.

Nothing lost, nothing doubled, changes in order, every record what its facts make it, dead letters exactly what cannot
be used.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

from msgspec.structs import replace

from contracts.fields import course_key_of
from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from rules.decide import decide, redecide
from rules.values import Change, Record
from service.lanes.definitions import course_timeline, timeline_of
from service.lanes.outgoing import outbound, state_of
from service.lanes.ports import StoredCourse, StoredRecord

Json = dict[str, Any]
NEVER_FALL = "attempt", "sequence", "definition_version"
Published = Mapping[str, list[list[tuple[bytes | None, Json]]]]


class Outcome(NamedTuple):
    """What a run left behind."""

    published: Published
    """By topic: of each partition, key and value in order."""
    states: Iterable[tuple[str, Json | None]]
    """Key and value of all states, those of a key in order."""
    dead_letters: list[bytes | None]
    records: Mapping[str, StoredRecord]
    courses: Mapping[str, StoredCourse]


class Expected(NamedTuple):
    """What went in: the message ids of each record's facts, and the values that cannot be used."""

    facts: Mapping[str, set[str]]
    poison: Counter[bytes | None]
    erased: frozenset[str] = frozenset()
    """Records of erased learners: none of them is there, whatever was said and announced before."""
    deleted: frozenset[bytes] = frozenset()
    """Values of messages about records that were deleted, perhaps before they were read.

    Each may have counted, or not, and where a worker died in between, what followed from it may not have gone out.
    """

    @property
    def facts_that_may_be(self) -> set[str]:
        """Ids of the messages that may have counted, or not."""
        return {json.loads(value)["message_id"] for value in self.deleted if value.startswith(b"{")}


class Findings(NamedTuple):
    """What does not hold, each in words."""

    lost: list[str]
    doubled: list[str]
    out_of_order: list[str]
    wrong_records: list[str]
    wrong_dead_letters: list[str]

    @property
    def all(self) -> list[str]:
        """Whatever was found."""
        return [finding for findings in self for finding in findings]


def check(outcome: Outcome, expected: Expected) -> None:
    """Raise AssertionError with what does not hold."""
    findings = examine(outcome, expected)
    assert not findings.all, findings.all


def forgive(outcome: Outcome) -> tuple[Outcome, int]:
    """What is left without all that came again after the database had gone back in time, and how much that was.

    Of each record and sequence the newest decision counts; a sequence that the record has not reached again is history.
    """
    newest: dict[tuple[str, int], tuple[str, str]] = {}
    for partitions in outcome.published.values():
        for key, value in chain.from_iterable(partitions):
            at = ((key or b"").decode(), value["sequence"])
            newest[at] = max(newest.get(at, ("", "")), (value["decided_at"], value["message_id"]))
    last = dict(outcome.states).items()
    left: dict[str, list[list[tuple[bytes | None, Json]]]] = {}
    for topic, partitions in outcome.published.items():
        left[topic] = [_left(partition, newest, outcome.records) for partition in partitions]
    dead = list(dict.fromkeys(outcome.dead_letters))
    again = _count(outcome.published) - _count(left) + len(outcome.dead_letters) - len(dead)
    return outcome._replace(published=left, states=last, dead_letters=dead), again


def _count(published: Published) -> int:
    return sum(len(partition) for partitions in published.values() for partition in partitions)


def _left(
    partition: list[tuple[bytes | None, Json]],
    newest: Mapping[tuple[str, int], tuple[str, str]],
    records: Mapping[str, StoredRecord],
) -> list[tuple[bytes | None, Json]]:
    """Each message's last appearance."""
    left: dict[str, tuple[bytes | None, Json]] = {}
    for raw_key, value in partition:
        key = (raw_key or b"").decode()
        reached = value["sequence"] <= records[key].record.sequence
        if reached and newest[key, value["sequence"]] == (value["decided_at"], value["message_id"]):
            left.pop(value["message_id"], None)
            left[value["message_id"]] = (raw_key, value)
    return list(left.values())


def examine(outcome: Outcome, expected: Expected) -> Findings:
    """Compare what went out and what is stored with what went in."""
    findings = Findings([], [], [], [], [])
    by_key = _by_key(outcome.published, findings)
    for key in set(outcome.records) - set(expected.facts):
        findings.wrong_records.append(f"{key}: nobody sent anything about it")
    for key in set(by_key) - set(expected.facts):
        findings.wrong_records.append(f"{key}: published, but nobody sent anything about it")
    findings.wrong_records.extend(f"{key}: erased, and there again" for key in expected.erased & set(outcome.records))
    perhaps = expected.facts_that_may_be
    for key, known in expected.facts.items():
        if key in expected.erased or (key not in outcome.records and known <= perhaps):
            continue
        if key not in outcome.records:
            findings.lost.append(f"{key}: the whole record")
            continue
        record = outcome.records[key].record
        findings.lost.extend(f"{key}: fact {message_id}" for message_id in sorted(known - set(record.facts) - perhaps))
        findings.wrong_records.extend(f"{key}: fact {message_id}" for message_id in sorted(set(record.facts) - known))
        _examine_changes(key, by_key.get(key, {}), record, perhaps, findings)
        _examine_record(key, record, outcome.courses, by_key.get(key, {}), findings)
    _examine_states(outcome, expected, findings)
    dead = Counter(outcome.dead_letters)
    findings.lost.extend(
        f"dead letter {value!r}" for value in (expected.poison - dead - Counter(expected.deleted)).elements()
    )
    findings.wrong_dead_letters.extend(f"{value!r}" for value in (dead - expected.poison).elements())
    return findings


def _by_key(published: Published, findings: Findings) -> dict[str, dict[int, Json]]:
    """Of each record, the changes by their sequence."""
    by_key: dict[str, dict[int, Json]] = defaultdict(dict)
    for topic in (STEP_COMPLETION_CHANGED.name, COURSE_COMPLETION_CHANGED.name):
        for partition in published[topic]:
            newest: dict[str, int] = {}
            for raw_key, value in partition:
                key, sequence = (raw_key or b"").decode(), value["sequence"]
                if sequence in by_key[key]:
                    findings.doubled.append(f"{key}: {value}")
                elif sequence < newest.get(key, 0):
                    findings.out_of_order.append(f"{key}: {value} after {newest[key]}")
                by_key[key][sequence] = value
                newest[key] = max(sequence, newest.get(key, 0))
    return by_key


def _examine_changes(
    key: str, by_sequence: Mapping[int, Json], record: Record, perhaps: set[str], findings: Findings
) -> None:
    numbered = set(range(1, record.sequence + 1))
    unsure = {one.sequence for said in record.decisions if said.message_id in perhaps for one in said.changes}
    findings.lost.extend(f"{key}: change {sequence}" for sequence in sorted(numbered - set(by_sequence) - unsure))
    findings.wrong_records.extend(f"{key}: change {sequence}" for sequence in sorted(set(by_sequence) - numbered))


def _examine_record(
    key: str,
    record: Record,
    courses: Mapping[str, StoredCourse],
    by_sequence: Mapping[int, Json],
    findings: Findings,
) -> None:
    course = courses.get(course_key_of(key))
    versions = () if course is None else course.versions
    folded, changes = _folded(record, versions)
    if replace(folded, decisions=()) != replace(record, decisions=()):
        findings.wrong_records.append(f"{key}: is not what its facts make it")
    if versions and record.definition_version != versions[-1].version:
        findings.wrong_records.append(f"{key}: was not decided under the newest definition")
    for change in changes:
        sent = by_sequence.get(change.sequence)
        if sent is not None and sent != json.loads(outbound(key, change, None).value or b""):
            findings.wrong_records.append(f"{key}: announced {sent}")


def _examine_states(outcome: Outcome, expected: Expected, findings: Findings) -> None:
    """The last of each record is where it stands, and none goes back behind one before it; of the erased none is left.

    What followed from a message that was deleted may stand in a record and not have been told.
    """
    last: dict[str, Json | None] = {}
    for key, state in outcome.states:
        before = last.get(key)
        if state is not None and before is not None and any(state[name] < before[name] for name in NEVER_FALL):
            findings.out_of_order.append(f"{key}: the state {state} after {before}")
        last[key] = state
    findings.wrong_records.extend(f"{key}: erased, and its state is there" for key in expected.erased if last.get(key))
    for key, stored in outcome.records.items():
        course = outcome.courses.get(course_key_of(key))
        stands = json.loads(state_of(stored, course_timeline(course)).value or b"")
        told = {**(last.get(key) or {}), "updated_at": stands["updated_at"]}  # a fact may change nothing
        if told != stands and not expected.facts_that_may_be & set(stored.record.facts):
            findings.lost.append(f"{key}: the state {stands}, told is {told}")


def _folded(record: Record, versions: Iterable[Any]) -> tuple[Record, list[Change]]:
    """Fold the facts one by one, in the order in which they were decided."""
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
    return folded, announced
