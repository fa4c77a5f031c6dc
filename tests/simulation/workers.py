"""Processes that run the real lanes, and what befalls them: crashes, pauses, rebalances, faults of broker and store."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from aiokafka import TopicPartition

from contracts.fields import course_key_of
from contracts.topics import CONSUMED, FACTS
from rules.values import Instant
from service.admin.courses import release
from service.admin.states import state_requests
from service.errors import WaitAndRetry
from service.kafka.assignment import Lanes
from service.kafka.partitioner import partition_of
from service.lanes.outgoing import no_state
from service.lanes.packed import unpack
from service.lanes.ports import History, Outbound, Page, StoredCourse, StoredRecord
from service.lanes.progress import Offsets
from service.settings import Settings
from tests.mongo.memory_store import MemoryCourses, MemoryNotes, MemoryStore
from tests.simulation.kafka import Broker, FakeConsumer, FakeProducer

NOW = 1_800_000_000.0
SESSION_SECONDS = 30.0
ASKED_AT = "2027-01-15T08:00:00Z"
"""NOW, when somebody asks for states."""
HAPPENINGS = ["kill", "kill", "zombie", "zombie", "join", "leave", "stop", "rebalance", "wake", "pause", "brokers"]


class Fate(random.Random):
    """All that the seed decides. `calm`: from now on nothing goes wrong any more."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.calm = False
        self.trouble = self.choice((0.0, 0.005, 0.02, 0.05))
        """How often a call fails."""
        self.standstill = self.choice((0.02, 0.1))
        """How often a call takes seconds."""
        self.slowness = self.choice((0.0, 0.3, 0.7))
        """How often a partition gives nothing yet: batches come out that might as well have been cut otherwise."""
        self.lingering = self.choice((0.0, 0.5))
        """How often records that were decided take long to be stored: the world goes on meanwhile."""

    def fails(self) -> bool:
        """Whether this call fails."""
        return not self.calm and self.random() < self.trouble


