"""What goes out, read from positions that a reader keeps: every change of the two output topics, as it is committed."""

import json
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import permutations
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from contracts.framing import split_frame
from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from service.kafka import batches, topics
from service.kafka.clients import make_reader, started
from service.settings import Settings

OUT = (STEP_COMPLETION_CHANGED, COURSE_COMPLETION_CHANGED)
NAMES = {topic.short: topic.name for topic in OUT}
Place = tuple[str, int]
"""Short name of the topic, and partition."""
POLL_SECONDS = 5.0
FETCH_BYTES = 256 * 1024
"""Of a partition at once: many may read at the same time."""
HELD = 1000
"""So many changes of a partition are held before others are waited for."""
HOLD_SECONDS = 0.3
"""Kafka commits what belongs together partition by partition: so long a new change waits for one before it."""
RECENT_SECONDS = 10.0
PATIENCE = 100
"""So often in a row it is waited: a transaction that hangs must not hold up what others have said for ever."""


class Out(NamedTuple):
    """A change as it stands in Kafka, without a schema's id; `offset` is that of the next one in its place."""

    topic: str
    place: Place
    offset: int
    key: bytes | None
    value: bytes | None


class _Held(NamedTuple):
    out: Out
    sequence: int
    at: float
    """When it was written, by its worker's clock (seconds since 1970)."""
    came: float
    """When it was read, by the clock that only goes forward."""


class _Line:
    """What is read of one partition and not given out yet."""

    def __init__(self) -> None:
        self.held: deque[_Held] = deque()
        self.is_at_end = False
        self._sequences: defaultdict[bytes | None, deque[int]] = defaultdict(deque)

    def add(self, held: _Held) -> None:
        """Behind the others."""
        self.held.append(held)
        self._sequences[held.out.key].append(held.sequence)

    def take(self) -> Out:
        """The first."""
        out = self.held.popleft().out
        self._sequences[out.key].popleft()
        if not self._sequences[out.key]:
            del self._sequences[out.key]
        return out

    def comes_before(self, other: _Held) -> bool:
        """Whether something of the same record is held, or may still come, that is to go before this."""
        sequences = self._sequences.get(other.out.key)
        if sequences and sequences[0] < other.sequence:
            return True
        if self.held and self.held[-1].at > other.at:
            return False
        is_recent = time.time() - other.at < RECENT_SECONDS
        return not self.is_at_end or (is_recent and time.monotonic() - other.came < HOLD_SECONDS)


async def read(settings: Settings, positions: Mapping[Place, int]) -> AsyncIterator[list[Out]]:
    """Changes from these positions on, for ever; an empty list at first, and every few seconds without any.

    Those of a record come in the order of their sequence, although the topics are two: a record has the same partition
    in both. Where a position is gone it begins at what is left, and where there is none, at the beginning. Raises
    FixConfiguration where Kafka does not answer.
    """
    batches.install()
    places = await _places(settings)
    lines = {tp: _Line() for tp in places}
    consumer = make_reader(settings, max_partition_fetch_bytes=FETCH_BYTES)
    async with started(settings, consumer):
        consumer.assign(list(places))
        begins, ends = await consumer.beginning_offsets(list(places)), await consumer.end_offsets(list(places))
        for tp, place in places.items():
            consumer.seek(tp, min(max(positions.get(place, 0), begins[tp]), ends[tp]))
        yield []
        in_vain = 0
        while True:
            waiting = any(line.held for line in lines.values())
            polled = await _polled(consumer, lines, HOLD_SECONDS if waiting else POLL_SECONDS)
            for tp, records in polled.items():
                for record in records:
                    lines[tp].add(_held(places[tp], record))
            if polled or waiting:
                await _look_at_ends(consumer, lines)
            outs = list(_ordered(lines, anyhow=in_vain > PATIENCE))
            in_vain = 0 if outs or not waiting else in_vain + 1
            if outs or not (polled or waiting):
                yield outs


async def _polled(
    consumer: AIOKafkaConsumer, lines: Mapping[TopicPartition, _Line], seconds: float
) -> Mapping[TopicPartition, list[ConsumerRecord[Any, Any]]]:
    """Of those partitions of which enough is held, nothing more, as long as others may bring it forward."""
    wanted = [tp for tp, line in lines.items() if len(line.held) < HELD] or list(lines)
    polled: Mapping[TopicPartition, list[ConsumerRecord[Any, Any]]] = await consumer.getmany(
        *wanted, timeout_ms=int(seconds * 1000)
    )
    return polled


async def _look_at_ends(consumer: AIOKafkaConsumer, lines: Mapping[TopicPartition, _Line]) -> None:
    ends = await consumer.end_offsets(list(lines))
    for tp, line in lines.items():
        line.is_at_end = await consumer.position(tp) >= ends[tp]


def _held(place: Place, record: ConsumerRecord[Any, Any]) -> _Held:
    value = None if record.value is None else split_frame(record.value)[1]
    out = Out(NAMES[place[0]], place, record.offset + 1, record.key, value)
    sequence = json.loads(value or b"{}").get("sequence", 0)
    return _Held(out, sequence, record.timestamp / 1000, time.monotonic())


def _ordered(lines: Mapping[TopicPartition, _Line], *, anyhow: bool) -> Iterator[Out]:
    """What can go out now; `anyhow`: whatever is missing.

    Only the lines with the same partition number are about the same records.
    """
    by_number: defaultdict[int, list[_Line]] = defaultdict(list)
    for tp, line in lines.items():
        by_number[tp.partition].append(line)
    for together in by_number.values():
        moved = True
        while moved:
            moved = False
            for line, *others in permutations(together):
                while line.held and (anyhow or not any(other.comes_before(line.held[0]) for other in others)):
                    yield line.take()
                    moved = True


async def positions_now(settings: Settings) -> dict[Place, int]:
    """Where what comes next will stand."""
    places, consumer = await _places(settings), make_reader(settings)
    async with started(settings, consumer):
        ends = await consumer.end_offsets(list(places))
        return {places[tp]: end for tp, end in ends.items()}


async def _places(settings: Settings) -> dict[TopicPartition, Place]:
    counts = await topics.partitions(settings)
    return {
        TopicPartition(settings.topic_prefix + topic.name, number): (topic.short, number)
        for topic in OUT
        for number in range(counts[topic.name])
    }
