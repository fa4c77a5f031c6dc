"""Deliberate mistakes, one safeguard left out each. The simulation must catch every one of them."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from aiokafka import TopicPartition
from aiokafka.structs import RecordMetadata
from msgspec.structs import replace

from rules import window
from rules.values import Timeline
from service.errors import WaitAndRetry
from service.kafka.assignment import Lanes
from service.kafka.log import KafkaLog
from service.lanes import deciding, preparing, sweep
from service.lanes.batch import Clock, Decided, decide_record
from service.lanes.inbox import Batch, Inbox
from service.lanes.lane import Lane
from service.lanes.outgoing import state_of
from service.lanes.ports import Handed, History, Outbound, Place, Received, StoredRecord
from service.lanes.preparing import Prepared
from service.lanes.progress import Done, Progress
from service.lanes.translate import HeardFact, HeardRequest
from service.lanes.waiting import Waiting
from tests.mongo.memory_store import MemoryRecords
from tests.simulation import workers
from tests.simulation.kafka import Builder, FakeProducer
from tests.simulation.workers import FaultyRecords, SimulatedWorld

Mutation = Callable[[], Any]


def commit_offsets_before_the_store() -> Any:
    """The offsets go ahead of the work, in a transaction of their own."""
    prepare, publish = Lane._prepare, KafkaLog.publish
    one_at_a_time: dict[KafkaLog, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def alone(self: KafkaLog, messages: Iterable[Outbound], committed: Progress) -> None:
        async with one_at_a_time[self]:
            await publish(self, messages, committed)

    async def hasty(self: Lane, batch: Batch, start: Progress) -> Prepared:
        await self._log.publish((), batch.end)
        return await prepare(self, batch, start)

    return _both(patch.object(KafkaLog, "publish", alone), patch.object(Lane, "_prepare", hasty))


def forget_pending() -> Any:
    """Changes go out from memory and are not stored with the record."""
    save = MemoryRecords.save

    async def forgetful(self: MemoryRecords, records: Sequence[StoredRecord]) -> bool:
        return await save(self, [replace(record, pending=()) for record in records])

    return patch.object(MemoryRecords, "save", forgetful)


def do_not_await_sends() -> Any:
    """The commit does not wait for what it commits."""
    send_batch = FakeProducer.send_batch

    async def careless(
        self: FakeProducer, batch: Builder, topic: str, *, partition: int
    ) -> "asyncio.Future[RecordMetadata]":
        sent = await send_batch(self, batch, topic, partition=partition)
        sent.add_done_callback(lambda future: future.cancelled() or future.exception())
        answer: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        answer.set_result(RecordMetadata(topic, partition, TopicPartition(topic, partition), 0, None, 0, 0))
        return answer

    return patch.object(FakeProducer, "send_batch", careless)


def trim_at_the_end_of_the_batch() -> Any:
    """Pending changes below N are dropped, though only those below C are out."""
    ends: dict[str, Done] = {}
    prepare = Lane._prepare

    async def note(self: Lane, batch: Batch, start: Progress) -> Prepared:
        ends.update(batch.end)
        return await prepare(self, batch, start)

    def trimming(
        stored: StoredRecord,
        heard: Sequence[tuple[Received, HeardFact | HeardRequest]],
        timeline: Timeline,
        clock: Clock,
        _: Progress,
        *rest: Any,
    ) -> Decided:
        return decide_record(stored, heard, timeline, clock, dict(ends), *rest)

    return _both(patch.object(Lane, "_prepare", note), patch.object(deciding, "decide_record", trimming))


def no_compare_and_set() -> Any:
    """The last writer wins."""

    async def blind(self: MemoryRecords, records: Sequence[StoredRecord]) -> bool:
        for record in records:
            self.by_key[record.key] = replace(record, rev=record.rev + 1)
        return True

    return patch.object(MemoryRecords, "save", blind)


def do_not_reach() -> Any:
    """A batch goes as far as it was cut, though an earlier owner went further with its records."""
    return patch.object(Prepared, "beyond", lambda *_: {})


def forget_what_has_overtaken() -> Any:
    """Whoever takes a lane over begins at the committed offset, and knows of nothing done beyond it."""
    return patch.object(Done, "metadata", "")


def believe_what_the_group_tells() -> Any:
    """Committed offsets are taken as the group's coordinator tells them, though it may have forgotten some."""

    async def nothing(self: KafkaLog) -> Progress:
        assert self is not None
        return {}

    return patch.object(KafkaLog, "_stands", nothing)


