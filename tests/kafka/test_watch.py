"""Who rests is not stuck, and who is stuck does not rest: in virtual time, because both take minutes."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from contracts.topics import ATTENDANCE_CHANGED
from service.errors import FixConfiguration, LaneLost, RestartProcess
from service.kafka import topics
from service.settings import Settings
from tests.simulation.kafka import FakeConsumer
from tests.simulation.loop import run
from tests.simulation.mutations import forget_lanes_that_are_closing
from tests.simulation.workers import SimulatedWorld

INBOUND = TopicPartition(ATTENDANCE_CHANGED.name, 0)
POISON = (b"t/l/c", b"poison", ())


@contextmanager
def virtual_clock() -> Iterator[None]:
    """What lanes and watch measure by is the loop's time."""
    with patch.object(time, "monotonic", asyncio.get_running_loop().time):
        yield


async def calm_world() -> SimulatedWorld:
    """One worker, one lane, no trouble."""
    world = SimulatedWorld(0, partitions=1)
    world.fate.calm = True
    await world.join()
    return world


@pytest.mark.full
@pytest.mark.parametrize("rest_seconds", [10, 119, 121, 1000])
def test_the_first_message_after_a_rest_finds_the_worker_well(rest_seconds: int) -> None:
    async def live() -> None:
        with virtual_clock():
            world = await calm_world()
            watching = asyncio.create_task(world.members[0].lanes._watch())
            for _ in range(3):
                await asyncio.sleep(rest_seconds)
                world.broker.append(INBOUND, [POISON], None)
                await asyncio.sleep(3)
                assert not watching.done(), watching.exception()
            assert world.broker.offsets[INBOUND] == 3
            watching.cancel()
            await world.end()

    run(live())


@pytest.mark.parametrize("which", ["lane", "sweep"])
def test_a_lane_that_nobody_asked_to_end_is_missed_at_once(which: str) -> None:
    """A library whose own call was cancelled raises CancelledError; the lane would be gone, and nobody would know."""

    async def cancelled(*_: object) -> Any:
        raise asyncio.CancelledError

    async def live() -> None:
        world = await calm_world()
        (lanes,) = [process.lanes for process in world.members]
        await asyncio.sleep(1)
        lane = lanes.by_number[0]
        if which == "lane":
            world.broker.append(INBOUND, [POISON], None)
            with patch.object(lane._log, "publish", cancelled):
                await asyncio.wait([lane.task])
        else:
            with patch.object(lane._sweep, "_all_passes", cancelled):
                lane._sweep.wake()
                await asyncio.wait([lane._sweep.task])
        await asyncio.sleep(0)
        with pytest.raises(RestartProcess, match="lane 0 was cancelled, and nobody had asked it to end"):
            lanes.failed.result()
        await world.members[0].die()

    run(live())


@pytest.mark.parametrize("how", ["is closed", "is somebody else's", "fails"])
def test_a_lane_that_ends_for_a_reason_is_not_missed(how: str) -> None:
    async def fails(*_: object) -> Any:
        raise FixConfiguration("RATCHET_GROUP: mend it")

    async def live() -> None:
        world = await calm_world()
        lanes = world.members[0].lanes
        await asyncio.sleep(1)
        lane = lanes.by_number[0]
        if how == "is closed":
            await lanes.close()
        elif how == "fails":
            world.broker.append(INBOUND, [POISON], None)
            with patch.object(lane._log, "publish", fails):
                await asyncio.wait([lane.task])
        else:
            world.broker.append(INBOUND, [POISON], None)
            with patch.object(lane._log, "publish", AsyncMock(side_effect=LaneLost("fenced"))):
                world.members[0].consumer.assign(set())
                await asyncio.wait([lane.task])
        await asyncio.sleep(0)
        assert lane.task.done()
        if how == "fails":
            with pytest.raises(FixConfiguration, match="RATCHET_GROUP: mend it"):
                lanes.failed.result()
        else:
            assert not lanes.failed.done()
        await world.members[0].die()

    run(live())


def test_an_open_transaction_upstream_is_no_lag() -> None:
    """What cannot be read cannot be worked on: it is waited for, for as long as it takes."""

    async def live() -> None:
        with virtual_clock():
            world = await calm_world()
            watching = asyncio.create_task(world.members[0].lanes._watch())
            await asyncio.sleep(5)
            epoch = world.broker.init_producer("lms")
            world.broker.begin("lms", epoch)
            world.broker.append(INBOUND, [POISON], ("lms", epoch))
            world.broker.append(INBOUND, [POISON], None)
            await asyncio.sleep(1000)
            assert not watching.done(), watching.exception()
            (only,) = (await world.members[0].lanes.health()).lanes
            assert (only.lag_messages, only.ready) == (0, True)
            world.broker.commit("lms", epoch, {})
            await asyncio.sleep(5)
            assert world.broker.offsets[INBOUND] == 3, "both, and the end of the transaction"
            watching.cancel()
            await world.end()

    run(live())


