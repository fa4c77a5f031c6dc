"""A worker with a name of its own in the group: what a restart costs the others, and what it does not lose."""

import asyncio
import json
import re

import pytest

from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.stack.service import Serving, World
from tests.stack.wire import Wire

pytestmark = pytest.mark.full


def rebalances(serving: Serving) -> int:
    """How often the group gave a worker its lanes."""
    found = re.search(r"^ratchet_rebalances_total (\S+)$", serving.get("/metrics")[1], re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


def lanes(serving: Serving) -> set[int]:
    """Those it has."""
    return {lane["lane"] for lane in json.loads(serving.get("/readyz")[1])["lanes"]}


async def two_workers(world: World, *names: str | None) -> list[Serving]:
    """Once each has its share."""
    workers = [world.serve(**({} if name is None else {"RATCHET_INSTANCE": name})).wait_until_ready() for name in names]
    for _ in range(300):
        if [len(lanes(worker)) for worker in workers] == [2, 2]:
            return workers
        await asyncio.sleep(0.1)
    raise AssertionError([lanes(worker) for worker in workers])


@pytest.mark.parametrize("first", [True, False], ids=["the leader", "a follower"])
async def test_a_named_worker_takes_its_lanes_up_again_and_nobody_else_notices(
    world: World, wire: Wire, first: bool
) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker knows no static members")
    workers = await two_workers(world, "ratchet-0", "ratchet-1")
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    leaving, staying = workers if first else reversed(workers)
    before, had = rebalances(staying), lanes(leaving)
    assert await asyncio.to_thread(leaving.stop) == 0
    learners = [f"l-{number}" for number in range(40)]
    sent = ({**ATTENDED, "learner_id": learner, "message_id": f"m-{learner}"} for learner in learners)
    await wire.send([("attendance-changed", one) for one in sent])
    again = world.serve(RATCHET_INSTANCE=f"ratchet-{0 if first else 1}").wait_until_ready()
    await wire.settled()
    changes = await wire.read("course-completion-changed")
    assert sorted(json.loads(got.value or b"")["learner_id"] for got in changes) == sorted(learners)
    assert (lanes(again), rebalances(staying)) == (had, before)
    for worker in (again, staying):
        assert await asyncio.to_thread(worker.stop) == 0


async def test_a_nameless_worker_leaves_its_lanes_to_the_others(world: World) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker knows no static members")
    leaving, staying = await two_workers(world, None, None)
    before = rebalances(staying)
    assert await asyncio.to_thread(leaving.stop) == 0
    for _ in range(300):
        if len(lanes(staying)) == 4:
            break
        await asyncio.sleep(0.1)
    assert lanes(staying) == {0, 1, 2, 3}
    assert rebalances(staying) == before + 1
    assert await asyncio.to_thread(staying.stop) == 0
