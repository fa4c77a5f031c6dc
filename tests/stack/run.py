"""`make run`: servers, the service, the scenarios as real Kafka messages, and what was decided, live.

`python -m tests.stack.run --help`. Status 0 if every scenario ended as it should, 1 if not, 2 without servers.
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from rich.console import Console

from contracts.topics import COURSE_COMPLETION_CHANGED, DEAD_LETTER, STEP_COMPLETION_CHANGED
from tests.stack import choose, examples
from tests.stack.servers import Server, stop_all
from tests.stack.service import Failed, Serving, Web, World
from tests.stack.tell import tell

OUT = (STEP_COMPLETION_CHANGED.name, COURSE_COMPLETION_CHANGED.name, DEAD_LETTER.name)
console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def main() -> int:
    """Start everything, tell the story, stop what was started."""
    parser = argparse.ArgumentParser("python -m tests.stack.run", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end by itself; else it shows what goes out until Ctrl-C")
    parser.add_argument("--examples", action="store_true", help="the example services downstream, too")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="ratchet-run-"))
    started: list[Server] = []
    try:
        return _with_servers(folder, started, asked)
    except (choose.NothingWorks, Failed) as error:
        console.print(str(error), soft_wrap=True, markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("\nstopping ...")
        return 130 if asked.once else 0
    finally:
        for server in reversed(started):
            server.stop()
        stop_all()
        shutil.rmtree(folder, ignore_errors=True)


def _with_servers(folder: Path, started: list[Server], asked: argparse.Namespace) -> int:
    say = partial(console.print, soft_wrap=True, markup=False)
    database = choose.database(folder, say)
    started.append(database)
    broker = choose.broker(folder, say)
    started.append(broker)
    if database.is_ours and broker.is_ours:
        return _run(World(broker, database, folder, prefix="", name="ratchet"), asked)
    return _run(World(broker, database, folder), asked)  # others may use these servers: keep out of their names


def _run(world: World, asked: argparse.Namespace) -> int:
    world.create_topics()
    beside = ExitStack()
    serving, web = world.serve(), world.web()
    try:
        serving.wait_until_ready()
        downstream = beside.enter_context(examples.running(world, world.folder)) if asked.examples else None
        say = partial(console.print, soft_wrap=True, markup=False)
        say(f"Ratchet: `ratchet serve`, http://127.0.0.1:{serving.port}/readyz and /metrics")
        say(f"         `ratchet web`, the console, signed in by this link: {web.link()}\n")
        failed = asyncio.run(tell(world, console))
        if failed:
            console.print(f"[red]{failed} of the scenarios did not end as they should[/red]")
            return 1
        console.print("[green]Every scenario ended as it should.[/green]")
        if downstream is not None:
            downstream.show(console, *asyncio.run(examples.expected(world)))
        if not asked.once:
            _say_how_to_go_on(world)
            asyncio.run(_show_what_goes_out(world, serving, web))
        return 0
    finally:
        web.stop()
        serving.stop()
        beside.close()


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


async def _show_what_goes_out(world: World, serving: Serving, web: Web) -> None:
    link = web.link()
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
            if link != (link := web.link()):
                console.print(f"The link to the console was used; the next one: {link}", soft_wrap=True, markup=False)
        raise Failed(f"ratchet serve ended: {serving.log.read_text()[-2000:].strip()}")
    finally:
        await consumer.stop()


def _show_out(record: Any) -> None:
    reason = dict(record.headers).get("kafka_dlt-exception-message", b"").decode()
    console.print(f"{record.topic} {(record.key or b'').decode(errors='replace')}", style="bold", markup=False)
    console.print(reason or (record.value or b"").decode(errors="replace"), soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(main())
