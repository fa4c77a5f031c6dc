"""Producers with transactions of their own: what they abort, end, and leave open; and what retention takes."""

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.commands.test_commands import DEFINITION
from tests.kafka.test_unreadable import TOPIC, attended, decided, key_of, learners_of, logged, until
from tests.stack.service import Serving, World
from tests.stack.wire import Wire

LANE = 1
LONG_MILLISECONDS = 300_000
"""No transaction here ends by itself."""


@pytest.fixture(autouse=True)
def _real_transactions(world: World) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker knows no isolation of transactions")


def producer(world: World) -> Producer:
    """One with transactions."""
    made = Producer(
        {
            "bootstrap.servers": world.broker.address,
            "transactional.id": f"lms-{uuid.uuid4()}",
            "transaction.timeout.ms": LONG_MILLISECONDS,
            "log_level": 0,
        }
    )
    made.init_transactions(30)
    made.begin_transaction()
    return made


def say(made: Producer, world: World, learner: str) -> None:
    """In the producer's transaction."""
    made.produce(world.prefix + TOPIC, attended(learner), key_of(learner), partition=LANE)
    made.flush(30)


def outside_lag(world: World) -> int:
    """As kafka-consumer-groups tells it: the ends of the topics, less what the group has committed."""
    admin = AdminClient({"bootstrap.servers": world.broker.address})
    from confluent_kafka import Consumer, ConsumerGroupTopicPartitions

    (asked,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(world.name)]).values()
    committed = [place for place in asked.result().topic_partitions if place.topic.startswith(world.prefix)]
    reader = Consumer({"bootstrap.servers": world.broker.address, "group.id": f"look-{uuid.uuid4()}"})
    try:
        ends = [reader.get_watermark_offsets(TopicPartition(place.topic, place.partition))[1] for place in committed]
    finally:
        reader.close()
    assert committed
    return sum(end - place.offset for end, place in zip(ends, committed, strict=True))


async def eventually(holds: Callable[[], bool], what: str) -> None:
    """Within half a minute."""
    for _ in range(150):
        if await asyncio.to_thread(holds):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"never: {what}")


def lanes(serving: Serving) -> list[dict[str, Any]]:
    return list(json.loads(serving.get("/readyz")[1])["lanes"])


async def test_lag_is_0_everywhere_once_all_is_dealt_with(world: World, wire: Wire) -> None:
    """Whatever transactions, aborted messages and forwarded ones leave between the messages."""
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    committed, aborted, stray = learners_of(LANE, 3)
    for learner, end in ((committed, "commit"), (aborted, "abort")):
        made = producer(world)
        say(made, world, learner)
        made.commit_transaction(30) if end == "commit" else made.abort_transaction(30)
    await wire.send_raw("attendance-changed", attended(stray), key_of(stray), (), LANE + 1)
    await until(wire, {committed, stray})
    await eventually(lambda: outside_lag(world) == 0, "lag 0 from outside")
    assert [lane["lag_messages"] for lane in lanes(serving)] == [0] * 4
    assert json.loads(world.run("lag", "--json").stdout)["total"]["lag_messages"] == 0
    assert await asyncio.to_thread(serving.stop) == 0


def test_what_waits_is_counted_in_messages(world: World) -> None:
    """Five of them, among aborted ones and ends of transactions."""
    for learner in learners_of(LANE, 10):
        made = producer(world)
        say(made, world, learner)
        made.commit_transaction(30) if learner in learners_of(LANE, 5) else made.abort_transaction(30)
    told = json.loads(world.run("lag", "--json", "--window", "1", check=False).stdout)
    assert (told["total"]["lag_messages"], told["lanes"][LANE]["lag_messages"]) == (5, 5)


