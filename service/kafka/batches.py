r"""What aiokafka reads of record batches, made to lose nothing, to say what it cannot read, and to be bounded.

- A batch that cannot be unpacked (wrong checksum, unknown codec, damage) raises Unreadable with its offsets. What comes
  before it in the same fetch is given first: aiokafka would throw that away with the error.
- Kafka takes any bytes as a header's name. aiokafka decodes them strictly, and would fail on the same message for ever:
  such a batch is read again by aiokafka's own reader in Python, with names decoded leniently (`\xff`).
- A batch that is long once it is uncompressed is read record by record; of a record that no lane would take, only key
  and size. What is handed over at a time is bounded in bytes, too.

`install` gives aiokafka's fetcher these classes, in this process. A test on real Kafka guards each of them.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple, SupportsIndex

from aiokafka.codec import has_snappy
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from service.errors import FixConfiguration, Unreadable
from service.kafka.uncompress import Uncompressed
from service.lanes.bounds import HEADER_BYTES, KEY_BYTES, MESSAGE_BYTES

_MAGIC_BYTE, _ATTRIBUTES_BYTE, _DELTA_BYTE, _HEADER_BYTES = 16, 22, 23, 61
_MAGIC, _CODEC = 2, 0x07
"""Of the batches that Kafka has written since 2017; the bits of the attributes that tell the codec."""
WHY_LIMIT = 200
UNCOMPRESSED_BYTES = 1024 * 1024
"""Of a batch, at once."""
HANDED_BYTES = 2 * 1024 * 1024
"""Of a partition, at once, with what a message takes besides."""
BESIDES_BYTES = 100


class _LenientBytes(bytearray):
    """Slices of it decode whatever they hold."""

    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        found = super().__getitem__(place)
        return _LenientBytes(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class TooLong(bytes):
    """In place of a value that was not read."""

    size_bytes: int


class _Record(NamedTuple):
    """As aiokafka's own, of which nothing but the key was read."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: TooLong
    headers: tuple[()] = ()
    checksum: None = None


class _Batch:
    """A record batch, `strict` as aiokafka reads it."""

    def __init__(self, strict: Any, raw: memoryview) -> None:
        self._strict = strict
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strict, name)

    def __next__(self) -> Any:
        return next(self._strict)

    def __iter__(self) -> Iterator[Any]:
        codec = self._raw[_ATTRIBUTES_BYTE] & _CODEC
        if not codec:
            return _all_of(self._raw)
        payload = Uncompressed(codec, bytes(self._raw[_HEADER_BYTES:]))
        header = bytearray(self._raw[:_HEADER_BYTES])
        header[_ATTRIBUTES_BYTE] &= ~_CODEC
        if payload.has(UNCOMPRESSED_BYTES):
            return _one_by_one(bytes(header), payload, self._strict.next_offset - self._strict.base_offset)
        return _all_of(bytes(header) + payload.rest())


def _all_of(raw: bytes | memoryview) -> Iterator[Any]:
    """The records of a batch that is not compressed; slowly where it cannot be read strictly."""
    try:
        return iter(list(DefaultRecordBatch(raw)))
    except UnicodeDecodeError:
        return iter(_lenient(bytes(raw)))


def _lenient(raw: bytes) -> Any:
    batch = _DefaultRecordBatchPy(raw)
    batch._buffer = _LenientBytes(batch._buffer)  # noqa: SLF001  # this module reaches into aiokafka by purpose
    return batch


def _one_by_one(header: bytes, payload: Uncompressed, most: int) -> Iterator[Any]:
    """The records of a batch whose payload is not in memory; at most as many as it has offsets."""
    for _ in range(most):
        if not payload.has(1):
            return
        size_bytes, length = payload.varint()
        if size_bytes > MESSAGE_BYTES + BESIDES_BYTES:
            yield _too_long(header, payload, size_bytes)
        else:
            batch = _lenient(header + length + payload.take(size_bytes))
            yield batch._read_msg()  # noqa: SLF001


def _too_long(header: bytes, payload: Uncompressed, size_bytes: int) -> _Record:
    """Reads the beginning of a record, passes the rest of it."""
    head = _DefaultRecordBatchPy(header)
    passed = len(payload.take(1))  # attributes, which are not used
    numbers = []
    for _ in range(3):
        number, read = payload.varint()
        numbers.append(number)
        passed += len(read)
    timestamp_delta, offset_delta, key_bytes = numbers
    key = None
    if 0 <= key_bytes <= KEY_BYTES:
        key = payload.take(key_bytes)
        passed += key_bytes
    payload.skip(size_bytes - passed)
    value = TooLong()
    value.size_bytes = size_bytes
    appended = head.timestamp_type == head.LOG_APPEND_TIME
    timestamp = head.max_timestamp if appended else head.first_timestamp + timestamp_delta
    return _Record(head.base_offset + offset_delta, timestamp, head.timestamp_type, key, value)


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


class _FetchResult(fetcher.FetchResult):  # type: ignore[misc]  # aiokafka is not typed
    """What was fetched of a partition, handed over some at a time."""

    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            return []
        handed, size_bytes = [], 0
        for message in self._partition_records:
            handed.append(message)
            size_bytes += _size_bytes(message)
            if size_bytes >= HANDED_BYTES or len(handed) == max_records:
                self._update_position()
                return handed
        self._update_position()
        self._partition_records = None
        return handed


def _size_bytes(message: Any) -> int:
    """What it took to read it."""
    value_bytes = message.value.size_bytes if isinstance(message.value, TooLong) else len(message.value or b"")
    return len(message.key or b"") + value_bytes + BESIDES_BYTES + HEADER_BYTES * len(message.headers)


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
    if not has_snappy():
        raise FixConfiguration("messages compressed with snappy could not be read: install the Python package cramjam")
    fetcher.FetchResult = _FetchResult
    fetcher.MemoryRecords = _Records
    fetcher.PartitionRecords = _PartitionRecords
