"""Messages of a lane that were taken from its inbox and are not committed, and since when the lane has been behind."""

from collections.abc import Sequence
from typing import NamedTuple

from service.lanes.ports import Received

NEVER = 2**62
"""Timestamp of no message."""


class _Piece(NamedTuple):
    """Taken together. `oldest_at`: milliseconds since 1970."""

    messages: int
    oldest_at: int


class InHand:
    """In order of arrival."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._dropped_at = NEVER

    @property
    def messages(self) -> int:
        """How many."""
        return sum(piece.messages for piece in self._pieces)

    @property
    def oldest_at(self) -> int:
        """Timestamp of the oldest, or of the oldest that was dropped and not read again; NEVER without any."""
        return min(self._dropped_at, *(piece.oldest_at for piece in self._pieces), NEVER)

    def take(self, messages: Sequence[Received]) -> None:
        """One more piece."""
        oldest_at = min((message.timestamp for message in messages), default=NEVER)
        self._pieces.append(_Piece(len(messages), oldest_at))

    def commit(self, pieces: int) -> None:
        """The first ones are done."""
        del self._pieces[:pieces]

    def drop(self, waiting_at: int) -> None:
        """All is to be read again, also what has waited since then in the inbox."""
        self._dropped_at = min(self.oldest_at, waiting_at)
        self._pieces = []

    def read_again(self) -> None:
        """What was dropped is at hand once more, or was none."""
        self._dropped_at = NEVER
