"""Mass upload of attendance: every row gets a verdict; what is accepted is sent, or its impact is told beforehand."""

import csv
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from contracts.topics import ATTENDANCE_CHANGED
from rules.values import CourseDefinition
from service.admin.attendance_file import VALUES, Columns, Invalid, Said, columns, understand
from service.admin.impact import Effects, Impact, impact_of
from service.admin.spreadsheet import Row, Sheet, open_sheet
from service.kafka.sender import open_sender
from service.lanes.ports import Outbound
from service.lanes.translate import HeardFact, course_timeline
from service.mongo.store import MongoStore
from service.settings import Settings

Verdict = Literal["accepted", "repeated", "invalid", "unknown course", "unknown event"]
BATCH = 1000
ABOUT = ("tenant_id", "learner_id", "course_id", "event_id", "session_id")
CELL_WRITTEN = 128
"""Characters: no id is longer."""
Progress = Callable[[int], None]
"""Is told how many rows are through."""


class Judged(NamedTuple):
    """A row with its verdict, and why it is not accepted."""

    row: Row
    verdict: Verdict
    why: str
    said: Said | None


class AttendanceFile(NamedTuple):
    """A file that can be uploaded. `upload_id` follows from its content and the tenant given beside it."""

    sheet: Sheet
    columns: Columns
    tenant: str | None

    @property
    def upload_id(self) -> str:
        return f"{self.sheet.digest[:32]}{'' if self.tenant is None else f'-{self.tenant}'}"[:128]

    @property
    def row_count(self) -> int:
        """Without the headings."""
        return self.sheet.row_count


class Report(NamedTuple):
    """How many rows got which verdict, and what that does."""

    verdicts: Mapping[str, int]
    sent: int
    effects: Effects | None


def open_file(path: Path, tenant: str | None) -> AttendanceFile:
    """Read it once. Raises FixConfiguration for what is wrong with the file or its headings."""
    sheet = open_sheet(path)
    needed = ["learner_id", "course_id", "event_id", *(["tenant_id"] if tenant is None else [])]
    return AttendanceFile(sheet, columns(sheet.headings, needed, VALUES), tenant)


