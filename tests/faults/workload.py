"""What is sent while things go wrong: facts, some late, doubled or misrouted, poison, new definitions."""

import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
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


class Workload:
    """Messages without end, made as they are taken; the same for the same arguments.

    5 % late, 5 % doubled, 5 % misrouted, 1 % poison; 1 % each of reassignments, of which half keep the steps, of
    withdrawals of those, of equivalencies, of which half are of a step, and of granted completions. Definitions come
    first; their successors every `redefine_every` messages, until each course has had its VERSIONS.
    """

    def __init__(self, seed: int, records: int, partitions: int, redefine_every: int, tenant: str = TENANT) -> None:
        self._chance = random.Random(seed)
        self._partitions = partitions
        self._redefine_every = redefine_every
        self._tenant = tenant
        self._keys = [f"{tenant}/learner-{number}/course-{number % COURSES}" for number in range(records)]
        self._facts: dict[str, set[str]] = defaultdict(set)
        self._reassigned: dict[str, list[str]] = defaultdict(list)
        self._poison: Counter[bytes | None] = Counter()
        self._sent: Counter[bytes] = Counter()
        self._messages: list[Message] = []
        self._first = deque((course, 1) for course in range(COURSES))
        self._changes = deque((course, version) for version in range(2, VERSIONS + 1) for course in range(COURSES))

    @property
    def count(self) -> int:
        """Messages made so far."""
        return len(self._messages)

    @property
    def expected(self) -> Expected:
        """What must come of all that was taken and is not lost."""
        return Expected({key: known for key, known in self._facts.items() if known}, self._poison)

    def take(self, count: int) -> list[Message]:
        """The next messages."""
        return [self._next() for _ in range(count)]

    def facts(self, count: int, changed_at: datetime | None = None) -> list[Message]:
        """As many facts out of turn, for somebody else to send; by default they happened when the others do."""
        return [self._note(self._fact(changed_at)) for _ in range(count)]

    def lose(self, values: Iterable[bytes | None]) -> None:
        """These were sent, and by declaration nothing comes of them, unless the same was sent once more."""
        for value in values:
            assert value is not None and self._sent[value] > 0, "only what was sent can be lost"
            self._sent[value] -= 1
            if self._poison[value]:
                self._poison[value] -= 1
            elif not self._sent[value]:
                fact = json.loads(value)
                self._facts[_key_of(fact)].discard(fact["message_id"])

    def refuse(self, values: Iterable[bytes | None]) -> None:
        """Of these facts, each as often as it stands here, a copy is a dead letter by declaration."""
        for value in values:
            assert value is not None and self._sent[value] > 0, "only what was sent can be refused"
            self._sent[value] -= 1
            self._poison[value] += 1
            if not self._sent[value]:
                fact = json.loads(value)
                self._facts[_key_of(fact)].discard(fact["message_id"])

    def expect_letter(self, value: bytes | None) -> None:
        """A dead letter with this value belongs to what must come."""
        self._poison[value] += 1

    def _next(self) -> Message:
        if self._first:
            return self._note(self._definition(*self._first.popleft()))
        if self._changes and len(self._messages) % self._redefine_every == 0:
            return self._note(self._definition(*self._changes.popleft()))
        kind = self._chance.random()
        if kind < 0.01:
            return self._note(self._unusable())
        if kind < 0.06 and len(self._messages) > 2 * COURSES:
            again = self._chance.choice(self._messages)
            if not self._poison[again.value]:
                return self._note(again)
        return self._note(self._fact())

    def _note(self, message: Message) -> Message:
        self._messages.append(message)
        self._sent[message.value] += 1
        if message.short != "course-defined" and not self._poison[message.value]:
            fact = json.loads(message.value)
            self._facts[_key_of(fact)].add(fact["message_id"])
        return message

    def _fact(self, changed_at: datetime | None = None) -> Message:
        key = self._chance.choice(self._keys)
        _, learner_id, course_id = key.split("/")
        number = len(self._messages)
        late_seconds = self._chance.randrange(1, number + 2) if self._chance.random() < 0.05 else 0
        value = {
            "message_id": f"m-{number}",
            "tenant_id": self._tenant,
            "learner_id": learner_id,
            "course_id": course_id,
            "changed_at": _at(number - late_seconds) if changed_at is None else changed_at.isoformat(),
        }
        short, says = self._says(key, f"m-{number}")
        body = json.dumps(value | says).encode()
        return Message(short, key.encode(), body, self._astray(key) if self._chance.random() < 0.05 else None)

    def _says(self, key: str, message_id: str) -> tuple[str, Json]:
        """The topic, and what a message of it says besides what all do."""
        kind = self._chance.random()
        if kind < 0.01:
            self._reassigned[key].append(message_id)
            return "reassigned", {"progress": self._chance.choice(("reset", "keep"))}
        if kind < 0.02:
            mistaken = self._chance.choice((*self._reassigned[key], "m-unknown"))
            return "reassignment-withdrawn", {"reassignment_message_id": mistaken, "actor": "u-7", "reason": "mistake"}
        if kind < 0.03:
            return "equivalency-granted", self._chance.choice(({}, {"step_id": "e0"}))
        if kind < 0.04:
            return "completion-granted", {"source": self._chance.choice(("manual", "import"))}
        says: Json = {"event_id": self._chance.choice(("e0", "e1"))}
        if kind < 0.06:
            return "attendance-changed", says | {"excused": True}
        return "attendance-changed", says | {"attended_minutes": self._chance.choice((0, 20, 30, 60))}

    def _astray(self, key: str) -> int:
        return (partition_of(key.encode(), self._partitions) + 1) % self._partitions

    def _unusable(self) -> Message:
        number = len(self._messages)
        value = self._chance.choice(
            (
                f"poison {number} of {self._tenant}".encode(),
                b"\xff\xfe" + f"{number} of {self._tenant}".encode(),
                json.dumps({"message_id": f"m-{number}", "tenant_id": self._tenant, "attended_minutes": -1}).encode(),
                json.dumps([number, self._tenant]).encode(),
                json.dumps(self._misunderstood(number)).encode(),
            )
        )
        self.expect_letter(value)
        return Message("attendance-changed", self._chance.choice(self._keys).encode(), value)

    def _misunderstood(self, number: int) -> Json:
        """Attendance with a field of another topic."""
        about = {
            "tenant_id": self._tenant,
            "learner_id": "learner-0",
            "course_id": "course-0",
            "changed_at": _at(number),
        }
        return {"message_id": f"m-{number}", **about, "event_id": "e0", "attended": True, "progress_percent": 7}

    def _definition(self, course: int, version: int) -> Message:
        value = {
            "message_id": f"d-{course}-{version}",
            "tenant_id": self._tenant,
            "course_id": f"course-{course}",
            "changed_at": _at(len(self._messages) if version > 1 else 0),
            "version": version,
            "awards_certificate": self._chance.random() < 0.7,
            "certificate_after_equivalency": self._chance.random() < 0.5,
            "valid_for": "P1Y",
            "steps": [
                {"step_id": f"e{number}", "kind": "event", "scheduled_minutes": self._chance.choice((30, 60))}
                for number in range(self._chance.choice((1, 2)))
            ],
        }
        return Message("course-defined", f"{self._tenant}/course-{course}".encode(), json.dumps(value).encode())


def _key_of(fact: Json) -> str:
    return f"{fact['tenant_id']}/{fact['learner_id']}/{fact['course_id']}"


def _at(seconds: int) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def make_workload(seed: int, inputs: int, records: int, partitions: int) -> Workload:
    """One that is to be taken to so many inputs: every course changes on the way."""
    return Workload(seed, records, partitions, inputs // ((VERSIONS - 1) * COURSES + 1))