def believe_what_is_told_too_early() -> Any:
    """Committed offsets are asked for while no broker knows what the others have: a group that seems to be deleted."""

    async def nothing(self: KafkaLog) -> None:
        assert self is not None

    return patch.object(KafkaLog, "_pass_earlier_commits", nothing)


def take_what_waits_for_done() -> Any:
    """The committed offset is that of the messages that have overtaken others."""
    return patch.object(Waiting, "firsts", lambda *_: iter(()))


def go_on_after_a_failed_poll() -> Any:
    """Positions are trusted whatever has happened: the lane just polls again, as a client's own loop does."""
    read, add = KafkaLog.read, Inbox.add

    async def stubborn(self: KafkaLog) -> Handed:
        while True:
            try:
                return await read(self)
            except WaitAndRetry:
                await asyncio.sleep(0.1)

    def trusting(self: Inbox, handed: Handed) -> None:
        self._handed_over.update(handed.start)
        add(self, handed)

    return _both(patch.object(KafkaLog, "read", stubborn), patch.object(Inbox, "add", trusting))


def seek_to_where_the_client_stands() -> Any:
    """After a failed poll the lane goes on from the client's positions, fetched anew."""
    read, add = KafkaLog.read, Inbox.add

    async def careless(self: KafkaLog) -> Handed:
        try:
            return await read(self)
        except WaitAndRetry:
            positions = await self._positions()
            self.open(positions)
            return Handed(positions, positions, {})

    def trusting(self: Inbox, handed: Handed) -> None:
        self._handed_over.update(handed.start)
        add(self, handed)

    return _both(patch.object(KafkaLog, "read", careless), patch.object(Inbox, "add", trusting))


def transactional_id_per_process() -> Any:
    """Each process fences only itself."""
    make = SimulatedWorld.make_producer

    def personal(self: SimulatedWorld, process: Any, transactional_id: str | None) -> Any:
        return make(self, process, transactional_id and f"{process.name}-{transactional_id}")

    return patch.object(SimulatedWorld, "make_producer", personal)


def move_facts_away_with_the_write_that_brings_them() -> Any:
    """What looks as if it had moved away may never have been in the record."""
    return patch.object(window, "_is_stored", lambda *_: True)


def count_requests_again() -> Any:
    """A request to decide a record again counts each time it is read, like any other message.

    Too rare for the seeds: tests/lanes/test_deciding.py arranges it.
    """

    def forgetful(stored: StoredRecord, *rest: Any) -> Decided:
        return decide_record(replace(stored, asked={}), *rest)

    return patch.object(deciding, "decide_record", forgetful)


def trust_a_history_that_is_ahead() -> Any:
    """What somebody else has moved away since the record was loaded counts as known.

    Too rare for the seeds: tests/lanes/test_deciding.py arranges it.
    """
    history = MemoryRecords.history

    async def timeless(self: MemoryRecords, asked: Mapping[str, Any]) -> dict[str, History]:
        return {key: one._replace(rev=0) for key, one in (await history(self, asked)).items()}

    return patch.object(MemoryRecords, "history", timeless)


def forget_the_history() -> Any:
    """Facts that have moved away are not looked for."""

    async def nothing(self: FaultyRecords, asked: Mapping[str, Any]) -> dict[str, History]:
        assert self is not None
        return {key: History({}, {}, wanted is None) for key, wanted in asked.items()}

    return patch.object(FaultyRecords, "history", nothing)


def decide_again_while_paused() -> Any:
    """A request counts also while the newest version of its course is not released."""
    return patch.object(deciding, "unreleased", lambda _: set())


def forget_what_was_in_flight() -> Any:
    """Nobody asks for records that a batch has stored under a version that was the newest when it was loaded.

    Too rare for the seeds: tests/lanes/test_deciding.py arranges it.
    """
    return patch.object(preparing, "requests_behind", lambda *_: [])


def do_not_look_for_releases() -> Any:
    """The sweep waits to be woken, and a release wakes nobody."""
    return patch.object(sweep, "LOOK_SECONDS", 1e9)


def look_before_the_insert_only() -> Any:
    """A worker asks for tombstones before it decides; the insert itself takes no notice of them."""
    save = MemoryRecords.save

    async def heedless(self: MemoryRecords, records: Sequence[StoredRecord]) -> bool:
        tombstones, self.tombstones = self.tombstones, set()
        hit = await save(self, records)
        self.tombstones = tombstones
        return hit

    return patch.object(MemoryRecords, "save", heedless)


def decide_about_the_erased() -> Any:
    """A worker never asks for tombstones, and tries to insert for ever."""

    async def ignorant(_: FaultyRecords, keys: Iterable[str]) -> set[str]:
        await asyncio.sleep(1)
        return set(keys) - set(keys)

    return patch.object(FaultyRecords, "erased", ignorant)


