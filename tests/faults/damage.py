"""Damages messages on their way from a broker to a worker, so that their batch's checksum does not fit."""

import random
import re
import struct
from collections.abc import Iterator

FETCH = 1
"""Kafka's number of the request for messages."""
IN_A_VALUE = re.compile(rb'"message_id"')


class Damage:
    """What is done to all connections: off until `one_in` says which share of the answers with messages is damaged."""

    def __init__(self) -> None:
        self.one_in = 0
        self.done = 0
        """So many answers were damaged."""
        self._chance = random.Random(1)

    def hits(self) -> bool:
        """Whether this one is damaged."""
        hit = self.one_in > 0 and self._chance.randrange(self.one_in) == 0
        self.done += hit
        return hit

    def place(self, places: list[int]) -> int:
        """Which byte flips."""
        return self._chance.choice(places)


class Conversation:
    """One connection of Kafka's protocol: knows which answers are to requests for messages."""

    def __init__(self, damage: Damage) -> None:
        self._damage = damage
        self._asked, self._answered = bytearray(), bytearray()
        self._fetches: set[int] = set()

    def ask(self, chunk: bytes) -> bytes:
        """Passes as it is."""
        for frame in _frames(self._asked, chunk):
            number, _, correlation = struct.unpack_from(">hhi", frame, 4)
            if number == FETCH:
                self._fetches.add(correlation)
        return chunk

    def answer(self, chunk: bytes) -> bytes:
        """Whole answers, damaged or not; nothing as long as one is not whole."""
        return b"".join(map(self._passed, _frames(self._answered, chunk)))

    def _passed(self, frame: bytearray) -> bytearray:
        (correlation,) = struct.unpack_from(">i", frame, 4)
        if correlation in self._fetches:
            self._fetches.discard(correlation)
            places = [found.start() for found in IN_A_VALUE.finditer(frame)]
            if places and self._damage.hits():
                frame[self._damage.place(places)] ^= 0xFF
        return frame


def _frames(buffer: bytearray, chunk: bytes) -> Iterator[bytearray]:
    """What is whole by now; each begins with its length."""
    buffer += chunk
    while len(buffer) >= 4 and len(buffer) >= (length := 4 + int.from_bytes(buffer[:4])):
        frame = buffer[:length]
        del buffer[:length]
        yield frame
