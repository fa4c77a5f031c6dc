"""Workers whose clocks are wrong."""

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.situation import SESSION_SECONDS, WORKERS, Situation
from tests.stack.servers import free_port, start_process
from tests.stack.service import Serving, World

LAUNCHER = Path(__file__).with_name("clock.py")
SHIFTS_SECONDS = (600, -600, 0)
"""Twice what a `changed_at` may be ahead."""
FRESH = 0.02
"""This share of the inputs happened a moment ago, each time that they are sent."""
REFUSED = "changed_at_in_future"


class Shifted(Serving):
    """A running `ratchet serve` whose clock is so many seconds ahead."""

    def __init__(self, world: World, shift_seconds: int) -> None:
        self.port = free_port()
        self.log = world.folder / f"{world.name}-{self.port}.log"
        environment = {**world.settings, "RATCHET_HTTP_PORT": str(self.port)}
        self.process = start_process([sys.executable, str(LAUNCHER), str(shift_seconds)], self.log, environment)


async def apart(s: Situation) -> None:
    """One worker ten minutes ahead, one behind, one right; each dies, and its lanes pass to other clocks."""
    await s.stop_all()
    s.workers += [Shifted(s.world, shift) for shift in SHIFTS_SECONDS]
    await s.ready()
    for worker, shift in list(zip(s.workers, SHIFTS_SECONDS, strict=True)):
        await _say_what_happens_now(s)
        await s.feed(0.1)
        await s.stop(worker, signal.SIGKILL)
        await asyncio.sleep(SESSION_SECONDS + 2)
        s.workers.append(Shifted(s.world, shift))
        await s.ready()
    await _say_what_happens_now(s)
    await asyncio.sleep(2)
    await s.stop_all()
    s.start(WORKERS)
    await s.ready()


async def _say_what_happens_now(s: Situation) -> None:
    messages = s.workload.facts(round(FRESH * s.profile.inputs), datetime.now(UTC))
    s.fresh.update(message.value for message in messages)
    await s.send(messages)


async def account(s: Situation) -> None:
    """Who is far behind takes what happens now for a mistake of the sender, and says so: it is a dead letter."""
    refused = [value for value in await s.dead_letters(REFUSED) if value in s.fresh]
    s.workload.refuse(refused)
    s.notes.append(
        f"of {len(s.fresh)} facts of just now, {len(set(refused))} were {REFUSED} for the worker that is behind"
    )
