"""Reassigns many learners at once, or takes that back: what becomes of each is told first; then a message each."""

import hashlib
import json
import re
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import uuid5

from contracts.fields import ID_PATTERN, course_key, record_key
from contracts.outbound import NAMESPACE
from contracts.topics import REASSIGNED, REASSIGNMENT_WITHDRAWN, Topic
from rules.values import Instant, Record
from service.admin.columns import columns
from service.admin.files.spreadsheet import open_sheet
from service.admin.files.words import id_problem
from service.admin.following import told
from service.admin.formats.catalogue import OWN, chosen
from service.admin.impact import Effects, Impact, impact_of
from service.admin.kinds import REASSIGNMENTS
from service.errors import FixConfiguration
from service.kafka.sender import open_sender
from service.lanes.ports import Outbound
from service.mongo.store import MongoStore
from service.settings import Settings

BATCH = 1000
Progress = Callable[[int], None]


class Selection(NamedTuple):
    """Whom: learners by name, or those of a file, or those who completed the course before an instant.

    `undo`: take reassignments back. Those of learners by name or of a file are their newest ones in force; with the id
    of a command that was sent (`ID@TIME`), its own.
    """

    tenant_id: str
    course_id: str
    learners: Sequence[str] = ()
    file: Path | None = None
    completed_before: Instant | None = None
    keeps_progress: bool = False
    undo: bool = False
    sent: str | None = None

    @property
    def topic(self) -> Topic:
        return REASSIGNMENT_WITHDRAWN if self.undo else REASSIGNED

    @property
    def identity(self) -> str:
        """The same for the same command, so that it can go on where it was interrupted."""
        of_file = None if self.file is None else open_sheet(self.file, chosen(OWN)).digest
        whom = [self.tenant_id, self.course_id, sorted(self.learners), of_file, self.completed_before]
        said = [*whom, self.keeps_progress, self.undo, self.sent]
        return f"reassign-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]}"


def message_id(command: str, learner_id: str) -> str:
    """Of a command's message about a learner; `command`: its identity and when it began, `ID@TIME`."""
    return str(uuid5(NAMESPACE, f"{command}/{learner_id}"))


class Plan:
    """The messages of a command, each learner once; on disk, so that their number does not matter."""

    def __init__(self, identity: str, selection: Selection, about: dict[str, str], started_at: str, path: str) -> None:
        self.identity = identity
        self.started_at = started_at
        self.selection = selection
        self.without = 0
        """Learners who have no reassignment to be taken back."""
        self._common = {
            "tenant_id": selection.tenant_id,
            "course_id": selection.course_id,
            "changed_at": started_at,
            **({"progress": "keep"} if selection.keeps_progress else {}),
            **about,
        }
        self._database = sqlite3.connect(path)
        self._database.execute("create table facts (key text primary key, value blob) without rowid")

    @property
    def command(self) -> str:
        """By which it can be taken back."""
        return f"{self.identity}@{self.started_at}"

    def add(self, learner_id: str, withdraws: str | None = None) -> None:
        """One more learner, and of whom which reassignment is taken back."""
        message = {"message_id": message_id(self.command, learner_id), "learner_id": learner_id, **self._common}
        if withdraws is not None:
            message["reassignment_message_id"] = withdraws
        key = record_key(self.selection.tenant_id, learner_id, self.selection.course_id)
        self._database.execute("insert or ignore into facts values (?, ?)", (key, json.dumps(message).encode()))

    def __len__(self) -> int:
        return int(self._database.execute("select count(*) from facts").fetchone()[0])

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """Record's key, number, message."""
        rows = self._database.execute("select key, value from facts order by key")
        return ((key, number, value) for number, (key, value) in enumerate(rows, 1))

    def close(self) -> None:
        """Forget it."""
        self._database.close()


@contextmanager
def _planned(identity: str, selection: Selection, about: dict[str, str], started_at: str) -> Iterator[Plan]:
    with tempfile.NamedTemporaryFile(prefix="ratchet-") as file:
        plan = Plan(identity, selection, about, started_at, file.name)
        try:
            yield plan
        finally:
            plan.close()


class Reassignment:
    """A command in steps: `look` tells what it would do, `send` does it, `follow` tells what came of it, `end` ends it.

    Made by `prepared`.
    """

    def __init__(self, store: MongoStore, plan: Plan, interrupted_at: str | None) -> None:
        self.interrupted_at = interrupted_at
        """When it began, if it is one that was interrupted."""
        self._store = store
        self._plan = plan
        self._topic = plan.selection.topic

    def __len__(self) -> int:
        return len(self._plan)

    @property
    def command(self) -> str:
        """By which it can be taken back once it is sent."""
        return self._plan.command

    @property
    def without(self) -> int:
        """Learners who have no reassignment to be taken back."""
        return self._plan.without

    async def unknown(self) -> list[str]:
        """Keys of those of whom there is no record: to reassign them would bring one into being."""
        messages, found = self._plan.messages(), []
        while batch := [key for key, _, _ in islice(messages, BATCH)]:
            known = await self._store.records.load(batch)
            found += [key for key in batch if key not in known]
        return found

    async def look(self, settings: Settings, impacts: Path) -> Effects:
        """What becomes of each record, by the real rules on the records as they stand."""
        return await impact_of(settings, self._store, self._topic, self._plan.messages(), Impact(impacts))

    async def send(self, settings: Settings, progress: Progress) -> int:
        """Send all messages. What an interrupted command has sent counts once."""
        sent = 0
        await self._store.uploads.begin(self._plan.identity, self._plan.started_at)
        messages = self._plan.messages()
        async with open_sender(settings) as sender:
            while batch := list(islice(messages, BATCH)):
                await sender.send([Outbound(self._topic.name, key.encode(), value, ()) for key, _, value in batch])
                sent += len(batch)
                progress(len(batch))
        return sent

    async def end(self) -> None:
        """It is through; the same command is something new from now on."""
        await self._store.uploads.forget(self._plan.identity)

    async def follow(self, settings: Settings, progress: Progress) -> tuple[Effects, int]:
        """Wait until the workers have decided them: what became of each record, and how many were refused."""
        sent = ((number, key, json.loads(value)["message_id"]) for key, number, value in self._plan.messages())
        return await told(settings, self._store, self._topic, sent, progress)


