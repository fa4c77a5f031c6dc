"""Where records stand, as completion.record-state.v1 tells it: with the changes, for all from before, until erased."""

import asyncio
import json
from collections import Counter
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from pymongo import MongoClient

from contracts.topics import RECORD_STATE
from tests.admin.test_learner import about, some_learners
from tests.commands.test_commands import DEFINITION
from tests.stack.service import World
from tests.stack.wire import Wire, states_of

KEY = "acme/l-1/c-1"


async def told(wire: Wire, key: str = KEY) -> list[dict[str, Any] | None]:
    """All states of a record, in order."""
    return [state for known, state in states_of(await wire.read("record-state")) if known == key]


def stands(state: dict[str, Any] | None, *names: str) -> list[Any]:
    """These fields."""
    assert state is not None
    return [state[name] for name in names]


async def test_each_change_comes_with_where_the_record_stands(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    await wire.send([about("l-1")])
    await wire.settled()
    (state,) = await told(wire)
    (course,) = (change.json for change in await wire.read("course-completion-changed"))
    assert stands(state, "status", "completed_via", "completed_at", "sequence", "attempt") == [
        *(course[name] for name in ("status", "completed_via", "completed_at")),
        2,
        1,
    ]
    assert stands(state, "certificate", "definition_version", "evidence", "steps") == [
        {"certificate_id": course["certificate"]["certificate_id"], "status": "issued"},
        1,
        "held",
        [{"step_id": "e1", "step_kind": "event", "percent": 100, "complete": True}],
    ]
    await wire.send([about("l-1")])  # known already
    await wire.send([about("l-1", message_id="m2", changed_at="2026-01-02T10:00:00Z")])  # as complete as before
    await wire.settled()
    assert await told(wire) == [state], "nothing of it changed"

    again = {"message_id": "r1", "tenant_id": "acme", "learner_id": "l-1", "course_id": "c-1"}
    for number in (1, 2):
        changed_at = f"2026-02-0{number}T00:00:00Z"
        await wire.send([("reassigned", {**again, "message_id": f"r{number}", "changed_at": changed_at})])
        await wire.settled()
    _, after, twice = await told(wire)
    assert stands(after, "attempt", "status", "certificate") == [
        2,
        "incomplete",
        {"certificate_id": course["certificate"]["certificate_id"], "status": "revoked"},
    ]
    changes = await wire.read("step-completion-changed", "course-completion-changed")
    assert stands(twice, "attempt", "sequence") == [3, max(change.json["sequence"] for change in changes)]
    assert not any(change.json["attempt"] == 3 for change in changes), "nobody would have heard of it"
    assert await asyncio.to_thread(serving.stop) == 0


async def test_states_are_told_anew_in_order_with_what_is_decided(world: World, wire: Wire) -> None:
    """For records from before there was the topic; then also while a newer state is on its way."""
    serving = world.serve(RATCHET_STATE_TOPIC="false").wait_until_ready()
    await some_learners(wire)
    assert await wire.read("record-state") == []
    assert await asyncio.to_thread(serving.stop) == 0
    refused = world.run("state", "republish", check=False, RATCHET_STATE_TOPIC="false")
    assert (refused.returncode, refused.stderr) == (
        2,
        "ratchet: RATCHET_STATE_TOPIC: is off, so no worker tells states; set it to true for all of them\n",
    )
    asked = world.run("state", "republish", "--tenant", "acme", "--course", "c-2").stdout
    assert asked == "Asked for the states of 1 record: the workers tell them.\n"
    serving = world.serve().wait_until_ready()
    while len(await wire.read("record-state")) < 1:
        await asyncio.sleep(0.1)
    said = world.run("state", "republish", "--tenant", "acme", "--wait").stdout
    assert said == "The states of 4 records are told.\n"
    with MongoClient[dict[str, Any]](world.database.address) as client:
        records = {record["_id"]: record["sequence"] for record in client[world.name]["records"].find()}
        assert list(client[world.name]["republished"].find()) == []
    states = states_of(await wire.read("record-state"))
    assert {key: state and state["sequence"] for key, state in states} == records
    assert len(states) == 5, "c-2 was asked for twice"
    none = world.run("state", "republish", "--tenant", "other", "--json").stdout
    assert json.loads(none) == {"records": 0, "told": False}
    assert world.run("state", "republish", "--tenant", "a b", check=False).returncode == 2
    assert await asyncio.to_thread(serving.stop) == 0


async def test_an_interrupted_one_goes_on_where_it_stopped(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await some_learners(wire)
    before = Counter(key for key, _ in states_of(await wire.read("record-state")))
    with MongoClient[dict[str, Any]](world.database.address) as client:
        keys = sorted(record["_id"] for record in client[world.name]["records"].find({}, {"_id": 1}))
        client[world.name]["republished"].insert_one({"_id": "acme/", "last": keys[1]})
    assert world.run("state", "republish", "--tenant", "acme", "--wait").stdout == "The states of 2 records are told.\n"
    after = Counter(key for key, _ in states_of(await wire.read("record-state")))
    assert after - before == Counter(keys[2:])
    told = world.run("state", "republish", "--tenant", "acme", "--wait", "--json").stdout
    assert json.loads(told) == {"records": 4, "told": True}
    assert await asyncio.to_thread(serving.stop) == 0


async def test_of_an_erased_learner_no_state_is_left(world: World, wire: Wire) -> None:
    """Tombstones, as another client sees them; told by the command itself, and by the lane behind what it told."""
    serving = world.serve().wait_until_ready()
    await some_learners(wire)
    assert await asyncio.to_thread(serving.stop) == 0
    world.run("learner", "erase", "acme", "l-1", "--yes")
    for key in (KEY, "acme/l-1/c-2"):
        assert (await told(wire, key))[-1] is None, "before the command said that it is done"
    serving = world.serve().wait_until_ready()
    await wire.settled()
    for key in (KEY, "acme/l-1/c-2"):
        assert (await told(wire, key))[-2:] == [None, None], "and once more, by the lane"
    assert last_values(world).keys() == {"acme/l-2/c-1", "acme/l-10/c-1"}
    before = await told(wire)
    world.run("learner", "erase", "acme", "l-1", "--yes")
    await wire.settled()
    assert await told(wire) == before, "those downstream know"
    assert await asyncio.to_thread(serving.stop) == 0


def last_values(world: World) -> dict[str, bytes]:
    """What a compacted topic comes to, by librdkafka."""
    reader = Consumer({"bootstrap.servers": world.broker.address, "group.id": "states", "enable.partition.eof": True})
    places = [TopicPartition(world.prefix + RECORD_STATE.name, number, 0) for number in range(world.partitions)]
    reader.assign(places)
    left, values = len(places), dict[str, bytes | None]()
    while left:
        message = reader.poll(10)
        assert message is not None
        if message.error():
            left -= 1
        else:
            values[(message.key() or b"").decode()] = message.value()
    reader.close()
    return {key: value for key, value in values.items() if value is not None}
