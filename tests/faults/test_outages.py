"""Database and broker die and come back: the worker waits, says so, goes on by itself; nothing is lost or doubled."""

import asyncio
import json
import time

import pytest

from tests.faults.test_shutdown import FACTS, LEARNERS, assert_each_change_once, attendance, definition
from tests.stack.servers import Server
from tests.stack.service import Serving, World
from tests.stack.wire import Wire

NOTICED_SECONDS = 60.0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("which", [pytest.param("database", marks=pytest.mark.full), "broker"])
async def test_an_outage_is_waited_out(world: World, which: str) -> None:
    server: Server = getattr(world, which)
    if server.daemon is None:
        pytest.skip(f"the {which} was not started as a process here, so it cannot be killed: {server.how}")
    small = {"RATCHET_BATCH_MESSAGES": "25"}
    async with Wire(world) as wire:
        serving = world.serve(**small).wait_until_ready()
        await wire.send([definition()])
        await wire.settled()
        await wire.send(attendance(learner, 0) for learner in range(LEARNERS))
        server.daemon.kill()
        if which == "database":
            await wire.send(attendance(learner, 1) for learner in range(LEARNERS))
            await _noticed(serving, "mongodb", "MongoDB")
            lanes = json.loads(serving.get("/readyz")[1])["lanes"]
            assert max(lane["lag_seconds"] for lane in lanes) > 0, "what waits grows old"
        else:
            await _noticed(serving, "kafka", "Kafka")
        server.daemon.start()
    async with Wire(world) as wire:
        first = 2 if which == "database" else 1
        await wire.send(attendance(learner, number) for number in range(first, FACTS) for learner in range(LEARNERS))
        await wire.settled(120)
        serving.wait_until_ready()
        await assert_each_change_once(wire)
        assert await asyncio.to_thread(serving.stop) == 0


async def _noticed(serving: Serving, which: str, says: str) -> None:
    """Until /readyz answers 503 and says what is away."""
    deadline = time.monotonic() + NOTICED_SECONDS
    while time.monotonic() < deadline:
        status, body = serving.get("/readyz")
        if status == 503 and says in (json.loads(body)["outages"][which] or ""):
            assert f'ratchet_outages{{of="{which}"}} 1.0' in serving.get("/metrics")[1]
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"/readyz does not say that it waits for {says}: {body}")