@pytest.mark.full
async def test_a_hanging_transaction_is_named_and_waited_for(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    first, hanging, behind = learners_of(LANE, 3)
    elsewhere = learners_of(LANE + 1, 1)[0]
    await wire.send_raw("attendance-changed", attended(first), key_of(first), (), LANE)
    open_one = producer(world)
    say(open_one, world, hanging)
    await wire.send_raw("attendance-changed", attended(behind), key_of(behind), (), LANE)
    await wire.send_raw("attendance-changed", attended(elsewhere), key_of(elsewhere), (), LANE + 1)
    await until(wire, {first, elsewhere})
    await eventually(lambda: bool(told(serving)), "the transaction is named")
    (one,) = told(serving)
    assert (one["topic"], one["partition"], one["offset"]) == (world.prefix + TOPIC, LANE, 1)
    assert one["producer_id"] >= 0 and one["last_write_at"] > 1_700_000_000_000
    status, _ = serving.get("/readyz")
    assert status == 200, "it waits without harm"
    assert lanes(serving)[LANE]["lag_messages"] == 0, "lag is what can be read"
    assert "ratchet_hanging_transactions 1.0" in serving.get("/metrics")[1]
    (line,) = [line for line in logged(serving) if "hangs" in line["event"]]
    assert (line["partition"], line["producer_id"]) == (LANE, one["producer_id"])
    lag = world.run("lag", "--json", "--window", "2", check=False)
    assert (lag.returncode, json.loads(lag.stdout)["lanes"][LANE]["status"]) == (1, "blocked")
    open_one.commit_transaction(30)
    await until(wire, {first, hanging, behind, elsewhere})
    await eventually(lambda: not told(serving), "it is over")
    assert "ratchet_hanging_transactions 0.0" in serving.get("/metrics")[1]
    assert await asyncio.to_thread(serving.stop) == 0


def told(serving: Serving) -> list[dict[str, Any]]:
    """The transactions that hang, as /readyz has them."""
    return list(json.loads(serving.get("/readyz")[1])["hanging_transactions"])


@pytest.mark.full
async def test_messages_deleted_before_they_were_read_are_told_of(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    first, *lost, last = learners_of(LANE, 5)
    await wire.send_raw("attendance-changed", attended(first), key_of(first), (), LANE)
    await wire.settled()
    assert await asyncio.to_thread(serving.stop) == 0
    for learner in (*lost, last):
        await wire.send_raw("attendance-changed", attended(learner), key_of(learner), (), LANE)
    admin = AdminClient({"bootstrap.servers": world.broker.address})
    (deleted,) = admin.delete_records([TopicPartition(world.prefix + TOPIC, LANE, 4)]).values()
    deleted.result()
    serving = world.serve().wait_until_ready()
    await until(wire, {first, last})
    assert lanes(serving)[LANE]["deleted_unread"] == [
        f"{world.prefix}{TOPIC}: offsets 1 to 3 were deleted before they were read"
    ]
    assert "ratchet_deleted_unread_total 3.0" in serving.get("/metrics")[1]
    (line,) = [line for line in logged(serving) if "deleted" in line["event"]]
    assert (line["level"], line["lane"]) == ("error", LANE)
    await eventually(lambda: outside_lag(world) == 0, "lag 0 from outside")
    assert await decided(wire) == {first, last}
    assert first not in serving.log.read_text()
    assert await asyncio.to_thread(serving.stop) == 0


@pytest.mark.full
async def test_a_lane_that_is_overtaken_while_it_waits_tells_of_it_too(world: World, wire: Wire) -> None:
    """At an open transaction, for example; a client that starts anew by itself where the topic begins would hide it."""
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    first, hanging, lost, last = learners_of(LANE, 4)
    await wire.send_raw("attendance-changed", attended(first), key_of(first), (), LANE)
    await wire.settled()
    open_one = producer(world)
    say(open_one, world, hanging)
    await wire.send_raw("attendance-changed", attended(lost), key_of(lost), (), LANE)
    await eventually(lambda: bool(told(serving)), "the transaction is named")
    admin = AdminClient({"bootstrap.servers": world.broker.address})
    (deleted,) = admin.delete_records([TopicPartition(world.prefix + TOPIC, LANE, 3)]).values()
    deleted.result()
    await wire.send_raw("attendance-changed", attended(last), key_of(last), (), LANE)
    open_one.abort_transaction(30)
    await until(wire, {first, last})
    assert lanes(serving)[LANE]["deleted_unread"] == [
        f"{world.prefix}{TOPIC}: offsets 1 to 2 were deleted before they were read"
    ]
    assert await asyncio.to_thread(serving.stop) == 0
