"""What Kafka has handed over to a lane and what the lane has not yet taken: cut into batches from here.

No offset is passed that was not handed over. Every hand-over says where it starts and ends; it is taken only if it
starts where the last one ended (`add`), whatever may have moved the consumer meanwhile: a failed poll, a client that
drops what it had fetched, retention. Otherwise the lane takes over again from the committed offsets. During a hand-over
nobody else may read: a worker has one lane of a number at a time (`Lanes.close`). So the end of a
batch, which is what gets committed, is the end of an unbroken chain of hand-overs. Offsets between two messages of one
hand-over hold nothing that can be read, by the word of the broker: ends of transactions, what was aborted, compacted.

A record has its share of a batch. What it has beyond waits apart (`waiting`), in order, and the messages of others
overtake it; the end of a batch says of which records, and from where on, messages are not done (`progress`).
"""

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.errors import WaitAndRetry
from service.lanes.bounds import Bounds
from service.lanes.in_hand import NEVER
from service.lanes.ports import Handed, Received
from service.lanes.progress import Done, Offsets, Progress, digest
from service.lanes.turns import is_large
from service.lanes.waiting import Waiting

SHARES_ALONE = 4
"""More for records that wait, where nobody else does."""
Further = Mapping[tuple[bytes, str], int]
"""By key and topic: up to where, exclusively, the messages of a record belong to a batch."""


def farthest(further: Further) -> Offsets:
    """Of any record, by topic."""
    found: dict[str, int] = {}
    for (_, topic), offset in further.items():
        found[topic] = max(found.get(topic, 0), offset)
    return found


class Batch(NamedTuple):
    """Messages in order of arrival. `start` and `end`: what is done before and after it."""

    messages: Sequence[Received]
    start: Progress
    end: Progress


