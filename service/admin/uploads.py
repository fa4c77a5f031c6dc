"""Mass upload of attendance: every row gets a verdict; what is accepted is sent, or its impact is told beforehand."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from contracts.topics import ATTENDANCE_CHANGED
from service.admin.attendance_file import VALUES, Columns, Invalid, Said, columns, known_headings, understand
from service.admin.impact import Effects, Impact, impact_of
from service.admin.rows import Judged, Seen, judge, seen
from service.admin.spreadsheet import Row, Sheet, open_sheet
from service.kafka.sender import open_sender
from service.lanes.ports import Outbound
from service.mongo.store import MongoStore
from service.settings import Settings

BATCH = 1000
ABOUT = ("tenant_id", "learner_id", "course_id", "event_id", "session_id")
CELL_WRITTEN = 128
"""Characters: no id is longer."""
Progress = Callable[[int], None]
"""Is told how many rows are through."""


class AttendanceFile(NamedTuple):
    """A file that can be uploaded, for the first time or `again`.

    `upload_id` follows from its content, the tenant given beside it, and how often it was uploaded anew.
    """

    sheet: Sheet
    columns: Columns
    tenant: str | None
    again: int = 0

    @property
    def upload_id(self) -> str:
        tenant = "" if self.tenant is None else f"-{self.tenant}"
        return f"{self.sheet.digest[:32]}{f'-{self.again}' if self.again else ''}{tenant}"[:128]

    @property
    def notes(self) -> Sequence[str]:
        """What of the file is not read, or how it was read where that is not certain."""
        unread = ", ".join(repr(heading) for heading in self.columns.unread)
        return [*self.sheet.notes, *([f"columns: {unread}"] if unread else [])]

    @property
    def row_count(self) -> int:
        """Without the headings."""
        return self.sheet.row_count


class Report(NamedTuple):
    """How many rows got which verdict, and what that does. `before`: when the file was uploaded before, if it was."""

    verdicts: Mapping[str, int]
    sent: int
    effects: Effects | None
    before: str | None


def open_file(path: Path, tenant: str | None, sheet_name: str | None = None) -> AttendanceFile:
    """Read it once. Raises FixConfiguration for what is wrong with the file or its headings."""
    sheet = open_sheet(path, known_headings, sheet_name)
    needed = ["learner_id", "course_id", "event_id", *(["tenant_id"] if tenant is None else [])]
    return AttendanceFile(sheet, columns(sheet, needed, VALUES), tenant)


async def newest(store: MongoStore, file: AttendanceFile, *, again: bool) -> AttendanceFile:
    """The file as it was uploaded last; with `again`, as something new, unless that was interrupted."""
    known = None
    while (found := await store.uploads.find(file.upload_id)) is not None:
        known, file = found, file._replace(again=file.again + 1)
    is_new = known is None or (again and known.ended)
    return file if is_new else file._replace(again=file.again - 1)


async def upload(
    settings: Settings, store: MongoStore, file: AttendanceFile, results: Path, now: str, progress: Progress
) -> Report:
    """Send what is accepted, and write each row's verdict to `results`.

    What an interrupted upload has sent is not sent again. What is sent twice counts once, because a row has the same
    message id each time.
    """
    before = await store.uploads.find(file.upload_id)
    begun = await store.uploads.begin(file.upload_id, now)
    verdicts: Counter[str] = Counter()
    sent = 0
    async with open_sender(settings) as sender:
        with _noted(file, begun.started_at) as noted, _results(results, file.columns) as write:
            for batch in _batches(file.sheet.rows()):
                said = _understood(file, batch, begun.started_at)
                judged = await judge(store, said, noted, before is not None)
                verdicts.update(one.verdict for one in judged)
                going = [one.said for one in judged if one.said is not None and one.row.line > begun.through]
                await sender.send([_outbound(said) for said in going])
                sent += len(going)
                write(judged)
                await store.uploads.note(file.upload_id, batch[-1].line)
                progress(len(batch))
    await store.uploads.end(file.upload_id)
    return Report(verdicts, sent, None, None if before is None else before.started_at)


async def preview(
    store: MongoStore, file: AttendanceFile, results: Path, impacts: Path, now: str, progress: Progress
) -> Report:
    """Decide what is accepted by the real rules on the records as they stand. Nothing is sent or stored."""
    before = await store.uploads.find(file.upload_id)
    started_at = now if before is None else before.started_at
    verdicts: Counter[str] = Counter()
    with _noted(file, started_at) as noted, _results(results, file.columns) as write:
        for batch in _batches(file.sheet.rows()):
            judged = await judge(store, _understood(file, batch, started_at), noted, before is not None)
            verdicts.update(one.verdict for one in judged)
            for one in judged:
                if one.said is not None:
                    noted.keep(one.said.heard.key, one.row.line, one.said.value)
            write(judged)
            progress(len(batch))
        effects = await impact_of(store, ATTENDANCE_CHANGED, noted.by_record(), Impact(impacts))
    return Report(verdicts, 0, effects, None if before is None else before.started_at)


@contextmanager
def _noted(file: AttendanceFile, now: str) -> Iterator[Seen]:
    """What all rows say, before the first is judged."""
    with seen() as noted:
        for batch in _batches(file.sheet.rows()):
            for row, said in _understood(file, batch, now):
                if isinstance(said, Said) and not row.hidden:
                    noted.note(row, said)
        yield noted


def _understood(file: AttendanceFile, rows: Iterable[Row], now: str) -> list[tuple[Row, Said | Invalid]]:
    return [(row, understand(row, file.columns, file.tenant, file.upload_id, now)) for row in rows]


def _outbound(said: Said) -> Outbound:
    return Outbound(ATTENDANCE_CHANGED.name, said.heard.key.encode(), said.value, ())


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


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
