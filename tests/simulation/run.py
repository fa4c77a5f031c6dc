"""One run from a seed, and many: `python -m tests.simulation.run SEEDS [FIRST]`."""

import asyncio
import json
import logging
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from typing import Any
from unittest.mock import patch

from aiokafka import TopicPartition

from contracts.fields import split_key
from contracts.topics import (
    CONSUMED,
    COURSE_COMPLETION_CHANGED,
    DEAD_LETTER,
    RECORD_STATE,
    STEP_COMPLETION_CHANGED,
    TOPICS,
)
from service.kafka.partitioner import partition_of
from service.lanes import turns
from service.lanes.deciding import whole_records
from tests.promise import Expected, Outcome, check
from tests.simulation.loop import run
from tests.simulation.workers import Fate, SimulatedWorld

LIMIT_SECONDS = 5000.0
"""Virtual time for everything to be dealt with once the trouble is over."""
SMALL_BATCHES = 0, 2, 1000
"""By seed: with few messages, what takes turns must be small."""
NAMES = {topic.short: topic.name for topic in TOPICS}
Json = dict[str, Any]


class Inputs:
    """What the seed sends: facts, duplicates, poison, misrouted messages, definitions; in transactions or not."""

    def __init__(self, fate: Fate, world: SimulatedWorld) -> None:
        self._fate = fate
        self._world = world
        self._facts: dict[str, set[str]] = defaultdict(set)
        self._poison: Counter[bytes | None] = Counter()
        self._sent: list[tuple[str, bytes, bytes]] = []
        self._keys = [f"t/l{number}/c{number % 2}" for number in range(fate.randrange(1, 5))]
        self._number = 0
        self._reassigned: list[str] = []
        self._definitions = fate.choice((0.06, 0.25))
        """How often a message is one."""
        self._versions = Counter[str]()
        self._transactional = fate.choice((0.0, 0.0, 0.2))
        """How often a message comes in a transaction of its sender's."""
        self._open: list[asyncio.Task[None]] = []

    @property
    def expected(self) -> Expected:
        """What must come of it."""
        erased = frozenset(key for key in self._facts if key.rpartition("/")[0] in self._world.store.records.tombstones)
        return Expected(self._facts, self._poison, erased, frozenset(self._world.deleted))

    async def end(self) -> None:
        """No transaction is open any more."""
        if self._open:
            await asyncio.wait(self._open)

    def learner(self) -> str:
        """Any of those who are spoken of."""
        return self._fate.choice(self._keys).rpartition("/")[0]

    def say_something(self) -> None:
        """One message of any kind."""
        kind = self._fate.random()
        if kind < self._definitions:
            self.define(self._fate.choice(("c0", "c1")))
        elif kind < self._definitions + 0.04:
            self._send_poison()
        elif kind < self._definitions + 0.11 and self._sent:
            self._append(*self._fate.choice(self._sent))
        else:
            self._send_fact()

    def define(self, course_id: str) -> None:
        """The next version of a course."""
        self._versions[course_id] += 1
        version = self._versions[course_id]
        value = {
            "message_id": f"d-{course_id}-{version}",
            "tenant_id": "t",
            "course_id": course_id,
            "changed_at": self._at(),
            "version": version,
            "awards_certificate": self._fate.random() < 0.7,
            "steps": [
                {"step_id": f"e{number}", "kind": "event", "scheduled_minutes": self._fate.choice((30, 60))}
                for number in range(self._fate.choice((1, 2)))
            ],
        }
        self._append("course-defined", f"t/{course_id}".encode(), json.dumps(value).encode())

    def _at(self) -> str:
        return f"2026-01-01T00:{self._fate.randrange(60):02d}:{self._fate.randrange(60):02d}Z"

    def _send_fact(self) -> None:
        key = self._fate.choice(self._keys)
        tenant_id, learner_id, course_id = split_key(key)
        self._number += 1
        value: Json = {
            "message_id": f"m{self._number}",
            "tenant_id": tenant_id,
            "learner_id": learner_id,
            "course_id": course_id,
            "changed_at": self._at(),
        }
        short, says = self._says(value["message_id"])
        self._facts[key].add(value["message_id"])
        self._append(short, key.encode(), json.dumps(value | says).encode())

    def _says(self, message_id: str) -> tuple[str, Json]:
        """The topic, and what a message of it says besides what all do."""
        kind = self._fate.random()
        if kind < 0.08:
            self._reassigned.append(message_id)
            return "reassigned", {"progress": self._fate.choice(("reset", "keep"))}
        if kind < 0.14:
            return "reassignment-withdrawn", {
                "reassignment_message_id": self._fate.choice(("unknown", *self._reassigned))
            }
        if kind < 0.2:
            return "equivalency-granted", self._fate.choice(({}, {"step_id": "e0"}))
        if kind < 0.23:
            return "completion-granted", {}
        says: Json = {"event_id": self._fate.choice(("e0", "e1"))}
        if kind < 0.28:
            return "attendance-changed", says | {"excused": True}
        return "attendance-changed", says | {"attended_minutes": self._fate.choice((0, 20, 30, 60))}

    def _send_poison(self) -> None:
        self._number += 1
        value = f"poison {self._number}".encode()
        self._poison[value] += 1
        self._append("attendance-changed", self._fate.choice(self._keys).encode(), value)

    def _append(self, short: str, key: bytes, value: bytes) -> None:
        partitions = self._world.broker.partitions
        number = partition_of(key, partitions)
        # A definition that is overtaken by its successor is stale, and rightly a dead letter; here none is.
        if self._fate.random() < 0.08 and short != "course-defined":
            number = self._fate.randrange(partitions)
        if not value.startswith(b"poison"):
            self._sent.append((short, key, value))
        to = TopicPartition(NAMES[short], number)
        if self._fate.random() < self._transactional:
            self._append_in_transaction(to, key, value)
        else:
            self._world.broker.append(to, [(key, value, ())], None)

    def _append_in_transaction(self, to: TopicPartition, key: bytes, value: bytes) -> None:
        """After one that is aborted, with messages that must never be seen; it stays open for a while."""
        broker, name = self._world.broker, f"lms-{len(self._open)}"
        epoch = broker.init_producer(name)
        broker.begin(name, epoch)
        broker.append(to, [(key, b"never", ()), (b"t/l0/c0", b"seen", ())], (name, epoch))
        broker.abort(name, epoch)
        broker.begin(name, epoch)
        broker.append(to, [(key, value, ())], (name, epoch))

        async def commit() -> None:
            await asyncio.sleep(self._fate.random() * self._fate.choice((0.1, 20)))
            broker.commit(name, epoch, {})

        self._open.append(asyncio.create_task(commit()))


