"""Kafka's default partitioner."""

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=16384)
def partition_of(key: bytes, partitions: int) -> int:
    """Where a key belongs. A batch has several messages of a key, and changes with the same."""
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions
