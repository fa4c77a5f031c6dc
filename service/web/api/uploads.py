"""Uploads and reassignments: asked for here, done by a job that goes on when the client has left."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from contracts.fields import Id, format_timestamp
from service.admin import jobs
from service.admin.kinds import KINDS
from service.mongo.jobs import Job, RowShown
from service.web.access import Caller, guarded
from service.web.api.common import AtDesk, Cursor, Limit, Who, after, instant, moved, note, page
from service.web.problems import documented, invalid, not_found

router = APIRouter()
Json = dict[str, Any]
AT = "RFC 3339, with an offset."
TIME: dict[str, Any] = {"format": "date-time"}
KindName = Literal["attendance", "progress", "equivalencies", "completions"]
REASSIGNMENT = "reassignment"
BINARY, OTHER = {"type": "string", "format": "binary"}, "application/octet-stream"
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
}
FILES: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {"schema": BINARY} for media_type in (*MEDIA_TYPES.values(), OTHER)}}
}
AnIdField = Annotated[str | None, Form(pattern=r"^[A-Za-z0-9._:@+-]{1,128}$")]


class Reassign(BaseModel):
    """Whom: `learners`, or who has completed the course before `completed_before`, or `undo` with what was sent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tenant_id: Id
    course_id: Id
    learners: list[Id] = Field([], max_length=100_000)
    completed_before: str | None = Field(None, description=AT, json_schema_extra=TIME)
    keep_progress: bool = False
    reason: str | None = Field(None, max_length=1000)
    due_at: str | None = Field(None, description=AT, json_schema_extra=TIME)
    allow_unknown: bool = Field(False, description="Reassign learners who have no record in the course, too.")
    undo: str | None = Field(None, max_length=200, description="`undo_with` of a reassignment: take it back.")
    dry_run: bool = True


def job_json(job: Job) -> Json:
    """A job as programs see it."""
    kind = "reassignments" if job.kind == REASSIGNMENT else "uploads"
    here = f"/v1/{kind}/{job.id}"
    links = {name: f"{here}/{name}" for name in ("result", "impact") if name in job.files}
    return {
        "id": job.id,
        "kind": job.kind,
        "tenant_id": job.tenant_id,
        "by": job.by,
        "created_at": format_timestamp(int(job.created_at.timestamp() * 1_000_000)),
        "dry_run": job.dry_run,
        "state": job.state,
        "file_name": job.asked.get("file_name"),
        "total": job.total,
        "done": job.done,
        "messages_left": job.left,
        "error": job.error,
        "report": job.report,
        "links": {"self": here, **links},
    }


@router.post("/v1/uploads", status_code=202, **guarded("administrator", tenants="body"))
async def upload(
    request: Request,
    response: Response,
    caller: Who,
    file: Annotated[UploadFile, File(description="CSV, XLSX, XLS, ODS or a web page, with headings.")],
    tenant_id: Annotated[Id, Form()],
    kind: Annotated[KindName, Form()] = "attendance",
    dry_run: Annotated[bool, Form(description="Send nothing; tell what it would do.")] = True,
    course_id: AnIdField = None,
    event_id: AnIdField = None,
    session_id: AnIdField = None,
    step_id: AnIdField = None,
    changed_at: Annotated[
        str | None, Form(description="Of rows that do not say; RFC 3339.", json_schema_extra=TIME)
    ] = None,
    format: Annotated[str | None, Form(max_length=64)] = None,  # noqa: A002  # its name in the command
    sheet: Annotated[str | None, Form(max_length=200)] = None,
    timezone: Annotated[str | None, Form(max_length=64)] = None,
    again: Annotated[bool, Form(description="Send a file that was uploaded before once more.")] = False,
    column: Annotated[list[str] | None, Form(description="FIELD=HEADING")] = None,
    learners: Annotated[UploadFile | None, File(description="Who is who.")] = None,
) -> Json:
    """Upload a file, or try it (`dry_run`, as long as nobody says otherwise). Look at `links.self` for its progress."""
    caller.check(tenant_id)
    instant("changed_at", changed_at or None)
    ids = {"course_id": course_id, "event_id": event_id, "session_id": session_id, "step_id": step_id}
    how = {"changed_at": changed_at, "format": format, "sheet": sheet, "timezone": timezone, "columns": column}
    given = {"tenant_id": tenant_id, "file_name": file.filename or "file", "again": again, **ids, **how}
    files = {"file": await file.read()}
    if learners is not None and learners.filename:
        given["learners_name"], files["learners"] = learners.filename, await learners.read()
    job = await asked(request, caller, kind, tenant_id, {name: v for name, v in given.items() if v}, dry_run, files)
    response.headers["Location"] = f"/v1/uploads/{job.id}"
    return job_json(job)


@router.post("/v1/reassignments", status_code=202, **guarded("administrator", tenants="body"))
async def reassign(request: Request, response: Response, caller: Who, said: Reassign) -> Json:
    """Have learners do a course again, or take that back, or try it (`dry_run`, as long as nobody says otherwise)."""
    caller.check(said.tenant_id)
    job = await reassigned(request, caller, said)
    response.headers["Location"] = f"/v1/reassignments/{job.id}"
    return job_json(job)


