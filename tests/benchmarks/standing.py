"""Records that stand in the database before anything is measured, and the messages that are then about them."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from contracts.topics import ATTENDANCE_CHANGED
from rules.values import Record
from service.lanes.batch import NOT_ASKED, Clock, decide_record
from service.lanes.definitions import course_timeline
from service.lanes.ports import Page, Received, StoredRecord
from service.lanes.translate import HeardFact, read
from service.settings import Settings
from tests.benchmarks.workloads import Message, Workload, attendance, definitions, record_key

NOW = 1_800_000_000_000_000
TOLD_TOGETHER = 16
FIRST_NEW = 100_000
"""Numbers of the messages that are measured; those before are history."""


class Standing(NamedTuple):
    """A record that has been told many facts, and what of it has moved away."""

    stored: StoredRecord
    pages: list[Page]

    def under(self, key: str) -> "Standing":
        """The same of another learner."""
        return Standing(replace(self.stored, key=key), [replace(page, key=key) for page in self.pages])


def make_standing(facts: int) -> Standing:
    """As a worker would have stored it, a batch at a time."""
    timelines = {course.key: course_timeline(course) for course in definitions()}
    stored, pages = StoredRecord(record_key(0), 0, Record()), []
    for first in range(0, facts, TOLD_TOGETHER):
        heard = [_heard(number) for number in range(first, min(first + TOLD_TOGETHER, facts))]
        timeline = timelines[heard[0][1].course_key]
        decided = decide_record(stored, heard, timeline, Clock(NOW, NOW), {}, NOT_ASKED, Settings().facts_in_record)
        stored = replace(decided.stored, rev=stored.rev + 1, pending=())
        pages += [] if decided.page is None else [decided.page]
    return Standing(replace(stored, rev=0), pages)


def _heard(number: int) -> tuple[Received, HeardFact]:
    message = attendance(0, number)
    heard = read(ATTENDANCE_CHANGED, message.value, None)
    assert isinstance(heard, HeardFact), heard
    return Received(ATTENDANCE_CHANGED.name, 0, number, 0, message.key.encode(), message.value, ()), heard


def new_messages(name: str, records: range, messages: int, time: int) -> Workload:
    """About these records, drawn at random; each `time` other messages, newer than those before."""

    def make() -> Iterator[Message]:
        chance = random.Random(time)
        for number in range(messages):
            yield attendance(chance.choice(records), FIRST_NEW + time * messages + number)

    return Workload(name, (ATTENDANCE_CHANGED.name,), make, in_one_order=False)
