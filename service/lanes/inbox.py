"""What Kafka has handed over to a lane and what the lane has not yet taken: cut into batches from here.

No offset is passed that was not handed over. Every hand-over says where it starts and ends; it is taken only if it
starts where the last one ended (`add`), whatever may have moved the consumer meanwhile: a failed poll, a client that
drops what it had fetched, retention. Otherwise the lane takes over again from the committed offsets. So the end of a
batch, which is what gets committed, is the end of an unbroken chain of hand-overs. Offsets between two messages of one
hand-over hold nothing that can be read, by the word of the broker: ends of transactions, what was aborted, compacted.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from service.errors import WaitAndRetry
from service.lanes.bounds import Bounds
from service.lanes.ports import Handed, Offsets, Received


class Batch(NamedTuple):
    """Messages from `start` (inclusive) to `end` (exclusive) of every topic, in order of arrival."""

    messages: Sequence[Received]
    start: Offsets
    end: Offsets


class Inbox:
    """Starts at the given offsets."""

    def __init__(self, start: Offsets, bounds: Bounds) -> None:
        self._bounds = bounds
        self._waiting: dict[str, deque[Received]] = {topic: deque() for topic in start}
        self._waiting_bytes = 0
        self._start = dict(start)
        self._handed_over = dict(start)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def is_full(self) -> bool:
        """A batch waits."""
        return len(self) >= self._bounds.batch_messages or self._waiting_bytes >= self._bounds.batch_bytes

    @property
    def has_moved(self) -> bool:
        """Nothing waits, but there were offsets that hold nothing."""
        return not len(self) and self._start != self._handed_over

    def add(self, handed: Handed) -> None:
        """Take a hand-over. Raises WaitAndRetry where it does not begin where the last one has ended."""
        for topic, start in handed.start.items():
            if start != self._handed_over[topic]:
                known = self._handed_over[topic]
                raise WaitAndRetry(f"{topic} is handed over from offset {start}, not from {known}; read once more")
            self._take_over(topic, start, handed.end[topic], handed.messages.get(topic, ()))

    def _take_over(self, topic: str, start: int, end: int, messages: Sequence[Received]) -> None:
        last = start - 1
        for message in messages:
            if not last < message.offset < end:
                raise WaitAndRetry(f"Kafka hands over {topic}-{message.offset} between {last} and {end}, out of order")
            last = message.offset
            self._waiting_bytes += message.size_bytes
        self._waiting[topic].extend(messages)
        self._handed_over[topic] = end

    def pass_to(self, beginning: Offsets) -> None:
        """What was before these offsets has been deleted, read or not."""
        for topic, offset in beginning.items():
            self._handed_over[topic] = max(self._handed_over[topic], offset)

    @property
    def handed_over(self) -> Offsets:
        """Up to where."""
        return self._handed_over

    def next_batch(self) -> Batch:
        """What waits, within the bounds."""
        return self._batch(self._cut())

    def has_come_to(self, end: Offsets) -> bool:
        """Whether everything before these offsets was handed over."""
        return all(self._handed_over[topic] >= offset for topic, offset in end.items())

    def take_to(self, end: Offsets) -> Batch:
        """What waits before these offsets, whatever the bounds."""
        messages: list[Received] = []
        for topic, offset in end.items():
            while self._waiting[topic] and self._waiting[topic][0].offset < offset:
                messages.append(self._take(topic))
        messages.sort(key=lambda message: message.timestamp)
        return self._batch(messages)

    def _batch(self, messages: Sequence[Received]) -> Batch:
        end = {
            topic: waiting[0].offset if waiting else self._handed_over[topic]
            for topic, waiting in self._waiting.items()
        }
        batch = Batch(messages, self._start, end)
        self._start = dict(end)
        return batch

    def _cut(self) -> list[Received]:
        """Over the topics in order of their timestamps, which is the order in which they were sent."""
        messages: list[Received] = []
        size_bytes = 0
        of_record: dict[bytes | None, int] = {}
        bounds = self._bounds
        for topic, waiting, until in iter(self._earliest, None):
            while waiting and waiting[0].timestamp <= until:
                key = waiting[0].key
                of_its_record = of_record.get(key, 0)
                if (
                    len(messages) == bounds.batch_messages
                    or size_bytes >= bounds.batch_bytes
                    or of_its_record == bounds.new_facts_per_record
                ):
                    return messages
                of_record[key] = of_its_record + 1
                messages.append(self._take(topic))
                size_bytes += messages[-1].size_bytes
        return messages

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
