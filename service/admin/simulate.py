"""Decides messages from a file with the real rules and no servers: what would go out, in order of arrival."""

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from contracts.fields import course_key_of, format_timestamp, parse_timestamp
from contracts.outbound import certificate_id
from contracts.topics import COURSE_DEFINED, FACTS, TOPICS, Topic
from rules.values import Instant, Record
from service.lanes.batch import Clock, Letter, accept_definitions, decide_record
from service.lanes.definitions import course_timeline
from service.lanes.outgoing import outbound
from service.lanes.ports import Pending, Received, StoredCourse, StoredRecord
from service.lanes.translate import HeardDefinition, HeardFact, HeardRequest, Unusable, read

READABLE: dict[str, Topic] = {topic.short: topic for topic in (COURSE_DEFINED, *FACTS)}
SHORT = {topic.name: topic.short for topic in TOPICS}
Line = dict[str, Any]


class Simulation:
    """Records and courses in memory; `say` takes one message and gives what goes out."""

    def __init__(self, future_tolerance_seconds: int = 300) -> None:
        self._records: dict[str, StoredRecord] = {}
        self._courses: dict[str, StoredCourse] = {}
        self._tolerance_seconds = future_tolerance_seconds
        self._now: Instant | None = None

    def lines(self, lines: Iterable[bytes]) -> Iterator[Line]:
        """What goes out for each line of JSON. A line that cannot be used is a dead letter with its number."""
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield from self._line(number, line)

    def records(self) -> Iterator[Line]:
        """One line for each record, as it stands."""
        for key, stored in self._records.items():
            yield {"record": key, "state": state(key, stored.record)}

    def _line(self, number: int, line: bytes) -> Iterator[Line]:
        said = _parse(line)
        if isinstance(said, Unusable):
            yield _dead(number, said)
            return
        topic, value, now = said
        self._now = now
        received = Received(topic.name, 0, number, 0, None, value, ())
        item = read(topic, value, None)
        match item:
            case Unusable():
                yield _dead(number, item)
            case HeardDefinition():
                yield from self._define(received, item)
            case _:
                yield from self._decide(received, item)

    def _clock(self) -> Clock:
        now = int(time.time() * 1_000_000) if self._now is None else self._now
        return Clock.at(now, self._tolerance_seconds)

    def _define(self, received: Received, item: HeardDefinition) -> Iterator[Line]:
        before = self._courses.get(item.key) or StoredCourse(item.key, 0, 0)
        course, letters = accept_definitions(before, [(received, item)], self._clock())
        yield from _dead_letters(letters)
        if course is before:
            return
        self._courses[item.key] = course
        for key in list(self._records):
            if course_key_of(key) == item.key:
                yield from self._decide(received, HeardRequest(key, item.key, None))

    def _decide(self, received: Received, item: HeardFact | HeardRequest) -> Iterator[Line]:
        stored = self._records.get(item.key) or StoredRecord(item.key, 0, Record())
        timeline = course_timeline(self._courses.get(item.course_key))
        decided, _, letters, _ = decide_record(stored, [(received, item)], timeline, self._clock(), {})
        yield from _dead_letters(letters)
        if decided.record.facts:
            yield from (_change(item.key, pending) for pending in decided.pending)
            self._records[item.key] = StoredRecord(item.key, 0, decided.record)


def _parse(line: bytes) -> tuple[Topic, bytes, Instant | None] | Unusable:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unusable("invalid_json", f"line: {error}")
    if not isinstance(said, dict):
        return Unusable("invalid_message", "line: must be a JSON object with topic and value")
    name = said.get("topic")
    topic = READABLE.get(name) if isinstance(name, str) else None
    if topic is None:
        return Unusable("invalid_message", f"topic: must be one of {', '.join(READABLE)}")
    if "value" not in said:
        return Unusable("invalid_message", "value: is missing")
    now = None
    if said.get("now") is not None:
        try:
            now = parse_timestamp(said["now"])
        except ValueError as error:
            return Unusable("invalid_message", f"now: {error}")
    assert now is None or isinstance(now, int), "a text parses to an instant"
    return topic, json.dumps(said["value"]).encode(), now


def _dead_letters(letters: Iterable[Letter]) -> Iterator[Line]:
    return (_dead(received.offset, unusable) for received, unusable in letters)


def _dead(number: int, unusable: Unusable) -> Line:
    return {"topic": "dead-letter", "reason": unusable.reason, "message": unusable.explanation, "line": number}


def _change(key: str, pending: Pending) -> Line:
    out = outbound(key, pending.change, pending.traceparent)
    return {"topic": SHORT[out.topic], "key": key, "value": json.loads(out.value or b"")}


def state(key: str, record: Record) -> Line:
    """A record as people and programs read it."""
    course, certificate = record.standing.course, record.standing.certificate
    return {
        "attempt": record.attempt,
        "steps": {
            step.step_id: {"percent": step.percent, "complete": step.complete}
            | ({"unresolved": True} if step.unresolved else {})
            for step in record.standing.steps.values()
            if step.kind is not None
        },
        "course": {
            "status": course.status,
            "completed_via": course.completed_via,
            "completed_at": None if course.completed_at is None else format_timestamp(course.completed_at),
            "expires_at": None if course.expires_at is None else format_timestamp(course.expires_at),
            "evidence": course.evidence,
        },
        "certificate": None
        if certificate is None
        else {"certificate_id": certificate_id(key, certificate.attempt), "status": certificate.status},
    }
