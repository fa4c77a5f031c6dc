r"""Lets header names that are not UTF-8 through aiokafka.

Kafka takes any bytes as a header's name; aiokafka's reader decodes them strictly, fails the poll, and would fail on the
same message for ever: one such message would stop a lane. `install` gives its fetcher batches that, where that happens,
are read again by aiokafka's own reader in Python, with names decoded leniently. Undecodable bytes become `\\xff`.
"""

from collections.abc import Iterator
from typing import Any, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


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
    """aiokafka's MemoryRecords, of such batches."""

    def __init__(self, data: bytes) -> None:
        self._records = _MemoryRecordsPy(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> Any:
        raw = self._records._next_slice  # noqa: SLF001
        batch = self._records.next_batch()
        return _Batch(batch, raw) if raw is not None and isinstance(batch, DefaultRecordBatch) else batch


def install() -> None:
    """From now on, in this process."""
    fetcher.MemoryRecords = _Records
