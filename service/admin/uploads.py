"""Mass upload: every row gets a verdict; what is accepted is sent, or its impact is told beforehand."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from service.admin.columns import columns
from service.admin.directory import Directory
from service.admin.files import words
from service.admin.files.cells import Row
from service.admin.files.moments import order_of
from service.admin.files.results import write_results
from service.admin.files.spreadsheet import Sheet, open_sheet
from service.admin.following import Became, told
from service.admin.formats.catalogue import FieldName, Format, shipped
from service.admin.impact import Effects, Impact, impact_of
from service.admin.kinds import Kind
from service.admin.newcomers import Newcomers, newcomers
from service.admin.noted import Noted, noting
from service.admin.reading import Invalid, Reading, Said, understand
from service.admin.rows import WARNING, Judged, judge
from service.errors import FixConfiguration
from service.kafka.sender import open_sender
from service.lanes.ports import Outbound
from service.mongo.store import MongoStore
from service.settings import Settings

BATCH = 1000
ADDED = ("Verdict", "Reason", "Effect")
"""Headings of the columns that a result has besides those of the file."""
NOTHING = "nothing changes"
NAME_CHARACTERS = 50
"""Of a file that arrived: its end says what it is."""
Progress = Callable[[int], None]
"""Is told how many rows are through."""


class Asked(NamedTuple):
    """How a file is to be read, as far as somebody says so.

    `given`: by field, what holds for every row; `chosen`: by field, the heading that it stands under; `zone`: of times
    that do not say one; `changed_at`: of rows that do not say when, RFC 3339.
    """

    formats: Sequence[Format] = ()
    sheet_name: str | None = None
    given: Mapping[str, str] = {}
    chosen: Mapping[FieldName, str] = {}
    zone: tzinfo | None = None
    changed_at: str | None = None
    directory: Directory | None = None


class Upload(NamedTuple):
    """A file that can be uploaded, for the first time or `again`."""

    sheet: Sheet
    how: Reading
    asked: Asked
    again: int = 0

    @property
    def upload_id(self) -> str:
        """Follows from the content, all that is said of how to read it, and how often it was uploaded anew."""
        given = dict(self.asked.given)
        tenant = given.pop("tenant_id", "")
        asked = self.asked
        said = [self.sheet.digest, self.how.kind.topic.name, self.sheet.table.name, self.sheet.format.name]
        beside = [given, dict(asked.chosen), str(asked.zone), asked.changed_at, asked.directory is not None]
        digest = hashlib.sha256(json.dumps([said, beside], sort_keys=True).encode()).hexdigest()[:32]
        return f"{digest}{f'-{self.again}' if self.again else ''}{f'-{tenant}' if tenant else ''}"[:128]

    @property
    def unread(self) -> Sequence[str]:
        """What of the file is not read."""
        of_learners = () if self.asked.directory is None else self.asked.directory.unread
        unread = {"columns": self.how.columns.unread, "columns of the learners' file": of_learners}
        told = [f"{what}: {', '.join(map(repr, headings))}" for what, headings in unread.items() if headings]
        return [*self.sheet.unread, *told]

    @property
    def row_count(self) -> int:
        """Without the headings."""
        return self.sheet.row_count

    def at(self, started_at: str) -> Reading:
        """How its rows are read when it was first uploaded at this time."""
        otherwise = "" if self.how.kind.is_dated else started_at
        return self.how._replace(changed_at=self.asked.changed_at or otherwise, upload_id=self.upload_id)


class Report(NamedTuple):
    """How many rows got which verdict, and what that does. `before`: when the file was uploaded before, if it was."""

    verdicts: Mapping[str, int]
    sent: int
    effects: Effects | None
    """Of a dry run, what is expected; of an upload that has waited, what became of the rows."""
    before: str | None
    newcomers: Newcomers | None = None
    """Of a dry run."""
    refused: int | None = None
    """How many are dead letters, once all are decided. None: nobody waited."""
    warnings: int = 0
    """How many rows are accepted with a warning."""


@contextmanager
def arrived(name: str, content: bytes) -> Iterator[Path]:
    """A file that came as bytes, where it can be read and its result written; gone once the context ends.

    Of its name only the last part counts: it is somebody else's.
    """
    with TemporaryDirectory(prefix="ratchet-") as folder:
        last = PurePosixPath(name.replace("\\", "/").replace("\0", "")).name
        path = Path(folder) / ("file" if last in ("", "..") else last[-NAME_CHARACTERS:])
        path.write_bytes(content)
        yield path


def open_file(path: Path, kind: Kind, asked: Asked) -> Upload:
    """Read it once. Raises FixConfiguration for what is wrong with the file or its headings."""
    sheet = open_sheet(path, asked.formats or shipped(), asked.sheet_name)
    found = columns(sheet, kind, asked.given, asked.chosen, asked.directory is not None)
    how = Reading(kind, sheet.format, found, asked.given, "", "", zone=asked.zone, directory=asked.directory)
    percents = [field for field, read_as in kind.values.items() if read_as is words.percent]
    has_shares = any(map(words.is_share, _cells(sheet, how, percents)))
    return Upload(sheet, how._replace(day_first=_day_first(sheet, how), has_shares=has_shares), asked)


def _cells(sheet: Sheet, how: Reading, fields: Iterable[FieldName]) -> Iterator[str]:
    """Of these columns, all there are."""
    numbers = [how.columns.by_field[field] for field in fields if field in how.columns.by_field]
    rows = sheet.rows() if numbers else iter(())
    return (row.cells[number] for row in rows for number in numbers if number < len(row.cells))


def _day_first(sheet: Sheet, how: Reading) -> bool | None:
    """What the file's dates say together."""
    try:
        order = order_of(_cells(sheet, how, ("joined_at", "left_at", "changed_at", "completed_at")))
    except ValueError as error:
        raise FixConfiguration(f"{sheet.path}: {error}") from None
    return None if order is None else order == "day"


