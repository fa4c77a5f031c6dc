"""One lane: partition p of every inbound topic, its records, its transactional producer. One owner at a time.

Theory of operation. Kafka and MongoDB share no transaction, so the input log serves as the redo log. A batch goes
through these steps, in this order:

    load     the records and courses it is about
    decide   pure
    store    each record with its state *and* its pending changes, in one document, by compare-and-set
    reach    where a record has a pending change whose message is not in the batch, the batch is extended to it: an
             earlier owner went further before it died, and numbered its changes together
    publish  the pending changes of the records touched, where these stand now, dead letters, rerouted messages and the
             input offsets, in one Kafka transaction

After any failure the lane goes back to the committed offsets and repeats. A record already stored answers "known" and
its pending changes go out again, this time in a transaction that commits. So however the batches are cut this time, all
changes of a record that were numbered together go out together, in order. `take_over` fences earlier owners by their
producer's epoch before it reads where to start; one that still stores is met by compare-and-set, and what it numbered
is reached for like everything else.

The next batch is loaded and stored while the last one's transaction commits; transactions stay in order and a failure
drops both. A large batch is loaded, decided and stored some records at a time (`parts`). What is committed is the end
of an unbroken chain of hand-overs (`inbox`), and with it which messages beyond the committed offset are done, because
they have overtaken those of a record with more than its share (`progress`).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service import metrics
from service.errors import FixConfiguration, LaneLost, Unreadable, WaitAndRetry
from service.lanes.failpoint import reach
from service.lanes.forwarding import skipped
from service.lanes.health import LaneHealth, State
from service.lanes.in_hand import InHand
from service.lanes.inbox import Batch, Further, Inbox, farthest
from service.lanes.ports import Handed, Log, Store
from service.lanes.preparing import Prepared, Preparer, Ready, Shared
from service.lanes.progress import Offsets, Progress, check_within, offsets_of
from service.lanes.sweep import Sweep

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""After this long without messages the lane notes where it stands."""
USURPED_LIMIT = 5
"""So often a lane may be lost while the group still gives it to this worker: longer than any session."""
KEEP_SHARES = 10
"""Of a record that waits, so many shares are kept in any case: an earlier owner was a batch or two further."""
RETRY_SECONDS, RETRY_LIMIT_SECONDS = 0.5, 10.0


