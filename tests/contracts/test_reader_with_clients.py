"""The reader in the loops of two clients, one as the page shows it, on what Ratchet has published."""

from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from textwrap import indent
from types import SimpleNamespace
from typing import Any

from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer

from contracts.reader import Change, Cursor, take
from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from contracts.xapi import Told, statements
from tests.admin.test_learner import some_learners
from tests.documents.blocks import fenced
from tests.documents.scene import ROOT
from tests.stack.service import World
from tests.stack.wire import Wire

PAGE = ROOT / "contracts" / "README.md"
CHANGES = STEP_COMPLETION_CHANGED.name, COURSE_COMPLETION_CHANGED.name


class Mine:
    """What a service keeps: of each record a cursor, what a learning record store was told, and what it has done."""

    def __init__(self) -> None:
        self.cursors: dict[bytes, str] = {}
        self.told: dict[bytes, str] = {}
        self.done: dict[bytes, list[int]] = defaultdict(list)
        self._key = b""

    @contextmanager
    def transaction(self) -> Iterator["Mine"]:
        """As of a database."""
        yield self

    def load(self, key: bytes) -> str:
        """The cursor of a record; what is applied now is of this one."""
        self._key = key
        return self.cursors.get(key, "")

    def save(self, key: bytes, cursor: str) -> None:
        """Likewise."""
        self.cursors[key] = cursor

    def load_told(self, key: bytes) -> str:
        """What was told of a record."""
        return self.told.get(key, "")

    def save_told(self, key: bytes, told: str) -> None:
        """Likewise."""
        self.told[key] = told

    def apply(self, change: Change) -> None:
        """It is due."""
        self.done[self._key].append(change.sequence)

    def hear(self, key: bytes, value: bytes) -> None:
        """The middle of the loop."""
        read = take(Cursor.read(self.load(key)), value)
        for change in read.changes:
            self.apply(change)
        self.save(key, read.cursor.text())


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
    for again in range(2):  # the second time from the beginning again
        posted = await _as_on_the_page(world, mine, len(messages), again)
        assert mine.done == expected
        verbs = {one["verb"]["display"]["en"] for one in posted}
        assert verbs == (set() if again else {"completed", "passed", "voided"})
    theirs = Mine()
    for _ in range(2):
        for key, value in _by_confluent(world, len(messages)):
            theirs.hear(key, value)
        assert theirs.done == expected


async def _as_on_the_page(world: World, mine: Mine, count: int, group: int) -> list[Any]:
    """The page's Python as it stands there, until so many messages are read; gives the statements that were posted."""

    class OnlySoMany:
        """The page's consumer, in this world; `async for` ends."""

        def __init__(self, *topics: str, bootstrap_servers: str, group_id: str, **options: Any) -> None:
            assert bootstrap_servers == "kafka:9092"
            here = {"bootstrap_servers": world.broker.address, "group_id": f"{world.prefix}{group_id}-{group}"}
            self._consumer = AIOKafkaConsumer(*(world.prefix + name for name in topics), **here, **options)

        async def __aiter__(self) -> AsyncIterator[Any]:
            async with self._consumer:
                for _ in range(count):
                    yield await self._consumer.getone()

        async def commit(self) -> None:
            await self._consumer.commit()

    posted: list[Any] = []
    names = {"AIOKafkaConsumer": OnlySoMany, "database": mine, "LMS": "https://lms.example.com"}
    names |= {"statements": statements, "Told": Told, "store": SimpleNamespace(post=posted.extend)}
    reading, telling = fenced(PAGE.read_text("utf-8"), "python")
    saving = "        mine.save("
    assert saving in reading
    code = reading.replace(saving, indent(telling, "        ") + saving)  # "with the cursor", as the page says
    await eval(compile(code, str(PAGE), "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # our own page
    return posted


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
