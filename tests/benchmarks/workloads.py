"""What the LMS sends in the benchmarks. The same for the same arguments."""

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from contracts.topics import ATTENDANCE_CHANGED, COURSE_DEFINED, REASSIGNED
from rules.decide import decide
from rules.values import Record
from service.lanes.definitions import course_timeline
from service.lanes.ports import StoredCourse
from service.lanes.translate import HeardDefinition, HeardFact, read
from tests.benchmarks.plain import SCHEDULED_MINUTES, Document, decode, new_record, update

TENANT = "acme"
COURSES = 20
STEPS = {"e0": 80, "e1": 100}
"""Events of each course, and the percent that completes them."""
MINUTES = (0, 13, 26, 60, 60, 4, 17, 60, 43, 56)
"""Eight of ten change a percent."""
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
LAST_SECONDS = 1_000_000
_json = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """As it is sent; the topic without prefix."""

    topic: str
    key: str
    value: bytes


class Workload(NamedTuple):
    """Messages in the order in which they are sent."""

    name: str
    topics: tuple[str, ...]
    make: Callable[[], Iterator[Message]]
    in_one_order: bool = True
    """Whether the messages of a record can arrive in one order only, which tells how many changes there must be."""


def record_key(number: int) -> str:
    """The key of a record, by its number."""
    return f"{TENANT}/l-{number}/c-{number % COURSES}"


@lru_cache(maxsize=100_000)
def _at(seconds: int) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def attendance(record: int, number: int, minutes: int | None = None, seconds: int | None = None) -> Message:
    """The attendance of this number of a record; by default it happened after those with lower numbers."""
    value = {
        "message_id": f"m-{record}-{number}",
        "tenant_id": TENANT,
        "learner_id": f"l-{record}",
        "course_id": f"c-{record % COURSES}",
        "changed_at": _at(number if seconds is None else seconds),
        "event_id": f"e{number % len(STEPS)}",
        "attended_minutes": MINUTES[number % len(MINUTES)] if minutes is None else minutes,
        "source": "mass_upload",
        "upload_id": "upload-1",
    }
    return Message(ATTENDANCE_CHANGED.name, record_key(record), _json(value))


def reassignment(record: int, number: int) -> Message:
    """Likewise, a reassignment."""
    value = {
        "message_id": f"r-{record}-{number}",
        "tenant_id": TENANT,
        "learner_id": f"l-{record}",
        "course_id": f"c-{record % COURSES}",
        "changed_at": _at(number),
        "reason": "Yearly refresher",
    }
    return Message(REASSIGNED.name, record_key(record), _json(value))


def _in_any_order(messages: int, records: int, hot_percent: int = 0) -> Iterator[tuple[int, int]]:
    """Records drawn at random, each with the number of the message about it; record 0 may be hot."""
    chance = random.Random(1)
    numbers = [0] * records
    for _ in range(messages):
        record = 0 if hot_percent and chance.randrange(100) < hot_percent else chance.randrange(records)
        yield record, numbers[record]
        numbers[record] += 1


def mass_upload(messages: int, records: int) -> Workload:
    """Every record is spoken of about equally often."""

    def make() -> Iterator[Message]:
        return (attendance(*at) for at in _in_any_order(messages, records))

    return Workload("mass upload", (ATTENDANCE_CHANGED.name,), make)


def hot_record(messages: int, records: int) -> Workload:
    """One record gets a fifth of all messages."""

    def make() -> Iterator[Message]:
        return (attendance(*at) for at in _in_any_order(messages, records, hot_percent=20))

    return Workload("hot record", (ATTENDANCE_CHANGED.name,), make)


def redelivery(messages: int, records: int) -> Workload:
    """Half as many, and all of them again."""

    def make() -> Iterator[Message]:
        for _ in range(2):
            yield from (attendance(*at) for at in _in_any_order(messages // 2, records))

    return Workload("redelivery", (ATTENDANCE_CHANGED.name,), make)


def all_late(messages: int, records: int) -> Workload:
    """Each message of a record happened before all that came before it."""

    def make() -> Iterator[Message]:
        for record, number in _in_any_order(messages, records):
            yield attendance(record, number, seconds=LAST_SECONDS - number)

    return Workload("all late", (ATTENDANCE_CHANGED.name,), make)


def reassignment_storm(messages: int, records: int) -> Workload:
    """After every two attendances of a record it is reassigned."""

    def make() -> Iterator[Message]:
        for at in _in_any_order(messages, records):
            yield reassignment(*at) if at[1] % 3 == 2 else attendance(*at)

    return Workload("reassignment storm", (ATTENDANCE_CHANGED.name, REASSIGNED.name), make, in_one_order=False)


def definitions() -> list[StoredCourse]:
    """The courses, as the store has them before anything is measured."""
    return [_course(number) for number in range(COURSES)]


def _course(number: int) -> StoredCourse:
    value: dict[str, Any] = {
        "message_id": f"d-{number}",
        "tenant_id": TENANT,
        "course_id": f"c-{number}",
        "changed_at": _at(0),
        "version": 1,
        "steps": [
            {
                "step_id": step_id,
                "kind": "event",
                "scheduled_minutes": SCHEDULED_MINUTES,
                "threshold_percent": percent,
            }
            for step_id, percent in STEPS.items()
        ],
    }
    heard = read(COURSE_DEFINED, _json(value), None)
    assert isinstance(heard, HeardDefinition), heard
    return StoredCourse(heard.key, 0, 0, (heard.definition,))


def decided_changes(messages: Iterable[Message]) -> int:
    """How many changes Ratchet must publish when they arrive in this order."""
    timelines = {course.key: course_timeline(course) for course in definitions()}
    records: dict[str, Record] = {}
    count = 0
    for message in messages:
        heard = read(ATTENDANCE_CHANGED, message.value, None)
        assert isinstance(heard, HeardFact), heard
        record = records.get(message.key) or Record()
        records[message.key], changes = decide(record, heard.fact, timelines[heard.course_key], 0)
        count += len(changes)
    return count


def plain_changes(messages: Iterable[Message]) -> int:
    """How many changes a comparator must publish, likewise."""
    records: dict[str, Document] = {}
    return sum(
        update(records.setdefault(message.key, new_record(message.key)), decode(message.value)) is not None
        for message in messages
    )
