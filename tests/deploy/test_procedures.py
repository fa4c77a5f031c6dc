"""The procedures of deploy/RUNBOOK.md as they are written there, with the tools that come with Kafka."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from contracts.topics import CONSUMED, LANE_PROGRESS
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.deploy.tools import need
from tests.stack.kafka import run_tool
from tests.stack.mongodb import Member, address_of, start_members
from tests.stack.servers import NotAvailable, Server
from tests.stack.service import World
from tests.stack.wire import Got, Wire

pytestmark = pytest.mark.full
GROUPS, TOPICS_TOOL = "consumer.group.ConsumerGroupCommand", "TopicCommand"
LEARNERS = [f"l-{number}" for number in range(8)]


@pytest.fixture
def own(broker: Server, tmp_path: Path) -> tuple[World, Member]:
    """With a database of its own, which can be stopped and put back."""
    if not broker.real:
        pytest.skip("the mock broker does not know Kafka's own tools")
    try:
        (member,) = start_members(tmp_path, 1)
    except NotAvailable as why:
        pytest.skip(str(why))
    world = World(broker, Server(address_of([member]), "its own", member.daemon.stop), tmp_path)
    world.create_topics()
    return world, member


def tool(world: World, name: str, *arguments: str) -> str:
    """By its class."""
    return run_tool(name, "--bootstrap-server", world.broker.address, *arguments)


def attended(learner: str, number: int, **said: Any) -> tuple[str, dict[str, Any]]:
    """The learner's fact of this number."""
    about = {**ATTENDED, "learner_id": learner, "message_id": f"{learner}-{number}"}
    return "attendance-changed", {**about, "changed_at": f"2026-02-{number:02}T09:00:00Z", **said}


def stories(world: World) -> dict[str, Any]:
    """Of all learners, but for when it was decided."""
    told = {learner: world.run("explain", "acme", learner, "c-1", "--json").stdout for learner in LEARNERS}
    return {learner: json.loads(text)["state"] for learner, text in told.items()}


def by_record(changes: list[Got]) -> dict[str, list[int]]:
    """The sequence numbers of each learner's changes, each message once."""
    seen: dict[str, dict[str, int]] = {}
    for change in changes:
        seen.setdefault(change.json["learner_id"], {})[change.json["message_id"]] = change.json["sequence"]
    return {learner: sorted(numbers.values()) for learner, numbers in seen.items()}


async def test_a_backup_is_restored(own: tuple[World, Member], tmp_path: Path) -> None:
    world, member = own
    data, backup = next(tmp_path.glob("mongodb-*/data")), tmp_path / "backup"
    serving = world.serve().wait_until_ready()
    async with Wire(world) as wire:
        await wire.send([("course-defined", DEFINITION), *(attended(learner, 1) for learner in LEARNERS[:5])])
        await wire.settled()
        with MongoClient[dict[str, Any]](member.direct_address) as client:
            client.admin.command("fsync", lock=True)  # as of one instant
            shutil.copytree(data, backup)
            client.admin.command("fsyncUnlock")
        await wire.send([attended(learner, 2, attended=False) for learner in LEARNERS[:3]])
        await wire.send([attended(learner, 1) for learner in LEARNERS[5:]])
        await wire.settled()
        before, right = await wire.read("step-completion-changed", "course-completion-changed"), stories(world)
        assert len({change.json["message_id"] for change in before}) == len(before) == 8 + 8 + 3

        member.daemon.stop()
        shutil.rmtree(data)
        shutil.copytree(backup, data)
        (data / "mongod.lock").unlink(missing_ok=True)
        assert await asyncio.to_thread(serving.stop) == 0  # 1
        member.daemon.start()
        assert "was successful" in tool(world, GROUPS, "--delete", "--group", world.name)  # 2
        again = world.serve().wait_until_ready()  # 3
        await wire.settled()
        assert stories(world) == right
        anew = await wire.read("step-completion-changed", "course-completion-changed")
        assert {change.json["message_id"] for change in anew} <= {change.json["message_id"] for change in before}
    assert await asyncio.to_thread(again.stop) == 0
    member.daemon.stop()


