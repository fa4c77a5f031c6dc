"""Somebody downstream, who sees changes come."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from tests.stack.service import Serving, World

OUT = (STEP_COMPLETION_CHANGED, COURSE_COMPLETION_CHANGED)
SAMPLE_SECONDS = 0.2


class Watch:
    """A `read_committed` reader downstream, and an eye on the workers' memory."""

    def __init__(self, world: World, workers: Callable[[], Sequence[Serving]]) -> None:
        self._world = world
        self._workers = workers
        self.arrivals: list[tuple[float, float]] = []
        """When each poll got changes, and when the newest of them was written."""
        self.peak_memory_bytes = 0

    async def run(self) -> None:
        """Until cancelled."""
        world = self._world
        consumer = AIOKafkaConsumer(bootstrap_servers=world.broker.address, isolation_level="read_committed")
        await consumer.start()
        try:
            topics = [world.prefix + topic.name for topic in OUT]
            consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(world.partitions)])
            await consumer.seek_to_beginning()
            while True:
                got = await consumer.getmany(timeout_ms=int(SAMPLE_SECONDS * 1000))
                if got:
                    now = time.time()
                    written = (record.timestamp / 1000 for records in got.values() for record in records)
                    # A worker whose clock is ahead does not know when it wrote.
                    self.arrivals.append((now, max((at for at in written if at <= now), default=0.0)))
                self._look_at_memory()
        finally:
            await consumer.stop()

    def _look_at_memory(self) -> None:
        for worker in self._workers():
            with suppress(OSError, StopIteration):
                status = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
                kilobytes = next(line for line in status if line.startswith("VmRSS")).split()[1]
                self.peak_memory_bytes = max(self.peak_memory_bytes, int(kilobytes) * 1024)

    def forget(self) -> None:
        """What was seen belongs to what is over."""
        self.arrivals.clear()
        self.peak_memory_bytes = 0

    def first_change_after(self, instant: float) -> float | None:
        """When the first change that was written after the instant could be read."""
        return next((arrived for arrived, written in self.arrivals if written >= instant), None)

    def longest_pause_seconds(self, begin: float) -> float:
        """Without any change arriving, since the instant."""
        times = [begin, *(arrived for arrived, _ in self.arrivals if arrived >= begin)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
