"""Dead letters as Kafka has them, and the log that replays of them are counted in."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from msgspec import Struct

from contracts import headers
from contracts.topics import DEAD_LETTER
from service.errors import FixConfiguration, WaitAndRetry
from service.kafka import topics
from service.kafka.clients import make_producer, make_reader, started
from service.kafka.log import KafkaLog
from service.settings import Settings

READ_SECONDS = 30.0
"""Without anything new from Kafka for so long, reading has failed."""
POLL_MILLISECONDS = 200
FOREIGN = "unknown"
"""The reason of what somebody else has put among the dead letters."""


class DeadLetter(Struct, frozen=True):
    """A message that could not be used. `id`: partition and offset among the dead letters; times in milliseconds."""

    id: str
    at: int
    reason: str
    explanation: str
    topic: str
    partition: str
    offset: str
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: headers.Headers
    """The original ones."""


async def read(settings: Settings, since: int = 0, ids: Sequence[str] | None = None) -> AsyncIterator[DeadLetter]:
    """All that there are now, from `since` (milliseconds) on, or those with these ids, in the order of each partition.

    Raises FixConfiguration for an id that is none.
    """
    topic = settings.topic_prefix + DEAD_LETTER.name
    count = (await topics.partitions(settings))[DEAD_LETTER.name]
    consumer = make_reader(settings)
    async with started(settings, consumer):
        partitions = [TopicPartition(topic, number) for number in range(count)]
        consumer.assign(partitions)
        begins = await _begins(consumer, partitions, since)
        ends = await consumer.end_offsets(partitions)
        if ids is not None:
            begins, ends = _around(ids, begins, ends)
        for partition in partitions:
            consumer.seek(partition, begins[partition])
            if begins[partition] >= ends[partition]:
                consumer.pause(partition)
        deadline = time.monotonic() + READ_SECONDS
        while [partition for partition in partitions if await consumer.position(partition) < ends[partition]]:
            polled = await consumer.getmany(timeout_ms=POLL_MILLISECONDS)  # what ends a transaction is no message
            if polled:
                deadline = time.monotonic() + READ_SECONDS
            elif time.monotonic() > deadline:
                raise WaitAndRetry(f"Kafka gave no dead letters for {READ_SECONDS:.0f} s; try again")
            for partition, records in polled.items():
                for record in records:
                    letter = _letter(record)
                    if record.offset < ends[partition] and (ids is None or letter.id in ids):
                        yield letter


Offsets = Mapping[TopicPartition, int]


async def _begins(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], since: int) -> Offsets:
    if not since:
        return dict(await consumer.beginning_offsets(partitions))
    ends = await consumer.end_offsets(partitions)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
    return {tp: ends[tp] if found[tp] is None else found[tp].offset for tp in partitions}


def _around(ids: Sequence[str], begins: Offsets, ends: Offsets) -> tuple[Offsets, Offsets]:
    """Where to begin and to end in each partition so as to see these letters."""
    offsets: dict[int, list[int]] = {}
    for id_ in ids:
        partition, _, offset = id_.partition("-")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise FixConfiguration(
                f"{id_}: is no dead letter's id; `ratchet dead-letters list` shows them, like 3-1042"
            )
        offsets.setdefault(int(partition), []).append(int(offset))
    wanted = {tp: offsets.get(tp.partition, []) for tp in begins}
    return (
        {tp: max(begins[tp], min(wanted[tp], default=ends[tp])) for tp in begins},
        {tp: min(ends[tp], max(wanted[tp], default=-1) + 1) for tp in begins},
    )


def _letter(record: ConsumerRecord[Any, Any]) -> DeadLetter:
    told = headers.read_dead_letter(record.headers)
    origin, reason, explanation = told or (headers.Origin(record.headers, b"", b"", b"", b""), FOREIGN, "")
    return DeadLetter(
        id=f"{record.partition}-{record.offset}",
        at=record.timestamp,
        reason=reason,
        explanation=explanation,
        topic=origin.topic.decode(errors="replace"),
        partition=origin.partition.decode(errors="replace"),
        offset=origin.offset.decode(errors="replace"),
        timestamp=int(origin.timestamp) if origin.timestamp.isdigit() else record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple(origin.headers),
    )


@asynccontextmanager
async def replay_log(settings: Settings) -> AsyncIterator[KafkaLog]:
    """A log of its own group: the offset committed there is the number of the last batch of replays."""
    group = f"{settings.group}-replays"
    consumer = make_reader(settings, group)
    async with started(settings, consumer):
        makers = partial(make_producer, settings), partial(make_reader, settings)
        log = KafkaLog(consumer, [DEAD_LETTER.name], 0, group, settings.topic_prefix, *makers)
        try:
            yield log
        finally:
            await log.discard()
