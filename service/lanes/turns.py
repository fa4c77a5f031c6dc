"""Whose turn it is among the lanes of a worker.

They prepare one batch at a time: there is one core to decide on, and more than one would take memory. And only the lane
whose turn comes next reads a whole batch ahead. A small batch, which is soon done, waits for other small ones only.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

SMALL_BATCH_MESSAGES = 1000


def is_large(messages: int) -> bool:
    """More than a small batch."""
    return messages > SMALL_BATCH_MESSAGES


class Turns(NamedTuple):
    """What the lanes of a worker share. `ahead`: who wants to read ahead, in line; the locks: to prepare a batch."""

    ahead: list["Ahead"]
    small: asyncio.Lock
    large: asyncio.Lock

    @classmethod
    def of_a_worker(cls) -> "Turns":
        """Nobody has one."""
        return cls([], asyncio.Lock(), asyncio.Lock())

    def to_prepare(self, messages: int) -> asyncio.Lock:
        """So many together."""
        return self.large if is_large(messages) else self.small


class Ahead:
    """A lane's place in the line of those who want to read ahead. `comes_first` is called when others have left."""

    def __init__(self, turns: Turns, comes_first: Callable[[], None]) -> None:
        self._line = turns.ahead
        self._comes_first = comes_first

    def ask(self) -> bool:
        """Whether it may by now; otherwise it stands in line."""
        if self not in self._line:
            self._line.append(self)
        return self._line[0] is self

    def leave(self) -> None:
        """The batch was cut, or is no more."""
        if self in self._line:
            self._line.remove(self)
            if self._line:
                self._line[0]._comes_first()  # noqa: SLF001
