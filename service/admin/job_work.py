"""What a job does: a file is tried or uploaded, learners are looked at or reassigned. Runs in a thread of its own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from contracts.fields import parse_timestamp
from service.admin.columns import chosen_columns
from service.admin.directory import open_directory
from service.admin.files.results import result_path
from service.admin.files.spreadsheet import open_sheet
from service.admin.formats.catalogue import Format, shipped
from service.admin.kinds import KINDS
from service.admin.reassignments import Reassignment, Selection, prepared
from service.admin.uploads import ADDED, Asked, Upload, arrived, newest, open_file, preview, report_json, upload
from service.clock import spelled
from service.errors import FixConfiguration
from service.mongo.jobs import Job, RowShown
from service.mongo.store import MongoStore
from service.settings import Settings

CELLS_SHOWN, LETTERS_SHOWN = 12, 200
"""Of a row, as a page shows it: no id is longer."""
UNKNOWN_NAMED = 10
ROWS = 1000
GIVEN = ("tenant_id", "course_id", "event_id", "session_id", "step_id")
Files = Mapping[str, bytes]


class Watched:
    """How far the work is; read by another thread. `stop` is asked for by `stopping`."""

    def __init__(self) -> None:
        self.total = 0
        self.done = 0
        self.left: int | None = None
        self.stopping = False

    def advance(self, count: int) -> None:
        """So many rows more. Raises Stopped."""
        self.done += count
        self._look()

    def remain(self, left: int) -> None:
        """So many messages are not decided yet. Raises Stopped."""
        self.left = left
        self._look()

    def _look(self) -> None:
        if self.stopping:
            raise Stopped


class Stopped(Exception):
    """The process ends; somebody else goes on with it."""


class Done(NamedTuple):
    """What came of a job; `row_count`: of the rows that are kept to be shown."""

    report: Mapping[str, Any]
    files: Files
    row_count: int = 0


async def do(settings: Settings, store: MongoStore, job: Job, files: Files, watched: Watched) -> Done:
    """Raises FixConfiguration where what was asked for cannot be done, and Stopped."""
    if job.kind in KINDS:
        return await _upload(settings, store, job, files, watched)
    return await _reassign(settings, store, job, watched)


async def _upload(settings: Settings, store: MongoStore, job: Job, files: Files, watched: Watched) -> Done:
    with ExitStack() as stack:
        path = stack.enter_context(arrived(job.asked["file_name"], files["file"]))
        with _speaking_of(path):
            asked = asked_of(job.asked, files, stack)
            file = await newest(store, open_file(path, KINDS[job.kind], asked), again=bool(job.asked.get("again")))
            watched.total = file.row_count
            impacts = path.with_name(f"{path.name}.impact.csv")
            now = spelled(job.created_at)
            if job.dry_run:
                report = await preview(settings, store, file, impacts, now, watched.advance)
            else:
                report = await upload(settings, store, file, now, watched.advance, wait=watched.remain)
            row_count = await _keep_rows(store, job.id, _rows(result_path(file.sheet), file), watched)
        made = {"result": result_path(file.sheet).read_bytes()}
        if job.dry_run:
            made["impact"] = impacts.read_bytes()
        said = {**report_json(report, file), "result_name": result_path(file.sheet).name, **_mapping(file)}
        return Done(said, made, row_count)


async def _keep_rows(store: MongoStore, job_id: str, rows: Iterator[RowShown], watched: Watched) -> int:
    """For pages to show. There may be more than memory holds."""
    await store.jobs.forget_rows(job_id)
    count = 0
    while page := list(islice(rows, ROWS)):
        await store.jobs.keep_rows(job_id, page)
        watched.advance(0)
        count += len(page)
    return count


def _mapping(file: Upload) -> dict[str, Any]:
    """Which heading was read as what."""
    columns = file.how.columns
    return {"columns": [{"heading": columns.heading(field), "field": field} for field in columns.by_field]}


def _rows(result: Path, file: Upload) -> Iterator[RowShown]:
    """Of the result, as it was written."""
    sheet = open_sheet(result, [file.sheet.format], file.sheet.table.name if _has_sheets(file, result) else None)
    first = sheet.width - len(ADDED)
    for row in sheet.rows():
        cells, added = row.cells[:first], row.cells[first:]
        if any(added):
            verdict, why, effect = [*added, "", "", ""][: len(ADDED)]
            yield RowShown(row.line, _shown(cells), verdict, why, effect)


def _shown(cells: Sequence[str]) -> list[str]:
    """What is not shown leaves three dots."""
    first = [cell if len(cell) <= LETTERS_SHOWN else f"{cell[:LETTERS_SHOWN]} …" for cell in cells[:CELLS_SHOWN]]
    return [*first, "…"] if len(cells) > CELLS_SHOWN else first


def _has_sheets(file: Upload, result: Path) -> bool:
    """A result in the format of the file has its sheets too."""
    return file.sheet.table.copy is not None and result.suffix in {".xlsx", ".ods", ".xlsm"}


def asked_of(said: Mapping[str, Any], files: Files, stack: ExitStack) -> Asked:
    """How a file is to be read. Raises FixConfiguration that names the field."""
    zone = None
    if said.get("timezone"):
        try:
            zone = ZoneInfo(said["timezone"])
        except (OSError, ValueError, KeyError):
            raise FixConfiguration(f"timezone: {said['timezone']!r} is none; one is Europe/Vienna") from None
    if said.get("changed_at"):
        try:
            parse_timestamp(said["changed_at"])
        except ValueError as error:
            raise FixConfiguration(f"changed_at: {error}") from None
    directory = None
    if "learners" in files:
        path = stack.enter_context(arrived(said.get("learners_name") or "learners", files["learners"]))
        directory = stack.enter_context(_opened(open_directory(path), path))
    given = {name: said[name] for name in GIVEN if said.get(name)}
    columns = chosen_columns(said.get("columns") or ())
    formats = _shipped(said["format"]) if said.get("format") else shipped()
    return Asked(formats, said.get("sheet") or None, given, columns, zone, said.get("changed_at") or None, directory)


def _shipped(name: str) -> Sequence[Format]:
    """By name only: whoever asks over HTTP reads no file of ours. Raises FixConfiguration."""
    found = [form for form in shipped() if form.name == name]
    if not found:
        names = ", ".join(form.name for form in shipped())
        raise FixConfiguration(f"format: {name!r} is none of {names}")
    return found


@contextmanager
def _opened(opening: AbstractContextManager[Any], path: Path) -> Iterator[Any]:
    with _speaking_of(path), opening as opened:
        yield opened


@contextmanager
def _speaking_of(path: Path) -> Iterator[None]:
    """Errors name the file as it came, not where it lies meanwhile, and fields instead of options."""
    try:
        yield
    except FixConfiguration as error:
        raise FixConfiguration(str(error).replace(f"{path.parent}/", "").replace("--", "")) from None


async def _reassign(settings: Settings, store: MongoStore, job: Job, watched: Watched) -> Done:
    said = job.asked
    before = parse_timestamp(said["completed_before"]) if said.get("completed_before") else None
    assert before is None or isinstance(before, int), "a text parses to an instant"
    undo = bool(said.get("undo"))
    selection = Selection(
        job.tenant_id,
        said["course_id"],
        said.get("learners") or (),
        None,
        before,
        bool(said.get("keep_progress")),
        undo,
        said.get("sent"),
    )
    by = "actor" if undo else "reassigned_by"
    told = {"reason": said.get("reason"), by: job.by, "due_at": None if undo else said.get("due_at")}
    about = {name: value for name, value in told.items() if value}
    async with prepared(store, selection, about, spelled(job.created_at)) as reassignment:
        watched.total = len(reassignment)
        unknown = [] if undo else await reassignment.unknown()
        report: dict[str, Any] = {"learners": len(reassignment), "without": reassignment.without}
        report["unknown"] = [key.split("/")[1] for key in unknown[:UNKNOWN_NAMED]]
        report["unknown_count"] = len(unknown)
        if unknown and not said.get("allow_unknown") and not job.dry_run:
            named = ", ".join(report["unknown"])
            raise FixConfiguration(f"learners: {len(unknown)} have no record in the course: {named}")
        if job.dry_run:
            return await _looked(settings, reassignment, report)
        return await _sent(settings, reassignment, report, watched)


async def _looked(settings: Settings, reassignment: Reassignment, report: dict[str, Any]) -> Done:
    with arrived("impact.csv", b"") as impacts:
        effects = await reassignment.look(settings, impacts)
        report["effects"] = {"records": effects.records, **effects.counts}
        report["named"] = dict(effects.named)
        return Done(report, {"impact": impacts.read_bytes()})


async def _sent(settings: Settings, reassignment: Reassignment, report: dict[str, Any], watched: Watched) -> Done:
    report["sent"] = await reassignment.send(settings, watched.advance)
    effects, report["refused"] = await reassignment.follow(settings, watched.remain)
    report["effects"] = {"records": effects.records, **effects.counts}
    report["named"] = dict(effects.named)
    report["undo_with"] = reassignment.command
    await reassignment.end()
    return Done(report, {})
