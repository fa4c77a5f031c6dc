"""An asyncio event loop in virtual time: nothing waits, the clock jumps to the next timer."""

import asyncio
import heapq
from asyncio import base_events
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")
MOST_STEPS = 2_000_000
"""A run that takes more has lost its way: something spins."""


class VirtualLoop(base_events.BaseEventLoop):
    """Runs what is ready in order; when nothing is, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual = 0.0
        self._steps = 0

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        scheduled, ready = self._scheduled, self._ready  # type: ignore[attr-defined]
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
                heapq.heappop(scheduled)._scheduled = False
            if not scheduled:
                raise AssertionError("everything waits for something that never comes")
            self._virtual = max(self._virtual, scheduled[0]._when)
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self._virtual):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                ready.append(handle)
            else:
                self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
        self._steps += 1
        assert self._steps < MOST_STEPS, "the run does not end"

    def _process_events(self, _: Any) -> None:
        raise AssertionError("there is no outside")

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector that would have to be woken."""


def run(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """Run to the end in a loop of its own."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.set_exception_handler(lambda *_: None)  # garbage of a run that is over: nobody waits for what it says
        asyncio.set_event_loop(None)
        loop.close()
