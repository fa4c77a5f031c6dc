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
stored while the last one's transaction commits; transactions stay in order and a failure drops both. A large batch is
loaded, decided and stored some records at a time (`parts`): in a backlog more messages share a record's write.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import NamedTuple

from msgspec.structs import replace

from contracts.fields import course_key_of
from service import metrics
from service.errors import FixConfiguration, LaneLost, WaitAndRetry
from service.lanes.batch import (
    Clock,
    Letter,
    Prepared,
    PreparedPart,
    Work,
    accept_definitions,
    dead_letter,
    going_out,
    rerouted,
    sort_out,
)
from service.lanes.bounds import Bounds
from service.lanes.deciding import Heard, decide_and_store
from service.lanes.failpoint import reach
from service.lanes.flood import Flood
from service.lanes.health import LaneHealth, State
from service.lanes.inbox import Batch, Inbox
from service.lanes.parts import in_parts, translate_all
from service.lanes.ports import Lease, Log, Offsets, Outbound, Received, Store, StoredCourse, StoredRecord
from service.lanes.sweep import Sweep, requests_behind
from service.lanes.translate import outbound, topic_of

log = logging.getLogger(__name__)

MICROSECONDS = 1_000_000
IDLE_SECONDS = 1.0
"""After this long without messages the lane notes where it stands."""
USURPED_LIMIT = 3
"""Once may be an owner that died between its two steps of taking over; so often it is not."""
SMALL_BATCH = 1000
"""Messages."""
RETRY_SECONDS = 0.5
RETRY_LIMIT_SECONDS = 10.0
Courses = Mapping[str, StoredCourse]


class Turns(NamedTuple):
    """The lanes of a worker prepare one batch at a time: there is one core to decide on, and more would take memory.

    But a small batch, which is soon done, does not wait for a large one.
    """

    small: asyncio.Lock
    large: asyncio.Lock


class Shared(NamedTuple):
    """What the lanes of a worker have in common. `partition_of`: where a key belongs; `prefix`: of the topics' names.

    `clock` gives seconds since 1970.
    """

    bounds: Bounds
    partition_of: Callable[[bytes], int]
    prefix: str
    flood: Flood
    turns: Turns
    clock: Callable[[], float] = time.time


