"""A topic as it lies on the broker's disk: who compressed what with what, numbered or not, in a transaction or not."""

import asyncio
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record import MemoryRecords

from tests.interop.messages import Headers
from tests.stack.service import World

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
"""As the two lowest bits and the third of a batch's attributes number them."""
FETCH_BYTES = 8 * 1024 * 1024
LOG_APPEND_TIME = 1
END_SECONDS = 30


class Logged(NamedTuple):
    """A record, and the batch around it."""

    partition: int
    codec: str
    is_numbered: bool
    """By an idempotent producer."""
    is_transactional: bool
    is_log_append_time: bool
    headers: Headers


async def no_transaction_is_open(world: World, topic: str) -> None:
    """Wait for it: who ends one is answered before Kafka has noted the end in every partition."""
    places = _places(world, topic)
    async with (
        AIOKafkaConsumer(bootstrap_servers=world.broker.address) as written,
        AIOKafkaConsumer(bootstrap_servers=world.broker.address, isolation_level="read_committed") as committed,
        asyncio.timeout(END_SECONDS),
    ):
        while await written.end_offsets(places) != await committed.end_offsets(places):
            await asyncio.sleep(0.05)


def _places(world: World, topic: str) -> list[TopicPartition]:
    return [TopicPartition(world.prefix + topic, number) for number in range(world.partitions)]


async def read_log(world: World, topic: str) -> dict[bytes, list[Logged]]:
    """By key, in whatever state its transaction is."""
    logged: dict[bytes, list[Logged]] = {}
    async with AIOKafkaConsumer(bootstrap_servers=world.broker.address) as reader:
        places = _places(world, topic)
        reader.assign(places)
        for place, end in (await reader.end_offsets(places)).items():
            offset = 0
            while offset < end:
                offset = _take(await _fetch(reader, place, offset), place.partition, logged)
    return logged


async def _fetch(reader: AIOKafkaConsumer, place: TopicPartition, offset: int) -> MemoryRecords:
    wanted = [(place.topic, [(place.partition, offset, FETCH_BYTES)])]
    request = FetchRequest(500, 1, FETCH_BYTES, 0, wanted)
    answer = await reader._client.send(reader._client.cluster.leader_for_partition(place), request)
    ((_, ((_, error, *_, records),)),) = answer.topics
    assert error == 0, error
    return MemoryRecords(records)


def _take(records: MemoryRecords, partition: int, logged: dict[bytes, list[Logged]]) -> int:
    """Add what is there; gives the offset behind it."""
    offset = 0
    while records.has_next():
        batch = records.next_batch()
        offset = batch.next_offset
        if batch.is_control_batch:
            continue
        about = (
            partition,
            CODECS[batch.compression_type],
            batch.producer_id >= 0,
            batch.is_transactional,
            batch.timestamp_type == LOG_APPEND_TIME,
        )
        for record in batch:
            logged.setdefault(record.key, []).append(Logged(*about, record.headers))
    assert offset, "nothing was fetched"
    return offset
