"""One lane: partition p of every inbound topic, its records, its transactional producer. One owner at a time.

Theory of operation. Kafka and MongoDB share no transaction, so the input log serves as the redo log. A batch goes
through these steps, in this order:

    plan     how far the batch reaches is made durable, so that whoever comes after a crash repeats exactly this batch
    load     the records and courses it is about (beside the plan: nothing is written yet)
    decide   pure
    store    each record with its state *and* its pending changes, in one document, by compare-and-set
    publish  the pending changes caused by this batch, dead letters, rerouted messages and the input offsets, in one
             Kafka transaction

After any failure the lane goes back to the committed offsets and repeats. A record already stored answers "known" and
its pending changes go out again, this time in a transaction that commits. `take_over` fences earlier owners before it
reads where to start: their producer by its epoch, their plans by the lane's. The next batch is planned, loaded and
stored while the last one's transaction commits; transactions stay in order and a failure drops both.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from rules.values import Record
from service import metrics
from service.batch import (
    Clock,
    Letter,
    Work,
    accept_definitions,
    dead_letter,
    decide_record,
    going_out,
    rerouted,
    sort_out,
)
from service.errors import LaneLost, WaitAndRetry
from service.failpoint import reach
from service.ports import Log, Offsets, Outbound, Received, Store, StoredCourse, StoredRecord
from service.sweep import Sweep, request
from service.translate import Item, course_timeline, translate

log = logging.getLogger(__name__)

MICROSECONDS = 1_000_000


class Limits(NamedTuple):
    """Bounds of a lane; each is a setting."""

    batch_messages: int = 2000
    batch_bytes: int = 4 * 1024 * 1024
    new_facts_per_record: int = 200
    future_tolerance_seconds: int = 300
    idle_seconds: float = 1.0
    retry_seconds: float = 0.5
    retry_limit_seconds: float = 10.0


class Batch(NamedTuple):
    """Messages from `start` (inclusive) to `end` (exclusive) of every topic, in order of arrival."""

    messages: tuple[Received, ...]
    start: Offsets
    end: Offsets


class Prepared(NamedTuple):
    """A stored batch, ready to be published."""

    end: Offsets
    messages: int
    outbound: tuple[Outbound, ...]


class Lane:
    """Runs until it is closed or lost. `offer` takes what Kafka hands over; everything else happens in `task`."""

    def __init__(
        self,
        number: int,
        topics: Iterable[str],
        partitions: int,
        log: Log,
        store: Store,
        limits: Limits = Limits(),
        prefix: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.number = number
        self.state = "taking over"
        self.failure: str | None = None
        self.active_at = time.monotonic()
        """When something last happened here: messages came, a batch was committed, a try failed."""
        self._topics = tuple(topics)
        self._partitions = partitions
        self._log = log
        self._store = store
        self._limits = limits
        self._prefix = prefix
        self._clock = clock
        self._wake = asyncio.Event()
        self._closing = False
        self._has_producer = False
        self._epoch = 0
        self._inbox: dict[str, deque[Received]] = {topic: deque() for topic in self._topics}
        self._inbox_bytes = 0
        self._in_hand = 0
        self._paused = True
        self._handed_over: dict[str, int] = {}
        self._start: dict[str, int] = {}
        self._plan: dict[str, int] = {}
        self._committed: dict[str, int] = {}
        self._noted: dict[str, int] = {}
        self._sweep = Sweep(number, partitions, log, store)
        self.task = asyncio.create_task(self._run(), name=f"lane-{number}")

    # -- what the worker calls ----------------------------------------------------------------------------------

    def offer(self, topic: str, messages: Iterable[Received]) -> None:
        """Take messages as Kafka hands them over. Before the lane is open they are dropped; they come again."""
        if self.state != "open":
            return
        inbox = self._inbox[topic]
        for message in messages:
            if message.offset >= self._handed_over[topic]:
                inbox.append(message)
                self._inbox_bytes += message.size_bytes
                self._handed_over[topic] = message.offset + 1
        self.active_at = time.monotonic()
        self._throttle()
        self._wake.set()

    async def close(self, grace_seconds: float) -> None:
        """Let the batch in hand finish, within the grace, and end."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self.task], timeout=grace_seconds)
        self.task.cancel()
        await asyncio.wait([self.task])

    async def lag_messages(self) -> int:
        """Messages known to be waiting: not handed over yet, in the inbox, or in a batch in hand."""
        waiting = sum(len(inbox) for inbox in self._inbox.values()) + self._in_hand
        return waiting + await self._log.unread()

    async def _run(self) -> None:
        """Take the lane over and work, again and again, until closed or lost for good."""
        delay_seconds = self._limits.retry_seconds
        try:
            while not self._closing:
                try:
                    await self._take_over()
                    delay_seconds = self._limits.retry_seconds
                    await self._work()
                except WaitAndRetry as error:
                    self._fail("waiting", error)
                except LaneLost as error:
                    self._fail("lost", error)
                    delay_seconds = self._limits.retry_limit_seconds
                if not self._closing:
                    await self._pause(delay_seconds)
                    delay_seconds = min(delay_seconds * 2, self._limits.retry_limit_seconds)
                if self.state == "lost" and not self._log.is_owned():
                    return
        finally:
            self.state = "closed"
            await self._sweep.stop()
            await self._log.discard()

    # -- taking over --------------------------------------------------------------------------------------------

    async def _take_over(self) -> None:
        self.state = "taking over"
        self._clear()
        if not self._has_producer:
            await self._log.fence()
            self._has_producer = True
        lease = await self._store.take_lane(self.number)
        self._epoch = lease.epoch
        self._committed = await self._log.committed(lease.committed)
        self._noted = dict(lease.committed)
        self._start = dict(self._committed)
        self._handed_over = dict(self._committed)
        self._plan = {topic: end for topic, end in lease.plan.items() if end > self._start.get(topic, end)}
        self._log.open(self._start)
        self.state, self.failure, self._paused = "open", None, False
        self._sweep.start()

    def _clear(self) -> None:
        for inbox in self._inbox.values():
            inbox.clear()
        self._inbox_bytes = self._in_hand = 0
        self._paused = True
        self._log.pause()

    def _fail(self, state: str, error: Exception) -> None:
        self._clear()
        self.state, self.failure = state, str(error)
        self.active_at = time.monotonic()
        metrics.LANE_FAILURES.labels(state).inc()
        log.warning("lane stopped", extra={"lane": self.number, "state": state, "error": str(error)})

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    # -- working ------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        publishing: asyncio.Task[None] | None = None
        try:
            while True:
                batch = await self._next_batch(publishing)
                prepared = None if batch is None else await self._prepare(batch)
                if publishing is not None:
                    await publishing
                    publishing = None
                if prepared is not None:
                    publishing = asyncio.create_task(self._publish(prepared))
                elif self._closing:
                    return
        except BaseException as error:
            if publishing is not None:
                if isinstance(error, asyncio.CancelledError):
                    publishing.cancel()
                await asyncio.wait([publishing])  # the transaction in hand must end before anything else
                if not publishing.cancelled() and publishing.exception() is not None:
                    log.warning("transaction dropped", extra={"lane": self.number})
            raise

    async def _next_batch(self, publishing: asyncio.Task[None] | None) -> Batch | None:
        """Wait for messages and cut a batch of them; None when the transaction in hand ended or the lane closes."""
        if publishing is not None:
            publishing.add_done_callback(lambda _: self._wake.set())
        while True:
            if self._closing or (publishing is not None and publishing.done()):
                return None
            self._wake.clear()
            batch = await self._planned_batch() if self._plan else self._cut()
            if batch is not None:
                self._start = dict(batch.end)
                self._throttle()
                return batch
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    await self._wake.wait()
            except TimeoutError:
                if publishing is None and not self._plan:
                    await self._note_committed()

    async def _planned_batch(self) -> Batch | None:
        """The batch that was planned before: exactly that, once all of it has been handed over."""
        for topic, end in self._plan.items():
            if self._handed_over[topic] < end:
                self._handed_over[topic] = max(self._handed_over[topic], await self._log.beginning(topic))
        if any(self._handed_over[topic] < end for topic, end in self._plan.items()):
            return None
        messages: list[Received] = []
        for topic, end in self._plan.items():
            while self._inbox[topic] and self._inbox[topic][0].offset < end:
                messages.append(self._take(topic))
        batch = Batch(
            tuple(sorted(messages, key=lambda message: message.timestamp)), self._start, {**self._start, **self._plan}
        )
        self._plan = {}
        return batch

    def _cut(self) -> Batch | None:
        """A new batch, within the limits; over the topics in order of their timestamps, which is how they were sent."""
        messages: list[Received] = []
        size_bytes = 0
        facts: Counter[bytes | None] = Counter()
        end = dict(self._start)
        while len(messages) < self._limits.batch_messages and size_bytes < self._limits.batch_bytes:
            topic = min(
                (topic for topic in self._topics if self._inbox[topic]),
                key=lambda topic: self._inbox[topic][0].timestamp,
                default=None,
            )
            if topic is None:
                break
            key = self._inbox[topic][0].key
            if facts[key] == self._limits.new_facts_per_record:
                break
            facts[key] += 1
            message = self._take(topic)
            size_bytes += message.size_bytes
            end[topic] = message.offset + 1
            messages.append(message)
        return Batch(tuple(messages), self._start, end) if messages else None

    def _take(self, topic: str) -> Received:
        message = self._inbox[topic].popleft()
        self._inbox_bytes -= message.size_bytes
        return message

    def _throttle(self) -> None:
        """Keep at most two batches waiting, more only where the plan asks for it."""
        waiting = sum(len(inbox) for inbox in self._inbox.values())
        full = waiting >= 2 * self._limits.batch_messages or self._inbox_bytes >= 2 * self._limits.batch_bytes
        planned = any(self._handed_over[topic] < end for topic, end in self._plan.items())
        if full and not planned and not self._paused:
            self._log.pause()
            self._paused = True
        elif self._paused and (planned or not full):
            self._log.resume()
            self._paused = False

    async def _prepare(self, batch: Batch) -> Prepared:
        """Plan, load, decide, store."""
        self._in_hand += len(batch.messages)
        with metrics.STAGE_SECONDS.labels("translate").time():
            heard = [(message, self._translate(message)) for message in batch.messages]
            work = sort_out(heard)
        with metrics.STAGE_SECONDS.labels("load").time():
            _, stored, courses = await asyncio.gather(
                self._store.plan(self.number, self._epoch, batch.end, self._committed),
                self._store.load_records(work.records),
                self._store.load_courses(work.course_keys),
            )
        self._noted = dict(self._committed)
        reach("after_load")
        courses, letters = await self._store_definitions(work, courses)
        records, rejected = await self._decide_and_store(work, stored, courses)
        reach("after_store")
        late = await self._decided_under_old_definitions(work, records)
        outbound = (
            *going_out(records.values(), batch.start, batch.end),
            *(dead_letter(received, why, self._prefix) for received, why in (*work.unusable, *letters, *rejected)),
            *(rerouted(received, misrouted, self._prefix) for received, misrouted in work.misrouted),
            *late,
        )
        metrics.count_batch(batch.messages, (*work.unusable, *letters, *rejected), len(work.misrouted), outbound)
        return Prepared(batch.end, len(batch.messages), outbound)

    def _translate(self, message: Received) -> Item:
        return translate(message, self._partitions, self._prefix)

    def _now(self) -> Clock:
        now = int(self._clock() * MICROSECONDS)
        return Clock(now, now + self._limits.future_tolerance_seconds * MICROSECONDS)

    async def _store_definitions(
        self, work: Work, courses: Mapping[str, StoredCourse]
    ) -> tuple[dict[str, StoredCourse], list[Letter]]:
        """Definitions come first: the facts of the same batch are decided under them."""
        newest = dict(courses)
        letters: list[Letter] = []
        for key, heard in work.definitions.items():
            while True:
                course = newest.get(key) or StoredCourse(key, 0, self.number)
                accepted, rejected = accept_definitions(course, heard, self._now())
                if accepted is course or await self._store.save_course(replace(accepted, lane=self.number)):
                    break
                newest.update(await self._store.load_courses([key]))
            newest[key] = accepted
            letters += rejected
            if accepted.sweeping:
                self._sweep.wake()
        return newest, letters

    async def _decide_and_store(
        self, work: Work, stored: Mapping[str, StoredRecord], courses: Mapping[str, StoredCourse]
    ) -> tuple[dict[str, StoredRecord], list[Letter]]:
        """Every record that the batch is about, as stored. A miss means another owner wrote: load and decide again."""
        records = dict(stored)
        while True:
            decided: dict[str, StoredRecord] = {}
            letters: list[Letter] = []
            with metrics.STAGE_SECONDS.labels("decide").time():
                clock = self._now()
                for key, heard in work.records.items():
                    record = records.get(key) or StoredRecord(key, 0, Record())
                    timeline = course_timeline(courses.get(heard[0][1].course_key))
                    decided[key], rejected = decide_record(record, heard, timeline, clock, self._committed)
                    letters += rejected
            changed = [record for key, record in decided.items() if record is not records.get(key) and record.record.facts]
            with metrics.STAGE_SECONDS.labels("store").time():
                if not changed or await self._store.save_records(changed):
                    return decided, letters
            metrics.STORE_MISSES.inc()
            records = await self._store.load_records(work.records)

    async def _decided_under_old_definitions(
        self, work: Work, records: Mapping[str, StoredRecord]
    ) -> list[Outbound]:
        """A definition that came while the batch was in flight has not seen its records: ask to decide them again."""
        if not records:
            return []
        newest = await self._store.newest_versions(work.course_keys)
        requests = []
        for key, heard in work.records.items():
            course_key = heard[0][1].course_key
            record = records[key].record
            if course_key not in newest or not record.facts or not record.in_progress:
                continue
            if record.definition_version < newest[course_key][0]:
                requests.append(request(key, *newest[course_key], self.number))
        return requests

    async def _publish(self, prepared: Prepared) -> None:
        with metrics.STAGE_SECONDS.labels("publish").time():
            try:
                await self._log.publish(prepared.outbound, prepared.end)
            except (WaitAndRetry, LaneLost):
                self._has_producer = False
                raise
        reach("after_commit")
        self._committed = dict(prepared.end)
        self._in_hand -= prepared.messages
        self.active_at = time.monotonic()

    async def _note_committed(self) -> None:
        """The lane is idle: note C once more, for the day on which Kafka has forgotten it."""
        if self._committed != self._noted:
            await self._store.plan(self.number, self._epoch, self._committed, self._committed)
            self._noted = dict(self._committed)
