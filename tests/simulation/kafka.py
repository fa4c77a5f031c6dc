"""Kafka in memory: the log with transactions and fencing, and what aiokafka's producer and consumer offer the worker.

Every call of a client passes `Client.pause`, where the seed decides how long it takes and what goes wrong. What the log
does between two such places is atomic, as one request is to a broker.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
    ProducerFenced,
)
from aiokafka.structs import OffsetAndMetadata, RecordMetadata

from service.errors import Unreadable

METADATA_CHARACTERS = 4096
"""offset.metadata.max.bytes, by default."""


class Entry(NamedTuple):
    """A record in the log, or an offset without one: the marker that ends a transaction, or what was compacted."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp: int
    transaction: "Transaction | None"
    marker: bool = False

    @property
    def is_message(self) -> bool:
        """It can be read, or could be were its transaction committed."""
        return not self.marker and (self.transaction is None or self.transaction.outcome != "aborted")


Committed = tuple[dict[TopicPartition, int], dict[TopicPartition, str]]


class Transaction:
    """Open until it is ended one way or the other."""

    def __init__(self) -> None:
        self.outcome: str | None = None
        self.partitions: set[TopicPartition] = set()


class Broker:
    """The log of one cluster. Every method is atomic."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.logs: dict[TopicPartition, list[Entry]] = defaultdict(list)
        self.beginnings: dict[TopicPartition, int] = defaultdict(int)
        """What was before is deleted."""
        self.undecodable: dict[TopicPartition, int] = {}
        """The offset that cannot be unpacked."""
        self.offsets: dict[TopicPartition, int] = {}
        self.metadata: dict[TopicPartition, str] = {}
        self._earlier: deque[Committed] = deque(maxlen=50)
        self._told: Committed | None = None
        self._tells_nothing = False
        self._epochs: dict[str, int] = defaultdict(int)
        self._open: dict[str, Transaction] = {}
        self._clock = 0

    def init_producer(self, transactional_id: str) -> int:
        """A new epoch; an open transaction of the old one is aborted."""
        self._epochs[transactional_id] += 1
        self._end(transactional_id, "aborted")
        return self._epochs[transactional_id]

    def begin(self, transactional_id: str, epoch: int) -> None:
        """Start a transaction."""
        self._check(transactional_id, epoch)
        self._open[transactional_id] = Transaction()

    def append(
        self, partition: TopicPartition, entries: Iterable[tuple[Any, Any, Any]], by: tuple[str, int] | None
    ) -> int:
        """Append records, in the transaction of `by` where there is one. Gives the first one's offset."""
        transaction = None
        if by is not None:
            self._check(*by)
            transaction = self._open[by[0]]
            transaction.partitions.add(partition)
        first = len(self.logs[partition])
        for key, value, headers in entries:
            self._clock += 1
            self.logs[partition].append(Entry(key, value, headers, self._clock, transaction))
        return first

    def abort(self, transactional_id: str, epoch: int) -> None:
        """End the transaction, its messages are never read."""
        self._check(transactional_id, epoch)
        self._end(transactional_id, "aborted")

    def append_hole(self, partition: TopicPartition) -> None:
        """An offset whose record was compacted away."""
        self.logs[partition].append(Entry(None, None, (), self._clock, None, marker=True))

    def delete_to(self, partition: TopicPartition, offset: int) -> None:
        """Retention."""
        self.beginnings[partition] = offset

    def commit(self, transactional_id: str, epoch: int, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """End the transaction, offsets included."""
        self._check(transactional_id, epoch)
        self._end(transactional_id, "committed")
        assert all(len(one.metadata) <= METADATA_CHARACTERS for one in offsets.values())
        self._earlier.append((dict(self.offsets), dict(self.metadata)))
        for known, metadata in filter(None, ((self.offsets, self.metadata), self._told)):
            known.update({place: one.offset for place, one in offsets.items()})
            metadata.update({place: one.metadata for place, one in offsets.items()})

    def come_back(self, commits: int) -> None:
        """All brokers were away at once, and the group's coordinator has forgotten so many of the last commits.

        Never all of a partition: that is how a group looks which somebody has deleted. But until something of the group
        is written, none knows what the others have, and nothing is told.
        """
        known = [one for one in self._earlier if one[0].keys() == self.offsets.keys()]
        if known:
            offsets, metadata = known[-min(commits, len(known))]
            self._told = dict(offsets), dict(metadata)
        self._tells_nothing = True

    def told(self) -> "Committed":
        """Offsets and metadata that the group has committed, as its coordinator remembers it."""
        return ({}, {}) if self._tells_nothing else self._told or (self.offsets, self.metadata)

    def write_offsets(self, transactional_id: str, epoch: int) -> None:
        """They wait in the group for the end of their transaction; all brokers have them, and what was before."""
        self._check(transactional_id, epoch)
        self._tells_nothing = False

    def _check(self, transactional_id: str, epoch: int) -> None:
        if self._epochs[transactional_id] != epoch:
            raise ProducerFenced

    def _end(self, transactional_id: str, outcome: str) -> None:
        transaction = self._open.pop(transactional_id, None)
        if transaction is not None:
            transaction.outcome = outcome
            for partition in transaction.partitions:
                self.logs[partition].append(Entry(None, None, (), self._clock, None, marker=True))

    def fetch(self, partition: TopicPartition, start: int, most: int) -> tuple[list[ConsumerRecord[Any, Any]], int]:
        """What a `read_committed` reader gets from there on, and where it stands then."""
        if start < self.beginnings[partition]:
            raise OffsetOutOfRangeError
        got: list[ConsumerRecord[Any, Any]] = []
        position = start
        for offset, entry in enumerate(self.logs[partition][start:], start):
            outcome = "committed" if entry.transaction is None else entry.transaction.outcome
            if outcome is None or len(got) == most:
                break
            if self.undecodable.get(partition) == offset:
                if position == start:
                    raise Unreadable(partition.topic, partition.partition, offset, offset + 1, "damaged")
                break
            position = offset + 1
            if outcome == "committed" and not entry.marker:
                got.append(_record(partition, offset, entry))
        return got, position

    def stable(self, partition: TopicPartition) -> int:
        """Up to where it can be read."""
        for offset, entry in enumerate(self.logs[partition]):
            if entry.transaction is not None and entry.transaction.outcome is None:
                return offset
        return len(self.logs[partition])

    def committed_records(self, topic: str) -> list[list[ConsumerRecord[Any, Any]]]:
        """All of a topic that is not deleted, by partition."""
        partitions = [TopicPartition(topic, number) for number in range(self.partitions)]
        return [self.fetch(partition, self.beginnings[partition], 10**9)[0] for partition in partitions]

    def behind(self, topics: Iterable[str]) -> bool:
        """Whether any message of these topics is not committed by the group."""
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(self.partitions)]
        return any(self.unread(partition, self.offsets.get(partition, 0)) for partition in partitions)

    def unread(self, partition: TopicPartition, start: int) -> int:
        """Messages from there on."""
        begin = max(start, self.beginnings[partition])
        return sum(entry.is_message for entry in self.logs[partition][begin:])