class _Seen:
    """What the rows so far have set: on disk, so that the size of a file does not matter."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("create table seen (target text primary key, line int, value text) without rowid")
        database.execute("create table facts (key text, line int, value blob, primary key (key, line)) without rowid")

    def earlier(self, target: str, line: int, value: str) -> tuple[int, bool] | None:
        """The line that set the same before, and whether to the same value; None for the first one."""
        found = self._database.execute("select line, value from seen where target = ?", (target,)).fetchone()
        if found is None:
            self._database.execute("insert into seen values (?, ?, ?)", (target, line, value))
            return None
        return found[0], found[1] == value

    def keep(self, key: str, line: int, value: bytes) -> None:
        """For the impact."""
        self._database.execute("insert into facts values (?, ?, ?)", (key, line, value))

    def by_record(self) -> Iterator[tuple[str, int, bytes]]:
        """All that was kept, record by record."""
        return iter(self._database.execute("select key, line, value from facts order by key, line"))


@contextmanager
def _seen() -> Iterator[_Seen]:
    with tempfile.NamedTemporaryFile(prefix="ratchet-") as file:
        database = sqlite3.connect(file.name)
        database.execute("pragma synchronous = off")
        try:
            yield _Seen(database)
        finally:
            database.close()


async def upload(
    settings: Settings, store: MongoStore, file: AttendanceFile, results: Path, now: str, progress: Progress
) -> Report:
    """Send what is accepted, and write each row's verdict to `results`.

    What an interrupted upload has sent is not sent again. What is sent twice counts once, because a row has the same
    message id each time.
    """
    started_at, through = await store.uploads.begin(file.upload_id, now)
    verdicts: Counter[str] = Counter()
    sent = 0
    async with open_sender(settings) as sender:
        with _seen() as seen, _results(results, file.columns) as write:
            for batch in _batches(file.sheet.rows()):
                judged = await _judge(store, file, batch, started_at, seen)
                verdicts.update(one.verdict for one in judged)
                going = [one.said for one in judged if one.said is not None and one.row.line > through]
                await sender.send([_outbound(said) for said in going])
                sent += len(going)
                write(judged)
                await store.uploads.note(file.upload_id, batch[-1].line)
                progress(len(batch))
    await store.uploads.end(file.upload_id)
    return Report(verdicts, sent, None)


async def preview(
    store: MongoStore, file: AttendanceFile, results: Path, impacts: Path, now: str, progress: Progress
) -> Report:
    """Decide what is accepted by the real rules on the records as they stand. Nothing is sent or stored."""
    known = await store.uploads.find(file.upload_id)
    started_at = now if known is None else known[0]
    verdicts: Counter[str] = Counter()
    with _seen() as seen, _results(results, file.columns) as write:
        for batch in _batches(file.sheet.rows()):
            judged = await _judge(store, file, batch, started_at, seen)
            verdicts.update(one.verdict for one in judged)
            for one in judged:
                if one.said is not None:
                    seen.keep(one.said.heard.key, one.row.line, one.said.value)
            write(judged)
            progress(len(batch))
        effects = await impact_of(store, ATTENDANCE_CHANGED, seen.by_record(), Impact(impacts))
    return Report(verdicts, 0, effects)


def _outbound(said: Said) -> Outbound:
    return Outbound(ATTENDANCE_CHANGED.name, said.heard.key.encode(), said.value, ())


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


async def _judge(store: MongoStore, file: AttendanceFile, rows: Sequence[Row], now: str, seen: _Seen) -> list[Judged]:
    understood = [(row, understand(row, file.columns, file.tenant, file.upload_id, now)) for row in rows]
    keys = {said.heard.course_key for _, said in understood if isinstance(said, Said)}
    courses = {key: course_timeline(course)[-1] for key, course in (await store.courses.load_all(keys)).items()}
    return [_verdict(row, said, courses, seen) for row, said in understood]


def _verdict(row: Row, said: Said | Invalid, courses: Mapping[str, CourseDefinition], seen: _Seen) -> Judged:
    if isinstance(said, Invalid):
        return Judged(row, "invalid", said.why, None)
    earlier = seen.earlier(said.target, row.line, repr(said.heard.fact.value))
    if earlier is not None:
        line, same = earlier
        if same:
            return Judged(row, "repeated", f"says the same as line {line}", None)
        return Judged(row, "invalid", f"contradicts line {line}: another value for the same at the same time", None)
    course = courses.get(said.heard.course_key)
    if course is None:
        return Judged(row, "unknown course", f"course {said.heard.course_key} has no definition", None)
    problem = _event_problem(said.heard, course)
    if problem is not None:
        return Judged(row, "unknown event", problem, None)
    return Judged(row, "accepted", "", said)


def _event_problem(heard: HeardFact, course: CourseDefinition) -> str | None:
    fact = heard.fact
    step = course.steps.get(fact.step_id or "")
    if step is None:
        return f"event {fact.step_id} is not in course {heard.course_key}"
    if step.kind != "event":
        return f"step {fact.step_id} of course {heard.course_key} is no event but {step.kind}"
    if fact.session_id is not None and fact.session_id not in {*step.sessions, *step.cancelled}:
        return f"session {fact.session_id} is not in event {fact.step_id} of course {heard.course_key}"
    return None


@contextmanager
def _results(path: Path, columns: Columns) -> Iterator[Callable[[Iterable[Judged]], None]]:
    """One line per row: its number, its verdict, why, and whom and what it is about, as far as the file says."""
    about = [columns.by_field.get(field) for field in ABOUT]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "verdict", "why", "tenant", "learner", "course", "event", "session"])

        def write(judged: Iterable[Judged]) -> None:
            for one in judged:
                writer.writerow([one.row.line, one.verdict, one.why, *(_cell(one.row, number) for number in about)])

        yield write


def _cell(row: Row, number: int | None) -> str:
    """Never anything that a spreadsheet program would take for a formula."""
    cell = row.cells[number][:CELL_WRITTEN] if number is not None and number < len(row.cells) else ""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