async def test_more_partitions(world: World, wire: Wire) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker does not know Kafka's own tools")
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION), *(attended(learner, 1) for learner in LEARNERS)])
    await wire.settled()  # 1
    assert json.loads(world.run("lag", "--json", "--window", "1").stdout)["total"]["lag_messages"] == 0
    names = "|".join(world.prefix + topic.name for topic in (LANE_PROGRESS, *CONSUMED))
    tool(world, TOPICS_TOOL, "--alter", "--topic", f"({names})", "--partitions", "12")  # 2
    assert await asyncio.to_thread(serving.wait, 60) == 3  # 3
    again = world.serve().wait_until_ready()
    ready = json.loads(again.get("/readyz")[1])
    assert (ready["topics"], len(ready["lanes"])) == (None, 12)
    world.partitions = 12
    async with Wire(world) as anew:  # 4
        await anew.send([attended(learner, 2, attended=False) for learner in LEARNERS])
        await anew.send([attended(learner, 3) for learner in LEARNERS])
        await anew.settled()
        changes = await anew.read("step-completion-changed", "course-completion-changed")
    assert by_record(changes) == {learner: [1, 2, 3, 4] for learner in LEARNERS}
    kept = {name: (one["course"]["status"], one["course"]["evidence"]) for name, one in stories(world).items()}
    assert kept == dict.fromkeys(LEARNERS, ("completed", "held"))
    assert await asyncio.to_thread(again.stop) == 0


async def test_the_lag_that_others_see_is_nothing_at_rest(world: World, wire: Wire) -> None:
    """Also where transactions of others were aborted, and on topics that nobody writes to."""
    if not world.broker.real:
        pytest.skip("the mock broker does not know Kafka's own tools")
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION), *(attended(learner, 1) for learner in LEARNERS)])
    await wire.settled()
    described = lags(tool(world, GROUPS, "--describe", "--group", world.name))
    assert len(described) == len(CONSUMED) * world.partitions
    assert set(described.values()) <= {"0"}, described
    assert await asyncio.to_thread(serving.stop) == 0
    await wire.send([attended(learner, 2) for learner in LEARNERS])
    waiting = lags(tool(world, GROUPS, "--describe", "--group", world.name))
    assert sum(map(int, waiting.values())) == len(LEARNERS)


async def test_keda_sees_the_same(world: World, wire: Wire) -> None:
    """Its own scaler for Kafka, by which workers could be scaled."""
    program = need("keda-lag")
    if not world.broker.real:
        pytest.skip("the mock broker tells no committed offsets")

    def seen() -> list[dict[str, Any]]:
        about = {"bootstrapServers": world.broker.address, "consumerGroup": world.name, "lagThreshold": "1"}
        told = []
        for topic in CONSUMED:
            asked = json.dumps({**about, "topic": world.prefix + topic.name})
            told.append(json.loads(subprocess.run([program, asked], capture_output=True, check=True).stdout))
        return told

    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION), *(attended(learner, 1) for learner in LEARNERS)])
    await wire.settled()
    assert await asyncio.to_thread(seen) == [{"lag": 0, "active": False}] * len(CONSUMED)
    assert await asyncio.to_thread(serving.stop) == 0
    await wire.send([attended("l-1", 2)])
    waiting = await asyncio.to_thread(seen)
    assert [one["active"] for one in waiting].count(True) == 1 and sum(one["lag"] for one in waiting) == 1


def lags(text: str) -> dict[tuple[str, str], str]:
    """By topic and partition, as `--describe` prints them."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    heading = next(row for row in rows if row[0] == "GROUP")
    topic, partition, lag = (heading.index(name) for name in ("TOPIC", "PARTITION", "LAG"))
    return {(row[topic], row[partition]): row[lag] for row in rows if row is not heading and len(row) > lag}
