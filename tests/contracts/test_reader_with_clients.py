"""The reader in the loops of two clients, as the page shows them, on what Ratchet has published."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer

from contracts.reader import Cursor, take
from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from tests.admin.test_learner import some_learners
from tests.stack.service import World
from tests.stack.wire import Wire

CHANGES = STEP_COMPLETION_CHANGED.name, COURSE_COMPLETION_CHANGED.name


class Mine:
    """What a service keeps: of each record a cursor, and what it has done."""

    def __init__(self) -> None:
        self.cursors: dict[bytes, str] = {}
        self.done: dict[bytes, list[int]] = defaultdict(list)

    def hear(self, key: bytes, value: bytes) -> None:
        """The middle of the loop."""
        read = take(Cursor.read(self.cursors.get(key, "")), value)
        self.done[key] += [change.sequence for change in read.changes]
        self.cursors[key] = read.cursor.text()


async def test_both_clients_give_each_change_once_and_in_order(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await some_learners(wire)
    assert serving.stop() == 0
    messages = await wire.read("step-completion-changed", "course-completion-changed")
    counts: dict[bytes, int] = defaultdict(int)
    for message in messages:
        counts[message.key or b""] += 1
    expected = {key: list(range(1, count + 1)) for key, count in counts.items()}
    assert sum(counts.values()) > 5
    mine = Mine()
    for _ in range(2):  # the second time from the beginning again
        async for key, value in _by_aiokafka(world, len(messages)):
            mine.hear(key, value)
        assert mine.done == expected
    theirs = Mine()
    for _ in range(2):
        for key, value in _by_confluent(world, len(messages)):
            theirs.hear(key, value)
        assert theirs.done == expected


async def _by_aiokafka(world: World, count: int) -> AsyncIterator[tuple[bytes, bytes]]:
    async with AIOKafkaConsumer(
        *(world.prefix + name for name in CHANGES),
        bootstrap_servers=world.broker.address,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    ) as consumer:
        for _ in range(count):
            message = await consumer.getone()
            yield message.key, message.value


def _by_confluent(world: World, count: int) -> Iterator[tuple[bytes, bytes]]:
    consumer = Consumer(
        {
            "bootstrap.servers": world.broker.address,
            "group.id": f"{world.prefix}certificates-{id(world)}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([world.prefix + name for name in CHANGES])
    try:
        for _ in range(count):
            message = consumer.poll(30)
            assert message is not None and not message.error()
            yield message.key() or b"", message.value() or b""
    finally:
        consumer.close()
