"""Sends one message, with the key that it must have: `python -m tests.stack.send ADDRESS TOPIC VALUE [--prefix P]`.

TOPIC is the short name (attendance-changed, …), VALUE the message as a JSON object.
"""

import argparse
import asyncio
import json
import logging
import sys

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.topics import COURSE_DEFINED, FACTS
from tests.stack.wire import key_of

NAMES = {topic.short: topic.name for topic in (COURSE_DEFINED, *FACTS)}


async def send(address: str, topic: str, value: str, key: bytes) -> None:
    """Send, and wait until the broker has it."""
    producer = AIOKafkaProducer(bootstrap_servers=address)
    try:
        await producer.start()
        await producer.send_and_wait(topic, value.encode(), key=key)
    finally:
        await producer.stop()


def main() -> None:
    """Read the command line, send, say so."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("topic", choices=NAMES)
    parser.add_argument("value")
    parser.add_argument("--prefix", default="")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    try:
        key = key_of(json.loads(given.value))
    except (ValueError, TypeError, KeyError) as error:
        sys.exit(f"VALUE must be a JSON object with tenant_id, course_id and, of a learner, learner_id: {error!r}")
    try:
        asyncio.run(send(given.address, given.prefix + NAMES[given.topic], given.value, key))
    except (KafkaError, OSError) as error:
        sys.exit(f"not sent to {given.address}: {error!r}")
    print(f"sent to {given.prefix + NAMES[given.topic]} under the key {key.decode()}")


if __name__ == "__main__":
    main()
