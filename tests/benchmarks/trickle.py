"""A steady trickle: how long from the LMS's send until a `read_committed` reader has the change."""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Iterator, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.benchmarks import results as measures
from tests.benchmarks.backlog import OUTBOUND, define
from tests.benchmarks.results import Results
from tests.benchmarks.servers import Servers
from tests.benchmarks.subjects import Subject
from tests.benchmarks.workloads import Message, attendance
from tests.stack.servers import stop_process
from tests.stack.service import World

NAME = "steady trickle"
PER_SECOND = 200
WARM_UP_MESSAGES = 2 * PER_SECOND
RECORDS = 2000
ANSWER_SECONDS = 60.0


class Trickle:
    """Sends messages that each change something, and notes when the change is there."""

    def __init__(self, world: World, messages: int) -> None:
        self._world = world
        self._messages = list(_messages(WARM_UP_MESSAGES + messages))
        self._sent_at: dict[str, float] = {}
        self._changed_at: dict[str, float] = {}
        self._all_there = asyncio.Event()

    async def run(self) -> list[float]:
        """Milliseconds, one per message after the first ones."""
        reader = asyncio.create_task(self._read())
        try:
            await self._send()
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._all_there.wait()
        finally:
            reader.cancel()
            await asyncio.wait([reader])
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
            consumer.assign([TopicPartition(name, number) for name in topics for number in range(4)])
            async for change in consumer:
                self._changed_at.setdefault(json.loads(change.value)["caused_by"], time.perf_counter())
                if len(self._changed_at) == len(self._messages):
                    self._all_there.set()


def _messages(count: int) -> Iterator[Message]:
    """Half the minutes, then all of them, for records drawn at random: each changes its step's percent."""
    chance = random.Random(2)
    numbers = [0] * RECORDS
    for _ in range(count):
        record = chance.randrange(RECORDS)
        numbers[record] += 1
        yield attendance(record, 2 * numbers[record], minutes=60 if numbers[record] % 2 == 0 else 30)


def measure(servers: Servers, subject: Subject, messages: int, results: Results) -> None:
    """One round of one subject."""
    world = servers.world()
    world.create_topics()
    asyncio.run(define(world))
    worker = subject.start(world)
    try:
        latencies_ms = asyncio.run(_run(world, messages))
    finally:
        stop_process(worker.process, grace_seconds=30)
        servers.drop(world.name)
    results.latencies_ms[subject.name] += latencies_ms
    results.add(NAME, subject.name, measures.MEDIAN, statistics.median(latencies_ms))
    results.add(NAME, subject.name, measures.P99, _percentile(latencies_ms, 99))


async def _run(world: World, messages: int) -> list[float]:
    return await Trickle(world, messages).run()


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