def test_lag_by_the_high_watermark_would_end_a_worker_that_is_well() -> None:
    """The mistake that the test above must find."""

    def high_watermark(self: FakeConsumer, partition: TopicPartition) -> int:
        return len(self._broker.logs[partition])

    with patch.object(FakeConsumer, "last_stable_offset", high_watermark), pytest.raises(AssertionError):
        test_an_open_transaction_upstream_is_no_lag()


def test_a_lane_that_gets_nothing_of_what_could_be_read_ends_the_process() -> None:
    async def stuck(_: FakeConsumer, *__: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[object]]:
        await asyncio.sleep(timeout_ms / 1000)
        return {}

    async def live() -> None:
        with virtual_clock(), ExitStack() as stack:
            world = await calm_world()
            await asyncio.sleep(5)
            assert [lane.state for lane in world.members[0].lanes.by_number.values()] == ["open"]
            stack.enter_context(patch.object(FakeConsumer, "getmany", stuck))
            watching = asyncio.create_task(world.members[0].lanes._watch())
            await asyncio.sleep(1000)
            assert not watching.done(), "there was nothing to read"
            world.broker.append(INBOUND, [POISON], None)
            begin = asyncio.get_running_loop().time()
            with pytest.raises(RestartProcess, match=r"lane 0 \(open\) has 1 messages waiting"):
                await watching
            stall_seconds = world.settings.stall_seconds
            assert stall_seconds <= asyncio.get_running_loop().time() - begin <= stall_seconds + 5
            await world.members[0].die()

    run(live())


@pytest.mark.parametrize("error", [NodeNotReadyError(), KafkaConnectionError(), TimeoutError()])
def test_a_broker_that_dies_while_the_topics_are_looked_at_ends_no_worker(error: Exception) -> None:
    """The next look tells; a command says that no Kafka tells, and what that was."""

    class Dying:
        start = close = AsyncMock()
        _send_request = AsyncMock(side_effect=error)

    async def live() -> None:
        world = await calm_world()
        await world.members[0].lanes._look_at_partitions()
        with pytest.raises(FixConfiguration, match=type(error).__name__):
            await topics.partitions(Settings())
        await world.end()

    with patch.object(topics, "make_admin", lambda *_, **__: Dying()):
        run(live())


async def hang(*_: object) -> None:
    """As a call to a broker that says nothing."""
    await asyncio.sleep(1e6)


def test_a_lane_that_is_closed_before_its_batch_is_done_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def live() -> None:
        world = await calm_world()
        lanes = world.members[0].lanes
        (lane,) = lanes.by_number.values()
        with patch.object(lane._log, "publish", hang):
            world.broker.append(INBOUND, [POISON], None)
            await asyncio.sleep(3)
            await lanes.close()
        await world.end()

    run(live())
    told = [record for record in caplog.records if "closed before their batch was done" in record.getMessage()]
    assert [record.__dict__["lanes"] for record in told] == [[0]]


def is_known_while_it_closes() -> bool:
    """Whether a lane whose batch is not done is still the worker's only one of its number after a rebalance.

    A worker that is asked to end closes its lanes while it is in the group, and may be given them again.
    """

    async def live() -> bool:
        world = await calm_world()
        member = world.members[0]
        (lane,) = member.lanes.by_number.values()
        publish, may_go_on = lane._log.publish, asyncio.Event()

        async def when_it_may(*said: Any) -> None:
            await may_go_on.wait()
            await publish(*said)

        with patch.object(lane._log, "publish", when_it_may):
            world.broker.append(INBOUND, [POISON], None)
            await asyncio.sleep(3)
            closing = asyncio.create_task(member.lanes.close())
            rebalancing = asyncio.create_task(world.rebalance())
            await asyncio.sleep(0.5)
            is_known = list(member.lanes.by_number.values()) == [lane]
            may_go_on.set()
            await asyncio.gather(closing, rebalancing)
        (other,) = member.lanes.by_number.values()
        assert lane.task.done() and other is not lane
        await world.end()
        return is_known

    return run(live())


def test_no_lane_is_opened_before_the_last_one_of_its_number_has_ended() -> None:
    assert is_known_while_it_closes()


def test_without_that_care_there_would_be_two() -> None:
    """The test above can fail."""
    with forget_lanes_that_are_closing():
        assert not is_known_while_it_closes()
