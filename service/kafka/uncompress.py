"""The payload of a compressed record batch, piece by piece: a sender decides how long it is, not what memory it takes.

A megabyte of zstd may say a gigabyte of spaces. What is read at a time is bounded, and so is what is kept of a record.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping

import lz4.frame
import zstandard
from aiokafka.codec import snappy_decode
from aiokafka.errors import CorruptRecordException

PIECE_BYTES = 64 * 1024
NUMBER_BITS = 63
WINDOW_BYTES = 128 * 1024 * 1024
"""What a zstd frame may ask for; no level of compression takes more unless told to."""


def _gzip(data: bytes) -> Iterator[bytes]:
    while data:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            piece = member.decompress(data, PIECE_BYTES)
            data = member.unconsumed_tail
            if not (piece or data or member.eof):
                raise CorruptRecordException("it ends in the middle of its gzip data")
            yield piece
        data = member.unused_data


def _snappy(data: bytes) -> Iterator[bytes]:
    yield snappy_decode(data)  # 21 times as long at most


def _lz4(data: bytes) -> Iterator[bytes]:
    while data:
        frame = lz4.frame.LZ4FrameDecompressor()
        while not frame.eof:
            piece = frame.decompress(data, PIECE_BYTES)
            data = b""
            if not (piece or frame.eof):
                raise CorruptRecordException("it ends in the middle of its lz4 data")
            yield piece
        data = frame.unused_data or b""


def _zstd(data: bytes) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES)
    with decompressor.stream_reader(data, read_across_frames=True) as reader:
        while piece := reader.read(PIECE_BYTES):
            yield piece


_CODECS: Mapping[int, Callable[[bytes], Iterator[bytes]]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
"""By the number that a batch's attributes have."""


class Uncompressed:
    """Reads an uncompressed payload from its beginning to its end."""

    def __init__(self, codec: int, data: bytes) -> None:
        if codec not in _CODECS:
            raise CorruptRecordException(f"codec {codec} is not known here")
        self._pieces = _CODECS[codec](data)
        self._buffer = bytearray()

    def has(self, size_bytes: int) -> bool:
        """Whether so many bytes are still to come."""
        while len(self._buffer) < size_bytes:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._buffer += piece
        return True

    def rest(self) -> bytes:
        """All that is still to come."""
        for piece in self._pieces:
            self._buffer += piece
        return self.take(len(self._buffer))

    def take(self, size_bytes: int) -> bytes:
        """The next so many bytes."""
        if not self.has(size_bytes):
            raise CorruptRecordException("it ends in the middle of a record")
        taken = bytes(self._buffer[:size_bytes])
        del self._buffer[:size_bytes]
        return taken

    def skip(self, size_bytes: int) -> None:
        """Pass the next so many bytes without keeping them."""
        while size_bytes > len(self._buffer):
            size_bytes -= len(self._buffer)
            self._buffer.clear()
            if not self.has(1):
                raise CorruptRecordException("it ends in the middle of a record")
        del self._buffer[:size_bytes]

    def varint(self) -> tuple[int, bytes]:
        """A number, zigzag-encoded in up to ten bytes, and these bytes."""
        read = bytearray()
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            read.append(byte)
            number |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return (number >> 1) ^ -(number & 1), bytes(read)
            if shift > NUMBER_BITS:
                raise CorruptRecordException("a number in it is longer than ten bytes")
