r"""What aiokafka reads of record batches, made to lose nothing and to say what it cannot read.

- A batch that cannot be unpacked (wrong checksum, unknown codec, damage) raises Unreadable with its offsets. What comes
  before it in the same fetch is given first: aiokafka would throw that away with the error.
- Kafka takes any bytes as a header's name. aiokafka decodes them strictly, and would fail on the same message for ever:
  such a batch is read again by aiokafka's own reader in Python, with names decoded leniently (`\xff`).

`install` gives aiokafka's fetcher these classes, in this process. A test on real Kafka guards each of them.
"""

import struct
from collections.abc import Iterator
from typing import Any, SupportsIndex

from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from service.errors import FixConfiguration, Unreadable

_MAGIC_BYTE, _DELTA_BYTE, _HEADER_BYTES = 16, 23, 27
_MAGIC = 2
"""Of the batches that Kafka has written since 2017."""
WHY_LIMIT = 200


class _LenientBytes(bytearray):
    """Slices of it decode whatever they hold."""

    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        found = super().__getitem__(place)
        return _LenientBytes(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _Batch:
    """A record batch that reads itself again, slowly, when it cannot be read strictly."""

    def __init__(self, strict: Any, raw: memoryview) -> None:
        self._strict = strict
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strict, name)

    def __next__(self) -> Any:
        return next(self._strict)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._strict))
        except UnicodeDecodeError:
            lenient = _DefaultRecordBatchPy(self._raw)
            lenient._maybe_uncompress()  # noqa: SLF001  # this module reaches into aiokafka by purpose
            lenient._buffer = _LenientBytes(lenient._buffer)  # noqa: SLF001
            return iter(lenient)


class _Records:
    """aiokafka's MemoryRecords, of such batches. `end`: behind the last batch that was begun, 0 where nobody knows."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._begun = False
        self._records = _MemoryRecordsPy(data)
        self.end = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def has_next(self) -> bool:
        """Also where the first batch is longer than what was fetched: Kafka gives that one whole, so it is damaged."""
        return bool(self._records.has_next()) or (len(self._data) > 0 and not self._begun)

    def next_batch(self) -> Any:
        self._begun = True
        raw = self._records._next_slice  # noqa: SLF001
        if raw is None:
            raise CorruptRecordException("it is longer than what Kafka gave of it")
        self.end = _end(raw)
        batch = self._records.next_batch()
        return _Batch(batch, raw) if isinstance(batch, DefaultRecordBatch) else batch


def _end(raw: memoryview) -> int:
    """The offset behind a batch, as its header has it."""
    if len(raw) < _HEADER_BYTES or raw[_MAGIC_BYTE] != _MAGIC:
        return 0
    (base,), (delta,) = struct.unpack_from(">q", raw), struct.unpack_from(">i", raw, _DELTA_BYTE)
    return int(base + delta + 1)


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is not typed
    """What was fetched of a partition, record by record."""

    def _unpack_records(self) -> Iterator[Any]:
        begin = self.next_fetch_offset
        try:
            yield from super()._unpack_records()
        except Exception as error:
            if self.next_fetch_offset == begin:
                why = f"{type(error).__name__}: {error}"[:WHY_LIMIT]
                end = max(self._records.end, begin + 1)
                raise Unreadable(self._tp.topic, self._tp.partition, begin, end, why) from error
            # What came before is handed over; the next fetch begins with what cannot be read.


def install() -> None:
    """From now on, in this process. Raises FixConfiguration where a codec that producers use cannot be read."""
    missing = [
        codec
        for codec, has in (("gzip", has_gzip), ("snappy", has_snappy), ("lz4", has_lz4), ("zstd", has_zstd))
        if not has()
    ]
    if missing:
        raise FixConfiguration(
            f"messages compressed with {', '.join(missing)} could not be read: install the Python package cramjam"
        )
    fetcher.MemoryRecords = _Records
    fetcher.PartitionRecords = _PartitionRecords