def _record(partition: TopicPartition, offset: int, entry: Entry) -> ConsumerRecord[Any, Any]:
    return ConsumerRecord(
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        timestamp=entry.timestamp,
        timestamp_type=0,
        key=entry.key,
        value=entry.value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=tuple(entry.headers),
    )


class Builder:
    """aiokafka's BatchBuilder: takes a few records, then says it is full."""

    def __init__(self, most: int) -> None:
        self.entries: list[tuple[Any, Any, Any]] = []
        self._most = most

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: None, headers: Any) -> object:
        assert timestamp is None
        if len(self.entries) == self._most:
            return None
        self.entries.append((key, value, headers))
        return self

    def record_count(self) -> int:
        return len(self.entries)


Pause = Callable[[str], Awaitable[bool]]
"""Passed at every call: waits as long as the seed says, never returns in a process that died, and answers whether the
call is to fail (for writes: the caller then decides whether before or after it took effect)."""


class FakeProducer:
    """aiokafka's AIOKafkaProducer, as far as the worker uses it."""

    def __init__(self, broker: Broker, pause: Pause, transactional_id: str | None = None, batch_most: int = 3) -> None:
        self._broker = broker
        self._pause = pause
        self._id = transactional_id
        self._epoch = 0
        self._offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self._last: dict[TopicPartition, asyncio.Future[RecordMetadata]] = {}
        self._batch_most = batch_most

    async def start(self) -> None:
        if await self._pause("init"):
            raise KafkaTimeoutError
        if self._id is not None:
            self._epoch = self._broker.init_producer(self._id)
            if await self._pause("init answered"):
                raise KafkaTimeoutError

    async def stop(self) -> None:
        await self._pause("stop")

    async def begin_transaction(self) -> None:
        assert self._id is not None
        self._offsets = {}
        self._last = {}
        self._broker.begin(self._id, self._epoch)

    async def partitions_for(self, _: str) -> set[int]:
        return set(range(self._broker.partitions))

    def create_batch(self) -> Builder:
        return Builder(self._batch_most)

    async def send_batch(self, batch: Builder, topic: str, *, partition: int) -> "asyncio.Future[RecordMetadata]":
        """Batches of one partition are delivered in order, and none after one that failed (idempotence)."""
        to = TopicPartition(topic, partition)
        self._last[to] = asyncio.ensure_future(self._deliver(batch, to, self._last.get(to)))
        return asyncio.shield(self._last[to])  # giving up waiting does not take a record back

    async def _deliver(
        self, batch: Builder, partition: TopicPartition, earlier: "asyncio.Future[RecordMetadata] | None"
    ) -> RecordMetadata:
        if earlier is not None:
            await asyncio.wait([earlier])
            earlier.result()
        if await self._pause("send"):
            raise KafkaTimeoutError
        by = None if self._id is None else (self._id, self._epoch)
        first = self._broker.append(partition, batch.entries, by)
        if await self._pause("sent"):
            raise KafkaTimeoutError
        return RecordMetadata(partition.topic, partition.partition, partition, first, None, 0, 0)

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], _: str) -> None:
        assert self._id is not None
        if await self._pause("offsets"):
            raise KafkaTimeoutError
        self._broker.write_offsets(self._id, self._epoch)
        self._offsets = dict(offsets)

    async def abort_transaction(self) -> None:
        assert self._id is not None
        if await self._pause("abort"):
            raise KafkaTimeoutError
        self._broker.abort(self._id, self._epoch)

    async def commit_transaction(self) -> None:
        assert self._id is not None
        if await self._pause("commit"):
            raise KafkaTimeoutError
        self._broker.commit(self._id, self._epoch, self._offsets)
        if await self._pause("committed"):
            raise KafkaTimeoutError


