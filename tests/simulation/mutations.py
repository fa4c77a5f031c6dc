"""Deliberate mistakes, one safeguard left out each. The simulation must catch every one of them."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.structs import RecordMetadata
from msgspec.structs import replace

from rules import window
from rules.values import Timeline
from service.kafka import assignment
from service.kafka.assignment import Lanes
from service.kafka.log import KafkaLog
from service.lanes import deciding, lane, sweep
from service.lanes.batch import Clock, Decided, Prepared, decide_record
from service.lanes.inbox import Batch
from service.lanes.lane import Lane
from service.lanes.ports import History, Lease, Offsets, Outbound, Received, StoredRecord
from service.lanes.translate import HeardFact, HeardRequest
from tests.mongo.memory_store import MemoryLeases, MemoryRecords
from tests.simulation.kafka import Builder, FakeProducer
from tests.simulation.workers import FaultyLeases, FaultyRecords, SimulatedWorld

Mutation = Callable[[], Any]


def commit_offsets_before_the_store() -> Any:
    """The offsets go ahead of the work, in a transaction of their own."""
    prepare, publish = Lane._prepare, KafkaLog.publish
    one_at_a_time: dict[KafkaLog, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def alone(self: KafkaLog, messages: Iterable[Outbound], committed: Offsets) -> None:
        async with one_at_a_time[self]:
            await publish(self, messages, committed)

    async def hasty(self: Lane, batch: Batch) -> Prepared:
        await self._log.publish((), batch.end)
        return await prepare(self, batch)

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
    ends: dict[str, int] = {}
    prepare = Lane._prepare

    async def note(self: Lane, batch: Batch) -> Prepared:
        ends.update(batch.end)
        return await prepare(self, batch)

    def trimming(
        stored: StoredRecord,
        heard: Sequence[tuple[Received, HeardFact | HeardRequest]],
        timeline: Timeline,
        clock: Clock,
        _: Offsets,
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


def no_plan() -> Any:
    """The next owner cuts its batches as it likes."""
    take = MemoryLeases.take

    async def planless(self: MemoryLeases, number: int) -> Lease:
        return replace(await take(self, number), plan={})

    return patch.object(MemoryLeases, "take", planless)


def store_before_the_plan() -> Any:
    """What is published waits for the plan of its batch, what is stored does not."""
    plan, publish = FaultyLeases.plan, Lane._publish
    planning: dict[tuple[Any, int], asyncio.Task[None]] = {}

    async def later(self: FaultyLeases, lane: int, *rest: Any) -> None:
        planning[self, lane] = asyncio.create_task(plan(self, lane, *rest))

    async def patient(self: Lane, prepared: Prepared) -> None:
        await planning[self._store.leases, self.number]
        await publish(self, prepared)

    return _both(patch.object(FaultyLeases, "plan", later), patch.object(Lane, "_publish", patient))


def plan_without_fence() -> Any:
    """An old owner can still plan."""

    async def unfenced(self: MemoryLeases, number: int, epoch: int, end: Offsets, committed: Offsets) -> None:
        assert epoch
        self.by_lane[number] = replace(self.by_lane[number], plan=dict(end), committed=dict(committed))

    return patch.object(MemoryLeases, "plan", unfenced)


def skip_the_gate() -> Any:
    """What was fetched before a seek is taken for what follows it."""

    async def gateless(self: Lanes, records: Sequence[ConsumerRecord[Any, Any]]) -> None:
        for record in records:
            if record.partition in self.by_number:
                await asyncio.sleep(0)
                self.by_number[record.partition].offer(record.topic, [assignment._received(record.topic, record)])

    return patch.object(Lanes, "hand_over", gateless)


def transactional_id_per_process() -> Any:
    """Each process fences only itself."""
    make = SimulatedWorld.make_producer

    def personal(self: SimulatedWorld, process: Any, transactional_id: str | None) -> Any:
        return make(self, process, transactional_id and f"{process.name}-{transactional_id}")

    return patch.object(SimulatedWorld, "make_producer", personal)


def move_facts_away_with_the_write_that_brings_them() -> Any:
    """What looks as if it had moved away may never have been in the record."""
    return patch.object(window, "_is_stored", lambda *_: True)


def forget_the_history() -> Any:
    """Facts that have moved away are not looked for."""

    async def nothing(self: FaultyRecords, asked: Mapping[str, Any]) -> dict[str, History]:
        assert self is not None
        return {key: History({}, {}, wanted is None) for key, wanted in asked.items()}

    return patch.object(FaultyRecords, "history", nothing)


def decide_again_while_paused() -> Any:
    """A request counts also while the newest version of its course is not released."""
    return patch.object(deciding, "without_early_requests", lambda heard, _: heard)


def forget_what_was_in_flight() -> Any:
    """Nobody asks for records that a batch has stored under a version that was the newest when it was loaded."""
    return patch.object(lane, "requests_behind", lambda *_: [])


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


@contextmanager
def _both(one: Any, other: Any) -> Iterator[None]:
    with one, other:
        yield


MUTATIONS: dict[str, tuple[Mutation, int]] = {
    "commit offsets before the store": (commit_offsets_before_the_store, 50),
    "forget pending": (forget_pending, 50),
    "do not await sends": (do_not_await_sends, 50),
    "trim at N instead of C": (trim_at_the_end_of_the_batch, 300),
    "no compare-and-set": (no_compare_and_set, 300),
    "no plan": (no_plan, 1000),
    "store before the plan": (store_before_the_plan, 1000),
    "a plan that is not fenced": (plan_without_fence, 1000),
    "move facts away with the write that brings them": (move_facts_away_with_the_write_that_brings_them, 300),
    "forget the history": (forget_the_history, 300),
    "skip the gate": (skip_the_gate, 300),
    "transactional id per process": (transactional_id_per_process, 300),
    "decide again while paused": (decide_again_while_paused, 300),
    "forget what was in flight": (forget_what_was_in_flight, 1000),
    "do not look for releases": (do_not_look_for_releases, 300),
    "look before the insert only": (look_before_the_insert_only, 1000),
    "decide about the erased": (decide_about_the_erased, 50),
    "delete before the tombstone": (delete_before_the_tombstone, 50),
}
"""Each with the number of seeds within which it must be caught."""