async def reassigned(request: Request, caller: Caller, said: Reassign) -> Job:
    """The job that does it. Raises Problem where it is not clear whom."""
    if bool(said.learners) + bool(said.completed_before) + bool(said.undo) != 1:
        raise invalid("learners", "say whom: learners, or completed_before, or undo")
    instant("completed_before", said.completed_before)
    instant("due_at", said.due_at)
    given = said.model_dump(exclude={"tenant_id", "dry_run", "undo"}, exclude_defaults=True)
    if said.undo:
        given |= {"undo": True, "sent": said.undo}
    return await asked(request, caller, REASSIGNMENT, said.tenant_id, given, said.dry_run, {})


async def asked(
    request: Request,
    caller: Caller,
    kind: str,
    tenant_id: str,
    given: Mapping[str, Any],
    dry_run: bool,
    files: Mapping[str, bytes],
) -> Job:
    """A job, noted before it is begun unless it only looks."""
    desk = request.app.state.desk
    if not dry_run:
        await _note(request, caller, kind, tenant_id, given)
    return await jobs.ask(desk, kind, tenant_id, caller.name, given, dry_run, files)


async def _note(request: Request, caller: Caller, kind: str, tenant_id: str, asked: Mapping[str, Any]) -> None:
    about = {"kind": kind, "course_id": asked.get("course_id"), "file_name": asked.get("file_name")}
    await note(request, caller, "upload" if kind in KINDS else kind, tenant_id, about)


def _routes(path: str) -> None:
    """The same for both kinds of jobs."""
    look = guarded("viewer", "administrator", tenants="caller")
    change = guarded("administrator", tenants="caller", answers=documented(409))
    files = guarded("viewer", "administrator", tenants="caller", answers=FILES)

    @router.get(path, **look)
    async def newest(desk: AtDesk, caller: Who, limit: Limit = 50, cursor: Cursor = "") -> Json:
        """The newest first; each is kept for a week."""
        kinds = [REASSIGNMENT] if path.endswith("reassignments") else list(KINDS)
        found = await desk.store.jobs.newest(caller.only(None), after(cursor), limit, kinds)
        return page([job_json(job) for job in found], found[-1].id if len(found) == limit else None)

    @router.get(f"{path}/{{job_id}}", **look)
    async def one(desk: AtDesk, caller: Who, job_id: str) -> Json:
        """How far it is, what it came to, where its files are."""
        return job_json(await job_of(desk, caller, path, job_id))

    @router.get(f"{path}/{{job_id}}/result", response_class=Response, **files)
    async def result(desk: AtDesk, caller: Who, job_id: str) -> Response:
        """The file as it was handed in, with verdict, reason and effect of each row."""
        return await file_of(desk, await job_of(desk, caller, path, job_id), "result")

    @router.get(f"{path}/{{job_id}}/impact", response_class=Response, **files)
    async def impact(desk: AtDesk, caller: Who, job_id: str) -> Response:
        """What would become of each record, as CSV."""
        return await file_of(desk, await job_of(desk, caller, path, job_id), "impact")

    @router.post(f"{path}/{{job_id}}/confirm", status_code=202, **change)
    async def confirm(request: Request, response: Response, desk: AtDesk, caller: Who, job_id: str) -> Json:
        """Do what a dry run has told of. A second time it is the same job."""
        job = await confirmed(request, caller, await job_of(desk, caller, path, job_id))
        response.headers["Location"] = f"{path}/{job.id}"
        return job_json(job)


async def confirmed(request: Request, caller: Caller, job: Job) -> Job:
    """The job that does what this one has only told of. Raises Problem where it cannot."""
    if not job.dry_run or job.state != "done":
        raise moved("Only a dry run that is done can be confirmed.")
    await _note(request, caller, job.kind, job.tenant_id, job.asked)
    return await jobs.confirm(request.app.state.desk, job, caller.name)


def _is_of(job: Job, path: str) -> bool:
    return (job.kind == REASSIGNMENT) == path.endswith("reassignments")


async def job_of(desk: AtDesk, caller: Caller, path: str, job_id: str) -> Job:
    """Raises Problem where there is none for this caller."""
    job = await desk.store.jobs.find(job_id)
    if job is None or not caller.sees(job.tenant_id) or not _is_of(job, path):
        raise not_found()
    return job


async def file_of(desk: AtDesk, job: Job, name: str) -> Response:
    """To be kept, never to be shown by the browser."""
    content = await desk.store.jobs.file(job.files[name]) if name in job.files else None
    if content is None:
        raise not_found()
    called = "impact.csv" if name == "impact" else str((job.report or {}).get("result_name", "result"))
    suffix = f".{called.rsplit('.', 1)[-1].lower()}"
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_" for letter in called)
    headers = {"Content-Disposition": f'attachment; filename="{plain}"'}
    return Response(content, media_type=MEDIA_TYPES.get(suffix, OTHER), headers=headers)


def row_json(row: RowShown) -> Json:
    """A row with its verdict."""
    return row._asdict()


@router.get("/v1/uploads/{job_id}/rows", **guarded("viewer", "administrator", tenants="caller"))
async def rows(
    desk: AtDesk,
    caller: Who,
    job_id: str,
    verdict: Annotated[str, Query(max_length=40)] = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Json:
    """The rows with their verdicts, reasons and effects, in the order of the file."""
    job = await job_of(desk, caller, "/v1/uploads", job_id)
    line = after(cursor)
    if line and not line.isdecimal():
        raise invalid("cursor", "is none of ours; give back `next` as it came")
    found = await desk.store.jobs.rows(job.id, int(line or 0), limit, verdict)
    return page([row_json(row) for row in found], str(found[-1].line) if len(found) == limit else None)


_routes("/v1/uploads")
_routes("/v1/reassignments")