class FakeConsumer:
    """aiokafka's AIOKafkaConsumer, as far as the worker uses it, with what it does when a poll fails.

    `is_slow`: a partition gives nothing yet; `most`: so many records of a partition at once.
    """

    def __init__(
        self,
        broker: Broker,
        pause: Pause,
        is_slow: Callable[[], bool] = lambda: False,
        most: Callable[[], int] = lambda: 100,
    ) -> None:
        self._broker = broker
        self._pause = pause
        self._is_slow = is_slow
        self._most = most
        self._positions: dict[TopicPartition, int] = {}
        self._spoilt: dict[TopicPartition, int] = {}
        """Where a failed poll had come to in a partition: as long as nobody seeks, it goes on from there."""
        self._paused: set[TopicPartition] = set()

    async def start(self) -> None:
        if await self._pause("connect"):
            raise KafkaTimeoutError

    async def stop(self) -> None:
        await self._pause("stop")

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """A new assignment, as after a rebalance: it starts at the committed offsets."""
        self._positions = {partition: self._broker.offsets.get(partition, 0) for partition in partitions}
        self._spoilt = {}
        self._paused = set()

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def _check(self, partition: TopicPartition) -> None:
        if partition not in self._positions:
            raise IllegalStateError(f"{partition} is not assigned")

    @property
    def _coordinator(self) -> "FakeConsumer":
        return self

    async def fetch_committed_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        """As aiokafka's coordinator does."""
        if await self._pause("read committed"):
            raise KafkaTimeoutError
        offsets, metadata = self._broker.told()
        return {place: OffsetAndMetadata(offsets[place], metadata[place]) for place in partitions if place in offsets}

    async def committed(self, partition: TopicPartition) -> int | None:
        if await self._pause("read committed"):
            raise KafkaTimeoutError
        return self._broker.told()[0].get(partition)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        await self._pause("read beginning")
        return {partition: self._broker.beginnings[partition] for partition in partitions}

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        await self._pause("read end")
        return {partition: self._broker.stable(partition) for partition in partitions}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._check(partition)
        self._positions[partition] = offset
        self._spoilt.pop(partition, None)

    def pause(self, *partitions: TopicPartition) -> None:
        for partition in partitions:
            self._check(partition)
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        for partition in partitions:
            self._check(partition)
        self._paused -= set(partitions)

    async def position(self, partition: TopicPartition) -> int:
        self._check(partition)
        return self._positions[partition]

    def last_stable_offset(self, partition: TopicPartition) -> int:
        return self._broker.stable(partition)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int
    ) -> dict[TopicPartition, list[ConsumerRecord[Any, Any]]]:
        """Positions move with what is given, and with what a failed poll throws away."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        while True:
            fails = await self._pause("poll")
            got: dict[TopicPartition, list[ConsumerRecord[Any, Any]]] = {}
            for partition in sorted(partitions):
                if partition not in self._positions or partition in self._paused or self._is_slow():
                    continue
                self._positions[partition] = self._spoilt.pop(partition, self._positions[partition])
                records, end = self._broker.fetch(partition, self._positions[partition], self._most())
                if fails and got:  # those drained before are thrown away, and so is the beginning of this one
                    self._spoilt[partition] = end
                    break
                self._positions[partition] = end
                if records:
                    got[partition] = records
            if fails:
                raise CorruptRecordException
            if got or loop.time() >= deadline:
                return got
            await asyncio.sleep(0.05)
