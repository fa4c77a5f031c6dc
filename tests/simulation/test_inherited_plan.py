"""A plan that an earlier owner has left is kept until it has been repeated, however idle the lane and whoever comes."""

import asyncio

import pytest
from aiokafka import TopicPartition

from contracts.topics import ATTENDANCE_CHANGED, CONSUMED
from service.lanes.lane import IDLE_SECONDS
from tests.simulation.loop import run
from tests.simulation.workers import SimulatedWorld

TOPIC = ATTENDANCE_CHANGED.name
PLAN = {topic.name: 3 if topic is ATTENDANCE_CHANGED else 0 for topic in CONSUMED}


async def _plan_after(*, revoked: bool) -> dict[str, int]:
    """What a lane leaves of a plan of which it gets nothing to read, while one message more has been committed."""
    world = SimulatedWorld(seed=1, partitions=1)
    world.fate.trouble, world.fate.slowness = 0.0, 1.0
    partition = TopicPartition(TOPIC, 0)
    world.broker.append(partition, [(b"t/l/c", b"poison", ())] * 3, None)
    world.broker.offsets = {TopicPartition(topic.name, 0): 0 for topic in CONSUMED} | {partition: 1}
    await world.store.leases.take(0)
    await world.store.leases.plan(0, 1, PLAN, dict.fromkeys(PLAN, 0))
    await world.join()
    await asyncio.sleep(20 * IDLE_SECONDS)
    if revoked:
        await world.members[0].assign(())
    left = (await world.store.leases.take(0)).plan
    await world.end()
    return dict(left)


@pytest.mark.parametrize("revoked", [False, True], ids=["idle", "closed"])
def test_a_plan_is_not_noted_over(revoked: bool) -> None:
    assert run(_plan_after(revoked=revoked)) == PLAN
