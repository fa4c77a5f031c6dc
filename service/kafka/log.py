"""One lane's view of Kafka: aiokafka's consumer as FastStream runs it, and a transactional producer of its own.

`transactional.id` is `<group>-<lane>`: aiokafka's offset commit in a transaction carries no group generation, so the
id must follow the partition, not the process; taking it over fences whoever had it.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import OffsetAndMetadata

from contracts.topics import LANE_PROGRESS
from service import metrics
from service.errors import LaneLost, WaitAndRetry
from service.kafka.batches import TooLong
from service.kafka.clients import CALL_SECONDS
from service.kafka.frames import NO_FRAMES, Frames, framed
from service.kafka.lane_progress import fence_message, key_of, last_progress, progress_message
from service.kafka.partitioner import partition_of
from service.kafka.rights import REFUSALS, refusal
from service.lanes.failpoint import reach
from service.lanes.ports import Handed, Outbound, Received
from service.lanes.progress import Done, Offsets, Progress, read_done

log = logging.getLogger(__name__)


READ_MILLISECONDS = 1000
"""What has come is handed over at once; this is only how often a lane looks up while nothing comes."""


class KafkaLog:
    """The Log of one lane. Topics are named without the prefix on this side, with it on Kafka's."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        topics: Iterable[str],
        lane: int,
        group: str,
        prefix: str,
        make_producer: Callable[[str | None], AIOKafkaProducer],
        make_reader: Callable[[], AIOKafkaConsumer],
        frames: Frames = NO_FRAMES,
    ) -> None:
        self._consumer = consumer
        self._partitions = {topic: TopicPartition(prefix + topic, lane) for topic in topics}
        self._lane = lane
        self._group = group
        self._prefix = prefix
        self._make_producer = make_producer
        self._make_reader = make_reader
        self._frames = frames
        self._fence = 0
        """Where its own progress ends, and that of whoever had the lane before begins."""
        self._producer: AIOKafkaProducer | None = None
        self._stopping: set[asyncio.Task[None]] = set()

    async def fence(self) -> None:
        await self.discard()
        producer = self._make_producer(f"{self._group}-{self._lane}")
        self._producer = producer
        try:
            async with _kafka_answers("initialise the transactional producer", "WRITE"):
                await producer.start()
            await self._pass_earlier_commits()
            async with _kafka_answers("fence earlier owners", "WRITE"):
                await producer.begin_transaction()
                self._fence = await self._send_one(producer, fence_message(self._group, self._lane))
                await producer.commit_transaction()
        except (WaitAndRetry, LaneLost):
            await self.discard()
            raise

    async def _pass_earlier_commits(self) -> None:
        """What the group has committed is told only up to what its brokers know to be kept by all of them.

        After all of them were away at once that may be nothing, as if somebody had deleted the group, for as long as
        they need to find each other. Kafka answers this offset, which is never committed, once it and all before it are
        known to be kept.
        """
        producer, place = self._fenced(), next(iter(self._partitions.values()))
        async with _kafka_answers("say what the group has committed", "WRITE"):
            await producer.begin_transaction()
            await producer.send_offsets_to_transaction({place: OffsetAndMetadata(0, "")}, self._group)
            await producer.abort_transaction()

    def _fenced(self) -> AIOKafkaProducer:
        assert self._producer is not None, "a lane fences before it publishes"
        return self._producer

    async def committed(self, fallback: Offsets) -> Progress:
        told, stands = await self._told(), await self._stands()
        if stands and not told:  # a group that somebody has deleted, or all brokers were away since `fence`
            await self._pass_earlier_commits()
            told = await self._told()
        done = {**told, **{topic: one for topic, one in stands.items() if topic in self._partitions}} if told else {}
        if done != told:
            log.warning("the group's committed offsets are not where the lane stands", extra={"lane": self._lane})
            await self.publish((), done)
        beginning = {} if len(done) == len(self._partitions) else await self.beginning()
        return {
            topic: done[topic] if topic in done else Done.up_to(fallback.get(topic) or beginning[topic])
            for topic in self._partitions
        }

    async def _told(self) -> Progress:
        """As the group's coordinator has it: empty where nothing is committed."""
        async with _kafka_answers("read the committed offsets"):
            # aiokafka's own `committed` keeps the metadata to itself.
            found = await self._consumer._coordinator.fetch_committed_offsets(  # noqa: SLF001
                list(self._partitions.values())
            )
        known = {topic: found[place] for topic, place in self._partitions.items() if place in found}
        return {topic: read_done(one.offset, one.metadata) for topic, one in known.items() if one.offset >= 0}

    async def _stands(self) -> Progress:
        """As the lane's own transactions say: empty where none ever did."""
        place = TopicPartition(self._prefix + LANE_PROGRESS.name, self._lane)
        key = key_of(self._group, self._lane)
        async with _kafka_answers("read where the lane stands"):
            return await last_progress(self._make_reader, place, key, self._fence) or {}

    async def beginning(self) -> dict[str, int]:
        async with _kafka_answers("read where the topics begin"):
            beginnings = await self._consumer.beginning_offsets(list(self._partitions.values()))
        return {topic: int(beginnings[partition]) for topic, partition in self._partitions.items()}

    async def end(self) -> dict[str, int]:
        async with _kafka_answers("read where the topics end"):
            ends = await self._consumer.end_offsets(list(self._partitions.values()))
        return {topic: int(ends[partition]) for topic, partition in self._partitions.items()}

    def open(self, start: Offsets) -> None:
        try:
            for topic, offset in start.items():
                self._consumer.seek(self._partitions[topic], offset)
            self._consumer.resume(*self._partitions.values())
        except IllegalStateError:
            raise LaneLost("the group has given the lane to another worker") from None

    def close(self) -> None:
        if self.is_owned():
            self._consumer.pause(*self._partitions.values())

    async def read(self) -> Handed:
        """This lane's partitions alone: what fails to be read takes nothing of other lanes with it."""
        start = await self._positions()
        async with _kafka_answers("hand over messages"):
            polled = await self._consumer.getmany(*self._partitions.values(), timeout_ms=READ_MILLISECONDS)
        messages = {
            topic: [_received(topic, record) for record in polled.get(partition, ())]
            for topic, partition in self._partitions.items()
        }
        return Handed(start, await self._positions(), messages)

    async def _positions(self) -> dict[str, int]:
        try:
            async with _kafka_answers("say where a topic is read"):
                return {topic: await self._consumer.position(tp) for topic, tp in self._partitions.items()}
        except IllegalStateError:
            raise LaneLost("the group has given the lane to another worker") from None

    def is_owned(self) -> bool:
        return bool(self._consumer.assignment().issuperset(self._partitions.values()))

    async def unread(self) -> int:
        """From the positions, not the committed offsets: what ends a transaction takes an offset but is no message."""
        unread = 0
        for partition in self._partitions.values():
            if not self.is_owned():
                return 0
            stable = self._consumer.last_stable_offset(partition)
            if stable is not None:
                unread += max(0, stable - await self._consumer.position(partition))
        return unread

    async def publish(self, messages: Iterable[Outbound], done: Progress) -> None:
        producer = self._fenced()
        offsets = {self._partitions[topic]: OffsetAndMetadata(one.offset, one.metadata) for topic, one in done.items()}
        try:
            async with _kafka_answers("publish a batch", "WRITE"):
                await producer.begin_transaction()
                mine = progress_message(self._group, self._lane, done)
                await self._send_all(producer, chain(messages, [mine]))
                await producer.send_offsets_to_transaction(offsets, self._group)
                reach("before_commit")
                await producer.commit_transaction()
        except (WaitAndRetry, LaneLost):
            metrics.TRANSACTIONS.labels("aborted").inc()
            await self.discard()
            raise
        metrics.TRANSACTIONS.labels("committed").inc()

    async def send(self, topic: str, messages: Iterable[Outbound]) -> dict[int, int]:
        """Rare enough for a producer of its own each time, which no earlier failure has spoilt."""
        producer = self._make_producer(None)
        try:
            async with _kafka_answers(f"send to {topic}", "WRITE"):
                await producer.start()
                return {to.partition: last for to, last in (await self._send_all(producer, messages)).items()}
        finally:
            self._stop_later(producer)

    async def has_dealt_with(self, topic: str, sent: Mapping[int, int]) -> bool:
        partitions = [TopicPartition(self._prefix + topic, number) for number in sent]
        async with _kafka_answers("read the committed offsets"):
            committed = await asyncio.gather(*map(self._consumer.committed, partitions))
        return all((offset or 0) > last for offset, last in zip(committed, sent.values(), strict=True))

    async def discard(self) -> None:
        """Stopping flushes without a bound, so nothing waits for it: the successor's epoch makes it harmless."""
        if self._producer is not None:
            self._stop_later(self._producer)
            self._producer = None

    def _stop_later(self, producer: AIOKafkaProducer) -> None:
        stopping = asyncio.create_task(_stop(producer))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def _send_all(self, producer: AIOKafkaProducer, messages: Iterable[Outbound]) -> dict[TopicPartition, int]:
        """Everything is acknowledged when this returns, with the last offset in each; a key's messages keep order.

        Batches rather than `send`: a dead letter may have neither key nor value.
        """
        partitions: dict[str, int] = {}
        batches: dict[TopicPartition, BatchBuilder] = {}
        sent: dict[TopicPartition, list[asyncio.Future[Any]]] = defaultdict(list)

        async def send(to: TopicPartition) -> None:
            sent[to].append(await producer.send_batch(batches[to], to.topic, partition=to.partition))
            reach("after_first_send")
            await asyncio.sleep(0)  # heartbeats need not wait for all of a large batch

        for message in messages:
            if message.topic not in partitions:
                partitions[message.topic] = len(await producer.partitions_for(self._prefix + message.topic))
            number = self._destination(message, partitions[message.topic])
            to = TopicPartition(self._prefix + message.topic, number)
            if to not in batches:
                batches[to] = producer.create_batch()
            if not self._append(batches[to], message):
                await send(to)
                batches[to] = producer.create_batch()
                assert self._append(batches[to], message), "the first message always fits"
        for to in batches:
            await send(to)
        await asyncio.gather(*chain.from_iterable(sent.values()))
        # a batch is told of by its first record
        return {to: sent[to][-1].result().offset + batch.record_count() - 1 for to, batch in batches.items()}

    async def _send_one(self, producer: AIOKafkaProducer, message: Outbound) -> int:
        """Its offset, once it is acknowledged."""
        assert message.partition is not None, "it is the lane's own"
        batch = producer.create_batch()
        self._append(batch, message)
        sent = await producer.send_batch(batch, self._prefix + message.topic, partition=message.partition)
        return int((await sent).offset)

    def _append(self, batch: BatchBuilder, message: Outbound) -> bool:
        value = framed(message, self._frames)
        added = batch.append(key=message.key, value=value, timestamp=None, headers=list(message.headers))
        return added is not None

    def _destination(self, message: Outbound, partitions: int) -> int:
        if message.partition is not None:
            return message.partition
        if message.key is None:
            return self._lane % partitions
        return partition_of(message.key, partitions)


def _received(topic: str, record: ConsumerRecord[Any, Any]) -> Received:
    place = topic, record.partition, record.offset, record.timestamp, record.key
    if isinstance(record.value, TooLong):
        return Received(*place, None, (), record.value.size_bytes)
    return Received(*place, record.value, record.headers)


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        await producer.stop()
    except KafkaError as error:
        log.info("a discarded producer ended", extra={"error": repr(error)})


@asynccontextmanager
async def _kafka_answers(doing: str, operation: str = "READ") -> AsyncIterator[None]:
    """Bounds a call and turns Kafka's errors into ours. An unknown outcome is an error like any other."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            yield
    except (ProducerFenced, InvalidProducerEpoch):
        raise LaneLost("another worker has taken the lane's transactional id over") from None
    except TimeoutError:
        raise WaitAndRetry(f"Kafka did not {doing} within {CALL_SECONDS:.0f} s") from None
    except REFUSALS as error:
        raise WaitAndRetry(refusal(error, topic=operation)) from None
    except (KafkaError, OSError) as error:
        raise WaitAndRetry(f"Kafka could not {doing}: {error!r}") from None
