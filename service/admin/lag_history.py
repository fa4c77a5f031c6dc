"""How far the lanes were behind over the last hour: sampled by a process that runs on, kept in its memory."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from service.admin.lag import LaneLag, judge
from service.errors import FixConfiguration, WaitAndRetry
from service.kafka.dead_letters import read
from service.kafka.lag import Sample, open_lag_reader
from service.settings import Settings

log = logging.getLogger(__name__)
EVERY_SECONDS = 10.0
KEPT = 360
"""An hour of samples."""
WINDOW = 6
"""So many of the newest are judged by."""
LATELY_SECONDS = 600.0
LETTERS_EVERY_SECONDS = 60.0


class Point(NamedTuple):
    """All lanes together at an instant (seconds since 1970)."""

    at: float
    lag_messages: int
    lag_seconds: float


class LagHistory:
    """Made by `sampling`."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self.away: str | None = None
        """Why there is no newer sample."""
        self.flood: int | None = None
        """How many dead letters came lately, where that is a flood."""

    def add(self, sample: Sample) -> None:
        """One more."""
        self._samples.append(sample)
        self.away = None

    def committed_since(self, at: float) -> int:
        """How many offsets were dealt with since an instant (seconds since 1970), about."""
        seen = [sum(lane.committed for lane in one.lanes.values()) for one in self._samples if one.at >= at]
        return seen[-1] - seen[0] if seen else 0

    def judged(self) -> list[LaneLag]:
        """Each lane by the newest samples, and the sum as the last one; empty before the first sample."""
        return judge(list(self._samples)[-WINDOW:]) if self._samples else []

    def points(self) -> Sequence[Point]:
        """The last hour."""
        return [
            Point(
                sample.at,
                sum(lane.lag_messages for lane in sample.lanes.values()),
                max((lane.lag_seconds for lane in sample.lanes.values()), default=0.0),
            )
            for sample in self._samples
        ]


@asynccontextmanager
async def sampling(settings: Settings) -> AsyncIterator[LagHistory]:
    """A history that grows while the context lasts."""
    history = LagHistory()
    tasks = [asyncio.create_task(look(settings, history)) for look in (_sample, _watch_letters)]
    try:
        yield history
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sample(settings: Settings, history: LagHistory) -> None:
    while True:
        try:
            async with open_lag_reader(settings) as reader:
                while True:
                    history.add(await reader.sample())
                    await asyncio.sleep(EVERY_SECONDS)
        except (FixConfiguration, WaitAndRetry, OSError) as error:
            history.away = str(error)
            log.warning("the lag is not known", extra={"error": str(error)})
        await asyncio.sleep(EVERY_SECONDS)


async def _watch_letters(settings: Settings, history: LagHistory) -> None:
    """More dead letters than RATCHET_FLOOD_PERCENT of what was dealt with lately are a flood."""
    while True:
        try:
            since = time.time() - LATELY_SECONDS
            letters = 0
            async for _ in read(settings, int(since * 1000)):
                letters += 1
            done = max(history.committed_since(since), settings.flood_window_messages)
            history.flood = letters if letters * 100 > settings.flood_percent * done else None
        except (FixConfiguration, WaitAndRetry, OSError) as error:
            log.warning("the dead letters are not known", extra={"error": str(error)})
        await asyncio.sleep(LETTERS_EVERY_SECONDS)
