"""One run: a world on the cluster, its workers, its inputs, and somebody downstream who watches."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import confluent_kafka as confluent
from aiokafka import TopicPartition
from pymongo import MongoClient

from contracts.topics import DEAD_LETTER, RECORD_STATE
from service.lanes.deciding import whole_records
from service.mongo.store import connect
from tests.faults.cluster import Cluster, Proxies
from tests.faults.watch import OUT, SAMPLE_SECONDS, Watch
from tests.faults.workload import Message, Workload, make_workload
from tests.promise import Outcome
from tests.stack.service import Failed, Serving, World
from tests.stack.wire import Got, Wire, states_of

WORKERS = 3
SESSION_SECONDS = 6
FACTS_IN_RECORD = 8
"""Fewer than a record gets, so that facts move away here too."""
STALL_SECONDS = 120
PATIENCE_SECONDS = 600.0
RESTART_STATUS = 3
MIB = 1024 * 1024


class Profile(NamedTuple):
    """How large a run is."""

    name: str
    inputs: int
    records: int
    partitions: int
    batch_messages: int
    trouble_seconds: float
    seed: int = 1

    @property
    def is_short(self) -> bool:
        """For every day."""
        return self.name == "short"


class Situation:
    """What a fault has at hand."""

    def __init__(self, cluster: Cluster, world: World, wire: Wire, profile: Profile, proxies: Proxies | None) -> None:
        self.cluster = cluster
        self.proxies = proxies
        self.world = world
        self.profile = profile
        self.workload: Workload = make_workload(profile.seed, profile.inputs, profile.records, profile.partitions)
        self.workers: list[Serving] = []
        self.watch = Watch(world, lambda: self.workers)
        self.notes: list[str] = []
        self.restarts = 0
        self.fresh: set[bytes | None] = set()
        """Values of facts that happened when they were sent."""
        self._wire = wire
        self._fed = 0
        self._beside: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Let go on beside the fault what goes on all the time."""
        self._beside = [asyncio.create_task(doing) for doing in self.beside()]

    def look_beside(self) -> None:
        """Raises what has ended something beside the fault."""
        for task in self._beside:
            if task.done():
                task.result()

    async def end(self) -> None:
        """Nothing goes on any more."""
        for task in self._beside:
            task.cancel()
        await asyncio.wait(self._beside)
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()

    def beside(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on all the time."""
        return [self.watch.run(), self.orchestrate()]

    async def feed(self, share: float) -> None:
        """Send this share of the inputs, or what is left of them."""
        count = min(round(share * self.profile.inputs), self.profile.inputs - self._fed)
        self._fed += count
        await self.send(self.workload.take(count))

    async def send(self, messages: Iterable[Message]) -> None:
        """Send what the workload has given out of turn, too."""
        await self._wire.send_all(messages)

    def expect(self, sent: Iterable[Got]) -> None:
        """Somebody else has sent these, and they are to be dealt with."""
        for message in sent:
            self._wire.expect(message)

    async def feed_rest(self) -> None:
        """Send what was not sent yet."""
        await self.feed(1.0)

    async def dealt_with(self) -> None:
        """Until everything sent, and what follows from it, has been dealt with."""
        await self._wire.settled(PATIENCE_SECONDS, look_every_seconds=0.5)

    def delete_group(self) -> None:
        """Kafka forgets how far it had come."""
        admin = self.cluster.admin()  # it answers as long as it lives
        for deleted in admin.delete_consumer_groups([self.world.name]).values():
            deleted.result()

    async def group_offsets(self) -> dict[TopicPartition, int]:
        """How far the group has come in each partition."""
        return await self._wire.committed()

    def tell_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Kafka tells that the group has come so far."""
        told = [confluent.TopicPartition(place.topic, place.partition, offset) for place, offset in offsets.items()]
        admin = self.cluster.admin()  # it answers as long as it lives
        request = confluent.ConsumerGroupTopicPartitions(self.world.name, told)
        for changed in admin.alter_consumer_group_offsets([request]).values():
            changed.result()

    async def committed(self, topic: str, partition: int) -> int:
        """How far the group has come in a partition; the topic's name in full."""
        return (await self._wire.committed())[TopicPartition(topic, partition)]

    async def changes_come(self) -> None:
        """Until the first change of this run can be read."""
        await wait_for(lambda: bool(self.watch.arrivals), "the first change")

    # -- workers --------------------------------------------------------------------------------------------------

    def start(self, count: int = 1, **settings: str) -> list[Serving]:
        """Start workers."""
        started = [self.world.serve(**settings) for _ in range(count)]
        self.workers += started
        return started

    def start_doomed(self, **settings: str) -> Serving:
        """Start a worker that is expected to die."""
        return self.world.serve(**settings)

    async def ready(self) -> None:
        """Until every worker is."""
        await asyncio.gather(*(asyncio.to_thread(worker.wait_until_ready) for worker in self.workers))

    def readyz(self) -> list[dict[str, Any]]:
        """What every worker that is up says of itself."""
        said = []
        for worker in self.workers:
            with suppress(OSError):
                said.append(json.loads(worker.get("/readyz")[1]))
        return said

    async def stop(self, worker: Serving, number: signal.Signals = signal.SIGTERM) -> None:
        """End a worker; one that is asked kindly must end well."""
        self.workers.remove(worker)
        status = await asyncio.to_thread(worker.stop, number, 60.0)
        if status != (0 if number == signal.SIGTERM else -number):
            raise Failed(f"a worker ended with status {status}: {worker.log.read_text()[-1000:]}")

    async def stop_all(self) -> None:
        """End all workers, kindly."""
        await asyncio.gather(*(self.stop(worker) for worker in list(self.workers)))

    async def orchestrate(self) -> None:
        """Start those again that end with status 3, as an orchestrator does. No other end is expected."""
        while True:
            for worker in [worker for worker in self.workers if worker.process.poll() is not None]:
                if worker.process.returncode != RESTART_STATUS:
                    raise Failed(f"a worker ended with {worker.process.returncode}: {worker.log.read_text()[-1000:]}")
                self.workers.remove(worker)
                self.start()
                self.restarts += 1
            await asyncio.sleep(SAMPLE_SECONDS)

    # -- what was left behind -------------------------------------------------------------------------------------

    async def read(self, *shorts: str) -> list[Got]:
        """Everything that is in these topics now."""
        return await self._wire.read(*shorts)

    async def dead_letters(self, reason: str) -> list[bytes | None]:
        """The values of those with this reason."""
        letters = await self.read(DEAD_LETTER.short)
        return [letter.value for letter in letters if letter.header("kafka_dlt-exception-fqcn") == reason]

    async def outcome(self) -> Outcome:
        """Everything published, and everything stored."""
        published: dict[str, list[list[tuple[bytes | None, dict[str, object]]]]] = {
            topic.name: [[] for _ in range(self.profile.partitions)] for topic in OUT
        }
        for got in await self._wire.read(*(topic.short for topic in OUT)):
            published[self._wire.catalogue_name(got.topic)][got.partition].append((got.key, got.json))
        states = states_of(await self._wire.read(RECORD_STATE.short))
        dead = [got.value for got in await self._wire.read(DEAD_LETTER.short)]
        store = connect(self.world.database.address, self.world.name, self.world.name, {})
        try:
            records = await whole_records(store, self.workload.expected.facts)
            courses = await store.courses.load({key.rsplit("/", 2)[0] + "/" + key.rsplit("/", 1)[1] for key in records})
        finally:
            await store.close()
        return Outcome(published, states, dead, records, courses)


async def wait_for(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Until the condition holds. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        await asyncio.sleep(0.05)


Made = TypeVar("Made", bound=Situation)
Make = Callable[[Cluster, World, Wire, Profile, Proxies | None], Made]


@asynccontextmanager
async def situation(
    make: Make[Made], cluster: Cluster, folder: Path, profile: Profile, proxies: Proxies | None
) -> AsyncIterator[Made]:
    """A world of its own with workers that are ready; nothing of it is left behind."""
    world = World(
        cluster.broker,
        cluster.database,
        folder,
        partitions=profile.partitions,
        RATCHET_BATCH_MESSAGES=str(profile.batch_messages),
        RATCHET_KAFKA_SESSION_TIMEOUT_SECONDS=str(SESSION_SECONDS),
        RATCHET_STALL_SECONDS=str(STALL_SECONDS),
        RATCHET_FACTS_IN_RECORD=str(FACTS_IN_RECORD),
    )
    world.create_topics()
    world.settings.update({} if proxies is None else proxies.settings)
    async with Wire(world) as wire:
        made = make(cluster, world, wire, profile, proxies)
        made.begin()
        try:
            made.start(WORKERS)
            await made.ready()
            yield made
            made.look_beside()
        finally:
            await made.end()
            _clean(cluster, world)


def _clean(cluster: Cluster, world: World) -> None:
    """The next run should not pay for what this one left."""
    admin = cluster.admin()
    topics = [name for name in admin.list_topics(timeout=10).topics if name.startswith(world.prefix)]
    for deleted in admin.delete_topics(topics).values():
        deleted.result()
    with MongoClient[dict[str, object]](world.database.address) as client:
        client.drop_database(world.name)


def snapshot(world: World) -> dict[str, Sequence[dict[str, object]]]:
    """Everything in the world's database at one instant."""
    with (
        MongoClient[dict[str, object]](world.database.address) as client,
        client.start_session(snapshot=True) as session,
    ):
        database = client[world.name]
        names = ("lanes", "courses", "records", "record_history")
        return {name: list(database[name].find(session=session)) for name in names}


def restore(world: World, saved: dict[str, Sequence[dict[str, object]]]) -> None:
    """Put it back as it was."""
    with MongoClient[dict[str, object]](world.database.address) as client:
        for name, documents in saved.items():
            collection = client[world.name][name]
            collection.delete_many({})
            if documents:
                collection.insert_many(documents)
