"""What cannot be unpacked takes nothing with it; whatever producers and brokers compress with can be read."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from service.kafka.partitioner import partition_of
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.stack import kafka
from tests.stack.servers import NotAvailable, Server
from tests.stack.service import World
from tests.stack.wire import Wire

PARTITIONS = 4
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
TOPIC = "lms.attendance-changed.v1"


def key_of(learner: str) -> bytes:
    return f"acme/{learner}/c-1".encode()


def attended(learner: str) -> bytes:
    return json.dumps({**ATTENDED, "learner_id": learner, "message_id": f"m-{learner}"}).encode()


def learners_of(partition: int, count: int) -> list[str]:
    """Learners whose records are in this lane."""
    named = (f"l-{partition}-{number}" for number in range(10_000))
    return [learner for learner in named if partition_of(key_of(learner), PARTITIONS) == partition][:count]


async def decided(wire: Wire) -> set[str]:
    """Learners of whom anything was announced."""
    return {message.json["learner_id"] for message in await wire.read("step-completion-changed")}


def recompress(world: World, where: str, codec: str) -> None:
    """What a broker stores from now on, whatever producers send."""
    entry = ConfigEntry("compression.type", codec, incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": world.broker.address})
    known = admin.list_topics(timeout=10)
    topics = [name for name in known.topics if name.startswith(world.prefix)]
    kind, names = {
        "topics": (ResourceType.TOPIC, topics),
        "broker": (ResourceType.BROKER, [str(number) for number in known.brokers]),
    }[where]
    changes = [ConfigResource(kind, name, incremental_configs=[entry]) for name in names]
    for altered in admin.incremental_alter_configs(changes).values():
        altered.result()


@pytest.mark.parametrize(
    ("where", "recompressed"),
    [
        ("topics", "producer"),
        *(pytest.param("topics", codec, marks=pytest.mark.full) for codec in ("snappy", "lz4", "zstd")),
        pytest.param("broker", "zstd", marks=pytest.mark.full),
    ],
)
async def test_every_codec_is_read(world: World, wire: Wire, where: str, recompressed: str) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker compresses nothing")
    recompress(world, where, recompressed)
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    for codec in CODECS:
        producer = Producer(
            {
                "bootstrap.servers": world.broker.address,
                "compression.type": codec,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 20,
            }
        )
        for number in range(8):
            learner = f"{codec}-{number}"
            producer.produce(world.prefix + TOPIC, attended(learner), key_of(learner))
        # A learner's key in another partition: what is carried on is compressed, too.
        stray = f"{codec}-stray"
        wrong = (partition_of(key_of(stray), PARTITIONS) + 1) % PARTITIONS
        producer.produce(world.prefix + TOPIC, attended(stray), key_of(stray), partition=wrong)
        producer.flush(30)
    for message in await wire.read("attendance-changed"):
        wire.expect(message)
    await wire.settled()
    wanted = {f"{codec}-{number}" for codec in CODECS for number in (*range(8), "stray")}
    assert await decided(wire) == wanted
    assert await wire.read("dead-letter") == []
    assert serving.stop() == 0
    recompress(world, where, "producer")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[kafka.Node]:
    """A broker whose disk we may damage."""
    try:
        (started,) = kafka.start_nodes(tmp_path, 1)
    except NotAvailable as error:
        pytest.skip(f"a broker on this machine's Java cannot be had: {error}")
    yield started
    started.daemon.stop()


def damage(node: kafka.Node, topic: str, partition: int, value: bytes) -> None:
    """A byte of this value flips on the disk of the stopped broker."""
    segment = node.folder / "data" / f"{topic}-{partition}" / "00000000000000000000.log"
    data = bytearray(segment.read_bytes())
    assert data.count(value) == 1
    data[data.index(value) + len(value) // 2] ^= 0xFF
    segment.write_bytes(data)


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_a_damaged_batch_stops_its_lane_alone_until_somebody_skips_it(
    node: kafka.Node, database: Server, tmp_path: Path
) -> None:
    world = World(Server(node.address, "a broker of its own", lambda: None), database, tmp_path)
    world.create_topics()
    topic = world.prefix + TOPIC
    before, damaged, after = learners_of(2, 3)
    others = [learner for partition in (0, 1, 3) for learner in learners_of(partition, 5)]
    serving = world.serve().wait_until_ready()
    async with Wire(world) as wire:
        await wire.send([("course-defined", DEFINITION)])
        await (
            wire.settled()
        )  # or facts would wait to be asked for again, by requests that stand in their lane's way, too
        assert await asyncio.to_thread(serving.stop) == 0
        for learner in (before, damaged, after):
            await wire.send_raw("attendance-changed", attended(learner), key_of(learner), (), 2)
    node.daemon.stop()
    damage(node, topic, 2, attended(damaged))
    node.daemon.start()
    serving = world.serve()
    async with Wire(world) as wire:
        for learner in others:
            await wire.send_raw(
                "attendance-changed", attended(learner), key_of(learner), (), partition_of(key_of(learner), PARTITIONS)
            )
        await until(wire, {before, *others})
        lane = await stands_still(serving)
        assert (lane["lane"], lane["ready"], lane["lag_messages"]) == (2, False, 2)
        assert lane["failure"].startswith(f"{topic} partition 2: offsets 1 to 1 cannot be read: CorruptRecord")
        assert 'ratchet_unreadable_batches{lane="2"} 1.0' in serving.get("/metrics")[1]
        (told,) = [line for line in logged(serving) if "cannot be read" in line["event"]]
        assert (told["level"], told["topic"], told["offset"], told["lane"]) == ("error", topic, 1, 2)

        reason = ("--reason", "disk fault", "--by", "kim")
        for place, says in (
            ((topic, "2", "0"), "OFFSET: 0 can be read"),
            ((topic, "2", "2"), "OFFSET: 2 can be read"),
            ((topic, "1", "1"), f"{topic} partition 1 can be read to its end; there is nothing to skip"),
            ((topic, "9", "1"), "PARTITION: "),
            (("elsewhere", "2", "1"), "TOPIC: elsewhere is not read here"),
        ):
            refused = await asyncio.to_thread(world.run, "skip", *place, *reason, check=False)
            assert (refused.returncode, says in refused.stderr) == (2, True), refused.stderr
        assert await decided(wire) == {before, *others}

        done = await asyncio.to_thread(world.run, "skip", topic, "2", "1", *reason)
        assert done.stdout == f"{topic} partition 2: offsets 1 to 1 were skipped\n"
        await until(wire, {before, after, *others})
        (letter,) = await wire.read("dead-letter")
        assert (letter.key, letter.value) == (None, None)
        assert letter.header("kafka_dlt-exception-fqcn") == "skipped"
        assert [letter.header(f"kafka_dlt-original-{name}") for name in ("topic", "partition", "offset")] == [
            topic,
            "2",
            "1",
        ]
        says = letter.header("kafka_dlt-exception-message")
        assert says.startswith("offsets 1 to 1 were skipped by kim: disk fault (CorruptRecord"), says
        serving.wait_until_ready()
        assert 'ratchet_unreadable_batches{lane="2"} 0.0' in serving.get("/metrics")[1]
        assert await asyncio.to_thread(serving.stop) == 0


async def until(wire: Wire, learners: set[str]) -> None:
    """These and no others were decided."""
    async with asyncio.timeout(60):
        while await decided(wire) != learners:
            await asyncio.sleep(0.2)


async def stands_still(serving: Any) -> dict[str, Any]:
    """The lane that does, once /readyz says so."""
    async with asyncio.timeout(30):
        while True:
            status, body = serving.get("/readyz")
            lanes = [lane for lane in json.loads(body)["lanes"] if lane["state"] == "unreadable"]
            if lanes:
                assert status == 503
                return dict(lanes[0])
            await asyncio.sleep(0.1)


def logged(serving: Any) -> list[dict[str, Any]]:
    """The worker's log."""
    return [json.loads(line) for line in serving.log.read_text().splitlines()]