class Inbox:
    """Starts where others have come to. `keep_shares`: see Waiting."""

    def __init__(self, start: Progress, bounds: Bounds, keep_shares: int) -> None:
        self._bounds = bounds
        self._known = start
        self._start = start
        self._handed_over = {topic: done.offset for topic, done in start.items()}
        self._queues: dict[str, deque[Received]] = {topic: deque() for topic in start}
        self._queued_bytes = 0
        self._waiting = Waiting(bounds, keep_shares)

    def __len__(self) -> int:
        """Messages at hand."""
        return sum(map(len, self._queues.values())) + len(self._waiting)

    @property
    def lag_messages(self) -> int:
        """With those that will be read again."""
        return len(self) + self._waiting.dropped

    @property
    def oldest_at(self) -> int:
        """Timestamp of the oldest message at hand, milliseconds since 1970; NEVER without any."""
        queued = (queue[0].timestamp for queue in self._queues.values() if queue)
        return min((*queued, *self._waiting.oldest), default=NEVER)

    @property
    def is_full(self) -> bool:
        """A batch is there."""
        queued = sum(map(len, self._queues.values()))
        return queued >= self._bounds.batch_messages or self._queued_bytes >= self._bounds.batch_bytes

    @property
    def is_large(self) -> bool:
        """More than a small batch is there."""
        return is_large(len(self))

    @property
    def has_moved(self) -> bool:
        """Nothing is at hand, but there were offsets that hold nothing."""
        return not len(self) and self._start != self._progress()

    @property
    def must_read_again(self) -> bool:
        """Of the records that wait nothing is at hand any more: the rest was dropped, and is to be read again."""
        return self._waiting.must_be_read_again

    def add(self, handed: Handed) -> None:
        """Take a hand-over. Raises WaitAndRetry where it does not begin where the last one has ended."""
        for topic, start in handed.start.items():
            if start != self._handed_over[topic]:
                known = self._handed_over[topic]
                raise WaitAndRetry(f"{topic} is handed over from offset {start}, not from {known}; read once more")
            self._take_over(topic, start, handed.end[topic], handed.messages.get(topic, ()))

    def _take_over(self, topic: str, start: int, end: int, messages: Sequence[Received]) -> None:
        last, known, queue = start - 1, self._known[topic], self._queues[topic]
        for message in messages:
            if not last < message.offset < end:
                raise WaitAndRetry(f"Kafka hands over {topic}-{message.offset} between {last} and {end}, out of order")
            last = message.offset
            if not known.has(message.key, last):
                queue.append(message)
                self._queued_bytes += message.size_bytes
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
        """What is at hand, within the bounds: of the records that wait their share, then of all others.

        Where there are no others, nobody waits for those that have more.
        """
        messages = self._waiting.take_shares()
        others = self._cut(Counter(message.key for message in messages), len(messages))
        alone = not others and not any(self._queues.values())
        return self._batch(messages + (self._waiting.take_shares(SHARES_ALONE) if alone else others))

    def has_come_to(self, further: Further) -> bool:
        """Whether everything before these offsets was handed over."""
        return all(self._handed_over[topic] >= offset for (_, topic), offset in further.items())

    def has_dropped(self, further: Further) -> bool:
        """Whether any of that was handed over, but is not at hand."""
        return any(self._waiting.has_dropped(*place, offset) for place, offset in further.items())

    def take(self, further: Further) -> Batch:
        """What these records have up to there, whatever the bounds, and what others have before it."""
        messages = [
            message for (key, topic), offset in further.items() for message in self._waiting.take_to(key, topic, offset)
        ]
        of_record = Counter[bytes | None]()
        for topic, end in farthest(further).items():
            queue = self._queues[topic]
            while queue and queue[0].offset < end:
                message = self._take(topic)
                reached = message.offset < further.get((message.key or b"", topic), 0)
                if reached or not self._waits(message, of_record):
                    messages.append(message)
        return self._batch(messages)

    def _batch(self, messages: Sequence[Received]) -> Batch:
        batch = Batch(messages, self._start, self._progress())
        self._start = batch.end
        return batch

    def _progress(self) -> Progress:
        return {topic: self._done(topic, known) for topic, known in self._known.items()}

    def _done(self, topic: str, known: Done) -> Done:
        """What was done beyond this lane's start stays done, and what waited there waits until it is come to."""
        queue = self._queues[topic]
        here = queue[0].offset if queue else self._handed_over[topic]
        waiting = {key: max(first, here) for key, first in known.waiting.items()} if here < known.end else {}
        waiting |= {digest(key): first for key, first in self._waiting.firsts(topic)}
        return Done.but(max(here, known.end), waiting)

    def _cut(self, of_record: Counter[bytes | None], taken: int) -> list[Received]:
        """Over the topics in order of their timestamps, which is the order in which they were sent."""
        messages: list[Received] = []
        size_bytes = 0
        bounds = self._bounds
        for topic, queue, until in iter(self._earliest, None):
            while queue and queue[0].timestamp <= until:
                if taken + len(messages) >= bounds.batch_messages or size_bytes >= bounds.batch_bytes:
                    return messages
                if self._has_no_place_for(queue[0], of_record):
                    return messages
                if len(of_record) >= bounds.batch_records and queue[0].key not in of_record:
                    return messages
                message = self._take(topic)
                if not self._waits(message, of_record):
                    messages.append(message)
                    size_bytes += message.size_bytes
        return messages

    def _has_no_place_for(self, message: Received, of_record: Counter[bytes | None]) -> bool:
        """As many records wait as can be told of, and this is one more."""
        exceeds = of_record[message.key] >= self._bounds.new_facts_per_record
        return exceeds and self._waiting.is_full and message.key not in self._waiting

    def _waits(self, message: Received, of_record: Counter[bytes | None]) -> bool:
        """Let it wait if its record has had its share, or waits already."""
        key = message.key
        if key is not None:
            exceeds = of_record[key] >= self._bounds.new_facts_per_record and not self._waiting.is_full
            if exceeds or key in self._waiting:
                self._waiting.add(key, message)
                return True
        of_record[key] += key is not None
        return False

    def _earliest(self) -> tuple[str, deque[Received], float] | None:
        """The topic with the earliest message, and until when it has the earliest."""
        heads = sorted((queue[0].timestamp, topic) for topic, queue in self._queues.items() if queue)
        if not heads:
            return None
        _, topic = heads[0]
        return topic, self._queues[topic], heads[1][0] if len(heads) > 1 else math.inf

    def _take(self, topic: str) -> Received:
        message = self._queues[topic].popleft()
        self._queued_bytes -= message.size_bytes
        return message
