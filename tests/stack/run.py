"""`make run`: servers, the service, the scenarios as real Kafka messages, and what was decided, live.

`python -m tests.stack.run [--once]`. With --once it ends by itself: status 0 if every scenario ended as it should, 1 if
not. Without, it stays up until Ctrl-C and shows what goes out.
"""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from rich.console import Console
from rich.table import Table

from contracts.topics import COURSE_COMPLETION_CHANGED, DEAD_LETTER, STEP_COMPLETION_CHANGED
from rules.explain import explain
from rules.values import Record
from service.admin.simulate import state
from service.admin.story import change_text, course_text, step_text, what_text
from service.mongo.store import MongoStore, connect
from tests.stack import choose
from tests.stack.servers import Server, stop_all
from tests.stack.service import Failed, Serving, World
from tests.stack.story import COURSE, EVENT, Act, Message, story
from tests.stack.wire import Wire, key_of

ANSWER_SECONDS = 60.0
OUT = (STEP_COMPLETION_CHANGED.name, COURSE_COMPLETION_CHANGED.name, DEAD_LETTER.name)
console = Console(highlight=False)


def main() -> int:
    """Start everything, tell the story, stop what was started."""
    arguments = sys.argv[1:]
    if arguments not in ([], ["--once"]):
        print(__doc__)
        return 0 if arguments == ["--help"] else 2
    once = bool(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="ratchet-run-"))
    started: list[Server] = []
    try:
        return _with_servers(folder, started, once)
    except (choose.NothingWorks, Failed) as error:
        console.print(str(error), soft_wrap=True, markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("\nstopping ...")
        return 130 if once else 0
    finally:
        for server in reversed(started):
            server.stop()
        stop_all()
        shutil.rmtree(folder, ignore_errors=True)


def _with_servers(folder: Path, started: list[Server], once: bool) -> int:
    say = partial(console.print, soft_wrap=True, markup=False)
    database = choose.database(folder, say)
    started.append(database)
    broker = choose.broker(folder, say)
    started.append(broker)
    if database.is_ours and broker.is_ours:
        return _run(World(broker, database, folder, prefix="", name="ratchet"), once)
    return _run(World(broker, database, folder), once)  # others may use these servers: keep out of their names


def _run(world: World, once: bool) -> int:
    world.create_topics()
    serving = world.serve()
    try:
        serving.wait_until_ready()
        console.print(f"Ratchet: `ratchet serve`, http://127.0.0.1:{serving.port}/readyz and /metrics\n")
        failed = asyncio.run(_tell(world))
        if failed:
            console.print(f"[red]{failed} of the scenarios did not end as they should[/red]")
            return 1
        console.print("[green]Every scenario ended as it should.[/green]")
        if not once:
            _say_how_to_go_on(world)
            asyncio.run(_show_what_goes_out(world, serving))
        return 0
    finally:
        serving.stop()


async def _tell(world: World) -> int:
    """Send each message, wait until it is decided and published, show it. Gives how many acts ended wrong."""
    definition, acts = story(f"demo-{uuid.uuid4().hex[:6]}")
    store = connect(world.database.address, world.settings["RATCHET_MONGODB_DATABASE"], world.name, {})
    failed = 0
    async with Wire(world) as wire:
        await wire.send([definition])
        await wire.settled()
        for act in acts:
            console.print(f"[bold]{act.title}[/bold]")
            record = Record()
            for message in act.messages:
                await wire.send([message])
                record = await _decided(store, message)
                _show(message, record)
            await wire.settled()
            published = await _published(wire, key_of(act.messages[0][1]))
            failed += not _ended_well(act, record, published)
    await store.close()
    return failed


async def _decided(store: MongoStore, message: Message) -> Record:
    key = key_of(message[1]).decode()
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        stored = (await store.records.load([key])).get(key)
        if stored is not None and message[1]["message_id"] in stored.record.facts:
            return stored.record
        await asyncio.sleep(0.02)
    raise Failed(f"{message[1]['message_id']} was not decided within {ANSWER_SECONDS:.0f} s")


def _show(message: Message, record: Record) -> None:
    told = next(told for told in explain(record) if told.message_id == message[1]["message_id"])
    step = record.standing.steps.get(EVENT)
    certificate = record.standing.certificate
    table = Table(show_header=False, box=None, padding=(0, 1), pad_edge=False)
    table.add_column(width=11, style="dim", justify="right")
    table.add_column()
    table.add_row("message", f"{message[0]} of {message[1]['learner_id']}: {what_text(told)}")
    for reason in told.reasons[1:] or told.reasons:
        table.add_row("rule", f"{reason.rule_id}: [italic]{reason.because}[/italic]")
    table.add_row("step", "none" if step is None else step_text(step))
    table.add_row("course", course_text(record.standing.course))
    table.add_row("certificate", "none" if certificate is None else certificate.status)
    table.add_row("announced", "; ".join(map(change_text, told.announced)) or "nothing")
    console.print(table)
    console.print()


async def _published(wire: Wire, key: bytes) -> list[int]:
    """The sequences that a `read_committed` reader of the output topics sees for this record."""
    messages = await wire.read(STEP_COMPLETION_CHANGED.short, COURSE_COMPLETION_CHANGED.short)
    return sorted(message.json["sequence"] for message in messages if message.key == key)


def _ended_well(act: Act, record: Record, published: list[int]) -> bool:
    key = f"demo/{act.learner}/{COURSE}"
    stands = state(key, record)
    certificate = stands["certificate"]
    course: dict[str, Any] = stands["course"]
    ends = {
        "steps": stands["steps"],
        "course": {name: course[name] for name in act.ends["course"]},
        "certificate": certificate and certificate["status"],
    }
    if ends == act.ends and published == list(range(1, record.sequence + 1)):
        return True
    console.print(f"[red]expected {act.ends}, got {ends}; published {published} of {record.sequence}[/red]")
    return False


def _say_how_to_go_on(world: World) -> None:
    common = {"tenant_id": "mine", "course_id": "c-1"}
    step = {"step_id": "e-1", "kind": "event", "scheduled_minutes": 60}
    definition = {"message_id": "d-1", **common, "changed_at": "2026-01-01T00:00:00Z", "version": 1, "steps": [step]}
    attendance = {
        "message_id": "m-1",
        **common,
        "learner_id": "l-1",
        "changed_at": "2026-03-02T09:00:00Z",
        "event_id": "e-1",
        "attended": True,
    }
    send = f".venv/bin/python -m tests.stack.send '{world.broker.address}'"
    names = f" --prefix {world.prefix}" if world.prefix else ""
    settings = f"RATCHET_MONGODB_URI='{world.database.address}' RATCHET_MONGODB_DATABASE={world.name}"
    for line in (
        f"\nKafka listens at {world.broker.address}, MongoDB at {world.database.address} (database {world.name}).",
        "Send messages of your own from another terminal: define a course, then report attendance,\n",
        f"  {send} course-defined '{json.dumps(definition)}'{names}",
        f"  {send} attendance-changed '{json.dumps(attendance)}'{names}",
        "\nand ask why the learner stands as they stand:\n",
        f"  {settings} .venv/bin/ratchet explain mine l-1 c-1",
        "\nWhat goes out is shown below. Ctrl-C stops everything that was started here.\n",
    ):
        console.print(line, soft_wrap=True, markup=False)


async def _show_what_goes_out(world: World, serving: Serving) -> None:
    consumer = AIOKafkaConsumer(
        *(world.prefix + name for name in OUT),
        bootstrap_servers=world.broker.address,
        isolation_level="read_committed",
        check_crcs=world.broker.real,
    )
    await consumer.start()
    try:
        while serving.process.poll() is None:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    _show_out(record)
        raise Failed(f"ratchet serve ended: {serving.log.read_text()[-2000:].strip()}")
    finally:
        await consumer.stop()


def _show_out(record: Any) -> None:
    reason = dict(record.headers).get("kafka_dlt-exception-message", b"").decode()
    console.print(f"{record.topic} {(record.key or b'').decode(errors='replace')}", style="bold", markup=False)
    console.print(reason or (record.value or b"").decode(errors="replace"), soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(main())
