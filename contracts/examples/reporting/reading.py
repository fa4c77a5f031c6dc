"""Reads both topics, whole partitions of them, from where the database says; only what is committed."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from contracts.examples.reporting.errors import Mend
from contracts.examples.reporting.messages import TOPICS, Place, Positions, Read, understood

BATCH_MESSAGES = 500
BATCH_SECONDS = 1.0
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 30.0
"""So often it is looked whether partitions were added."""
PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT}  # noqa: SLF001
"""The client goes on trying by itself."""
LEADERLESS = {KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}
"""For a moment after a topic was created, or a broker was lost."""

Resume = Callable[[Sequence[Place]], Positions]
"""Tells where to go on in these partitions."""
_log = logging.getLogger("reporting.kafka")


class Reader:
    """Both topics. `resume` is asked at the start, and again when there are more partitions."""

    def __init__(self, servers: str, prefix: str, resume: Resume) -> None:
        self._names = {prefix + name: name for name in TOPICS}
        self._resume = resume
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": f"{prefix}reporting",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "check.crcs": True,
                "reconnect.backoff.ms": 1000,
            },
            logger=_log,
        )
        self._ends: dict[Place, int] = {}
        self._unread: set[Place] = set()
        self._places: list[Place] = []

    @property
    def is_at_end(self) -> bool:
        """Whether all was read that was there at the start."""
        return not self._unread

    def batch(self) -> list[Read]:
        """What comes next; nothing where nothing does for a second. Raises Mend, and KafkaException."""
        self._look_for_partitions()
        reads = []
        for message in self._consumer.consume(BATCH_MESSAGES, BATCH_SECONDS):
            if message.error():
                self._note(message)
            else:
                reads.append(self._read(message))
        return reads

    def start(self) -> None:
        """Go to where the database says, in every partition. Raises Mend, and KafkaException."""
        self._places = self._found()
        positions = self._resume(self._places)
        starts = []
        for place in self._places:
            first, end = self._watermarks(TopicPartition(*place))
            if positions[place] > end:
                raise Mend(_ahead(place, positions[place], end))
            starts.append(TopicPartition(*place, max(first, positions[place])))
            self._ends[place] = end
            if starts[-1].offset < end:
                self._unread.add(place)
        self._consumer.assign(starts)
        self._look_at = time.monotonic() + LOOK_AGAIN_SECONDS

    def close(self) -> None:
        """Leave the brokers. What the client has not said of them by now is no news."""
        _log.disabled = True
        self._consumer.close()

    def _look_for_partitions(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_AGAIN_SECONDS
        try:
            found = self._found()
        except (Mend, KafkaException) as error:
            _log.warning("%s", error)
            return
        if found != self._places:
            self.start()

    def _found(self) -> list[Place]:
        return [(name, number) for name in self._names for number in self._numbers(name)]

    def _numbers(self, name: str) -> list[int]:
        found = self._consumer.list_topics(name, timeout=ANSWER_SECONDS).topics[name]
        if found.error or not found.partitions:
            why = found.error.str() if found.error else "has no partitions"
            raise Mend(f"topic {name}: {why}; see REPORTING_TOPIC_PREFIX, and `ratchet topics create`")
        return sorted(found.partitions)

    def _watermarks(self, place: TopicPartition) -> tuple[int, int]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                first, end = self._consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
            except KafkaException as error:
                if error.args[0].code() not in LEADERLESS or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                return int(first), int(end)

    def _read(self, message: Any) -> Read:
        place = message.topic(), message.partition()
        if message.offset() >= self._ends[place] - 1:
            self._unread.discard(place)
        said = understood(self._names[message.topic()], message.key(), message.value())
        return Read(*place, message.offset(), said)

    def _note(self, message: Any) -> None:
        """The end of a partition is told as an error."""
        code = message.error().code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._unread.discard((message.topic(), message.partition()))
        elif code not in PASSING:
            raise KafkaException(message.error())


def _ahead(place: Place, position: int, end: int) -> str:
    topic, partition = place
    return (
        f"{topic}, partition {partition}, ends at {end}, but REPORTING_DATABASE_URL has read it to {position} already: "
        "they do not belong together; begin with an empty database"
    )
