"""Cells done in a world of their own, on the real service."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contracts.topics import ATTENDANCE_CHANGED, DEAD_LETTER, RECORD_STATE, REROUTED
from service.lanes.deciding import whole_records
from service.mongo.store import connect
from tests.commands.test_commands import DEFINITION
from tests.interop.judge import OUT, Row, announced, rerouted, sent, strays
from tests.interop.log import no_transaction_is_open, read_log
from tests.interop.messages import behind, counted, learners, messages
from tests.interop.plan import Cell, Plan, Topics
from tests.interop.prepare import abort_something_outbound, configure
from tests.interop.program import Refused, Running
from tests.interop.readers import Read, read_all
from tests.kafka.test_transactions import eventually, outside_lag
from tests.kafka.test_unreadable import key_of
from tests.promise import Expected, Outcome, examine
from tests.stack.servers import Server
from tests.stack.service import Failed, Serving, World
from tests.stack.wire import Got, Wire, states_of

Say = Callable[[str], None]
Programs = Mapping[str, Running]
OPEN_MILLISECONDS = 600_000
"""No transaction ends by itself."""


class Came(NamedTuple):
    """What came of it all."""

    rows: list[Row]
    reads: list[Read]
    problems: list[str]
    """Of no cell alone."""


def run(broker: Server, database: Server, folder: Path, programs: Programs, plan: Plan, say: Say) -> Came:
    """The cells of the clients that are there, one world after the other."""
    came = Came([], [], [])
    for topics, cells in plan.items():
        world = World(broker, database, folder)
        there = [cell for cell in cells if cell.client in programs]
        try:
            rows, reads, problems = asyncio.run(_Run(world, topics, programs, say).run(there))
        except Failed as error:
            rows, reads, problems = [], [], [str(error).splitlines()[0]]
        came.rows.extend(rows)
        came.reads.extend(reads)
        came.problems.extend(f"{topics}: {problem}" for problem in problems)
    return came


class _Run:
    """Of one world."""

    def __init__(self, world: World, topics: Topics, programs: Programs, say: Say) -> None:
        self._world = world
        self._topics = topics
        self._programs = programs
        self._say = say
        self._problems: dict[Cell | None, list[str]] = {None: []}

    async def run(self, cells: Sequence[Cell]) -> Came:
        self._world.create_topics()
        configure(self._world, self._topics)
        abort_something_outbound(self._world)
        serving = self._world.serve()
        try:
            serving.wait_until_ready()
            async with Wire(self._world) as wire:
                await wire.send([("course-defined", DEFINITION)])
                await wire.settled()
                await self._send_all(cells)
                await self._deal_with(wire, serving)
                rows = await self._judge(wire, cells)
                reads = await self._read(wire)
        finally:
            status = await asyncio.to_thread(serving.stop)
        if status:
            self._problems[None].append(f"the service ended with status {status}")
        return Came(rows, reads, self._problems[None])

    async def _send_all(self, cells: Sequence[Cell]) -> None:
        """Clients at the same time, the cells of each one by one; then what was left open is ended."""
        by_client = {client: [cell for cell in cells if cell.client == client] for client in self._programs}
        await asyncio.gather(*(asyncio.to_thread(self._send, client, of) for client, of in by_client.items()))

    def _send(self, client: str, cells: Sequence[Cell]) -> None:
        for cell in cells:
            self._problems[cell] = []
            self._ask(cell, "produce", cell.mode, messages=messages(cell, learners(cell)))
            if cell.mode == "open":
                self._ask(cell, "produce", "plain", messages=messages(cell, behind(cell)))
            told = "; ".join(self._problems[cell]) or "sent"
            self._say(f"{self._topics}: {client} {cell.codec} {cell.mode} {told}")
        for cell in cells:
            if cell.mode == "open":
                self._ask(cell, "end", cell.mode)

    def _ask(self, cell: Cell, do: str, mode: str, **more: Any) -> None:
        transaction = f"{self._world.name}-{cell.name}" if mode in ("commit", "abort", "open") else None
        try:
            self._programs[cell.client].ask(
                do,
                bootstrap=self._world.broker.address,
                topic=self._world.prefix + ATTENDANCE_CHANGED.name,
                codec=cell.codec,
                mode=mode,
                transaction=transaction,
                timeout_ms=OPEN_MILLISECONDS,
                **more,
            )
        except Refused as error:
            self._problems[cell].append(f"{do}: {error}")

    async def _deal_with(self, wire: Wire, serving: Serving) -> None:
        try:
            await no_transaction_is_open(self._world, ATTENDANCE_CHANGED.name)
            for message in await wire.read(ATTENDANCE_CHANGED.short):
                wire.expect(message)
            await wire.settled()
            await eventually(lambda: outside_lag(self._world) == 0, "lag 0")
        except (AssertionError, TimeoutError) as error:
            self._problems[None].append(f"{error!r}; {serving.get('/readyz')[1]}")

    async def _judge(self, wire: Wire, cells: Sequence[Cell]) -> list[Row]:
        log = await read_log(self._world, ATTENDANCE_CHANGED.name)
        published = await wire.read(*(topic.short for topic in OUT))
        forwarded = await wire.read(REROUTED.short)
        findings = await self._findings(wire, cells, published)
        rows = []
        for cell in cells:
            ours = [finding for finding in findings if f"{cell.name}." in finding]
            findings = [finding for finding in findings if finding not in ours]
            found = [*self._problems[cell], *sent(self._topics, cell, log), *announced(cell, published), *ours]
            found += rerouted(cell, log, forwarded, self._world.partitions)
            where = len(strays(learners(cell), log, self._world.partitions))
            rows.append(Row(self._topics, cell, found, where, len(learners(cell))))
        self._problems[None].extend(findings)
        return rows

    async def _findings(self, wire: Wire, cells: Sequence[Cell], published: Sequence[Got]) -> list[str]:
        """Of the promise that simulation and faults check, too."""
        out: dict[str, list[list[Any]]] = {topic.name: [[] for _ in range(self._world.partitions)] for topic in OUT}
        for got in published:
            out[wire.catalogue_name(got.topic)][got.partition].append((got.key, got.json))
        dead = [got.value for got in await wire.read(DEAD_LETTER.short)]
        every = [learner for cell in cells for learner in (*learners(cell), *behind(cell))]
        store = connect(self._world.database.address, self._world.name, self._world.name, {})
        try:
            records = await whole_records(store, [key_of(learner).decode() for learner in every])
            courses = await store.courses.load({"acme/c-1"})
        finally:
            await store.close()
        facts = {key_of(learner).decode(): {f"m-{learner}"} for cell in cells for learner in counted(cell)}
        return examine(
            Outcome(out, states_of(await wire.read(RECORD_STATE.short)), dead, records, courses),
            Expected(facts, Counter()),
        ).all

    async def _read(self, wire: Wire) -> list[Read]:
        published = await wire.read(*(topic.short for topic in OUT))
        reads = await asyncio.to_thread(read_all, self._world, self._topics, self._programs, published)
        for read in reads:
            self._say(f"{self._topics}: {read.client} read {read.messages}: {'; '.join(read.problems[:3]) or 'ok'}")
        return reads