class Lane:
    """Runs in `task` until it is closed or lost."""

    def __init__(self, number: int, log: Log, store: Store, shared: Shared) -> None:
        self.number = number
        self.state: State = "taking over"
        self.failure: str | None = None
        self.active_at = time.monotonic()
        """When something last happened here: messages came, a batch was committed, a try failed."""
        self.is_closing = False
        """It was asked to end, belongs to somebody else, or has failed."""
        self._log = log
        self._store = store
        self._shared = shared
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._usurped = 0
        self._keep_shares = KEEP_SHARES
        self._inbox = Inbox({}, shared.bounds, self._keep_shares)
        self._in_hand = InHand()
        self._awaits = False
        self._unreadable: Unreadable | None = None
        self._deleted: list[str] = []
        self._told_deleted: dict[str, int] = {}
        self._committed: Progress = {}
        self._noted: Offsets = {}
        self._sweep = Sweep(number, log, store, shared.bounds)
        self._preparer = Preparer(number, store, shared, self._sweep.wake)
        self.task = asyncio.create_task(self._run(), name=f"lane-{number}")

    # -- what the worker calls ----------------------------------------------------------------------------------

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """All that runs here; one that fails has met what a lane cannot deal with."""
        return self.task, self._sweep.task

    async def close(self, grace_seconds: float) -> bool:
        """Let the batch in hand finish, within the grace, and end. False: it took longer, and somebody else goes on."""
        self.is_closing = True
        self._wake.set()
        in_time, _ = await asyncio.wait([self.task], timeout=grace_seconds)
        self.task.cancel()
        await asyncio.wait([self.task])
        return bool(in_time)

    async def health(self) -> LaneHealth:
        """How it stands."""
        ready = self.state == "open" and not self._awaits
        stands = self.number, self.state, await self.lag_messages(), round(self.lag_seconds(), 3)
        return LaneHealth(*stands, self.failure, ready, self._sweep.paused_courses, self._deleted)

    async def lag_messages(self) -> int:
        """Messages known to be waiting: not handed over yet, in the inbox, or in a batch in hand."""
        return self._inbox.lag_messages + self._in_hand.messages + await self._log.unread()

    def lag_seconds(self) -> float:
        """Age of the oldest of them, by its own timestamp; 0 where none is known."""
        return max(0.0, self._shared.clock() - min(self._in_hand.oldest_at, self._inbox.oldest_at) / 1000)

    async def _run(self) -> None:
        """Take the lane over and work, again and again, until closed or lost for good."""
        delay_seconds = RETRY_SECONDS
        try:
            while not self.is_closing:
                try:
                    await self._take_over()
                    if self._unreadable is None:
                        delay_seconds = RETRY_SECONDS
                    await self._work()
                    continue
                except Unreadable as error:
                    self._stand_still(error)
                    if await self._is_skipped(error):
                        continue
                except WaitAndRetry as error:
                    self._fail("waiting", error)
                except LaneLost as error:
                    self._fail("lost", error)
                    delay_seconds = RETRY_LIMIT_SECONDS
                if not self.is_closing:
                    self._wake.clear()
                    await self._is_woken(delay_seconds)
                    delay_seconds = min(delay_seconds * 2, RETRY_LIMIT_SECONDS)
                    metrics.RETRIES.inc()
                if not self._log.is_owned():
                    self.is_closing = True  # or it would fence the lane's rightful owner
        except Exception:
            self.is_closing = True
            raise
        finally:
            self.state = "closed"
            self._shared.turns.ahead.leave(self._room)
            metrics.UNREADABLE_BATCHES.labels(self.number).set(0)
            await self._sweep.stop()
            await self._log.discard()

    # -- taking over --------------------------------------------------------------------------------------------

    async def _take_over(self) -> None:
        if self.state == "lost":
            self._look_for_strangers()
        self.state = "open" if self.state == "open" else "taking over"  # open: it reads again what it has dropped
        self._clear()
        await self._log.fence()
        self._noted = await self._store.notes.committed(self.number)
        self._committed = await self._log.committed(self._noted)
        check_within(self.number, self._noted, await self._log.end())
        self._inbox = Inbox(self._committed, self._shared.bounds, self._keep_shares)
        self._pass_deleted(await self._log.beginning())
        self._log.open(self._inbox.handed_over)
        self._is_open()
        self._sweep.wake()

    def _is_open(self) -> None:
        """It stands still for as long as nothing behind the batch that cannot be read was handed over."""
        self.state = "open" if self._unreadable is None else "unreadable"
        self.failure = None if self._unreadable is None else str(self._unreadable)

    def _pass_deleted(self, beginning: Offsets) -> None:
        """Retention has overtaken the lane: nothing can be done, but nobody shall find out by chance."""
        for topic, offset in beginning.items():
            known = max(self._committed[topic].offset, self._told_deleted.get(topic, 0))
            if known < offset:
                self._told_deleted[topic] = offset
                offsets = f"offsets {known} to {offset - 1}"
                told = f"{self._shared.prefix}{topic}: {offsets} were deleted before they were read"
                log.error("messages were deleted before they were read", extra={"lane": self.number, "what": told})
                metrics.DELETED_UNREAD.inc(offset - known)
                self._deleted.append(told)
        self._inbox.pass_to(beginning)

    def _look_for_strangers(self) -> None:
        """An owner of ours has the lane from the group, which soon tells this one. Somebody else has not."""
        self._usurped += 1
        if self._usurped == USURPED_LIMIT:
            raise FixConfiguration(
                f"RATCHET_GROUP: someone else takes the transactional id of lane {self.number} again and again (the "
                f"group's name, then -{self.number}): another service, or another Ratchet with the same RATCHET_GROUP; "
                "give each a group of its own"
            )

    def _clear(self) -> None:
        self._shared.turns.ahead.leave(self._room)
        self._in_hand.drop(self._inbox.oldest_at)
        self._inbox = Inbox({}, self._shared.bounds, self._keep_shares)
        self._awaits = False
        self._log.close()

    def _fail(self, state: State, error: Exception) -> None:
        self._clear()
        self.state, self.failure, self.active_at = state, str(error), time.monotonic()
        metrics.LANE_FAILURES.labels(state).inc()
        log.warning("lane stopped", extra={"lane": self.number, "state": state, "error": str(error)})

    def _stand_still(self, error: Unreadable) -> None:
        self._fail("unreadable", error)
        if self._unreadable is None or str(self._unreadable) != str(error):
            log.error(
                "a batch cannot be read, and its lane stands still; mend it, or see ratchet skip --help",
                extra={"lane": self.number, "topic": error.topic, "offset": error.start, "why": error.why},
            )
        self._unreadable = error
        metrics.UNREADABLE_BATCHES.labels(self.number).set(1)

    async def _is_skipped(self, error: Unreadable) -> bool:
        """Go past it, if somebody says so and everything before it is out: with a dead letter that says who and why."""
        topic = error.topic.removeprefix(self._shared.prefix)
        if topic not in self._committed or (done := self._committed[topic]).offset != error.start:
            return False
        try:
            skip = await self._store.skips.wanted(topic, error.partition, error.start)
            if skip is None:
                return False
            await self._log.publish([skipped(error, skip)], {**self._committed, topic: done.with_all_below(error.end)})
        except (WaitAndRetry, LaneLost) as failure:
            self._fail("waiting", failure)
            return False
        metrics.DEAD_LETTERS.labels("skipped").inc()
        log.warning("a batch was skipped", extra={"lane": self.number, "topic": error.topic, "offset": error.start})
        return True

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Fill the inbox, as far as there is room. Ends with whatever reading fails with."""
        while True:
            while not self._has_room():
                self._room.clear()
                await self._room.wait()
            handed = await self._log.read()
            self._inbox.add(handed)
            self._note_readable(handed)
            if any(handed.messages.values()):
                self.active_at = time.monotonic()
                self._in_hand.read_again()
            self._wake.set()

    def _has_room(self) -> bool:
        if self._awaits:
            return True
        may_read = not self._inbox.is_large or self._shared.turns.ahead.ask(self._room)
        return may_read and not self._inbox.is_full

    def _note_readable(self, handed: Handed) -> None:
        if self._unreadable is None:
            return
        if handed.end[self._unreadable.topic.removeprefix(self._shared.prefix)] > self._unreadable.start:
            self._unreadable = None
            metrics.UNREADABLE_BATCHES.labels(self.number).set(0)
            self._is_open()
            log.info("what could not be read is behind the lane", extra={"lane": self.number})

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[asyncio.Task[None]]:
        reading = asyncio.create_task(self._read(), name=f"read-{self.number}")
        reading.add_done_callback(lambda _: self._wake.set())
        try:
            yield reading
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.exception()  # was raised where it mattered, or came too late to matter

    # -- working ------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Until the lane closes, or must read again what it has dropped."""
        publishing: asyncio.Task[None] | None = None
        try:
            async with self._reading() as reading:
                while True:
                    ready = await self._next_ready(reading, publishing)
                    if publishing is not None:
                        await publishing
                        publishing = None
                    if ready is not None:
                        publishing = asyncio.create_task(self._publish(ready))
                        del ready  # it takes much memory, and may be out long before there is the next one
                    elif self.is_closing:
                        await self._note_committed()
                        return
                    elif self._inbox.must_read_again:
                        return
        except BaseException as error:
            if publishing is not None:
                if isinstance(error, asyncio.CancelledError):
                    publishing.cancel()
                await asyncio.wait([publishing])  # the transaction in hand must end before anything else
                if not publishing.cancelled() and publishing.exception() is not None:
                    log.warning("transaction dropped", extra={"lane": self.number})
            raise

    async def _next_ready(self, reading: asyncio.Task[None], publishing: asyncio.Task[None] | None) -> Ready | None:
        """The next batch, stored; None when the transaction in hand ended or the lane closes.

        It is cut once it is this lane's turn, so that what has come meanwhile goes with it.
        """
        if not await self._wait_for_messages(reading, publishing):
            return None
        async with self._shared.turns.to_prepare(len(self._inbox)):
            batch, began = self._inbox.next_batch(), self._shared.clock()
            prepared = await self._prepare(batch, batch.start)
        pieces, end = 1, batch.end
        while further := prepared.beyond(end):
            more = await self._wait_for_extension(reading, further)
            async with self._shared.turns.to_prepare(len(more.messages)):
                prepared = prepared.and_then(await self._prepare(more, batch.start))
            pieces, end = pieces + 1, more.end
        return Ready(began, end, pieces, prepared)

    async def _prepare(self, batch: Batch, start: Progress) -> Prepared:
        self._in_hand.take(batch.messages)
        self._shared.turns.ahead.leave(self._room)
        self._room.set()
        return await self._preparer.prepare(batch.messages, start, self._committed)

    async def _wait_for_messages(self, reading: asyncio.Task[None], publishing: asyncio.Task[None] | None) -> bool:
        """False: the transaction in hand ended first, or the lane closes."""
        if publishing is not None:
            publishing.add_done_callback(lambda _: self._wake.set())
        while True:
            if self.is_closing or (publishing is not None and publishing.done()):
                return False
            if self._inbox.must_read_again:
                if publishing is not None:
                    await asyncio.wait([publishing])
                return False
            self._wake.clear()
            if len(self._inbox) or (reading.done() and self._inbox.has_moved):
                return True
            if reading.done():
                reading.result()
            if await self._is_woken() or publishing is not None:
                continue
            if self._inbox.has_moved:
                return True  # ends of transactions and the like, so that lag reads 0 from outside
            await self._note_committed()

    async def _is_woken(self, seconds: float = IDLE_SECONDS) -> bool:
        """False: nothing has happened for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _wait_for_extension(self, reading: asyncio.Task[None], further: Further) -> Batch:
        """What an earlier owner went through beyond the batch. It is in Kafka, or was deleted and is passed."""
        check_within(self.number, farthest(further), await self._log.end())
        self._awaits = True
        self._room.set()
        while not self._inbox.has_come_to(further):
            self._wake.clear()
            if reading.done():
                reading.result()
            await self._is_woken()
        self._awaits = False
        if self._inbox.has_dropped(further):
            self._keep_shares *= 2
            raise WaitAndRetry("an earlier owner went further with a record than is kept here; read more once more")
        return self._inbox.take(further)

    async def _publish(self, ready: Ready) -> None:
        with metrics.STAGE_SECONDS.labels("publish").time():
            await self._log.publish(ready.prepared.messages, ready.end)
        reach("after_commit")
        self._committed = ready.end
        self._in_hand.commit(ready.pieces)
        self.active_at = time.monotonic()
        ready.prepared.tell_committed(self.number, ready.began, self._shared.clock())

    async def _note_committed(self) -> None:
        """The lane is idle or ends: note C, for the day on which Kafka has forgotten it."""
        self._in_hand.read_again()
        offsets = offsets_of(self._committed)
        if offsets != self._noted:
            await self._store.notes.note(self.number, offsets)
            self._noted = offsets
