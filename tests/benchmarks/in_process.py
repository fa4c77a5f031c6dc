"""CPU of a message by stage, in one process and without servers: `python -m tests.benchmarks.in_process`.

A mass upload goes through the worker's own code, from the hand-over to the batches that a producer sends, with a store
and a producer that do all the encoding and nothing else. What is left out: fetching, the driver's and the event loop's
own work. A stage's time excludes that of the stages within it.
"""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

import bson
from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata
from rich.console import Console
from rich.table import Table

from contracts.topics import ATTENDANCE_CHANGED, CONSUMED
from service.kafka.clients import PRODUCER_BATCH_BYTES
from service.kafka.log import KafkaLog
from service.kafka.partitioner import partition_of
from service.lanes import batch, deciding, parts, preparing
from service.lanes.bounds import Bounds
from service.lanes.flood import Flood
from service.lanes.inbox import Inbox
from service.lanes.ports import Handed, History, Received, StoredRecord
from service.lanes.preparing import Preparer, Shared
from service.lanes.progress import up_to
from service.lanes.turns import Turns
from service.mongo.documents import record_document, stored_record
from service.settings import Settings
from tests.benchmarks.workloads import Workload, definitions, mass_upload
from tests.mongo.memory_store import MemoryStore

MESSAGES, RECORDS = 50_000, 5_000
"""A quarter of the mass upload of `cases`: what one of four lanes has of it."""
HANDED_TOGETHER = 2_000
ROUNDS = 5
MICROSECONDS = 1_000_000
STAGES: Mapping[str, Sequence[tuple[object, str]]] = {
    "cut": [(Inbox, "add"), (Inbox, "next_batch")],
    "translate": [(parts, "translate")],
    "sort out": [(preparing, "sort_out")],
    "decide": [(batch, "decide")],
    "fold into the record": [(deciding, "decide_record")],
    "pack decisions": [(batch, "pack")],
    "record to bytes": [(sys.modules[__name__], "_encoded")],
    "bytes to record": [(sys.modules[__name__], "_decoded")],
    "what goes out": [(preparing, "going_out"), (preparing.Preparer, "_states")],
    "changes to bytes": [(preparing, "outbound")],
    "states to bytes": [(preparing, "state_of")],
    "send": [(KafkaLog, "_append"), (KafkaLog, "_destination")],
}


class Stopwatch:
    """Time by stage; what is measured within a stage is not that stage's."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._stage, self._since = "all else", time.perf_counter()

    def _turn(self, stage: str) -> str:
        before, now = self._stage, time.perf_counter()
        self.seconds[before] += now - self._since
        self._stage, self._since = stage, now
        return before

    def measured(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which is not a coroutine's."""

        def call(*arguments: Any, **named: Any) -> Any:
            before = self._turn(stage)
            try:
                return function(*arguments, **named)
            finally:
                self._turn(before)

        return call

    def end(self) -> None:
        """Nothing more is measured."""
        self._turn("all else")


class Records:
    """As MongoDB has them: bytes."""

    def __init__(self) -> None:
        self.by_key: dict[str, bytes] = {}

    async def load(self, keys: Iterable[str]) -> dict[str, StoredRecord]:
        return {key: _decoded(self.by_key[key]) for key in keys if key in self.by_key}

    async def save(self, records: Sequence[StoredRecord]) -> bool:
        self.by_key |= {record.key: _encoded(record) for record in records}
        return True

    async def erased(self, _: Iterable[str]) -> set[str]:
        return set()

    async def history(self, asked: Mapping[str, Collection[str] | None]) -> dict[str, History]:
        return {key: History() for key in asked}

    async def save_history(self, _: object) -> None:
        pass


def _encoded(record: StoredRecord) -> bytes:
    return bson.encode(record_document(record))


def _decoded(document: bytes) -> StoredRecord:
    return stored_record(bson.decode(document))


