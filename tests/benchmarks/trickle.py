"""A steady trickle: how long from the LMS's send until a `read_committed` reader has the change."""

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from service.kafka.partitioner import partition_of
from tests.benchmarks import results as measures
from tests.benchmarks.backlog import OUTBOUND, define
from tests.benchmarks.outside import produce
from tests.benchmarks.results import Results
from tests.benchmarks.servers import Servers
from tests.benchmarks.subjects import Subject
from tests.benchmarks.workloads import Message, attendance, record_key
from tests.stack.service import World

NAME = "steady trickle"
BESIDE_HOT = "steady trickle, 100,000 facts about one record beside it"
HOT_MESSAGES = 100_000
HOT_RECORD = RECORDS = 2000
"""A record that the trickle does not speak of, and how many it does."""
PARTITIONS = 4
PER_SECOND = 200
WARM_UP_MESSAGES = 2 * PER_SECOND
ANSWER_SECONDS = 60.0


class Trickle:
    """Sends messages that each change something, and notes when the change is there.

    `hot_messages`: so many more, about one record, as soon as it begins; all records are in that one's partition then.
    """

    def __init__(self, world: World, messages: int, hot_messages: int = 0) -> None:
        self._world = world
        records = [
            record for record in range(RECORDS) if not hot_messages or _partition(record) == _partition(HOT_RECORD)
        ]
        self._messages = list(_messages(WARM_UP_MESSAGES + messages, records))
        self._hot_messages = hot_messages
        self._sent_at: dict[str, float] = {}
        self._changed_at: dict[str, float] = {}
        self._all_there = asyncio.Event()

    async def run(self) -> list[float]:
        """Milliseconds, one per message after the first ones."""
        reader, hot = asyncio.create_task(self._read()), asyncio.create_task(self._send_hot())
        try:
            await self._send()
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._all_there.wait()
            await hot
        finally:
            reader.cancel()
            await asyncio.wait([reader, hot])
        in_order = list(self._sent_at)[WARM_UP_MESSAGES:]
        return [(self._changed_at[each] - self._sent_at[each]) * 1000 for each in in_order]

    async def _send(self) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self._world.broker.address, acks="all") as producer:
            first, *rest = self._messages
            await self._send_one(producer, first)
            async with asyncio.timeout(ANSWER_SECONDS):
                while not self._changed_at:  # until the worker is up
                    await asyncio.sleep(0.01)
            begin = time.perf_counter()
            for number, message in enumerate(rest):
                await asyncio.sleep(max(0.0, begin + number / PER_SECOND - time.perf_counter()))
                await self._send_one(producer, message)

    async def _send_hot(self) -> None:
        while len(self._changed_at) < WARM_UP_MESSAGES:
            await asyncio.sleep(0.01)
        hot = (attendance(HOT_RECORD, number, minutes=30 + 30 * (number % 2)) for number in range(self._hot_messages))
        await asyncio.to_thread(produce, self._world.broker.address, self._world.prefix, hot)

    async def _send_one(self, producer: AIOKafkaProducer, message: Message) -> None:
        self._sent_at[json.loads(message.value)["message_id"]] = time.perf_counter()
        await producer.send(self._world.prefix + message.topic, message.value, key=message.key.encode())

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._world.broker.address,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        async with consumer:
            topics = [self._world.prefix + name for name in OUTBOUND]
            consumer.assign([TopicPartition(name, number) for name in topics for number in range(PARTITIONS)])
            async for change in consumer:
                cause = json.loads(change.value)["caused_by"]
                if cause in self._sent_at:
                    self._changed_at.setdefault(cause, time.perf_counter())
                if len(self._changed_at) == len(self._messages):
                    self._all_there.set()


def _partition(record: int) -> int:
    return partition_of(record_key(record).encode(), PARTITIONS)


def _messages(count: int, records: Sequence[int]) -> Iterator[Message]:
    """Half the minutes, then all of them, for records drawn at random: each changes its step's percent."""
    chance = random.Random(2)
    numbers = Counter[int]()
    for _ in range(count):
        record = chance.choice(records)
        numbers[record] += 1
        yield attendance(record, 2 * numbers[record], minutes=60 if numbers[record] % 2 == 0 else 30)


def measure(servers: Servers, subject: Subject, messages: int, results: Results, hot_messages: int = 0) -> None:
    """One round of one subject."""
    world = servers.world()
    world.create_topics()
    asyncio.run(define(world))
    worker = subject.start(world)
    try:
        latencies_ms = asyncio.run(_run(world, messages, hot_messages))
    finally:
        worker.stop()
        servers.drop(world.name)
    name = BESIDE_HOT if hot_messages else NAME
    if not hot_messages:
        results.latencies_ms[subject.name] += latencies_ms
    results.add(name, subject.name, measures.MEDIAN, statistics.median(latencies_ms))
    results.add(name, subject.name, measures.P99, _percentile(latencies_ms, 99))


async def _run(world: World, messages: int, hot_messages: int) -> list[float]:
    return await Trickle(world, messages, hot_messages).run()


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
