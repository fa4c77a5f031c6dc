"""Whose turn it is among the lanes of a worker.

They prepare one batch at a time: there is one core to decide on, and more than one would take memory. And only the lane
whose turn comes next reads a whole batch ahead. A small batch, which is soon done, waits for other small ones only.
"""

import asyncio
from typing import NamedTuple

SMALL_BATCH_MESSAGES = 1000


def is_large(messages: int) -> bool:
    """More than a small batch."""
    return messages > SMALL_BATCH_MESSAGES


class Line:
    """Of lanes that want to read ahead, each by the event that wakes its reading. The first one may."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Event] = []

    def ask(self, room: asyncio.Event) -> bool:
        """Whether it may by now; otherwise it stands in line."""
        if room not in self._waiting:
            self._waiting.append(room)
        return self._waiting[0] is room

    def leave(self, room: asyncio.Event) -> None:
        """Its batch was cut, or is no more."""
        if room in self._waiting:
            self._waiting.remove(room)
            if self._waiting:
                self._waiting[0].set()


class Turns(NamedTuple):
    """What the lanes of a worker share. `ahead`: who wants to read ahead, in line; the locks: to prepare a batch."""

    ahead: Line
    small: asyncio.Lock
    large: asyncio.Lock

    @classmethod
    def of_a_worker(cls) -> "Turns":
        """Nobody has one."""
        return cls(Line(), asyncio.Lock(), asyncio.Lock())

    def to_prepare(self, messages: int) -> asyncio.Lock:
        """So many together."""
        return self.large if is_large(messages) else self.small