class Producer:
    """Takes batches."""

    def __init__(self) -> None:
        self.sent_bytes = 0

    async def partitions_for(self, _: str) -> set[int]:
        return set(range(4))

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(PRODUCER_BATCH_BYTES, 0, is_transactional=True)

    async def send_batch(self, batch: BatchBuilder, _: str, *, partition: int) -> "asyncio.Future[Any]":
        del partition
        self.sent_bytes += batch.size()
        batch.close()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_result(RecordMetadata("", 0, TopicPartition("", 0), 0, 0, 0, 0))
        return future


def received(workload: Workload) -> list[Received]:
    """As a lane has them."""
    return [
        Received(message.topic, 0, offset, offset, message.key.encode(), message.value, ())
        for offset, message in enumerate(workload.make())
    ]


def _handed(messages: Sequence[Received]) -> Iterator[Handed]:
    topic = ATTENDANCE_CHANGED.name
    for begin in range(0, len(messages), HANDED_TOGETHER):
        some = messages[begin : begin + HANDED_TOGETHER]
        yield Handed({topic: begin}, {topic: begin + len(some)}, {topic: some})


async def work_off(messages: Sequence[Received], tells_states: bool = True) -> int:
    """All of them, batch by batch; gives how many went out."""
    store = MemoryStore()
    store.records = Records()  # type: ignore[assignment]
    for course in definitions():
        await store.courses.save(course)
    bounds = Bounds(**Settings().model_dump(include=set(Bounds._fields)))
    turns = Turns.of_a_worker()
    clock, place = time.time, partial(partition_of, partitions=1)
    shared = Shared(bounds, place, "", Flood(100, 10**9), turns, clock, tells_states)
    preparer, inbox = Preparer(0, store, shared, lambda: None), Inbox(up_to({ATTENDANCE_CHANGED.name: 0}), bounds, 8)
    log = KafkaLog(None, [topic.name for topic in CONSUMED], 0, "group", "", None, None)  # type: ignore[arg-type]
    producer, waiting = Producer(), _handed(messages)
    count = 0

    def counted(outgoing: Iterable[Any]) -> Iterator[Any]:
        nonlocal count
        for one in outgoing:
            count += 1
            yield one

    while True:
        while not inbox.is_full and (handed := next(waiting, None)) is not None:
            inbox.add(handed)
        if not len(inbox):
            return count
        batch = inbox.next_batch()
        prepared = await preparer.prepare(batch.messages, batch.start, batch.start)
        assert not prepared.beyond(batch.end)
        await log._send_all(producer, counted(prepared.messages))
        prepared.tell_committed(0, 0.0, clock())


def main() -> None:
    """Several rounds whole, for the sum, and one by stage."""
    messages = received(mass_upload(MESSAGES, RECORDS))
    by_stage: dict[str, list[float]] = defaultdict(list)
    wholes = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        went_out = asyncio.run(work_off(messages))
        wholes.append((time.process_time() - begin) / MESSAGES * MICROSECONDS)
        watch = Stopwatch()
        with ExitStack() as stack:
            for stage, places in STAGES.items():
                for owner, name in places:
                    stack.enter_context(patch.object(owner, name, watch.measured(stage, getattr(owner, name))))
            watch.end()
            watch.seconds.clear()
            asyncio.run(work_off(messages))
            watch.end()
        for stage in [*STAGES, "all else"]:
            by_stage[stage].append(watch.seconds[stage] / MESSAGES * MICROSECONDS)
    table = Table(title=f"µs of a message, least of {ROUNDS} rounds; {went_out / MESSAGES:.2f} go out for each")
    table.add_column("stage")
    table.add_column("µs", justify="right")
    for stage, times in by_stage.items():
        table.add_row(stage, f"{min(times):.1f}")
    table.add_row("sum", f"{sum(map(min, by_stage.values())):.1f}")
    table.add_row("without the stopwatch", f"{min(wholes):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
