"""Kafka as seen from outside: fills topics, looks how far a group has come, counts what came out.

By librdkafka, which takes little of the processor from those that are measured.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Self

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.benchmarks.workloads import Message

ANSWER_SECONDS = 20.0
QUIET_SECONDS = 30.0
QUIET: Mapping[str, int] = {"log_level": 0}
"""What it tells of while servers start is no news."""
NOT_YET = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.GROUP_ID_NOT_FOUND,
    KafkaError._WAIT_COORD,
    KafkaError._TIMED_OUT,
}
Positions = Mapping[tuple[str, int], int]


def produce(address: str, prefix: str, messages: Iterable[Message]) -> None:
    """Send, in order within a key, and wait until all is acknowledged by all."""
    producer = Producer(
        {
            "bootstrap.servers": address,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 20,
            **QUIET,
        }
    )
    for message in messages:
        while True:
            try:
                producer.produce(prefix + message.topic, message.value, message.key)
            except BufferError:
                producer.poll(0.05)
            else:
                break
    waiting = producer.flush(ANSWER_SECONDS * 3)
    assert not waiting, f"{waiting} messages were not acknowledged"


class Group:
    """How far a consumer group has come with some topics. Opened as a context."""

    def __init__(self, address: str, group: str, topics: Iterable[str], partitions: int) -> None:
        # a reader of uncommitted messages is told the offsets at once, not only once no transaction is open
        options = {"bootstrap.servers": address, "group.id": group, "isolation.level": "read_uncommitted"}
        self._consumer = Consumer({**options, **QUIET})
        self._name, self._admin = group, AdminClient({"bootstrap.servers": address, **QUIET})
        self._partitions = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
        self.known = 0
        """How many messages it has done with, as last known."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def waiting(self) -> int:
        """Messages in the topics."""
        return sum(self._consumer.get_watermark_offsets(each, ANSWER_SECONDS)[1] for each in self._partitions)

    def is_joined(self, members: int) -> bool:
        """Whether so many members, or more, have been told what is theirs."""
        try:
            described = self._admin.describe_consumer_groups([self._name])[self._name].result(ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in NOT_YET:
                raise
            return False
        return described.state == ConsumerGroupState.STABLE and len(described.members) >= members

    def committed(self) -> int:
        """Messages that the group has done with, as last known: nobody may know while a new group finds its broker."""
        try:
            found = self._consumer.committed(self._partitions, ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in NOT_YET:
                raise
        else:
            self.known = sum(max(0, partition.offset) for partition in found)
        return self.known


def ends(address: str, topics: Iterable[str], partitions: int) -> dict[tuple[str, int], int]:
    """Where the topics' partitions end."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "nobody", **QUIET})
    try:
        return {
            (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), ANSWER_SECONDS)[1]
            for topic in topics
            for number in range(partitions)
        }
    finally:
        consumer.close()


def count(address: str, since: Positions) -> int:
    """Messages from there to the end that a `read_committed` reader sees."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "nobody",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            **QUIET,
        }
    )
    consumer.assign([TopicPartition(topic, number, offset) for (topic, number), offset in since.items()])
    at_end: set[tuple[str, int]] = set()
    counted = 0
    deadline = time.monotonic() + QUIET_SECONDS
    try:
        while len(at_end) < len(since):
            assert time.monotonic() < deadline, "Kafka gives no messages"
            for message in consumer.consume(10_000, 0.2):
                deadline = time.monotonic() + QUIET_SECONDS
                error = message.error()
                if error is None:
                    counted += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    at_end.add((message.topic(), message.partition()))
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()
    return counted
