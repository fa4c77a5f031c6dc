"""One lane of a worker prepares a batch, the next one reads ahead, and none keeps the others waiting."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from aiokafka import TopicPartition

from contracts.topics import ATTENDANCE_CHANGED
from service.errors import WaitAndRetry
from service.lanes import turns
from service.lanes.ports import Received
from service.lanes.preparing import Prepared, Preparer
from service.lanes.progress import Progress
from service.settings import Settings
from tests.simulation.loop import run
from tests.simulation.workers import SimulatedWorld

LANES, MESSAGES = 4, 60
WHOLE, SMALL, HANDED_TOGETHER = 20, 3, 5
PREPARING_SECONDS = 10.0


@pytest.fixture(autouse=True)
def small_batches() -> Iterator[None]:
    """As whole ones are."""
    with patch.object(turns, "SMALL_BATCH_MESSAGES", SMALL):
        yield


def say(world: SimulatedWorld, lane: int, messages: int) -> None:
    """Messages that nobody can read; each is soon dealt with."""
    place = TopicPartition(ATTENDANCE_CHANGED.name, lane)
    world.broker.append(place, [(b"t/l/c", b"poison", ())] * messages, None)


async def backlog(lanes: int = LANES) -> SimulatedWorld:
    """One worker, whose lanes have each three whole batches before them."""
    world = SimulatedWorld(0, partitions=lanes)
    world.fate.calm = True
    world.settings = Settings(batch_messages=WHOLE)
    for lane in range(lanes):
        say(world, lane, MESSAGES)
    await world.join()
    world.members[0].consumer._most = lambda: HANDED_TOGETHER
    return world


class Seen:
    """What is prepared, which takes its time, and how much the lanes have at hand once it is."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        """Lane and messages."""
        self.at_hand: list[list[int]] = []
        """By batch, of each lane, the most first."""

    def watch(self, world: SimulatedWorld) -> Any:
        """A patch."""
        original = Preparer.prepare

        async def prepare(
            preparer: Preparer, messages: Sequence[Received], start: Progress, committed: Progress
        ) -> Prepared:
            self.batches.append((preparer._lane, len(messages)))
            await asyncio.sleep(PREPARING_SECONDS)
            lanes = world.members[0].lanes.by_number.values()
            self.at_hand.append(sorted((len(lane._inbox) for lane in lanes), reverse=True))
            return await original(preparer, messages, start, committed)

        return patch.object(Preparer, "prepare", prepare)


async def done(world: SimulatedWorld, lanes: Sequence[int] = range(LANES), messages: int = MESSAGES) -> None:
    """Once all of these lanes' messages are."""
    async with asyncio.timeout(100 * PREPARING_SECONDS):
        while any(world.broker.offsets.get(TopicPartition(ATTENDANCE_CHANGED.name, n)) != messages for n in lanes):
            await asyncio.sleep(1)


@pytest.mark.parametrize("lanes", [1, 2, LANES])
def test_only_who_comes_next_reads_a_whole_batch_ahead(lanes: int) -> None:
    async def live() -> Seen:
        world, seen = await backlog(lanes), Seen()
        with seen.watch(world):
            await done(world, range(lanes))
        await world.end()
        return seen

    seen = run(live())
    sizes = [messages for _, messages in seen.batches]
    assert max(sizes) == WHOLE
    assert sizes.count(WHOLE) >= 2 * lanes - 1, "who has waited for its turn has a whole batch"
    for most, *others in seen.at_hand:
        assert most <= WHOLE + HANDED_TOGETHER
        assert all(messages <= SMALL + HANDED_TOGETHER for messages in others), seen.at_hand


def test_lanes_take_turns() -> None:
    async def live() -> Seen:
        world, seen = await backlog(), Seen()
        with seen.watch(world):
            await done(world)
        await world.end()
        return seen

    whole = [lane for lane, messages in run(live()).batches if messages == WHOLE]
    first, second = whole[:LANES], whole[LANES : 2 * LANES]
    assert sorted(first) == list(range(LANES)), whole
    assert second == first, whole


def test_a_small_batch_waits_for_no_large_one() -> None:
    async def live() -> None:
        world, seen = await backlog(LANES), Seen()
        await done(world)
        with seen.watch(world):
            say(world, 0, MESSAGES)
            await asyncio.sleep(PREPARING_SECONDS / 2)
            say(world, 1, 1)
            await asyncio.sleep(1)
            assert seen.batches[-1] == (1, 1)
            assert seen.batches[-2][1] > SMALL
            await done(world, [0], 2 * MESSAGES)
        await world.end()

    run(live())


def test_a_lane_that_is_closed_leaves_the_line() -> None:
    """Its place would keep all others from reading whole batches ahead."""

    async def live() -> None:
        world, seen = await backlog(), Seen()
        lanes = world.members[0].lanes
        with seen.watch(world):
            line = lanes._shared.turns.ahead._waiting
            async with asyncio.timeout(100):
                while len(line) < LANES - 1:
                    await asyncio.sleep(0.1)
            number = next(number for number, lane in lanes.by_number.items() if lane._room is line[1])
            await lanes.close([number])
            await done(world, [other for other in range(LANES) if other != number])
        await world.end()
        assert sum(messages == WHOLE for lane, messages in seen.batches if lane != number) >= LANES, seen.batches

    run(live())


@pytest.mark.parametrize("number", range(LANES))
def test_a_lane_that_cannot_go_on_leaves_the_line(number: int) -> None:
    async def fails(*_: object) -> Any:
        raise WaitAndRetry("Kafka does not answer")

    async def live() -> None:
        world, seen = await backlog(), Seen()
        with seen.watch(world):
            async with asyncio.timeout(10):
                while not seen.batches:
                    await asyncio.sleep(0.1)
            lane = world.members[0].lanes.by_number[number]
            lane._log.publish = lane._log.fence = fails  # type: ignore[method-assign,assignment]
            await done(world, [other for other in range(LANES) if other != number])
        await world.end()
        assert sum(messages == WHOLE for lane, messages in seen.batches if lane != number) >= LANES, seen.batches

    run(live())
