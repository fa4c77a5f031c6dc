"""The lanes of one worker: opened and closed as the consumer group assigns them, and watched."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import get_args

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from contracts.topics import CONSUMED
from service import metrics
from service.errors import FixConfiguration, RestartProcess, WaitAndRetry
from service.kafka import topics
from service.kafka.frames import NO_FRAMES, Frames
from service.kafka.log import KafkaLog
from service.kafka.partitioner import partition_of
from service.kafka.transactions import find_hanging
from service.lanes.bounds import Bounds
from service.lanes.flood import Flood
from service.lanes.health import FloodHealth, HangingTransaction, Health, State
from service.lanes.lane import Lane
from service.lanes.ports import Store
from service.lanes.preparing import Shared
from service.lanes.turns import Turns
from service.settings import Settings

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
PROBE_SECONDS = 5.0
"""How often broker and database are asked for a sign of life, and how long they may take to answer."""


class Lanes(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    """`consumer` gives the consumer once it is there; `make_producer` a producer with a transactional id, or none."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        partitions: int,
        consumer: Callable[[], AIOKafkaConsumer],
        make_producer: Callable[[str | None], AIOKafkaProducer],
        make_reader: Callable[[], AIOKafkaConsumer],
        clock: Callable[[], float] = time.time,
        frames: Frames = NO_FRAMES,
    ) -> None:
        self.by_number: dict[int, Lane] = {}
        self._partitions = partitions
        self._topics: str | None = None
        self._joined = False
        self._ends: dict[TopicPartition, int] = {}
        self._measured: set[int] = set()
        self._hanging: Sequence[HangingTransaction] = ()
        self._outages: dict[str, str | None] = {"kafka": None, "mongodb": None}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails with what a lane could not deal with: a setting to be mended, or a bug."""
        self._settings = settings
        self._store = store
        self._consumer = consumer
        self._make_producer = make_producer
        self._make_reader = make_reader
        self._frames = frames
        self._shared = Shared(
            Bounds(**settings.model_dump(include=set(Bounds._fields))),
            partial(partition_of, partitions=partitions),
            settings.topic_prefix,
            Flood(settings.flood_percent, settings.flood_window_messages),
            Turns.of_a_worker(),
            clock,
            settings.state_topic,
        )

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Close the lanes; the batches in hand may finish."""
        await self.close(sorted({partition.partition for partition in revoked}))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Open a lane for each partition number, once no other lane of this worker reads any more."""
        self._consumer().pause(*assigned)
        await self.close()
        numbers = sorted({place.partition for place in assigned if place.partition < self._partitions})
        shared = self._shared._replace(bounds=self._shared.bounds.shared_by(len(numbers)))
        for number in numbers:
            lane = Lane(number, self._make_log(number), self._store, shared)
            for task in lane.tasks:
                task.add_done_callback(partial(self._lane_ended, lane))
            self.by_number[number] = lane
        self._joined = True
        metrics.REBALANCES.inc()
        log.info("lanes assigned", extra={"lanes": sorted(self.by_number)})

    def _make_log(self, number: int) -> KafkaLog:
        names = [topic.name for topic in CONSUMED]
        group, prefix = self._settings.group, self._settings.topic_prefix
        makers = self._make_producer, self._make_reader
        return KafkaLog(self._consumer(), names, number, group, prefix, *makers, self._frames)

    def _lane_ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        """Libraries raise CancelledError, too: a lane that nobody has asked to end must not be missing unnoticed."""
        error = None if task.cancelled() else task.exception()
        if task.cancelled() and not lane.is_closing:
            error = RestartProcess(f"lane {lane.number} was cancelled, and nobody had asked it to end")
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def close(self, numbers: Sequence[int] | None = None) -> None:
        """Close these lanes, or all. Returns once they have ended, also where somebody else closes them already.

        Two lanes of one number would take each other's messages from the one consumer.
        """
        chosen = list(self.by_number) if numbers is None else numbers
        lanes = [self.by_number[number] for number in chosen if number in self.by_number]
        in_time = await asyncio.gather(*(lane.close(self._settings.shutdown_seconds) for lane in lanes))
        for lane in lanes:
            if self.by_number.get(lane.number) is lane:
                del self.by_number[lane.number]
        late = [lane.number for lane, is_done in zip(lanes, in_time, strict=True) if not is_done]
        if late:
            log.warning("lanes were closed before their batch was done: the next owner goes on", extra={"lanes": late})

    async def health(self) -> Health:
        """How the worker stands."""
        flood = self._shared.flood
        return Health(
            self._joined,
            self._outages,
            FloodHealth(flood.is_on, flood.unusable, flood.messages),
            [await lane.health() for _, lane in sorted(self.by_number.items())],
            self._hanging,
            self._topics,
        )

    async def keep_watch(self) -> None:
        """For as long as the worker works. Raises RestartProcess, FixConfiguration."""
        await asyncio.gather(self._probe(), self._watch())

    async def _probe(self) -> None:
        """Ask broker and database for a sign of life, again and again: an idle lane would not notice that they left."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            self._outages = {"kafka": await self._kafka_outage(), "mongodb": await self._mongodb_outage()}
            for name, outage in self._outages.items():
                metrics.OUTAGES.labels(name).set(outage is not None)
            if not self._outages["kafka"]:
                await self._look_for_hanging_transactions()
                await self._look_at_partitions()

    async def _look_at_partitions(self) -> None:
        """Those that were added while the worker runs are not read before all topics have as many."""
        try:
            problem = await topics.changed(self._settings, self._partitions)
        except FixConfiguration:
            return  # Kafka does not answer: the next probe tells
        if problem is not None and problem != self._topics:
            log.error("partitions were added to some topics only", extra={"problem": problem})
        self._topics = problem

    async def _look_for_hanging_transactions(self) -> None:
        """Where messages lie behind what can be read, and that has not moved since the last look."""
        consumer, was = self._consumer(), self._ends
        self._ends = {
            place: stable
            for place in consumer.assignment()
            if (stable := consumer.last_stable_offset(place)) is not None and stable < (consumer.highwater(place) or 0)
        }
        stuck = {place: offset for place, offset in self._ends.items() if was.get(place) == offset}
        known = {(one.topic, one.partition, one.offset): one for one in self._hanging}
        new = {place: offset for place, offset in stuck.items() if (*place, offset) not in known}
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                found = await find_hanging(self._settings, new)
        except (KafkaError, FixConfiguration, TimeoutError):
            return  # the next look tells
        for one in found:
            log.warning("a transaction hangs: its lane waits for its end", extra=one._asdict())
        still = [one for place, one in known.items() if stuck.get(TopicPartition(*place[:2])) == one.offset]
        self._hanging = [*still, *found]
        metrics.HANGING_TRANSACTIONS.set(len(self._hanging))

    async def _kafka_outage(self) -> str | None:
        consumer = self._consumer()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await consumer.end_offsets(list(consumer.assignment()))
        except TimeoutError:
            return f"Kafka did not answer within {PROBE_SECONDS:.0f} s"
        except KafkaError as error:
            return f"Kafka does not answer: {error!r}"
        return None

    async def _mongodb_outage(self) -> str | None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._store.check()
        except TimeoutError:
            return f"MongoDB did not answer within {PROBE_SECONDS:.0f} s"
        except WaitAndRetry as error:
            return str(error)
        return None

    async def _watch(self) -> None:
        """Keep the gauges; raise RestartProcess when a lane with lag has stood still: clients can stick."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            lanes = list(self.by_number.values())
            states = [lane.state for lane in lanes]
            for state in get_args(State):
                metrics.LANES.labels(state).set(states.count(state))
            for number in self._measured - set(self.by_number):
                metrics.forget_lane(number)  # it is somebody else's to tell now
            self._measured = set(self.by_number)
            for lane in lanes:
                lag_messages = await lane.lag_messages()
                metrics.LAG_MESSAGES.labels(lane.number).set(lag_messages)
                metrics.LAG_SECONDS.labels(lane.number).set(lane.lag_seconds())
                if lane.state == "open" and not lag_messages:
                    lane.active_at = time.monotonic()  # there was nothing to do
                still_seconds = time.monotonic() - lane.active_at
                if (lag_messages or lane.state != "open") and still_seconds > self._settings.stall_seconds:
                    raise RestartProcess(
                        f"lane {lane.number} ({lane.state}) has {lag_messages} messages waiting "
                        f"and did nothing for {still_seconds:.0f} s"
                    )
