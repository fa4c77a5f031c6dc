"""Records that stand in the database before anything is measured, and the messages that are then about them."""

import random
from collections.abc import Iterator

from contracts.topics import ATTENDANCE_CHANGED
from rules.decide import decide
from rules.values import Record
from service.translate import HeardFact, course_timeline, read
from tests.benchmarks.workloads import Message, Workload, attendance, definitions

FIRST_NEW = 100_000
"""Numbers of the messages that are measured; those before are history."""


def make_record(facts: int) -> Record:
    """One that has been told so many facts."""
    timelines = {course.key: course_timeline(course) for course in definitions()}
    record = Record()
    for number in range(facts):
        heard = read(ATTENDANCE_CHANGED, attendance(0, number).value, None)
        assert isinstance(heard, HeardFact), heard
        record, _ = decide(record, heard.fact, timelines[heard.course_key], 0)
    return record


def new_messages(name: str, records: range, messages: int, time: int) -> Workload:
    """About these records, drawn at random; each `time` other messages, newer than those before."""

    def make() -> Iterator[Message]:
        chance = random.Random(time)
        for number in range(messages):
            yield attendance(chance.choice(records), FIRST_NEW + time * messages + number)

    return Workload(name, (ATTENDANCE_CHANGED.name,), make, in_one_order=False)
