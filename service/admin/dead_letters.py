"""Dead letters: looked at, and sent again to where they came from, each once.

Whether a letter has been replayed is noted in the database before its batch goes out, with the batch's number; the
number is committed to Kafka with the batch, in one transaction. After a crash the number tells which notes are true.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from contracts import headers
from contracts.fields import course_key, record_key
from contracts.topics import CONSUMED, COURSE_DEFINED, DEAD_LETTER
from service import topics
from service.errors import FixConfiguration, LaneLost, WaitAndRetry
from service.kafka_log import KafkaLog
from service.ports import Outbound
from service.settings import Settings
from service.store_mongo import MongoStore
from service.worker import producer_options

BATCH = 500
WHY_LIMIT = 20
READ_SECONDS = 30.0
"""Without anything new from Kafka for so long, reading has failed."""
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


class Edit(NamedTuple):
    """A field of the value, and what it becomes."""

    field: str
    value: Any


class Report(Struct):
    """What came of a replay."""

    replayed: int = 0
    before: int = 0
    """Replayed by an earlier command."""
    skipped: int = 0
    """Cannot go out again."""
    why: list[str] = []
    """Of the first of them."""


class NotReplayable(Exception):
    """This letter cannot go out again; the message says why."""


@asynccontextmanager
async def _consumer(settings: Settings, group: str | None = None) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **settings.kafka_options(),
        group_id=group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        check_crcs=settings.kafka_check_crcs,
    )
    try:
        async with asyncio.timeout(settings.start_seconds):
            await consumer.start()
    except (KafkaError, OSError, TimeoutError) as error:
        raise FixConfiguration(
            f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: no Kafka answers at {settings.kafka_bootstrap_servers} "
            f"({type(error).__name__})"
        ) from None
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read(settings: Settings, since: int = 0, ids: Sequence[str] | None = None) -> AsyncIterator[DeadLetter]:
    """All that there are now, from `since` (milliseconds) on, or those with these ids, in the order of each partition.

    Raises FixConfiguration for an id that is none.
    """
    topic = settings.topic_prefix + DEAD_LETTER.name
    count = (await topics.partitions(settings))[DEAD_LETTER.name]
    async with _consumer(settings) as consumer:
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
        while [partition for partition in partitions if await consumer.position(partition) < ends[partition]]:
            polled = await consumer.getmany(timeout_ms=int(READ_SECONDS * 1000))
            if not polled:
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


def edited(letter: DeadLetter, edits: Sequence[Edit]) -> bytes | None:
    """The value with fields set. Raises NotReplayable where it is no JSON object."""
    if not edits:
        return letter.value
    try:
        value = json.loads(letter.value or b"")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise NotReplayable("is no JSON object, so it has no fields to set")
    return json.dumps(value | {edit.field: edit.value for edit in edits}).encode()


def again(letter: DeadLetter, edits: Sequence[Edit], prefix: str) -> Outbound:
    """The letter as it goes out again. The key follows the ids in the value, where it has them."""
    known = {prefix + topic.name: topic.name for topic in CONSUMED}
    if letter.topic not in known:
        raise NotReplayable(f"came from {letter.topic or 'nobody knows where'}, which is not read here")
    value = edited(letter, edits)
    provenance = headers.replayed(letter.headers, prefix + DEAD_LETTER.name, letter.id)
    return Outbound(known[letter.topic], _key(known[letter.topic], letter.key, value), value, provenance)


def _key(topic: str, key: bytes | None, value: bytes | None) -> bytes | None:
    try:
        read_value = json.loads(value or b"")
        ids: Mapping[str, Any] = read_value if isinstance(read_value, dict) else {}
        if topic == COURSE_DEFINED.name:
            return course_key(ids["tenant_id"], ids["course_id"]).encode()
        return record_key(ids["tenant_id"], ids["learner_id"], ids["course_id"]).encode()
    except (ValueError, KeyError, TypeError):
        return key


async def replay(
    settings: Settings,
    store: MongoStore,
    letters: AsyncIterator[DeadLetter],
    edits: Sequence[Edit] = (),
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Send letters again, those of a key in the order in which they came, each once; tell how far it is."""
    report = Report()
    async with _consumer(settings, f"{settings.group}-replays") as consumer:

        def make_producer(transactional_id: str | None) -> AIOKafkaProducer:
            return AIOKafkaProducer(**producer_options(settings), transactional_id=transactional_id)

        counter = KafkaLog(
            consumer, [DEAD_LETTER.name], 0, f"{settings.group}-replays", settings.topic_prefix, make_producer
        )
        try:
            await counter.fence()
            known = {DEAD_LETTER.name: await store.last_replay()}
            number = (await counter.committed(known))[DEAD_LETTER.name]
            async for batch in _batches(letters):
                number += 1
                going = _going_out(batch, edits, settings.topic_prefix, report)
                await store.forget_replays(number)
                for id_ in await store.replays(going):
                    del going[id_]
                    report.before += 1
                if going:
                    await store.note_replays(number, going)
                    await counter.publish(list(going.values()), {DEAD_LETTER.name: number})
                report.replayed += len(going)
                progress(report)
        except LaneLost:
            raise WaitAndRetry("another replay is going on; wait for its end and try again") from None
        finally:
            await counter.discard()
    return report


async def _batches(letters: AsyncIterator[DeadLetter]) -> AsyncIterator[list[DeadLetter]]:
    batch: list[DeadLetter] = []
    async for letter in letters:
        batch.append(letter)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _going_out(
    letters: Iterable[DeadLetter], edits: Sequence[Edit], prefix: str, report: Report
) -> dict[str, Outbound]:
    going = {}
    for letter in letters:
        try:
            going[letter.id] = again(letter, edits, prefix)
        except NotReplayable as error:
            report.skipped += 1
            if len(report.why) < WHY_LIMIT:
                report.why.append(f"{letter.id}: {error}")
    return going