def delete_before_the_tombstone() -> Any:
    """An erasure whose steps are the wrong way round."""

    async def hasty(self: SimulatedWorld, learner: str) -> None:
        self.store.learners.delete_records(learner)
        await asyncio.sleep(self.fate.random() * 2)
        self.store.learners.erect_tombstone(learner)

    return patch.object(SimulatedWorld, "erase", hasty)


def forget_what_is_not_announced() -> Any:
    """That a state changed without a change to be announced is not stored with the record."""
    save = MemoryRecords.save

    async def forgetful(self: MemoryRecords, records: Sequence[StoredRecord]) -> bool:
        return await save(self, [replace(record, restated=None) for record in records])

    return patch.object(MemoryRecords, "save", forgetful)


def restate_with_the_last_message() -> Any:
    """A state goes out with the last message that was heard, though it may have been known, and be done, already.

    Too rare for the seeds: tests/lanes/test_deciding.py arranges it.
    """

    def careless(
        stored: StoredRecord, heard: Sequence[tuple[Received, HeardFact | HeardRequest]], *rest: Any
    ) -> Decided:
        decided = decide_record(stored, heard, *rest)
        if decided.stored.restated in (None, stored.restated):
            return decided
        last = heard[-1][0]
        return decided._replace(stored=replace(decided.stored, restated=Place(last.topic, last.partition, last.offset)))

    return patch.object(deciding, "decide_record", careless)


def tell_states_past_the_lanes() -> Any:
    """Whoever is asked for states reads them in the database and tells them, while the lanes go on."""
    told: list[asyncio.Task[None]] = []

    def tell(self: SimulatedWorld) -> None:
        async def later() -> None:
            records = list(self.store.records.by_key.values())
            await asyncio.sleep(self.fate.random() * 2)
            self.send(state_of(stored, ()) for stored in records)

        told.append(asyncio.create_task(later()))

    return patch.object(SimulatedWorld, "_ask_for_states", tell)


def erase_past_the_lanes() -> Any:
    """After an erasure tombstones are sent, and no lane is asked for one behind what it may just be telling."""
    return patch.object(workers, "state_requests", lambda *_: [])


def forget_lanes_that_are_closing() -> Any:
    """Whoever closes lanes has forgotten them before they have ended, and others of their number are opened.

    Too rare for the seeds: tests/kafka/test_watch.py arranges it.
    """

    async def hasty(self: Lanes, numbers: Sequence[int] | None = None) -> None:
        lanes = [self.by_number.pop(number) for number in numbers or list(self.by_number) if number in self.by_number]
        await asyncio.gather(*(lane.close(self._settings.shutdown_seconds) for lane in lanes))

    return patch.object(Lanes, "close", hasty)


@contextmanager
def _both(one: Any, other: Any) -> Iterator[None]:
    with one, other:
        yield


MUTATIONS: dict[str, tuple[Mutation, range]] = {
    "commit offsets before the store": (commit_offsets_before_the_store, range(50)),
    "forget pending": (forget_pending, range(50)),
    "do not await sends": (do_not_await_sends, range(50)),
    "trim at N instead of C": (trim_at_the_end_of_the_batch, range(300)),
    "no compare-and-set": (no_compare_and_set, range(300)),
    "do not reach": (do_not_reach, range(1000)),
    "forget what has overtaken": (forget_what_has_overtaken, range(300)),
    "believe what the group tells": (believe_what_the_group_tells, range(300)),
    "believe what is told too early": (believe_what_is_told_too_early, range(300)),
    "take what waits for done": (take_what_waits_for_done, range(300)),
    "go on after a failed poll": (go_on_after_a_failed_poll, range(300)),
    "seek to where the client stands": (seek_to_where_the_client_stands, range(300)),
    "move facts away with the write that brings them": (move_facts_away_with_the_write_that_brings_them, range(300)),
    "forget the history": (forget_the_history, range(300)),
    "transactional id per process": (transactional_id_per_process, range(300)),
    "decide again while paused": (decide_again_while_paused, range(300)),
    "do not look for releases": (do_not_look_for_releases, range(300)),
    "look before the insert only": (look_before_the_insert_only, range(1000)),
    "decide about the erased": (decide_about_the_erased, range(50)),
    "delete before the tombstone": (delete_before_the_tombstone, range(50)),
    "forget what is not announced": (forget_what_is_not_announced, range(300)),
    "tell states past the lanes": (tell_states_past_the_lanes, range(300)),
    "erase past the lanes": (erase_past_the_lanes, range(200, 1000)),
}
"""Each with the seeds within which it must be caught."""
