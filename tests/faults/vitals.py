"""Memory and file descriptors of workers over time, and whether they leak."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import linear_regression
from typing import NamedTuple

from tests.stack.service import Serving

LOOK_SECONDS = 5.0
STARTED_SECONDS = 15.0
"""What a process holds before is of its start."""
WARM_UP_SECONDS = 300.0
"""Until then a worker's memory grows to what its work takes."""
JUDGED_SECONDS = 900.0
"""A life that goes on for less than this after it has warmed up tells no trend."""
GROWTH_LIMIT_MB = 32.0
GROWTH_LIMIT_MB_PER_HOUR = 32.0
"""More than both, as a straight line through the time after the warm-up has it, is a leak."""
MEMORY_LIMIT_MB = 512.0
FILES_LIMIT = 150
"""A worker has some 30, one that has all lanes twice as many."""
FILES_GROWTH_LIMIT = 25.0
MIB = 1024 * 1024


class Sample(NamedTuple):
    """A worker at an instant, in seconds since it was first seen."""

    at: float
    memory_mb: float
    files: int


class Trend(NamedTuple):
    """A straight line through what was measured after the warm-up."""

    seconds: float
    memory_mb_per_hour: float
    files_per_hour: float

    @property
    def memory_mb(self) -> float:
        """Grown by so much."""
        return self.memory_mb_per_hour * self.seconds / 3600

    @property
    def files(self) -> float:
        """Grown by so many."""
        return self.files_per_hour * self.seconds / 3600


class Life(NamedTuple):
    """One worker's process, from its start to its end."""

    pid: int
    samples: list[Sample]

    @property
    def seconds(self) -> float:
        """How long it was seen."""
        return self.samples[-1].at

    def trend(self) -> Trend | None:
        """None where it did not live long enough."""
        warm = [sample for sample in self.samples if sample.at >= WARM_UP_SECONDS]
        if not warm or self.seconds - WARM_UP_SECONDS < JUDGED_SECONDS:
            return None
        hours = [sample.at / 3600 for sample in warm]
        memory = linear_regression(hours, [sample.memory_mb for sample in warm]).slope
        files = linear_regression(hours, [sample.files for sample in warm]).slope
        return Trend(warm[-1].at - warm[0].at, memory, files)

    def leaks(self) -> list[str]:
        """What it holds too much of, in words."""
        found = []
        peak_mb, peak_files = self.peak()
        if peak_mb > MEMORY_LIMIT_MB:
            found.append(f"worker {self.pid}: {peak_mb:.0f} MB of memory")
        if peak_files > FILES_LIMIT:
            found.append(f"worker {self.pid}: {peak_files} file descriptors")
        trend = self.trend()
        if trend is not None and min(trend.memory_mb, trend.memory_mb_per_hour) > GROWTH_LIMIT_MB:
            found.append(f"worker {self.pid}: memory grows by {trend.memory_mb_per_hour:.0f} MB an hour")
        if trend is not None and trend.files > FILES_GROWTH_LIMIT:
            found.append(f"worker {self.pid}: file descriptors grow by {trend.files_per_hour:.0f} an hour")
        return found

    def peak(self) -> tuple[float, int]:
        """The most memory in MB, the most file descriptors."""
        return max(sample.memory_mb for sample in self.samples), max(sample.files for sample in self.samples)


class Vitals:
    """Looks at all workers, again and again."""

    def __init__(self, workers: Callable[[], Sequence[Serving]]) -> None:
        self._workers = workers
        self._begun: dict[int, float] = {}
        self.lives: dict[int, Life] = {}
        """By process id."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Once."""
        for worker in self._workers():
            pid, now = worker.process.pid, time.monotonic()
            with suppress(OSError, StopIteration):  # it has ended
                memory_mb, files = _memory_mb(pid), sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
                age = now - self._begun.setdefault(pid, now)
                if age >= STARTED_SECONDS:
                    self.lives.setdefault(pid, Life(pid, [])).samples.append(Sample(age, memory_mb, files))

    def leaks(self) -> list[str]:
        """Of all workers."""
        return [found for life in self.lives.values() for found in life.leaks()]


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) * 1024 / MIB
