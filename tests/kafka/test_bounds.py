"""What a sender can make grow is bounded: a message, a batch, a course, a record; and with it the worker's memory."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from service.kafka.partitioner import partition_of
from service.lanes.bounds import MESSAGE_BYTES
from tests.commands.test_commands import DEFINITION
from tests.kafka.test_unreadable import PARTITIONS, TOPIC, attended, key_of
from tests.stack.service import World
from tests.stack.wire import Wire

MEGABYTE = 1_000_000
EMPTINESS_BYTES = {"gzip": 150 * MEGABYTE, "lz4": 150 * MEGABYTE, "zstd": 150 * MEGABYTE, "snappy": 15 * MEGABYTE}
"""As much of it as a megabyte can hold, or 150 MB."""
PEAK_BYTES = 230 * MEGABYTE
"""Of the worker, under all of this together; at rest it takes some 100 MB."""


def peak_bytes(pid: int) -> int:
    """The most memory that a process has ever had resident."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def send_together(world: World, codec: str, messages: list[tuple[str, bytes]]) -> None:
    """Values about learners of one lane, in one batch of one partition."""
    producer = Producer(
        {
            "bootstrap.servers": world.broker.address,
            "compression.type": codec,
            "message.max.bytes": 400 * MEGABYTE,
            "batch.size": 400 * MEGABYTE,
            "linger.ms": 500,
        }
    )
    for learner, value in messages:
        partition = partition_of(key_of(learner), PARTITIONS)
        producer.produce(world.prefix + TOPIC, value, key_of(learner), partition=partition, headers={"kept": "no"})
    assert producer.flush(60) == 0


def padded(learner: str, size_bytes: int) -> bytes:
    """A message that is right, and so long."""
    value = attended(learner)
    return value[:-1] + b" " * (size_bytes - len(value)) + b"}"


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_neither_long_messages_nor_many_versions_take_memory(world: World, wire: Wire) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker compresses nothing")
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    good = set()
    for codec, size_bytes in EMPTINESS_BYTES.items():
        before, after, long = f"{codec}-before", f"{codec}-after", f"{codec}-long"
        send_together(
            world, codec, [(before, attended(before)), (long, padded(long, size_bytes)), (after, attended(after))]
        )
        good |= {before, after}
    for codec in ("none", "zstd"):  # just short enough, and not
        fits, long = f"{codec}-fits", f"{codec}-does-not"
        besides = len(key_of(fits)) + len("kept") + len("no")
        send_together(world, codec, [(fits, padded(fits, MESSAGE_BYTES - besides))])
        send_together(world, codec, [(long, padded(long, MESSAGE_BYTES + 1))])
        good.add(fits)
    for message in await wire.read("attendance-changed"):
        wire.expect(message)
    await wire.send(("course-defined", many_steps(version)) for version in range(1, 201))
    await wire.settled()

    said = [message.json["learner_id"] for message in await wire.read("course-completion-changed")]
    assert sorted(said) == sorted(good)
    letters = await wire.read("dead-letter")
    long_keys = [key_of(f"{codec}-long") for codec in EMPTINESS_BYTES] + [
        key_of(f"{codec}-does-not") for codec in ("none", "zstd")
    ]
    assert sorted(letter.key or b"" for letter in letters) == sorted(long_keys)
    for letter in letters:
        assert (letter.value, letter.header("kafka_dlt-exception-fqcn")) == (None, "record_limit")
        assert len(letter.headers) == 6, "none of the original ones"
        explained = letter.header("kafka_dlt-exception-message")
        assert f"bytes uncompressed, at most {MESSAGE_BYTES} are read" in explained
    peak = peak_bytes(serving.process.pid)
    print(f"the worker had {peak / MEGABYTE:.0f} MB at most")
    assert peak < PEAK_BYTES
    assert serving.stop() == 0


def many_steps(version: int) -> dict[str, Any]:
    """A version of a course with 300 steps."""
    steps = [
        {"step_id": f"step-{number}", "kind": "event", "title": f"Module {number}", "scheduled_minutes": 60 + version}
        for number in range(300)
    ]
    return {**DEFINITION, "course_id": "c-300", "message_id": f"d-{version}", "version": version, "steps": steps}