async def _live(seed: int) -> str:
    world = SimulatedWorld(seed, partitions=2)
    fate = world.fate
    inputs = Inputs(fate, world)
    if fate.random() < 0.8:
        inputs.define("c0")
        inputs.define("c1")
    for _ in range(fate.choice((1, 2))):
        await world.join()
    steps = fate.randrange(5, 45)
    erasing_turn = fate.randrange(4 * steps)
    for turn in range(steps):
        inputs.say_something()
        if turn == erasing_turn:
            world.begin_to_erase(inputs.learner())
        await world.administer()
        world.change_the_log()
        happening = fate.random()
        if happening < 0.2:
            await world.befall()
        elif happening < 0.5:
            await asyncio.sleep(fate.random() * 2)
    await inputs.end()
    fate.calm = True
    world.broker.undecodable.clear()
    for process in (*world.members, *world.zombies):
        process.thaw()
    if fate.random() < 0.5:
        await world.rebalance()
    await _until_done(world)
    await world.end_erasing()
    await _until_done(world)
    await world.end()
    check(await _outcome(world), inputs.expected)
    log = [(str(to), [(entry.key, entry.value) for entry in entries]) for to, entries in world.broker.logs.items()]
    return sha256(repr(sorted(log)).encode()).hexdigest()


async def _until_done(world: SimulatedWorld) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LIMIT_SECONDS
    topics = [topic.name for topic in CONSUMED]
    while True:
        for process in (*world.members, *world.zombies):
            process.check()
        await world.release()
        sweeping = any([await world.store.courses.to_sweep(number) for number in range(world.broker.partitions)])
        if not sweeping and not world.broker.behind(topics):
            return
        assert loop.time() < deadline, f"not dealt with: {world.broker.offsets}"
        await asyncio.sleep(1)


async def _outcome(world: SimulatedWorld) -> Outcome:
    published = {
        topic.name: [
            [(record.key, json.loads(record.value)) for record in partition]
            for partition in world.broker.committed_records(topic.name)
        ]
        for topic in (STEP_COMPLETION_CHANGED, COURSE_COMPLETION_CHANGED)
    }
    states = [
        (record.key.decode(), None if record.value is None else json.loads(record.value))
        for partition in world.broker.committed_records(RECORD_STATE.name)
        for record in partition
    ]
    dead = [record.value for partition in world.broker.committed_records(DEAD_LETTER.name) for record in partition]
    records = await whole_records(world.store, world.store.records.by_key)
    return Outcome(published, states, dead, records, world.store.courses.by_key)


def simulate(seed: int) -> str:
    """Run one seed to its end. Raises AssertionError, or whatever a lane did not expect. Gives a digest of the log."""
    with patch.object(turns, "SMALL_BATCH_MESSAGES", SMALL_BATCHES[seed % len(SMALL_BATCHES)]):
        return run(_live(seed))


def _outcome_of(seed: int) -> str | None:
    """What went wrong; None where nothing did."""
    try:
        simulate(seed)
    except Exception as error:  # noqa: BLE001  # whatever it is, the seed is what matters
        return f"seed {seed}: {type(error).__name__}: {str(error)[:300]}"
    return None


def simulate_all(seeds: Iterable[int]) -> list[str]:
    """Run many seeds on all cores. Gives what went wrong, each failure with its seed."""
    with ProcessPoolExecutor(initializer=logging.disable, initargs=(logging.CRITICAL,)) as pool:
        return [failure for failure in pool.map(_outcome_of, seeds, chunksize=20) if failure is not None]


def main() -> int:
    """Run many seeds; a failing one is named, and runs again with `… run 1 SEED`."""
    logging.disable(logging.CRITICAL)
    seeds, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if seeds == 1:
        print(f"seed {first}: {simulate(first)}")
        return 0
    begin = time.perf_counter()
    failures = simulate_all(range(first, first + seeds))
    for failure in failures:
        print(failure)
    print(f"{seeds} seeds, {len(failures)} failed, {time.perf_counter() - begin:.1f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
