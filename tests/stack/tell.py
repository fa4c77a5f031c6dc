"""Tells the story: sends each message, waits until it is decided and published, and shows what became of it.

What was decided is read from the database, what was published from the topics, as a `read_committed` reader sees it.
"""

import asyncio
import json
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table

from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from rules.explain import explain
from rules.values import Record
from service.admin.simulate import state
from service.admin.story import course_text, step_text, what_text
from service.lanes.deciding import whole_records
from service.mongo.store import MongoStore, connect
from tests.stack.service import Failed, World
from tests.stack.story import COURSE, EVENT, Act, Message, story
from tests.stack.wire import Wire, key_of

ANSWER_SECONDS = 60.0


class Change(NamedTuple):
    """A message on an output topic."""

    topic: str
    value: dict[str, Any]

    @property
    def text(self) -> str:
        """In words."""
        said = self.value
        if "step_id" in said:
            turned = ", complete" if said["complete"] else ", incomplete"
            became = turned if said["complete"] != said["previously_complete"] else ""
            percents = f"{said['previous_percent']} → {said['percent']} %"
            return f"{self.topic} #{said['sequence']}: step {said['step_id']} {percents}{became}"
        via = f" via {said['completed_via']}" if said["completed_via"] else ""
        certificate = said["certificate"]
        issued = "" if certificate["action"] == "none" else f", {certificate['action']} certificate"
        return f"{self.topic} #{said['sequence']}: {said['previous_status']} → {said['status']}{via}{issued}"


class Published:
    """Reads the output topics, from when it was made by `published` on."""

    def __init__(self, consumer: AIOKafkaConsumer, short: dict[str, str]) -> None:
        self._consumer = consumer
        self._short = short
        self._by_key: dict[bytes, list[Change]] = defaultdict(list)

    async def caused_by(self, message: Message, sequence: int) -> list[Change]:
        """The changes that this message caused, once its record's changes up to this sequence are out."""
        key = key_of(message[1])
        deadline = time.monotonic() + ANSWER_SECONDS
        while max(self.sequences(key), default=0) < sequence:
            if time.monotonic() > deadline:
                raise Failed(f"of {key.decode()}, only changes {self.sequences(key)} of {sequence} came out")
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    self._by_key[record.key].append(Change(self._short[record.topic], json.loads(record.value)))
        changes = [change for change in self._by_key[key] if change.value["caused_by"] == message[1]["message_id"]]
        return sorted(changes, key=lambda change: int(change.value["sequence"]))

    def sequences(self, key: bytes) -> list[int]:
        """Of the record's changes that have come out."""
        return sorted(change.value["sequence"] for change in self._by_key[key])


@asynccontextmanager
async def published(world: World) -> AsyncIterator[Published]:
    """What comes out from now on."""
    short = {world.prefix + topic.name: topic.short for topic in (STEP_COMPLETION_CHANGED, COURSE_COMPLETION_CHANGED)}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=world.broker.address, isolation_level="read_committed", check_crcs=world.broker.real
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for topic in short for number in range(world.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        yield Published(consumer, short)
    finally:
        await consumer.stop()


async def tell(world: World, console: Console) -> int:
    """Tell the whole story in a tenant of its own. Gives how many acts ended wrong."""
    definition, acts = story(f"demo-{uuid.uuid4().hex[:6]}")
    store = connect(world.database.address, world.settings["RATCHET_MONGODB_DATABASE"], world.name, {})
    failed = 0
    async with Wire(world) as wire, published(world) as out:
        await wire.send([definition])
        await wire.settled()
        for act in acts:
            console.print(f"[bold]{act.title}[/bold]")
            record = Record()
            for message in act.messages:
                await wire.send([message])
                record = await _decided(store, message)
                console.print(_shown(message, record, await out.caused_by(message, record.sequence)))
                console.print()
            failed += not _ended_well(act, record, out.sequences(key_of(act.messages[0][1])), console)
    await store.close()
    return failed


async def _decided(store: MongoStore, message: Message) -> Record:
    key = key_of(message[1]).decode()
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        stored = (await whole_records(store, [key])).get(key)
        if stored is not None and message[1]["message_id"] in stored.record.facts:
            return stored.record
        await asyncio.sleep(0.02)
    raise Failed(f"{message[1]['message_id']} was not decided within {ANSWER_SECONDS:.0f} s")


def _shown(message: Message, record: Record, changes: Sequence[Change]) -> Table:
    told = next(told for told in explain(record) if told.message_id == message[1]["message_id"])
    step = record.standing.steps.get(EVENT)
    certificate = record.standing.certificate
    table = Table(show_header=False, box=None, padding=(0, 1), pad_edge=False)
    table.add_column(width=11, style="dim", justify="right")
    table.add_column()
    table.add_row("message", f"{message[0]} of {message[1]['learner_id']}: {what_text(told)}")
    for reason in told.reasons[1:] or told.reasons:  # the first says how it arrived
        table.add_row("rule", f"{reason.rule_id}: [italic]{reason.because}[/italic]")
    table.add_row("step", "none" if step is None else step_text(step))
    table.add_row("course", course_text(record.standing.course))
    table.add_row("certificate", "none" if certificate is None else certificate.status)
    for number, change in enumerate(changes):
        table.add_row("" if number else "published", change.text)
    if not changes:
        table.add_row("published", "nothing")
    return table


def _ended_well(act: Act, record: Record, sequences: list[int], console: Console) -> bool:
    key = f"demo/{act.learner}/{COURSE}"
    stands = state(key, record)
    certificate = stands["certificate"]
    course: dict[str, Any] = stands["course"]
    ends = {
        "steps": stands["steps"],
        "course": {name: course[name] for name in act.ends["course"]},
        "certificate": certificate and certificate["status"],
    }
    if ends == act.ends and sequences == list(range(1, record.sequence + 1)):
        return True
    console.print(f"[red]expected {act.ends}, got {ends}; published {sequences} of {record.sequence}[/red]")
    return False
