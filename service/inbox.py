"""What Kafka has handed over to a lane and what the lane has not yet taken: cut into batches from here."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from service.ports import Offsets, Received


class Limits(NamedTuple):
    """Bounds of a batch; each is a setting."""

    batch_messages: int = 1000
    batch_bytes: int = 4 * 1024 * 1024
    new_facts_per_record: int = 200


class Batch(NamedTuple):
    """Messages from `start` (inclusive) to `end` (exclusive) of every topic, in order of arrival."""

    messages: tuple[Received, ...]
    start: Offsets
    end: Offsets


class Inbox:
    """Starts at the given offsets. `plan`: how far the first batch must reach, if an earlier owner has planned it."""

    def __init__(self, start: Offsets, plan: Offsets, limits: Limits) -> None:
        self._limits = limits
        self._waiting: Mapping[str, deque[Received]] = {topic: deque() for topic in start}
        self._waiting_bytes = 0
        self._start = dict(start)
        self._handed_over = dict(start)
        self._plan = {topic: end for topic, end in plan.items() if end > start.get(topic, end)}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def is_planned(self) -> bool:
        """The next batch was planned by an earlier owner and must be exactly that."""
        return bool(self._plan)

    @property
    def is_full(self) -> bool:
        """Two batches wait, and none of what a plan asks for is still to come."""
        full = len(self) >= 2 * self._limits.batch_messages or self._waiting_bytes >= 2 * self._limits.batch_bytes
        return full and not self.awaited

    @property
    def awaited(self) -> list[str]:
        """Topics of which the plan asks for more than was handed over."""
        return [topic for topic, end in self._plan.items() if self._handed_over[topic] < end]

    def add(self, topic: str, messages: Iterable[Received]) -> None:
        """Take messages over; those that were handed over before are dropped."""
        waiting = self._waiting[topic]
        for message in messages:
            if message.offset >= self._handed_over[topic]:
                waiting.append(message)
                self._waiting_bytes += message.size_bytes
                self._handed_over[topic] = message.offset + 1

    def skip_to(self, topic: str, offset: int) -> None:
        """Nothing before this offset will come: it has been deleted from the topic."""
        self._handed_over[topic] = max(self._handed_over[topic], offset)

    def next_batch(self) -> Batch | None:
        """The planned batch once all of it is here; after it, what waits, within the limits. None: nothing yet."""
        if self.awaited:
            return None
        batch = self._planned() if self._plan else self._cut()
        if batch is not None:
            self._start = dict(batch.end)
            self._plan = {}
        return batch

    def _planned(self) -> Batch:
        messages: list[Received] = []
        for topic, end in self._plan.items():
            while self._waiting[topic] and self._waiting[topic][0].offset < end:
                messages.append(self._take(topic))
        messages.sort(key=lambda message: message.timestamp)
        return Batch(tuple(messages), self._start, {**self._start, **self._plan})

    def _cut(self) -> Batch | None:
        """Over the topics in order of their timestamps, which is the order in which they were sent."""
        messages: list[Received] = []
        size_bytes = 0
        of_record: Counter[bytes | None] = Counter()
        end = dict(self._start)
        while len(messages) < self._limits.batch_messages and size_bytes < self._limits.batch_bytes:
            topic = self._earliest()
            if topic is None:
                break
            key = self._waiting[topic][0].key
            if of_record[key] == self._limits.new_facts_per_record:
                break
            of_record[key] += 1
            message = self._take(topic)
            size_bytes += message.size_bytes
            end[topic] = message.offset + 1
            messages.append(message)
        return Batch(tuple(messages), self._start, end) if messages else None

    def _earliest(self) -> str | None:
        heads = [(waiting[0].timestamp, topic) for topic, waiting in self._waiting.items() if waiting]
        return min(heads)[1] if heads else None

    def _take(self, topic: str) -> Received:
        message = self._waiting[topic].popleft()
        self._waiting_bytes -= message.size_bytes
        return message
