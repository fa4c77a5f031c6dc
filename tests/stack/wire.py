"""Sends and reads messages as other services would, and knows when everything sent has been dealt with."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Self, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from pymongo import MongoClient

from contracts.fields import course_key, record_key
from contracts.topics import REEVALUATION_REQUESTED, REROUTED, TOPICS
from tests.stack.service import World

NAMES = {topic.short: topic.name for topic in TOPICS}
SETTLE_SECONDS = 60.0
UNDER_WAY = 5000
"""So many messages are sent before their acknowledgements are waited for."""
DELIVERY_SECONDS = 120
"""Longer than brokers are away: what is given up may or may not be there, and nobody could be held to it."""
Headers = Sequence[tuple[str, bytes]]
Item = TypeVar("Item")


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of this size, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Got(NamedTuple):
    """A message as a `read_committed` reader sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def json(self) -> dict[str, Any]:
        """The value, which must be a JSON object."""
        read = json.loads(self.value or b"")
        assert isinstance(read, dict)
        return read

    def header(self, name: str) -> str:
        """The last value under this name."""
        return [value for header, value in self.headers if header == name][-1].decode()


def states_of(messages: Iterable[Got]) -> list[tuple[str, dict[str, Any] | None]]:
    """Key and value of states; None: a tombstone."""
    return [((got.key or b"").decode(), None if got.value is None else got.json) for got in messages]


def key_of(value: Mapping[str, Any]) -> bytes:
    """The key that a message with this value must have."""
    if "learner_id" in value:
        return record_key(value["tenant_id"], value["learner_id"], value["course_id"]).encode()
    return course_key(value["tenant_id"], value["course_id"]).encode()


