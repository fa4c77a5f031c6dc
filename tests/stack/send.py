"""Sends one message, with the key that it must have: `python -m tests.stack.send ADDRESS TOPIC VALUE`.

TOPIC is the short name (attendance-changed, …), VALUE the message as JSON.
"""

import asyncio
import json
import sys

from aiokafka import AIOKafkaProducer

from tests.stack.wire import NAMES, key_of


async def send(address: str, short: str, value: str) -> None:
    """Send, and wait until the broker has it."""
    key = key_of(json.loads(value))
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(NAMES[short], value.encode(), key=key)
    print(f"sent to {NAMES[short]} under the key {key.decode()}")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[2] not in NAMES:
        sys.exit(f"{__doc__}\nTopics: {', '.join(NAMES)}")
    asyncio.run(send(*sys.argv[1:]))
