"""How far a group is behind at one instant, as Kafka has it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from contracts.topics import CONSUMED
from service.kafka import topics
from service.kafka.clients import make_reader, started
from service.settings import Settings

PEEK_SECONDS = 5.0
"""For reading the oldest messages that wait."""
EMPTY = {"Empty", "Dead"}


class LaneSample(NamedTuple):
    """One lane at one instant, over all its topics."""

    committed: int
    lag_messages: int
    lag_seconds: float


class Sample(NamedTuple):
    """All lanes at one instant. `members`: whether anybody consumes."""

    at: float
    members: bool
    lanes: Mapping[int, LaneSample]


class LagReader:
    """Reads samples of a group. Made by `open_lag_reader`."""

    def __init__(
        self,
        admin: AIOKafkaAdminClient,
        consumer: AIOKafkaConsumer,
        group: str,
        partitions: Sequence[TopicPartition],
    ) -> None:
        self._admin = admin
        self._consumer = consumer
        self._group = group
        self._partitions = partitions

    async def sample(self) -> Sample:
        """How things stand now."""
        committed, ends, beginnings, members = await asyncio.gather(
            self._committed(),
            self._consumer.end_offsets(self._partitions),
            self._consumer.beginning_offsets(self._partitions),
            self._has_members(),
        )
        start = {tp: max(committed.get(tp, 0), beginnings[tp]) for tp in self._partitions}
        waiting = {tp: ends[tp] - start[tp] for tp in self._partitions if ends[tp] > start[tp]}
        oldest = await self._oldest(start, ends, waiting)
        now = time.time()
        lanes: dict[int, LaneSample] = {}
        for number in {tp.partition for tp in self._partitions}:
            own = [tp for tp in self._partitions if tp.partition == number]
            lanes[number] = LaneSample(
                committed=sum(start[tp] for tp in own),
                lag_messages=sum(waiting[tp] for tp in own if tp in oldest),
                lag_seconds=max((now - oldest[tp] / 1000 for tp in own if tp in oldest), default=0.0),
            )
        return Sample(now, members, lanes)

    async def _committed(self) -> dict[TopicPartition, int]:
        try:
            offsets = await self._admin.list_consumer_group_offsets(self._group)
        except GroupCoordinatorNotAvailableError:
            return {}  # nobody has ever consumed anything here
        return {tp: committed.offset for tp, committed in offsets.items() if committed.offset >= 0}

    async def _has_members(self) -> bool:
        try:
            described = await self._admin.describe_consumer_groups([self._group])
        except GroupCoordinatorNotAvailableError:
            return False
        return any(group[2] not in EMPTY for response in described for group in response.groups)

    async def _oldest(
        self,
        start: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        waiting: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """When the oldest message that waits was sent, in milliseconds. What ends a transaction is no message."""
        oldest: dict[TopicPartition, int] = {}
        for tp in waiting:
            self._consumer.seek(tp, start[tp])
        self._consumer.resume(*waiting)
        open_ones = set(waiting)
        deadline = time.monotonic() + PEEK_SECONDS
        while open_ones and time.monotonic() < deadline:
            for tp, records in (await self._consumer.getmany(*open_ones, timeout_ms=200)).items():
                oldest.setdefault(tp, records[0].timestamp)
            for tp in list(open_ones):
                if tp in oldest or await self._consumer.position(tp) >= ends[tp]:
                    open_ones.discard(tp)
        self._consumer.pause(*waiting)
        return oldest


@asynccontextmanager
async def open_lag_reader(settings: Settings, group: str | None = None) -> AsyncIterator[LagReader]:
    """A reader, while the context lasts. Raises FixConfiguration where Kafka does not answer."""
    admin = AIOKafkaAdminClient(**settings.kafka_options())
    consumer = make_reader(settings, max_partition_fetch_bytes=64 * 1024)
    async with started(settings, admin), started(settings, consumer):
        counts = await topics.partitions(settings)
        partitions = [
            TopicPartition(settings.topic_prefix + topic.name, number)
            for topic in CONSUMED
            for number in range(counts[topic.name])
        ]
        consumer.assign(partitions)  # once: aiokafka may not stop right after another one
        consumer.pause(*partitions)
        yield LagReader(admin, consumer, settings.group if group is None else group, partitions)
