"""What Kafka has handed over to a lane and what the lane has not yet taken: cut into batches from here."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from service.lanes.bounds import Bounds
from service.lanes.ports import Offsets, Received


class Batch(NamedTuple):
    """Messages from `start` (inclusive) to `end` (exclusive) of every topic, in order of arrival."""

    messages: tuple[Received, ...]
    start: Offsets
    end: Offsets


class Inbox:
    """Starts at the given offsets. `plan`: how far the first batch must reach, if an earlier owner has planned it."""

    def __init__(self, start: Offsets, plan: Offsets, bounds: Bounds) -> None:
        self._bounds = bounds
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
        """A batch waits, and none of what a plan asks for is still to come."""
        full = len(self) >= self._bounds.batch_messages or self._waiting_bytes >= self._bounds.batch_bytes
        return full and not self.awaited

    @property
    def awaited(self) -> list[str]:
        """Topics of which the plan asks for more than was handed over."""
        return [topic for topic, end in self._plan.items() if self._handed_over[topic] < end]

    def add(self, topic: str, messages: Iterable[Received]) -> None:
        """Take messages over; those that were handed over before are dropped."""
        waiting, handed_over = self._waiting[topic], self._handed_over[topic]
        for message in messages:
            if message.offset >= handed_over:
                waiting.append(message)
                self._waiting_bytes += message.size_bytes
                handed_over = message.offset + 1
        self._handed_over[topic] = handed_over

    def skip_to(self, topic: str, offset: int) -> None:
        """Nothing before this offset will come: it has been deleted from the topic."""
        self._handed_over[topic] = max(self._handed_over[topic], offset)

    @property
    def has_batch(self) -> bool:
        """All of the planned batch is here; or, without a plan, something is."""
        return not self.awaited and (self.is_planned or len(self) > 0)

    def next_batch(self) -> Batch:
        """The planned batch; after it, what waits, within the bounds."""
        assert self.has_batch, "asked for before it was there"
        batch = self._planned() if self._plan else self._cut()
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

    def _cut(self) -> Batch:
        """Over the topics in order of their timestamps, which is the order in which they were sent."""
        messages: list[Received] = []
        size_bytes = 0
        of_record: dict[bytes | None, int] = {}
        end = dict(self._start)
        bounds = self._bounds
        for topic, waiting, until in iter(self._earliest, None):
            while waiting and waiting[0].timestamp <= until:
                message = waiting[0]
                of_its_record = of_record.get(message.key, 0)
                if (
                    len(messages) == bounds.batch_messages
                    or size_bytes >= bounds.batch_bytes
                    or of_its_record == bounds.new_facts_per_record
                ):
                    return Batch(tuple(messages), self._start, end)
                of_record[message.key] = of_its_record + 1
                size_bytes += self._take(topic).size_bytes
                end[topic] = message.offset + 1
                messages.append(message)
        return Batch(tuple(messages), self._start, end)

    def _earliest(self) -> tuple[str, deque[Received], float] | None:
        """The topic with the earliest message, and until when it has the earliest."""
        heads = sorted((waiting[0].timestamp, topic) for topic, waiting in self._waiting.items() if waiting)
        if not heads:
            return None
        _, topic = heads[0]
        return topic, self._waiting[topic], heads[1][0] if len(heads) > 1 else math.inf

    def _take(self, topic: str) -> Received:
        message = self._waiting[topic].popleft()
        self._waiting_bytes -= message.size_bytes
        return message
