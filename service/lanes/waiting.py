"""The records that have more messages than their share of a batch: of each, the next messages, in order.

Only so many are kept. Of those beyond it is known where they begin (`dropped`); once nothing kept is left they are read
again, from there on.
"""

from collections import deque
from collections.abc import Iterator

from service.lanes.bounds import Bounds
from service.lanes.ports import Received

WAITING_RECORDS = 32
"""In a lane at a time: as many as the metadata of a committed offset has room for, twice."""


class _Record:
    """By topic, in order: `kept`, and where what was dropped begins."""

    def __init__(self) -> None:
        self.kept: dict[str, deque[Received]] = {}
        self.kept_messages = 0
        self.dropped: dict[str, int] = {}

    def first(self, topic: str) -> int | None:
        """The first offset that waits."""
        kept = self.kept.get(topic)
        return kept[0].offset if kept else self.dropped.get(topic)

    def earliest(self) -> str:
        """The topic whose turn it is."""
        return min((queue[0].timestamp, topic) for topic, queue in self.kept.items() if queue)[1]


class Waiting:
    """Of one lane. `keep_shares`: so many shares of each record are kept in any case."""

    def __init__(self, bounds: Bounds, keep_shares: int) -> None:
        self._bounds = bounds
        self._keep_messages = keep_shares * bounds.new_facts_per_record
        self._records: dict[bytes, _Record] = {}
        self._kept_messages = 0
        self._kept_bytes = 0
        self.dropped = 0
        """Messages."""

    def __len__(self) -> int:
        """Messages that are kept."""
        return self._kept_messages

    def __contains__(self, key: bytes | None) -> bool:
        return key in self._records

    @property
    def is_full(self) -> bool:
        """No further record can wait."""
        return len(self._records) >= WAITING_RECORDS

    @property
    def must_be_read_again(self) -> bool:
        """Nothing is kept, and something was dropped."""
        return self.dropped > 0 and not self._kept_messages

    @property
    def oldest(self) -> Iterator[int]:
        """Timestamps of the first messages that are kept."""
        for record in self._records.values():
            yield from (queue[0].timestamp for queue in record.kept.values() if queue)

    def add(self, key: bytes, message: Received) -> None:
        """Behind what waits of its record."""
        record = self._records.setdefault(key, _Record())
        bounds = self._bounds
        many = self._kept_messages >= bounds.batch_messages or self._kept_bytes >= bounds.batch_bytes
        if record.dropped or (many and record.kept_messages >= self._keep_messages):
            record.dropped.setdefault(message.topic, message.offset)
            self.dropped += 1
            return
        record.kept.setdefault(message.topic, deque()).append(message)
        record.kept_messages += 1
        self._kept_messages += 1
        self._kept_bytes += message.size_bytes

    def firsts(self, topic: str) -> Iterator[tuple[bytes, int]]:
        """Of each record that waits in a topic, the first offset."""
        for key, record in self._records.items():
            first = record.first(topic)
            if first is not None:
                yield key, first

    def has_dropped(self, key: bytes, topic: str, offset: int) -> bool:
        """Whether messages of a record before that offset were dropped."""
        return key in self._records and self._records[key].dropped.get(topic, offset) < offset

    def take_shares(self, times: int = 1) -> list[Received]:
        """Each record's share, or so many times that, all of them together half of a batch at most."""
        if not self._records:
            return []
        share = self._bounds.batch_messages // (2 * len(self._records))
        share = min(times * self._bounds.new_facts_per_record, max(1, share))
        return [message for key in list(self._records) for message in self._take(key, share)]

    def take_to(self, key: bytes, topic: str, offset: int) -> list[Received]:
        """What a record has in a topic before that offset, and what of it comes before that in others."""
        taken: list[Received] = []
        while key in self._records:
            first = self._records[key].first(topic)
            if first is None or first >= offset:
                break
            taken += self._take(key, 1)
        return taken

    def _take(self, key: bytes, most: int) -> Iterator[Received]:
        record = self._records[key]
        for _ in range(min(most, record.kept_messages)):
            message = record.kept[record.earliest()].popleft()
            record.kept_messages -= 1
            self._kept_messages -= 1
            self._kept_bytes -= message.size_bytes
            yield message
        if not record.kept_messages and not record.dropped:
            del self._records[key]