async def newest(store: MongoStore, file: Upload, *, again: bool) -> Upload:
    """The file as it was uploaded last; with `again`, as something new, unless that was interrupted."""
    known = None
    while (found := await store.uploads.find(file.upload_id)) is not None:
        known, file = found, file._replace(again=file.again + 1)
    is_new = known is None or (again and known.ended)
    return file if is_new else file._replace(again=file.again - 1)


async def upload(
    settings: Settings, store: MongoStore, file: Upload, now: str, progress: Progress, *, wait: Progress | None = None
) -> Report:
    """Send what is accepted, and write each row's verdict into the result.

    What an interrupted upload has sent is not sent again. What is sent twice counts once, because a row has the same
    message id each time. `wait`: stay until the workers have decided it, and tell what became of each row.
    """
    before = await store.uploads.find(file.upload_id)
    begun = await store.uploads.begin(file.upload_id, now)
    with noting() as noted:
        verdicts, warnings = await _judged(store, file, noted, begun.started_at, before is not None, progress)
        write_results(file.sheet, ADDED, _results(noted))
        sent = await _send(settings, store, file, noted, begun.through)
        effects, refused = None, None
        if wait is not None:
            effects, refused = await _decided(settings, store, file, noted, wait)
            write_results(file.sheet, ADDED, _results(noted))
    await store.uploads.end(file.upload_id)
    known = None if before is None else before.started_at
    return Report(verdicts, sent, effects, known, refused=refused, warnings=warnings)


async def preview(
    settings: Settings, store: MongoStore, file: Upload, impacts: Path, now: str, progress: Progress
) -> Report:
    """Decide what is accepted by the real rules on the records as they stand. Nothing is sent or stored."""
    before = await store.uploads.find(file.upload_id)
    started_at = now if before is None else before.started_at
    with noting() as noted:
        verdicts, warnings = await _judged(store, file, noted, started_at, before is not None, progress)
        effects = await _expected(settings, store, file, noted, impacts)
        write_results(file.sheet, ADDED, _results(noted))
        there = await newcomers(store, (key for key, _, _ in noted.by_record()))
    return Report(verdicts, 0, effects, None if before is None else before.started_at, there, warnings=warnings)


async def _judged(
    store: MongoStore, file: Upload, noted: Noted, started_at: str, sent_before: bool, progress: Progress
) -> tuple[Mapping[str, int], int]:
    """Note what all rows say, then judge them. How many got which verdict, and how many a warning."""
    how = file.at(started_at)
    for batch in _batches(file.sheet.rows()):
        for row, said in _understood(how, batch):
            if isinstance(said, Said) and not row.hidden:
                noted.note(row, said)
    verdicts: Counter[str] = Counter()
    warnings = 0
    for batch in _batches(file.sheet.rows()):
        judged = await judge(store, _understood(how, batch), noted, sent_before)
        verdicts.update(one.verdict for one in judged)
        warnings += sum(WARNING in one.why for one in judged)
        _keep(noted, judged)
        progress(len(batch))
    return verdicts, warnings


def _understood(how: Reading, rows: Iterable[Row]) -> list[tuple[Row, Said | Invalid]]:
    return [(row, understand(row, how)) for row in rows]


def _keep(noted: Noted, judged: Iterable[Judged]) -> None:
    for one in judged:
        noted.result(one.row.line, one.verdict, one.why)
        if one.said is not None:
            noted.keep(one.row.line, one.said)


async def _expected(settings: Settings, store: MongoStore, file: Upload, noted: Noted, impacts: Path) -> Effects:
    """By the real rules, on the records as they stand."""

    def tell(lines: Sequence[int], effects: Sequence[str]) -> None:
        noted.effect(lines, "; ".join(effects) or NOTHING)

    return await impact_of(settings, store, file.how.kind.topic, noted.by_record(), Impact(impacts), tell)


async def _send(settings: Settings, store: MongoStore, file: Upload, noted: Noted, through: int) -> int:
    """How many are sent."""
    topic, sent = file.how.kind.topic, 0
    async with open_sender(settings) as sender:
        while batch := noted.to_send(through, BATCH):
            await sender.send([Outbound(topic.name, key.encode(), value, ()) for _, key, value in batch])
            through = batch[-1][0]
            sent += len(batch)
            await store.uploads.note(file.upload_id, through)
    return sent


async def _decided(
    settings: Settings, store: MongoStore, file: Upload, noted: Noted, progress: Progress
) -> tuple[Effects, int]:
    """What became of each row that is sent, and how many were refused."""

    def tell(became: Became) -> None:
        noted.effect([became.line], "; ".join(became.effects) or NOTHING)

    return await told(settings, store, file.how.kind.topic, noted.sent(), progress, tell)


def _results(noted: Noted) -> Iterator[tuple[int, Sequence[str]]]:
    return ((line, told) for line, *told in noted.results())


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, BATCH)):
        yield batch


def report_json(report: Report, upload: Upload) -> dict[str, Any]:
    """For programs."""
    there, effects = report.newcomers, report.effects
    return {
        "format": upload.sheet.format.name,
        "verdicts": report.verdicts,
        "warnings": report.warnings,
        "sent": report.sent,
        "refused": report.refused,
        "effects": effects and {"records": effects.records, **effects.counts},
        "learners": None if there is None else {"known": there.known, "new": there.new, "near": dict(there.near)},
        "not_read": [*upload.sheet.remarks, *upload.unread],
        "uploaded_before_at": report.before,
    }