class Lane:
    """Runs until it is closed or lost. `offer` takes what Kafka hands over; everything else happens in `task`."""

    def __init__(self, number: int, log: Log, store: Store, shared: Shared) -> None:
        self.number = number
        self.state: State = "taking over"
        self.failure: str | None = None
        self.active_at = time.monotonic()
        """When something last happened here: messages came, a batch was committed, a try failed."""
        self._log = log
        self._store = store
        self._shared = shared
        self._bounds = shared.bounds
        self._wake = asyncio.Event()
        self._closing = False
        self._epoch = 0
        self._usurped = 0
        self._inbox = Inbox({}, {}, shared.bounds)
        self._in_hand = 0
        self._paused = True
        self._committed: dict[str, int] = {}
        self._noted: dict[str, int] = {}
        self._sweep = Sweep(number, log, store, shared.bounds)
        self.task = asyncio.create_task(self._run(), name=f"lane-{number}")

    # -- what the worker calls ----------------------------------------------------------------------------------

    def offer(self, topic: str, messages: Iterable[Received]) -> None:
        """Take messages as Kafka hands them over. Before the lane is open they are dropped; they come again."""
        if self.state != "open":
            return
        self._inbox.add(topic, messages)
        self.active_at = time.monotonic()
        self._throttle()
        self._wake.set()

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """All that runs here; one that fails has met what a lane cannot deal with."""
        return self.task, self._sweep.task

    async def close(self, grace_seconds: float) -> None:
        """Let the batch in hand finish, within the grace, and end."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self.task], timeout=grace_seconds)
        self.task.cancel()
        await asyncio.wait([self.task])

    async def health(self) -> LaneHealth:
        """How it stands."""
        ready = self.state == "open" and not self._inbox.awaited
        lag_messages = await self.lag_messages()
        return LaneHealth(self.number, self.state, lag_messages, self.failure, ready, self._sweep.paused_courses)

    async def lag_messages(self) -> int:
        """Messages known to be waiting: not handed over yet, in the inbox, or in a batch in hand."""
        return len(self._inbox) + self._in_hand + await self._log.unread()

    async def _run(self) -> None:
        """Take the lane over and work, again and again, until closed or lost for good."""
        delay_seconds = RETRY_SECONDS
        try:
            while not self._closing:
                try:
                    await self._take_over()
                    delay_seconds = RETRY_SECONDS
                    await self._work()
                except WaitAndRetry as error:
                    self._fail("waiting", error)
                except LaneLost as error:
                    self._fail("lost", error)
                    delay_seconds = RETRY_LIMIT_SECONDS
                if not self._closing:
                    await self._pause(delay_seconds)
                    delay_seconds = min(delay_seconds * 2, RETRY_LIMIT_SECONDS)
                if not self._log.is_owned():
                    return  # or it would fence the lane's rightful owner
        finally:
            self.state = "closed"
            await self._sweep.stop()
            await self._log.discard()

    # -- taking over --------------------------------------------------------------------------------------------

    async def _take_over(self) -> None:
        was_lost = self.state == "lost"
        self.state = "taking over"
        self._clear()
        await self._log.fence()
        lease = await self._store.leases.take(self.number)
        if was_lost:
            self._look_for_strangers(lease.epoch)
        self._epoch = lease.epoch
        self._committed = await self._log.committed(lease.committed)
        self._noted = dict(lease.committed)
        self._check_against(await self._log.end(), lease)
        self._inbox = Inbox(self._committed, lease.plan, self._bounds)
        self._log.open(self._committed)
        self.state, self.failure, self._paused = "open", None, False
        self._sweep.wake()

    def _look_for_strangers(self, epoch: int) -> None:
        """An owner of ours raises the epoch when it takes the lane's transactional id over. Somebody else does not."""
        if epoch == self._epoch + 1:
            self._usurped += 1
        if self._usurped == USURPED_LIMIT:
            raise FixConfiguration(
                f"RATCHET_GROUP: someone else takes the transactional id of lane {self.number} again and again (the "
                f"group's name, then -{self.number}): another service, or another Ratchet with the same RATCHET_GROUP; "
                "give each a group of its own"
            )

    def _check_against(self, end: Offsets, lease: Lease) -> None:
        """A plan beyond the end of its topic would wait for ever for what was planned."""
        for topic, known in (*lease.plan.items(), *lease.committed.items()):
            if known > end.get(topic, known):
                raise FixConfiguration(
                    f"lane {self.number}: the database knows {topic} up to offset {known}, but in Kafka it ends at "
                    f"{end[topic]}: RATCHET_MONGODB_DATABASE or RATCHET_MONGODB_URI belongs to another Kafka, or the "
                    "topic was created again; use the database that belongs to it, or a new one"
                )

    def _clear(self) -> None:
        self._inbox = Inbox({}, {}, self._bounds)
        self._in_hand = 0
        self._paused = True
        self._log.pause()

    def _fail(self, state: State, error: Exception) -> None:
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
                prepared = await self._next_prepared(publishing)
                if publishing is not None:
                    await publishing
                    publishing = None
                if prepared is not None:
                    publishing = asyncio.create_task(self._publish(prepared))
                elif self._closing:
                    await self._note_committed()
                    return
        except BaseException as error:
            if publishing is not None:
                if isinstance(error, asyncio.CancelledError):
                    publishing.cancel()
                await asyncio.wait([publishing])  # the transaction in hand must end before anything else
                if not publishing.cancelled() and publishing.exception() is not None:
                    log.warning("transaction dropped", extra={"lane": self.number})
            raise

    async def _next_prepared(self, publishing: asyncio.Task[None] | None) -> Prepared | None:
        """The next batch; None when the transaction in hand ended or the lane closes.

        It is cut once it is this lane's turn, so that what has come meanwhile goes with it.
        """
        if not await self._wait_for_messages(publishing):
            return None
        async with self._shared.turns.small if len(self._inbox) <= SMALL_BATCH else self._shared.turns.large:
            batch = self._inbox.next_batch()
            self._throttle()
            return await self._prepare(batch)

    async def _wait_for_messages(self, publishing: asyncio.Task[None] | None) -> bool:
        """False: the transaction in hand ended first, or the lane closes."""
        if publishing is not None:
            publishing.add_done_callback(lambda _: self._wake.set())
        while True:
            if self._closing or (publishing is not None and publishing.done()):
                return False
            self._wake.clear()
            for topic in self._inbox.awaited:
                self._inbox.skip_to(topic, await self._log.beginning(topic))
            self._throttle()
            if self._inbox.has_batch:
                return True
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                if publishing is None:
                    await self._note_committed()

    def _throttle(self) -> None:
        if self._inbox.is_full and not self._paused:
            self._log.pause()
        elif self._paused and not self._inbox.is_full:
            self._log.resume()
        self._paused = self._inbox.is_full

    async def _prepare(self, batch: Batch) -> Prepared:
        """Plan, load, decide, store: some records at a time, the next ones while the last ones are being stored."""
        self._in_hand += len(batch.messages)
        with metrics.STAGE_SECONDS.labels("translate").time():
            work = sort_out(await translate_all(batch.messages, self._shared.partition_of, self._shared.prefix))
        (_, letters), parts = await in_parts(
            work.records,
            self._bounds.records_together,
            self._get_ready(batch, work),
            partial(self._prepare_part, batch),
        )
        unusable = [*work.unusable, *letters, *(letter for part in parts for letter in part.letters)]
        changes = [change for part in parts for change in part.changes]
        others = [
            *(dead_letter(received, why, self._shared.prefix) for received, why in unusable),
            *(rerouted(received, misrouted, self._shared.prefix) for received, misrouted in work.misrouted),
            *(request for part in parts for request in part.requests),
        ]
        metrics.count_batch(
            Counter(message.topic for message in batch.messages),
            Counter(topic_of(pending.change) for _, pending in changes) + Counter(other.topic for other in others),
            Counter(why.reason for _, why in unusable),
            len(work.misrouted),
        )
        self._shared.flood.note(len(batch.messages), len(unusable))
        return Prepared(batch.end, len(batch.messages), changes, others)

    async def _get_ready(self, batch: Batch, work: Work) -> tuple[Courses, list[Letter]]:
        """Make the plan durable and store what the batch defines: records may follow. Gives the courses it is about."""
        _, courses = await asyncio.gather(
            self._store.leases.plan(self.number, self._epoch, batch.end, self._committed),
            self._store.courses.load(work.course_keys),
        )
        self._noted = dict(self._committed)
        return await self._store_definitions(work, courses)

    async def _prepare_part(
        self, batch: Batch, heard: Heard, ready: asyncio.Task[tuple[Courses, list[Letter]]]
    ) -> PreparedPart:
        with metrics.STAGE_SECONDS.labels("load").time():
            stored = await self._store.records.load(heard)
        courses, _ = await ready
        reach("after_load")
        records, rejected = await decide_and_store(
            self._store, heard, stored, courses, self._now, self._committed, self._bounds.facts_in_record
        )
        reach("after_store")
        late = await self._decided_under_old_definitions(records)
        return PreparedPart(going_out(records.values(), batch.start, batch.end), late, rejected)

    def _now(self) -> Clock:
        now = int(self._shared.clock() * MICROSECONDS)
        return Clock(now, now + self._bounds.future_tolerance_seconds * MICROSECONDS)

    async def _store_definitions(self, work: Work, courses: Courses) -> tuple[Courses, list[Letter]]:
        """Definitions come first: the facts of the same batch are decided under them."""
        newest = dict(courses)
        letters: list[Letter] = []
        for key, heard in work.definitions.items():
            while True:
                course = newest.get(key) or StoredCourse(key, 0, self.number)
                accepted, rejected = accept_definitions(course, heard, self._now())
                if accepted is course or await self._store.courses.save(replace(accepted, lane=self.number)):
                    break
                newest.update(await self._store.courses.load([key]))
            newest[key] = accepted
            letters += rejected
            if accepted.sweeping:
                self._sweep.wake()
        return newest, letters

    async def _decided_under_old_definitions(self, records: Mapping[str, StoredRecord]) -> list[Outbound]:
        """A definition that came while the batch was in flight has not seen its records: ask to decide them again."""
        newest = await self._store.courses.newest_versions(set(map(course_key_of, records)))
        return requests_behind(records, newest)

    async def _publish(self, prepared: Prepared) -> None:
        with metrics.STAGE_SECONDS.labels("publish").time():
            changes = (outbound(key, one.change, one.traceparent) for key, one in prepared.changes)
            await self._log.publish(chain(changes, prepared.others), prepared.end)
        reach("after_commit")
        self._committed = dict(prepared.end)
        self._in_hand -= prepared.messages
        self.active_at = time.monotonic()

    async def _note_committed(self) -> None:
        """The lane is idle or ends: note C once more, for the day on which Kafka has forgotten it.

        Never in place of a plan that is still to be repeated.
        """
        if self._committed != self._noted and not self._inbox.is_planned:
            await self._store.leases.plan(self.number, self._epoch, self._committed, self._committed)
            self._noted = dict(self._committed)
