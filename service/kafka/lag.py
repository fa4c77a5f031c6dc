"""How far a group is behind at one instant, as Kafka has it."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from contracts.topics import CONSUMED
from service.errors import Unreadable, WaitAndRetry
from service.kafka import batches, topics
from service.kafka.clients import make_admin, make_reader, started
from service.kafka.rights import REFUSALS, refusal
from service.lanes.progress import Done, read_done
from service.settings import Settings

PEEK_SECONDS = 2.0
"""For counting what waits."""
PAUSE_SECONDS = 0.02
EMPTY = {"Empty", "Dead"}


class LaneSample(NamedTuple):
    """One lane at one instant, over all its topics.

    `stuck_at`: topic and offset of each open transaction, which cannot be read beyond; `unreadable`: the next batch
    cannot be unpacked.
    """

    committed: int
    lag_messages: int
    lag_seconds: float
    stuck_at: frozenset[tuple[str, int]] = frozenset()
    unreadable: bool = False


class Waiting(NamedTuple):
    """What waits in a partition: how many messages, since when (milliseconds since 1970), whether it can be read."""

    messages: int
    oldest: int
    unreadable: bool = False


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
        writers: AIOKafkaConsumer,
        group: str,
        partitions: Sequence[TopicPartition],
    ) -> None:
        self._admin = admin
        self._consumer = consumer
        self._writers = writers
        """Sees what is written, whether it is committed or not."""
        self._group = group
        self._partitions = partitions

    async def sample(self) -> Sample:
        """How things stand now. Raises WaitAndRetry where Kafka does not tell."""
        try:
            return await self._sample()
        except REFUSALS as error:
            raise WaitAndRetry(refusal(error, group="DESCRIBE")) from None
        except (KafkaError, OSError, TimeoutError) as error:
            raise WaitAndRetry(f"Kafka does not tell how far the group is ({type(error).__name__})") from None

    async def _sample(self) -> Sample:
        committed, ends, written, beginnings, members = await asyncio.gather(
            self._committed(),
            self._consumer.end_offsets(self._partitions),
            self._writers.end_offsets(self._partitions),
            self._consumer.beginning_offsets(self._partitions),
            self._has_members(),
        )
        done = {tp: committed.get(tp, Done.up_to(0)).with_all_below(beginnings[tp]) for tp in self._partitions}
        waiting = await self._look_into({tp: done[tp] for tp in self._partitions if ends[tp] > done[tp].offset}, ends)
        now = time.time()
        lanes: dict[int, LaneSample] = {}
        for number in {tp.partition for tp in self._partitions}:
            own = [tp for tp in self._partitions if tp.partition == number]
            there = [waiting[tp] for tp in own if tp in waiting]
            lanes[number] = LaneSample(
                committed=sum(done[tp].offset for tp in own),
                lag_messages=sum(one.messages for one in there),
                lag_seconds=max((now - one.oldest / 1000 for one in there), default=0.0),
                stuck_at=frozenset((tp.topic, ends[tp]) for tp in own if written[tp] > ends[tp]),
                unreadable=any(one.unreadable for one in there),
            )
        return Sample(now, members, lanes)

    async def _committed(self) -> dict[TopicPartition, Done]:
        try:
            offsets = await self._admin.list_consumer_group_offsets(self._group)
        except GroupCoordinatorNotAvailableError:
            return {}  # nobody has ever consumed anything here
        return {tp: read_done(one.offset, one.metadata) for tp, one in offsets.items() if one.offset >= 0}

    async def _has_members(self) -> bool:
        try:
            described = await self._admin.describe_consumer_groups([self._group])
        except GroupCoordinatorNotAvailableError:
            return False
        return any(group[2] not in EMPTY for response in described for group in response.groups)

    async def _look_into(
        self, done: Mapping[TopicPartition, Done], ends: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, Waiting]:
        """Count what can be read and is not done: ends of transactions and aborted messages take offsets, too.

        Of a long backlog the rest is estimated: every offset a message.
        """
        found: dict[TopicPartition, Waiting] = {}
        for place in done:
            self._consumer.seek(place, done[place].offset)
        self._consumer.resume(*done)
        deadline = time.monotonic() + PEEK_SECONDS
        left = set(done)
        while left and time.monotonic() < deadline:
            for place in list(left):
                if await self._count(place, done[place], found, ends[place]):
                    left.discard(place)
            await asyncio.sleep(PAUSE_SECONDS)
        for place in left & found.keys():
            rest = ends[place] - await self._consumer.position(place)
            found[place] = found[place]._replace(messages=found[place].messages + rest)
        self._consumer.pause(*done)
        return found

    async def _count(self, place: TopicPartition, done: Done, found: dict[TopicPartition, Waiting], end: int) -> bool:
        """Count what has come of a partition; True once it is through, or can go no further."""
        try:
            polled = (await self._consumer.getmany(place)).get(place, [])
            records = [record for record in polled if not done.has(record.key, record.offset)]
        except Unreadable as error:
            known = found.get(place, Waiting(0, int(time.time() * 1000)))
            found[place] = Waiting(known.messages + end - error.start, known.oldest, unreadable=True)
            return True
        if records:
            known = found.get(place, Waiting(0, records[0].timestamp))
            found[place] = known._replace(messages=known.messages + len(records))
        return bool(await self._consumer.position(place) >= end)


@asynccontextmanager
async def open_lag_reader(settings: Settings, group: str | None = None) -> AsyncIterator[LagReader]:
    """A reader, while the context lasts. Raises FixConfiguration where Kafka does not answer."""
    admin = make_admin(settings)
    batches.install()
    async with AsyncExitStack() as opened:
        await opened.enter_async_context(started(settings, admin))
        consumer, writers = make_reader(settings), make_reader(settings, isolation_level="read_uncommitted")
        for reader in (consumer, writers):
            await opened.enter_async_context(started(settings, reader))
        counts = await topics.partitions(settings)
        partitions = [
            TopicPartition(settings.topic_prefix + topic.name, number)
            for topic in CONSUMED
            for number in range(counts[topic.name])
        ]
        consumer.assign(partitions)  # once: aiokafka may not stop right after another one
        consumer.pause(*partitions)
        yield LagReader(admin, consumer, writers, settings.group if group is None else group, partitions)