class Process:
    """One worker process. After `die` none of its calls has any effect; while paused none returns."""

    def __init__(self, name: str, world: "SimulatedWorld") -> None:
        self.name = name
        self.fate = world.fate
        self._dead = False
        self._paused_until = 0.0
        self.consumer = FakeConsumer(world.broker, self.pause, self._is_slow, lambda: self.fate.choice((1, 3, 100)))
        self._world = world
        store = FaultyStore(world.store, self.pause, self.fate, world.meddle)
        self.lanes = Lanes(
            world.settings,
            store,
            world.broker.partitions,
            lambda: self.consumer,
            lambda transactional_id: world.make_producer(self, transactional_id),
            lambda: FakeConsumer(world.broker, self.pause),
            lambda: NOW,
        )

    async def pause(self, _: str) -> bool:
        """Take as long as the seed says; stay for ever in a process that has died."""
        kind = self.fate.random()
        if kind < 0.4:
            await asyncio.sleep(0 if kind < 0.2 else self.fate.random() * 0.05)
        elif kind > 1 - self.fate.standstill and not self.fate.calm:
            await asyncio.sleep(self.fate.random() * 4)
        while not self._dead and self._paused_until > asyncio.get_running_loop().time():
            await asyncio.sleep(self._paused_until - asyncio.get_running_loop().time())
        if self._dead:
            raise asyncio.CancelledError
        return self.fate.fails()

    def _is_slow(self) -> bool:
        return not self.fate.calm and self.fate.random() < self.fate.slowness

    async def assign(self, numbers: Iterable[int]) -> None:
        """A rebalance gives it these lanes and no others."""
        await self.lanes.on_partitions_revoked(self.consumer.assignment())
        assigned = {TopicPartition(topic.name, number) for topic in CONSUMED for number in numbers}
        self.consumer.assign(assigned)
        await self.lanes.on_partitions_assigned(assigned)

    def freeze(self, seconds: float) -> None:
        """As SIGSTOP and SIGCONT do."""
        self._paused_until = asyncio.get_running_loop().time() + seconds

    def thaw(self) -> None:
        """SIGCONT."""
        self._paused_until = 0.0

    async def die(self) -> None:
        """As kill -9 does."""
        self._dead = True
        self.lanes.failed.cancel()  # nobody hears any more that its lanes have ended
        tasks = [task for lane in self.lanes.by_number.values() for task in lane.tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def check(self) -> None:
        """A lane that ended with an error other than those it expects has found a bug."""
        if self.lanes.failed.done():
            self.lanes.failed.result()


class Faults:
    """Calls of a store that may be slow, time out before or after they took effect, or die with their process."""

    def __init__(self, pause: Callable[[str], Awaitable[bool]], fate: Fate) -> None:
        self._pause = pause
        self._fate = fate

    async def before(self) -> None:
        """The call may fail here."""
        if await self._pause("store"):
            raise WaitAndRetry("the database did not answer; nothing was done")

    async def linger(self) -> None:
        """Seconds may go by."""
        if not self._fate.calm and self._fate.random() < self._fate.lingering:
            await asyncio.sleep(self._fate.random() * 10)

    async def after(self) -> None:
        """Or here."""
        if await self._pause("store answered"):
            raise WaitAndRetry("the database did not answer; it was done")


class FaultyRecords:
    """Records behind faults; somebody may meddle with what is being saved."""

    def __init__(self, store: MemoryStore, faults: Faults, meddle: Callable[[StoredRecord], None]) -> None:
        self._store = store
        self._records = store.records
        self._faults = faults
        self._meddle = meddle

    async def load(self, keys: Iterable[str]) -> dict[str, StoredRecord]:
        await self._faults.before()
        return await self._records.load(keys)

    async def save(self, records: Sequence[StoredRecord]) -> bool:
        """Unordered: each record is its own write, and the call may be cut off after any of them."""
        hit = True
        for record in records:
            self._meddle(record)
        await self._faults.linger()
        await self._faults.before()
        for number, record in enumerate(records):
            self._check_released(record)
            if number % 4 == 3:
                await self._faults.after()
            hit &= await self._records.save([record])
        await self._faults.after()
        return hit

    def _check_released(self, record: StoredRecord) -> None:
        """No record is decided again under a version that nobody has released."""
        *_, newest = unpack(record.decisions)
        if newest.of_definition and newest.decision.number == record.record.decided:
            course = self._store.courses.by_key[course_key_of(record.key)]
            assert newest.decision.definition_version <= course.released, f"{record.key}: decided again while paused"

    async def history(self, asked: Mapping[str, Collection[str] | None]) -> dict[str, History]:
        await self._faults.before()
        return await self._records.history(asked)

    async def save_history(self, pages: Sequence[Page]) -> None:
        await self._faults.before()
        for page in pages:
            await self._faults.after()
            await self._records.save_history([page])
        await self._faults.after()

    async def erased(self, keys: Iterable[str]) -> set[str]:
        asked = list(keys)
        if asked:
            await self._faults.before()
        return await self._records.erased(asked)

    async def behind(self, course_key: str, version: int, in_progress: bool, after: str, limit: int) -> list[str]:
        await self._faults.before()
        return await self._records.behind(course_key, version, in_progress, after, limit)

    async def count_behind(self, course_key: str, version: int) -> int:
        await self._faults.before()
        return await self._records.count_behind(course_key, version)


class FaultyCourses:
    """Courses behind faults."""

    def __init__(self, courses: MemoryCourses, faults: Faults) -> None:
        self._courses = courses
        self._faults = faults

    async def load(self, keys: Iterable[str]) -> dict[str, StoredCourse]:
        await self._faults.before()
        return await self._courses.load(keys)

    async def save(self, course: StoredCourse) -> bool:
        await self._faults.before()
        hit = await self._courses.save(course)
        await self._faults.after()
        return hit

    async def newest_versions(self, keys: Iterable[str]) -> dict[str, tuple[int, Instant]]:
        await self._faults.before()
        return await self._courses.newest_versions(keys)

    async def to_sweep(self, lane: int) -> list[str]:
        await self._faults.before()
        return await self._courses.to_sweep(lane)


class FaultyNotes:
    """Notes behind faults."""

    def __init__(self, notes: MemoryNotes, faults: Faults) -> None:
        self._notes = notes
        self._faults = faults

    async def committed(self, lane: int) -> Offsets:
        await self._faults.before()
        return await self._notes.committed(lane)

    async def note(self, lane: int, committed: Offsets) -> None:
        await self._faults.before()
        await self._notes.note(lane, committed)
        await self._faults.after()


class FaultyStore:
    """A store behind faults."""

    def __init__(
        self,
        store: MemoryStore,
        pause: Callable[[str], Awaitable[bool]],
        fate: Fate,
        meddle: Callable[[StoredRecord], None],
    ) -> None:
        self._faults = Faults(pause, fate)
        self.records = FaultyRecords(store, self._faults, meddle)
        self.courses = FaultyCourses(store.courses, self._faults)
        self.notes = FaultyNotes(store.notes, self._faults)
        self.skips = store.skips

    async def check(self) -> None:
        await self._faults.before()


class SimulatedWorld:
    """Broker, store, a group of processes, and the fate of all."""

    def __init__(self, seed: int, partitions: int) -> None:
        self.fate = Fate(seed)
        self.broker = Broker(partitions)
        self.store = MemoryStore()
        self.settings = Settings(
            batch_messages=self.fate.choice((1, 4, 12, 100)),
            new_facts_per_record=self.fate.choice((1, 3, 200)),
            records_together=self.fate.choice((1, 2, 100)),
            facts_in_record=self.fate.choice((1, 3, 64)),
            shutdown_seconds=self.fate.choice((1, 10)),
            max_new_completions=self.fate.choice((0, 2, 1000)),
            max_new_certificates=self.fate.choice((0, 2, 1000)),
            reevaluations_per_second=self.fate.choice((1, 1000)),
        )
        self.damage = self.fate.choice((0.0, 0.0, 0.03))
        """How often a batch is damaged, for a while, and how often a topic's beginning is deleted."""
        self.deleted: set[bytes] = set()
        """Values of messages that were, perhaps before anybody had read them."""
        self.members: list[Process] = []
        self.zombies: list[Process] = []
        self._born = 0
        self._erasing: asyncio.Task[None] | None = None
        self._learning: list[asyncio.Task[None]] = []

    def make_producer(self, process: Process, transactional_id: str | None) -> FakeProducer:
        """For the worker's producers; where mutations take hold."""
        return FakeProducer(self.broker, process.pause, transactional_id)

    async def release(self) -> None:
        """The administrator lets every paused definition go on."""
        for key, course in self.store.courses.by_key.items():
            if course.is_paused:
                await release(self.store, key)

    async def rebalance(self) -> None:
        """Share the lanes among the members; those that left know nothing of it."""
        numbers = list(range(self.broker.partitions))
        shares = [numbers[index :: len(self.members)] for index in range(len(self.members))]
        await asyncio.gather(*(member.assign(share) for member, share in zip(self.members, shares, strict=True)))

    async def join(self) -> None:
        """A new process."""
        self._born += 1
        self.members.append(Process(f"worker-{self._born}", self))
        await self.rebalance()

    def change_the_log(self) -> None:
        """What happens to a topic without anybody's doing: compaction, damage, retention."""
        topic, number = self.fate.choice(CONSUMED), self.fate.randrange(self.broker.partitions)
        place, happening = TopicPartition(topic.name, number), self.fate.random()
        stable, begin = self.broker.stable(place), self.broker.beginnings[place]
        if happening < 0.1:
            self.broker.append_hole(place)
        elif happening < 0.1 + self.damage and place not in self.broker.undecodable:
            self.broker.undecodable[place] = self.fate.randrange(begin, stable + 1)
        elif happening < 0.1 + 2 * self.damage and topic in FACTS:
            self._delete(place, self.fate.randrange(begin, stable + 1))

    def _delete(self, place: TopicPartition, offset: int) -> None:
        """What nobody may have read is noted: it may have counted, or not."""
        committed = max(self.broker.offsets.get(place, 0), self.broker.beginnings[place])
        self.deleted |= {entry.value for entry in self.broker.logs[place][committed:offset] if entry.value is not None}
        self.broker.delete_to(place, offset)
        if self.broker.undecodable.get(place, offset) < offset:
            del self.broker.undecodable[place]

    async def befall(self) -> None:
        """Something happens to one of the processes, or to all brokers."""
        what = self.fate.choice(HAPPENINGS)
        member = self.fate.choice(self.members)
        match what:
            case "pause":  # within its session
                member.freeze(self.fate.random() * 5)
            case "wake":
                await self._wake()
            case _:
                await self._change_the_group(what, member)

    async def _wake(self) -> None:
        """A zombie learns that it is one."""
        if self.zombies:
            zombie = self.zombies.pop()
            zombie.thaw()
            await zombie.assign(())
            await zombie.die()

    async def _change_the_group(self, what: str, member: Process) -> None:
        match what:
            case "kill":
                self.members.remove(member)
                await member.die()
                await asyncio.sleep(self.fate.random() * 3)
            case "zombie":  # paused past its session: the group goes on without it, it does not know
                self.members.remove(member)
                self.zombies.append(member)
                member.freeze(self.fate.random() * 6)
                self._learning.append(asyncio.create_task(self._learn(member)))
            case "leave":
                self.members.remove(member)
                await member.assign(())
                await member.die()
            case "stop":  # asked to end: it closes its lanes while it is still in the group
                await self._stop(member)
            case "brokers":
                self.broker.come_back(self.fate.choice((1, 3, 50)))
        if what == "join" or not self.members:
            await self.join()
        for _ in range(self.fate.choice((1, 1, 4))):  # one change of the group often follows another
            await self.rebalance()
            await asyncio.sleep(self.fate.random() * 0.3)

    async def _stop(self, member: Process) -> None:
        closing = asyncio.create_task(member.lanes.close())
        await self.rebalance()
        await closing
        self.members.remove(member)
        await member.lanes.close()  # of the rebalance that came in between
        await member.die()

    async def _learn(self, zombie: Process) -> None:
        """Once awake, a zombie learns from the group, within its session, that it has no lanes any more."""
        await asyncio.sleep(6 + self.fate.random() * SESSION_SECONDS)
        if zombie in self.zombies:
            await zombie.assign(())

    def meddle(self, record: StoredRecord) -> None:
        """Now and then a learner is erased at the very moment when a worker, unsuspecting, inserts a record."""
        if not record.rev and not self.fate.calm and self.fate.random() < 0.1:
            self.begin_to_erase(record.key.rpartition("/")[0])

    def begin_to_erase(self, learner: str) -> None:
        """Of one run, one learner at most."""
        if self._erasing is None:
            self._erasing = asyncio.create_task(self.erase(learner))

    async def erase(self, learner: str) -> None:
        """What `ratchet learner erase` does: the tombstone, a while later the records, then those downstream hear."""
        self.store.learners.erect_tombstone(learner)
        await asyncio.sleep(self.fate.random() * self.fate.choice((0.02, 2)))
        gone = self.store.learners.delete_records(learner)
        await asyncio.sleep(self.fate.random() * 2)
        self.send([*map(no_state, gone), *state_requests(gone, ASKED_AT)])

    async def administer(self) -> None:
        """Now and then the administrator asks for something."""
        if self.fate.random() < 0.1:
            await self.release()
        if self.fate.random() < 0.1:
            self._ask_for_states()

    def _ask_for_states(self) -> None:
        """What `ratchet state republish` does, for one record or all."""
        keys = sorted(self.store.records.by_key)
        self.send(state_requests(keys[: self.fate.choice((1, len(keys)))], ASKED_AT))

    def send(self, messages: Iterable[Outbound]) -> None:
        """As commands do, not as lanes."""
        for message in messages:
            assert message.key is not None, "all of them have one"
            number = partition_of(message.key, self.broker.partitions)
            self.broker.append(TopicPartition(message.topic, number), [(message.key, message.value, ())], None)

    async def end_erasing(self) -> None:
        """Those downstream have heard."""
        if self._erasing is not None:
            await self._erasing

    async def end(self) -> None:
        """Everybody dies."""
        for learning in self._learning:
            learning.cancel()
        for process in (*self.members, *self.zombies):
            process.check()
            await process.die()