class Wire:
    """Kafka, as seen from outside, in the names of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._sent: dict[TopicPartition, int] = {}
        self._readers: dict[str, AIOKafkaConsumer] = {}

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self.world.broker.address,
            max_request_size=8 * 1024 * 1024,
            linger_ms=5,
            enable_idempotence=True,
            request_timeout_ms=DELIVERY_SECONDS * 1000,
        )
        await self._producer.start()
        self._admin = AIOKafkaAdminClient(bootstrap_servers=self.world.broker.address)
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
        await self._admin.close()
        for reader in self._readers.values():
            await reader.stop()

    def full_name(self, short: str) -> str:
        """The topic's name in this world."""
        return self.world.prefix + NAMES[short]

    def catalogue_name(self, short: str) -> str:
        """The topic's name without this world's prefix."""
        return NAMES[short]

    async def send_all(self, messages: Iterable[tuple[str, bytes, bytes, int | None]]) -> None:
        """Send many messages as they are: short topic name, key, value, and the partition, if not the key's own."""
        for some in batched(messages, UNDER_WAY):
            sending = [
                await self._producer.send(self.full_name(short), value, key=key, partition=partition)
                for short, key, value, partition in some
            ]
            self._note(await asyncio.gather(*sending))

    async def send(self, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Send messages given as short topic name and value, all under way together; order is kept within a topic."""
        sending = [
            await self._producer.send(self.full_name(short), json.dumps(value).encode(), key=key_of(value))
            for short, value in messages
        ]
        self._note(await asyncio.gather(*sending))

    async def send_raw(
        self,
        short: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> TopicPartition:
        """Send one message as it is; gives where it went. Neither key nor value is needed."""
        topic = self.full_name(short)
        if partition is None:
            partition = 0
        batch = self._producer.create_batch()
        batch.append(key=key, value=value, timestamp=None, headers=list(headers))
        sent = await self._producer.send_batch(batch, topic, partition=partition)
        self._note([await sent])
        return TopicPartition(topic, partition)

    async def send_slowly_built(self, short: str, records: Iterable[Any], partition: int, compression: int) -> None:
        """Send keyword arguments of records, built by aiokafka in Python, which takes what C refuses.

        Not by the idempotent producer of the others: aiokafka numbers batches built in C only.
        """
        async with AIOKafkaProducer(bootstrap_servers=self.world.broker.address) as producer:
            batch = producer.create_batch()
            batch._builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 100_000)
            for record in records:
                batch.append(timestamp=int(time.time() * 1000), **record)
            sent = await producer.send_batch(batch, self.full_name(short), partition=partition)
            self._note([await sent])

    def expect(self, message: Got) -> None:
        """Count a message that somebody else sent among those that are to be dealt with."""
        partition = TopicPartition(self.full_name(message.topic), message.partition)
        self._sent[partition] = max(self._sent.get(partition, -1), message.offset)

    def _note(self, sent: Iterable[Any]) -> None:
        for metadata in sent:
            partition = TopicPartition(metadata.topic, metadata.partition)
            self._sent[partition] = max(self._sent.get(partition, -1), metadata.offset)

    async def read(self, *shorts: str, isolation: str = "read_committed") -> list[Got]:
        """Everything that is in these topics now, in order within each partition."""
        reader = await self._reader(isolation)
        topics = {self.full_name(short) for short in shorts}
        partitions = [partition for partition in reader.assignment() if partition.topic in topics]
        beginnings, ends = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
        behind = [partition for partition in partitions if beginnings[partition] < ends[partition]]
        for partition in behind:
            reader.seek(partition, beginnings[partition])
        reader.resume(*behind)
        got: list[Got] = []
        while behind:
            for records in (await reader.getmany(*behind, timeout_ms=200)).values():
                got += [self._got(record) for record in records]
            done = [partition for partition in behind if await reader.position(partition) >= ends[partition]]
            reader.pause(*done)
            behind = [partition for partition in behind if partition not in done]
        return got

    async def _reader(self, isolation: str) -> AIOKafkaConsumer:
        """One for as long as this lasts: making one takes longer than reading."""
        if isolation not in self._readers:
            reader = AIOKafkaConsumer(
                bootstrap_servers=self.world.broker.address,
                isolation_level=isolation,
                enable_auto_commit=False,
                check_crcs=self.world.broker.real,
                max_partition_fetch_bytes=4 * 1024 * 1024,
            )
            await reader.start()
            self._readers[isolation] = reader
            names = [self.world.prefix + name for name in NAMES.values()]
            partitions = [
                TopicPartition(name, number)
                for name in names
                for number in range(len(await self._producer.partitions_for(name)))
            ]
            reader.assign(partitions)
            reader.pause(*partitions)
        return self._readers[isolation]

    def _got(self, record: Any) -> Got:
        short = next(s for s, name in NAMES.items() if self.world.prefix + name == record.topic)
        return Got(short, record.partition, record.offset, record.key, record.value, tuple(record.headers))

    async def settled(self, seconds: float = SETTLE_SECONDS, look_every_seconds: float = 0.05) -> None:
        """Until everything sent by now, and what followed from it inside the service, is dealt with or is paused.

        Others may go on sending meanwhile. What was rerouted may ask for records to be decided again, but no further.
        """
        deadline = time.monotonic() + seconds

        async def until(holds: Callable[[], Awaitable[bool]], what: object) -> None:
            while not await holds():
                if time.monotonic() > deadline:
                    committed = await self._admin.list_consumer_group_offsets(self.world.name)
                    raise AssertionError(f"not settled: waits for {what}, committed {committed}")
                await asyncio.sleep(look_every_seconds)

        sent = dict(self._sent)
        await until(partial(self._committed, sent), sent)
        for _ in range(2):
            sweeping = self._sweeping()
            await until(partial(self._swept, sweeping), sweeping)
            ends = await self._ends("read_uncommitted")
            await until(partial(self._visible, ends), ends)
            internal = await self._internal()
            await until(partial(self._committed, internal), internal)
        ends = await self._ends("read_uncommitted")
        await until(partial(self._visible, ends), ends)

    def _sweeping(self) -> dict[str, int]:
        """Courses whose records are being decided again, with their newest version."""
        with MongoClient[dict[str, Any]](self.world.database.address) as client:
            found = client[self.world.name]["courses"].find({"sweeping": True, "would_complete": 0, "would_certify": 0})
            return {course["_id"]: course["newest"][0] for course in found}

    async def _swept(self, sweeping: Mapping[str, int]) -> bool:
        return not sweeping.items() & self._sweeping().items()

    async def _internal(self) -> dict[TopicPartition, int]:
        """The last message in each partition of the topics that are Ratchet's own."""
        internal: dict[TopicPartition, int] = {}
        for message in await self.read(REEVALUATION_REQUESTED.short, REROUTED.short):
            partition = TopicPartition(self.full_name(message.topic), message.partition)
            internal[partition] = max(internal.get(partition, -1), message.offset)
        return internal

    async def _visible(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Kafka ends a transaction partition by partition: offsets may be committed before its messages can be read."""
        return all(stable >= ends[place] for place, stable in (await self._ends("read_committed")).items())

    async def _ends(self, isolation: str) -> dict[TopicPartition, int]:
        """Of what the service writes."""
        names = {self.world.prefix + topic.name for topic in TOPICS if topic.direction != "in"}
        reader = await self._reader(isolation)
        ends: dict[TopicPartition, int] = await reader.end_offsets(
            [partition for partition in reader.assignment() if partition.topic in names]
        )
        return ends

    async def committed(self) -> dict[TopicPartition, int]:
        """How far the group has come. Waits for its coordinator."""
        while (offsets := await self._group_offsets()) is None:
            await asyncio.sleep(0.1)
        return offsets

    async def _group_offsets(self) -> dict[TopicPartition, int] | None:
        """None before the first group of all, or while its coordinator is away."""
        try:
            found = await self._admin.list_consumer_group_offsets(self.world.name)
        except KafkaError as error:
            if error.retriable:
                return None
            raise
        return {partition: place.offset for partition, place in found.items()}

    async def _committed(self, wanted: Mapping[TopicPartition, int]) -> bool:
        if not self.world.broker.real:
            return self._noted(wanted)
        committed = await self._group_offsets() or {}
        return all(committed.get(partition, -1) > offset for partition, offset in wanted.items())

    def _noted(self, wanted: Mapping[TopicPartition, int]) -> bool:
        """The mock broker never tells the offsets of transactions; idle lanes note them in the database."""
        with MongoClient[dict[str, Any]](self.world.database.address) as client:
            lanes = {
                document["_id"]: dict(document["committed"]) for document in client[self.world.name]["lanes"].find()
            }
        return all(
            lanes.get(f"{self.world.name}-{tp.partition}", {}).get(tp.topic.removeprefix(self.world.prefix), 0) > offset
            for tp, offset in wanted.items()
        )
