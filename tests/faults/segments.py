"""Batches of messages in the files of a broker: where they are, what is in them, and a byte that flips."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from aiokafka.record.memory_records import MemoryRecords

from tests.stack.kafka import Node

LENGTH_BYTES = 12
"""The offset of a batch's first message, and the length of what follows."""
HEADER_BYTES = 61
ATTRIBUTES_BYTE, DELTA_BYTE = 21, 23
CODEC_BITS = 0b111
ZSTD = 4


class Stored(NamedTuple):
    """A batch in a file. Its messages have the offsets from `start` on, less than `end`."""

    file: Path
    position: int
    start: int
    end: int
    raw: bytes

    @property
    def values(self) -> list[bytes | None]:
        """Of its messages."""
        return [record.value for record in MemoryRecords(self.raw).next_batch()]

    @property
    def is_zstd(self) -> bool:
        """Whether its messages are compressed with that."""
        (attributes,) = struct.unpack_from(">h", self.raw, ATTRIBUTES_BYTE)
        return int(attributes) & CODEC_BITS == ZSTD

    def flip(self) -> None:
        """Change a byte in the middle of its messages. The broker must be down."""
        data = bytearray(self.file.read_bytes())
        data[self.position + (HEADER_BYTES + len(self.raw)) // 2] ^= 0xFF
        self.file.write_bytes(data)


def batches(node: Node, topic: str, partition: int) -> Iterator[Stored]:
    """Everything that the broker has of a partition, in order."""
    for file in sorted((node.folder / "data" / f"{topic}-{partition}").glob("*.log")):
        data, position = file.read_bytes(), 0
        while position + HEADER_BYTES <= len(data):
            start, length = struct.unpack_from(">qi", data, position)
            (delta,) = struct.unpack_from(">i", data, position + DELTA_BYTE)
            raw = data[position : position + LENGTH_BYTES + length]
            if length <= 0 or len(raw) < LENGTH_BYTES + length:
                return
            yield Stored(file, position, start, start + delta + 1, raw)
            position += len(raw)


def was_stopped_well(node: Node) -> bool:
    """Or the broker would look through its last segments when it starts, and cut them where they are damaged."""
    return (node.folder / "data" / ".kafka_cleanshutdown").exists()
