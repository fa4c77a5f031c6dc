"""What is sent while things go wrong: facts, some late, doubled or misrouted, poison, new definitions."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from service.kafka.partitioner import partition_of
from tests.promise import Expected

TENANT = "acme"
COURSES = 20
VERSIONS = 3
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
Json = dict[str, Any]


class Message(NamedTuple):
    """As it is sent; without a partition it goes where its key belongs."""

    short: str
    key: bytes
    value: bytes
    partition: int | None = None


class Workload(NamedTuple):
    """Messages in the order in which they are sent, and what must come of them."""

    messages: Sequence[Message]
    expected: Expected


class _Maker:
    """5 % late, 5 % doubled, 5 % misrouted, 1 % poison, 1 % reassignments, 1 % equivalencies."""

    def __init__(self, seed: int, inputs: int, records: int, partitions: int) -> None:
        self._chance = random.Random(seed)
        self._inputs = inputs
        self._partitions = partitions
        self._keys = [f"{TENANT}/learner-{number}/course-{number % COURSES}" for number in range(records)]
        self._facts: dict[str, set[str]] = defaultdict(set)
        self._poison: Counter[bytes | None] = Counter()
        self.messages: list[Message] = []

    def make(self) -> Workload:
        """Definitions first, their successors in between."""
        for course in range(COURSES):
            self._define(course, 1)
        changes = [(course, version) for version in range(2, VERSIONS + 1) for course in range(COURSES)]
        every = self._inputs // (len(changes) + 1)
        while len(self.messages) < self._inputs:
            if changes and len(self.messages) % every == 0:
                self._define(*changes.pop(0))
            else:
                self._say_something()
        return Workload(self.messages, Expected(self._facts, self._poison))

    def _say_something(self) -> None:
        kind = self._chance.random()
        if kind < 0.01:
            self._send_poison()
        elif kind < 0.06 and len(self.messages) > 2 * COURSES:
            again = self._chance.choice(self.messages)
            self.messages.append(again if again.value not in self._poison else self._fact())
        else:
            self.messages.append(self._fact())

    def _fact(self) -> Message:
        key = self._chance.choice(self._keys)
        _, learner_id, course_id = key.split("/")
        number = len(self.messages)
        late_seconds = self._chance.randrange(1, number + 2) if self._chance.random() < 0.05 else 0
        value = {
            "message_id": f"m-{number}",
            "tenant_id": TENANT,
            "learner_id": learner_id,
            "course_id": course_id,
            "changed_at": _at(number - late_seconds),
        }
        self._facts[key].add(value["message_id"])
        kind = self._chance.random()
        short = "reassigned" if kind < 0.01 else "equivalency-granted" if kind < 0.02 else "attendance-changed"
        attendance: Json = {
            "event_id": self._chance.choice(("e0", "e1")),
            "attended_minutes": self._chance.choice((0, 20, 30, 60)),
        }
        body = json.dumps(value | (attendance if short == "attendance-changed" else {})).encode()
        return Message(short, key.encode(), body, self._astray(key) if self._chance.random() < 0.05 else None)

    def _astray(self, key: str) -> int:
        return (partition_of(key.encode(), self._partitions) + 1) % self._partitions

    def _send_poison(self) -> None:
        number = len(self.messages)
        value = self._chance.choice(
            (
                f"poison {number}".encode(),
                b"\xff\xfe" + str(number).encode(),
                json.dumps({"message_id": f"m-{number}", "attended_minutes": -1}).encode(),
                json.dumps([number]).encode(),
            )
        )
        self._poison[value] += 1
        self.messages.append(Message("attendance-changed", self._chance.choice(self._keys).encode(), value))

    def _define(self, course: int, version: int) -> None:
        value = {
            "message_id": f"d-{course}-{version}",
            "tenant_id": TENANT,
            "course_id": f"course-{course}",
            "changed_at": _at(len(self.messages) if version > 1 else 0),
            "version": version,
            "steps": [
                {"step_id": f"e{number}", "kind": "event", "scheduled_minutes": self._chance.choice((30, 60))}
                for number in range(self._chance.choice((1, 2)))
            ],
        }
        self.messages.append(
            Message("course-defined", f"{TENANT}/course-{course}".encode(), json.dumps(value).encode())
        )


def _at(seconds: int) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def make_workload(seed: int, inputs: int, records: int, partitions: int) -> Workload:
    """The same for the same arguments."""
    return _Maker(seed, inputs, records, partitions).make()
