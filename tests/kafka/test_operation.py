"""What operators are told while the worker runs and when it cannot: credentials, floods, strangers."""

import asyncio
import json
import re

import pytest
from aiokafka import TopicPartition

from contracts.topics import ATTENDANCE_CHANGED
from service.errors import FixConfiguration
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.simulation.loop import run
from tests.simulation.workers import SimulatedWorld
from tests.stack.service import World
from tests.stack.wire import Wire

WINDOW = {"RATCHET_FLOOD_WINDOW_MESSAGES": "50", "RATCHET_FLOOD_PERCENT": "10"}


def test_wrong_credentials_for_mongodb_are_named_at_the_start(world: World) -> None:
    uri = world.database.address.replace("mongodb://", "mongodb://ratchet:hush@")
    ran = world.run_process("serve", check=False, RATCHET_MONGODB_URI=uri)
    assert (ran.returncode, "RATCHET_MONGODB_URI: MongoDB refuses the user" in ran.stderr) == (2, True), ran.stderr
    assert "hush" not in ran.stderr and "Traceback" not in ran.stderr


def test_credentials_for_kafka(world: World) -> None:
    if world.broker.sasl_address is None:
        pytest.skip(f"this broker wants no password: {world.broker.how}")
    settings = {
        "RATCHET_KAFKA_BOOTSTRAP_SERVERS": world.broker.sasl_address,
        "RATCHET_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "RATCHET_KAFKA_ALLOW_SASL_WITHOUT_TLS": "true",
        "RATCHET_KAFKA_SASL_MECHANISM": "PLAIN",
        "RATCHET_KAFKA_SASL_USERNAME": "ratchet",
    }
    ran = world.run_process("serve", check=False, **settings, RATCHET_KAFKA_SASL_PASSWORD="hush")
    assert ran.returncode == 2, ran.stderr
    assert "or it refuses RATCHET_KAFKA_SASL_USERNAME and RATCHET_KAFKA_SASL_PASSWORD" in ran.stderr
    assert "SaslAuthenticationFailed" in ran.stderr, "the client's own line says which"
    assert "hush" not in ran.stderr and "Traceback" not in ran.stderr
    serving = world.serve(**settings, RATCHET_KAFKA_SASL_PASSWORD="right").wait_until_ready()
    assert serving.stop() == 0
    assert "right" not in serving.log.read_text()


async def test_a_flood_of_dead_letters_is_told_until_it_is_over(world: World, wire: Wire) -> None:
    serving = world.serve(**WINDOW).wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.send([("attendance-changed", {**ATTENDED, "message_id": f"m{n}"}) for n in range(60)])
    await wire.settled()
    assert flood(serving.get("/readyz")) is False
    await wire.send([("attendance-changed", {**ATTENDED, "message_id": f"p{n}", "event_id": 7}) for n in range(60)])
    await wire.settled()
    assert flood(serving.get("/readyz")) is True
    assert "ratchet_dead_letter_flood 1.0" in serving.get("/metrics")[1]
    await wire.send([("attendance-changed", {**ATTENDED, "message_id": f"n{n}"}) for n in range(60)])
    await wire.settled()
    assert flood(serving.get("/readyz")) is False
    assert serving.stop() == 0
    said = [json.loads(line) for line in serving.log.read_text().splitlines()]
    told = [(line["level"], line["event"]) for line in said if "flood" in line["event"]]
    assert told == [
        ("error", "flood of dead letters: mend the sender"),
        ("info", "the flood of dead letters is over"),
    ]


def flood(answer: tuple[int, str]) -> bool:
    """The worker stays ready."""
    status, body = answer
    assert status == 200, body
    return bool(json.loads(body)["dead_letters"]["flood"])


def test_a_stranger_who_takes_the_transactional_ids_is_named() -> None:
    """In virtual time, because a lane that was lost waits before it tries again."""

    async def live() -> None:
        world = SimulatedWorld(0, partitions=1)
        world.fate.calm = True
        await world.join()
        inbound = TopicPartition(ATTENDANCE_CHANGED.name, 0)
        try:
            for number in range(100):
                world.broker.init_producer(f"{world.settings.group}-0")
                world.broker.append(inbound, [(b"t/l/c", f"poison {number}".encode(), ())], None)
                await asyncio.sleep(1)
                world.members[0].check()
        finally:
            await world.members[0].die()

    with pytest.raises(FixConfiguration, match=re.escape("RATCHET_GROUP: someone else takes the transactional id")):
        run(live())
