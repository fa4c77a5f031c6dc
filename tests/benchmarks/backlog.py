"""A backlog: produced first, then worked off by whoever is measured.

Time runs from when the group has given out the partitions until everything is committed, so that the start of the
process is left out; it is reported apart. Every subject reads the same messages, in a group and a database of its own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from service.mongo.store import MongoStore, connect
from tests.benchmarks import results as measures
from tests.benchmarks.outside import Group, count, ends, produce
from tests.benchmarks.results import Results
from tests.benchmarks.servers import Servers
from tests.benchmarks.subjects import Subject, Worker
from tests.benchmarks.usage import cpu_seconds, peak_memory_mb
from tests.benchmarks.workloads import Workload, definitions
from tests.stack.service import World

LOOK_SECONDS = 0.01
START_SECONDS = 120.0
LIMIT_SECONDS = 60.0
"""What is not through by then is measured over what it has done, so that the whole ends in time."""
OUTBOUND = (STEP_COMPLETION_CHANGED.name, COURSE_COMPLETION_CHANGED.name)
MILLION = 1_000_000


class Moment(NamedTuple):
    """How far a worker was, and what it had used."""

    seconds: float
    committed: int
    worker_cpu_seconds: float
    all_cpu_seconds: float


class Backlog:
    """A workload, waiting in topics of its own."""

    def __init__(self, servers: Servers, workload: Workload) -> None:
        self.workload = workload
        self._servers = servers
        world = servers.world()
        self.prefix = world.prefix
        self._partitions = world.partitions
        world.create_topics()
        produce(servers.broker.address, self.prefix, workload.make())
        with self._group("nobody") as group:
            self.messages = group.waiting()
        self._must_change: dict[str, int] = {}

    def _group(self, name: str) -> Group:
        topics = [self.prefix + topic for topic in self.workload.topics]
        return Group(self._servers.broker.address, name, topics, self._partitions)

    def measure(
        self,
        subject: Subject,
        results: Results,
        called: str | None = None,
        database: str | None = None,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> int | None:
        """Have it worked off; gives how many changes were published, None where not all of it was.

        `called`: the workload's name in the results. In the database, where one is given, there are records already.
        """
        world = self._servers.world(self.prefix, database)
        asyncio.run(define(world))
        before = ends(self._servers.broker.address, self._outbound(), self._partitions)
        begin = time.monotonic()
        worker = subject.start(world)
        try:
            with self._group(world.name) as group:
                enough = min(self.messages, subject.messages or self.messages)
                joined = self._wait(lambda: group.is_joined(len(worker.processes)), group, worker, START_SECONDS)
                first = self._wait(lambda: group.committed() > 0, group, worker, START_SECONDS)
                last = self._wait(lambda: group.committed() >= enough, group, worker, limit_seconds)
            memory_mb = max(map(peak_memory_mb, worker.pids))
        finally:
            worker.stop()
            if database is None:
                self._servers.drop(world.name)
        name = called or self.workload.name
        _note(results, name, subject.name, joined, last, (first.seconds - begin, memory_mb))
        if last.committed < self.messages:
            if last.committed < enough:
                results.note(f"{name}, {subject.name}: stopped after {last.committed:,} of {self.messages:,} messages")
            return None
        changes = count(self._servers.broker.address, before)
        if database is None:
            self._check(subject, name, changes, results)
        return changes

    def _outbound(self) -> list[str]:
        return [self.prefix + name for name in OUTBOUND]

    def _wait(self, until: Callable[[], bool], group: Group, worker: Worker, limit_seconds: float) -> Moment:
        deadline = time.monotonic() + limit_seconds
        while not until() and not (group.known and time.monotonic() > deadline):
            worker.check()
            assert time.monotonic() < deadline, f"nothing was committed within {limit_seconds} s"
            time.sleep(LOOK_SECONDS)
        own = cpu_seconds(worker.pids)
        return Moment(time.monotonic(), group.committed(), own, own + cpu_seconds(self._servers.processes))

    def _check(self, subject: Subject, name: str, changes: int, results: Results) -> None:
        """What does less than its work is not measured."""
        if not self.workload.in_one_order:
            return
        if subject.name not in self._must_change:
            self._must_change[subject.name] = subject.changes(self.workload.make())
        must = self._must_change[subject.name]
        if changes != must:
            results.wrong.append(f"{name}, {subject.name}: {changes:,} changes instead of {must:,}")


def _note(
    results: Results, name: str, who: str, joined: Moment, last: Moment, start_and_memory: tuple[float, float]
) -> None:
    start_seconds, memory_mb = start_and_memory
    results.add(name, who, measures.START, start_seconds)
    results.add(name, who, measures.MEMORY, memory_mb)
    messages = last.committed - joined.committed
    if not messages:
        results.note(f"{name}, {who}: too few messages for a rate")
        return
    results.add(name, who, measures.RATE, messages / (last.seconds - joined.seconds))
    per_million = MILLION / messages
    results.add(name, who, measures.CPU, (last.worker_cpu_seconds - joined.worker_cpu_seconds) * per_million)
    results.add(name, who, measures.CPU_ALL, (last.all_cpu_seconds - joined.all_cpu_seconds) * per_million)


@asynccontextmanager
async def store_of(world: World) -> AsyncIterator[MongoStore]:
    """The world's database as a worker has it."""
    uri, database = world.settings["RATCHET_MONGODB_URI"], world.settings["RATCHET_MONGODB_DATABASE"]
    store = connect(uri, database, world.name, {})
    try:
        yield store
    finally:
        await store.close()


async def define(world: World) -> None:
    """Put the courses into the world's database: they were defined long before."""
    async with store_of(world) as store:
        await store.prepare()
        for course in definitions():
            await store.courses.save(course)
