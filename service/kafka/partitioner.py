"""Kafka's default partitioner."""

from functools import lru_cache

from aiokafka.partitioner import murmur2

from service.lanes.bounds import KEY_BYTES


def partition_of(key: bytes, partitions: int) -> int:
    """Where a key belongs."""
    return _kept(key, partitions) if len(key) <= KEY_BYTES else _partition_of(key, partitions)


def _partition_of(key: bytes, partitions: int) -> int:
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions


_kept = lru_cache(maxsize=16384)(_partition_of)
"""A batch has several messages of a key, and changes with the same."""
