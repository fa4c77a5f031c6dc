"""How far the group is behind, lane by lane, and whether that is a reason to act: Burrow's rules over a few samples.

Burrow (LinkedIn's lag checker) judges a window of commits instead of a threshold of messages: lag is fine as long as
the consumer gets on. Kafka does not tell when a commit was made, so the window is made of samples taken here:

    ok       some sample shows no lag, or the lane commits and its lag falls
    warning  the lane commits, but its lag has not fallen once in the window
    stalled  there is lag, and nothing was committed in the window though the group has members
    stopped  there is lag, nothing was committed, and the group has no members
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from msgspec import Struct

from contracts.topics import CONSUMED
from service import topics
from service.errors import FixConfiguration
from service.settings import Settings

Status = Literal["ok", "warning", "stalled", "stopped"]
SEVERITY: tuple[Status, ...] = ("ok", "warning", "stalled", "stopped")
PEEK_SECONDS = 5.0
"""For reading the oldest messages that wait."""
EMPTY = {"Empty", "Dead"}


class LaneSample(NamedTuple):
    """One lane at one instant, over all its topics."""

    committed: int
    lag_messages: int
    lag_seconds: float


class Sample(NamedTuple):
    """All lanes at one instant. `members`: whether anybody consumes."""

    at: float
    members: bool
    lanes: Mapping[int, LaneSample]


class LaneLag(Struct, frozen=True):
    """What the window says of a lane, or of all. `trend`: messages per second, negative while it catches up."""

    lane: int | None
    status: Status
    lag_messages: int
    lag_seconds: float
    trend: float


def judge(window: Sequence[Sample]) -> list[LaneLag]:
    """Each lane by Burrow's rules, and the sum as the last one, as bad as the worst."""
    newest = window[-1]
    lanes = [_judge_lane(number, window) for number in sorted(newest.lanes)]
    return [
        *lanes,
        LaneLag(
            None,
            max((lane.status for lane in lanes), key=SEVERITY.index, default="ok"),
            sum(lane.lag_messages for lane in lanes),
            max((lane.lag_seconds for lane in lanes), default=0.0),
            round(sum(lane.trend for lane in lanes), 1),
        ),
    ]


def _judge_lane(number: int, window: Sequence[Sample]) -> LaneLag:
    seen = [sample.lanes[number] for sample in window if number in sample.lanes]
    seconds = window[-1].at - window[0].at
    trend = (seen[-1].lag_messages - seen[0].lag_messages) / seconds if seconds else 0.0
    status = _status(seen, members=window[-1].members)
    return LaneLag(number, status, seen[-1].lag_messages, round(seen[-1].lag_seconds, 1), round(trend, 1))


def _status(seen: Sequence[LaneSample], *, members: bool) -> Status:
    if any(sample.lag_messages == 0 for sample in seen):
        return "ok"
    if seen[-1].committed == seen[0].committed:
        return "stalled" if members else "stopped"
    falls = any(later.lag_messages < earlier.lag_messages for earlier, later in pairwise(seen))
    return "ok" if falls else "warning"


class LagReader:
    """Reads samples of a group. A context manager. Raises FixConfiguration where Kafka does not answer."""

    def __init__(self, settings: Settings, group: str | None = None) -> None:
        self._settings = settings
        self._group = settings.group if group is None else group
        options = settings.kafka_options()
        self._admin = AIOKafkaAdminClient(**options)
        self._consumer = AIOKafkaConsumer(
            **options,
            isolation_level="read_committed",
            enable_auto_commit=False,
            check_crcs=settings.kafka_check_crcs,
            max_partition_fetch_bytes=64 * 1024,
        )

    async def __aenter__(self) -> Self:
        settings = self._settings
        try:
            async with asyncio.timeout(settings.start_seconds):
                await self._admin.start()
                await self._consumer.start()
                counts = await topics.partitions(settings)
                self._partitions = [
                    TopicPartition(settings.topic_prefix + topic.name, number)
                    for topic in CONSUMED
                    for number in range(counts[topic.name])
                ]
                self._consumer.assign(self._partitions)  # once: aiokafka may not stop right after another one
                self._consumer.pause(*self._partitions)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.__aexit__()
            raise FixConfiguration(
                f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: no Kafka answers at {settings.kafka_bootstrap_servers} "
                f"({type(error).__name__})"
            ) from None
        except FixConfiguration:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def sample(self) -> Sample:
        """How things stand now."""
        committed, ends, beginnings, members = await asyncio.gather(
            self._committed(),
            self._consumer.end_offsets(self._partitions),
            self._consumer.beginning_offsets(self._partitions),
            self._has_members(),
        )
        start = {tp: max(committed.get(tp, 0), beginnings[tp]) for tp in self._partitions}
        waiting = {tp: ends[tp] - start[tp] for tp in self._partitions if ends[tp] > start[tp]}
        oldest = await self._oldest(start, ends, waiting)
        now = time.time()
        lanes: dict[int, LaneSample] = {}
        for number in {tp.partition for tp in self._partitions}:
            own = [tp for tp in self._partitions if tp.partition == number]
            lanes[number] = LaneSample(
                committed=sum(start[tp] for tp in own),
                lag_messages=sum(waiting[tp] for tp in own if tp in oldest),
                lag_seconds=max((now - oldest[tp] / 1000 for tp in own if tp in oldest), default=0.0),
            )
        return Sample(now, members, lanes)

    async def _committed(self) -> dict[TopicPartition, int]:
        try:
            offsets = await self._admin.list_consumer_group_offsets(self._group)
        except GroupCoordinatorNotAvailableError:
            return {}  # nobody has ever consumed anything here
        return {tp: committed.offset for tp, committed in offsets.items() if committed.offset >= 0}

    async def _has_members(self) -> bool:
        try:
            described = await self._admin.describe_consumer_groups([self._group])
        except GroupCoordinatorNotAvailableError:
            return False
        return any(group[2] not in EMPTY for response in described for group in response.groups)

    async def _oldest(
        self,
        start: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        waiting: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """When the oldest message that waits was sent, in milliseconds. What ends a transaction is no message."""
        oldest: dict[TopicPartition, int] = {}
        for tp in waiting:
            self._consumer.seek(tp, start[tp])
        self._consumer.resume(*waiting)
        open_ones = set(waiting)
        deadline = time.monotonic() + PEEK_SECONDS
        while open_ones and time.monotonic() < deadline:
            for tp, records in (await self._consumer.getmany(*open_ones, timeout_ms=200)).items():
                oldest.setdefault(tp, records[0].timestamp)
            for tp in list(open_ones):
                if tp in oldest or await self._consumer.position(tp) >= ends[tp]:
                    open_ones.discard(tp)
        self._consumer.pause(*waiting)
        return oldest


async def watch(reader: LagReader, window_seconds: float, every_seconds: float) -> AsyncIterator[list[LaneLag]]:
    """What the latest window says, after each sample, for ever."""
    window: list[Sample] = []
    while True:
        window.append(await reader.sample())
        while window[-1].at - window[0].at > window_seconds:
            window.pop(0)
        yield judge(window)
        await asyncio.sleep(every_seconds)
