"""One record with very many messages delays nobody else's, and its own count once and in order, whatever happens."""

import asyncio
import json
import signal

import pytest

from service.kafka.partitioner import partition_of
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.kafka.test_unreadable import PARTITIONS, key_of, learners_of
from tests.stack.service import World
from tests.stack.wire import Got, Wire

HOT = 6000
BATCH = {"RATCHET_BATCH_MESSAGES": "2000"}
"""So that of those that wait not all are kept."""


def attended_again(learner: str, number: int) -> tuple[str, bytes, bytes, int]:
    """Of each two, one meets the requirement and one does not: each changes the step."""
    value = {
        **ATTENDED,
        "learner_id": learner,
        "message_id": f"m-{learner}-{number}",
        "changed_at": f"2026-01-{2 + number // 3600 % 24:02d}T09:{number // 60 % 60:02d}:{number % 60:02d}Z",
        "attended": None,
        "attended_minutes": 30 * (number % 2),
    }
    key = key_of(learner)
    return "attendance-changed", key, json.dumps(value).encode(), partition_of(key, PARTITIONS)


def of(changes: list[Got], learner: str) -> list[Got]:
    """What was announced of a learner."""
    return [change for change in changes if change.key == key_of(learner)]


@pytest.mark.timeout(300)
@pytest.mark.full
async def test_others_overtake_a_record_with_a_backlog_of_its_own(world: World, wire: Wire) -> None:
    hot, *others = learners_of(1, 31)
    serving = world.serve(**BATCH).wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    assert await asyncio.to_thread(serving.stop) == 0
    await wire.send_all(attended_again(hot, number) for number in range(HOT))
    await wire.send_all(attended_again(other, 1) for other in others)
    serving = world.serve(**BATCH).wait_until_ready()
    keys = {key_of(other) for other in others}
    async with asyncio.timeout(60):
        while not keys <= {change.key for change in await steps(wire)}:
            await asyncio.sleep(0.1)
    changes = await steps(wire)
    assert len(of(changes, hot)) < HOT / 2, "theirs were out long before the hot one's"
    await asyncio.to_thread(serving.stop, signal.SIGKILL)
    serving = world.serve(**BATCH).wait_until_ready()
    await wire.settled(120)
    changes = await steps(wire)
    for learner, count in ((hot, HOT - 1), *((other, 1) for other in others)):
        told = [change.json for change in of(changes, learner)]
        assert len(told) == count, "each changes the step but the hot one's first, which says 0 minutes"
        assert [change["caused_by"] for change in told] == [f"m-{learner}-{number}" for number in range(1, count + 1)]
        assert [change["sequence"] for change in told] == list(range(1, count + 1))
    assert await asyncio.to_thread(serving.stop) == 0


async def steps(wire: Wire) -> list[Got]:
    """What was announced of steps."""
    return await wire.read("step-completion-changed")