@asynccontextmanager
async def prepared(
    store: MongoStore, selection: Selection, about: dict[str, str], now: str
) -> AsyncIterator[Reassignment]:
    """Choose the learners. Raises FixConfiguration for those that cannot be learners."""
    identity = selection.identity
    interrupted = await store.uploads.find(identity)
    started_at = now if interrupted is None else interrupted.started_at
    with _planned(identity, selection, about, started_at) as plan:
        if interrupted is not None:
            await _plan_dealt_with(store, selection, plan)
        if selection.undo:
            await _plan_undoing(store, selection, plan)
        else:
            async for learner_id in _learners(store, selection):
                plan.add(learner_id)
        yield Reassignment(store, plan, None if interrupted is None else interrupted.started_at)


async def _plan_dealt_with(store: MongoStore, selection: Selection, plan: Plan) -> None:
    """Those to whom the interrupted command has done it already: they may not be chosen any more, and belong to it."""
    async for keys in store.keys.pages(selection.tenant_id, selection.course_id):
        for key, stored in (await store.records.load(keys)).items():
            learner_id = key.split("/")[1]
            fact = stored.record.facts.get(message_id(plan.command, learner_id))
            if fact is not None:
                plan.add(learner_id, fact.withdraws)


async def _plan_undoing(store: MongoStore, selection: Selection, plan: Plan) -> None:
    async for page in _pages(store, selection):
        records = await store.records.load(record_key(selection.tenant_id, one, selection.course_id) for one in page)
        for learner_id in page:
            stored = records.get(record_key(selection.tenant_id, learner_id, selection.course_id))
            withdraws = None if stored is None else _to_undo(stored.record, learner_id, selection.sent)
            if withdraws is not None:
                plan.add(learner_id, withdraws)
            elif selection.sent is None:
                plan.without += 1


def _to_undo(record: Record, learner_id: str, sent: str | None) -> str | None:
    """The newest reassignment in force, or that of the command, unless it is withdrawn already."""
    if sent is None:
        return None if record.started is None else record.started[2]
    wanted = message_id(sent, learner_id)
    return wanted if wanted in record.reassignments and wanted not in record.withdrawals else None


async def _pages(store: MongoStore, selection: Selection) -> AsyncIterator[list[str]]:
    if selection.sent is not None:
        async for keys in store.keys.pages(selection.tenant_id, selection.course_id):
            yield [key.split("/")[1] for key in keys]
        return
    learners = [learner_id async for learner_id in _learners(store, selection)]
    for first in range(0, len(learners), BATCH):
        yield learners[first : first + BATCH]


async def _learners(store: MongoStore, selection: Selection) -> AsyncIterator[str]:
    for learner_id in selection.learners:
        yield _checked(learner_id, "--learner")
    if selection.file is not None:
        for learner_id in _learners_of(selection, selection.file):
            yield learner_id
    if selection.completed_before is not None:
        course, after = course_key(selection.tenant_id, selection.course_id), ""
        while keys := await store.keys.completed_before(course, selection.completed_before, after, BATCH):
            for key in keys:
                yield key.split("/")[1]
            after = keys[-1]


def _learners_of(selection: Selection, file: Path) -> Iterator[str]:
    """Those of a file. Raises FixConfiguration where it contradicts the command, or an id is not certain."""
    sheet = open_sheet(file, chosen(OWN))
    of_command = {"tenant_id": selection.tenant_id, "course_id": selection.course_id}
    by_field = columns(sheet, REASSIGNMENTS).by_field
    for row in sheet.rows():
        where = f"{file}: line {row.line}"
        if row.hidden:
            raise FixConfiguration(f"{where}: the row is hidden in the sheet; show all rows, or take it out")
        cells = {str(field): row.cells[number] for field, number in by_field.items() if number < len(row.cells)}
        for field, wanted in of_command.items():
            if cells.get(field, wanted) not in ("", wanted):
                option = f"--{field.removesuffix('_id')} {wanted}"
                raise FixConfiguration(f"{where}: {cells[field]!r} is not {wanted}, as {option} says; take the row out")
        learner_id = cells.get("learner_id", "")
        problem = id_problem(learner_id)
        if problem is not None:
            raise FixConfiguration(f"{where}: {problem}")
        yield _checked(learner_id, where)


def _checked(learner_id: str, where: str) -> str:
    if not re.fullmatch(ID_PATTERN, learner_id):
        raise FixConfiguration(f"{where}: {learner_id[:140]!r} is no learner's id; ids match {ID_PATTERN}")
    return learner_id
