"""Uploads: a file is tried, every row gets a verdict, the impact is told; then it is sent, and followed."""

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from contracts.fields import ID_PATTERN
from service.admin.formats.catalogue import shipped
from service.admin.job_work import GIVEN
from service.admin.jobs import confirmed_by
from service.admin.kinds import KINDS
from service.mongo.jobs import Job
from service.web.access import guarded
from service.web.api.common import AtDesk, Who, after
from service.web.api.common import page as paged
from service.web.api.uploads import asked, confirmed, file_of, job_json, job_of
from service.web.console import forms
from service.web.console.forms import form_of, go, text_of, texts_of
from service.web.console.render import page, reader_of
from service.web.console.words import Words
from service.web.problems import Problem, invalid

router = APIRouter(include_in_schema=False)
LOOK = guarded("viewer", "administrator", tenants="caller")
CHANGE = guarded("administrator", tenants="caller")
API = "/v1/uploads"
ROWS = 50
LISTED = 50
TEXTS = (*GIVEN, "changed_at", "format", "sheet", "timezone")


@router.get("/uploads", **LOOK)
async def uploads(request: Request, desk: AtDesk, caller: Who) -> Response:
    """A form, and what was uploaded in the last week."""
    newest = await desk.store.jobs.newest(caller.only(None), "", LISTED, list(KINDS))
    values = {
        "jobs": list(map(job_json, newest)),
        "said": {"timezone": reader_of(request).zone},
        **_choices(caller),
    }
    return page(request, "uploads.html", values)


def _choices(caller: Who) -> dict[str, Any]:
    return {"kinds": list(KINDS), "formats": shipped(), "own": caller.named_tenants}


@router.post("/uploads", **guarded("administrator", tenants="body"))
async def begin(request: Request, caller: Who) -> Response:
    """Try a file."""
    form = await form_of(request)
    kind, given = _said(form)
    caller.check(given["tenant_id"])
    file, learners = await forms.file_of(form, "file"), await forms.file_of(form, "learners")
    if file is None:
        raise invalid("file", "choose a file")
    given["file_name"], files = file[0], {"file": file[1]}
    if learners is not None:
        given["learners_name"], files["learners"] = learners
    job = await asked(request, caller, kind, given["tenant_id"], given, True, files)
    return go(f"/uploads/{job.id}")


def _said(form: Any) -> tuple[str, dict[str, Any]]:
    """Raises Problem that names the field."""
    given: dict[str, Any] = texts_of(form, *TEXTS)
    for name in GIVEN:
        if name in given and not re.fullmatch(ID_PATTERN, given[name]):
            raise invalid(name, f"is not an id; ids match {ID_PATTERN}")
    if "tenant_id" not in given:
        raise invalid("tenant_id", "is missing")
    columns = [line.strip() for line in text_of(form, "columns").splitlines() if line.strip()]
    given |= {"columns": columns} if columns else {}
    given |= {"again": True} if text_of(form, "again") else {}
    kind = text_of(form, "kind")
    if kind not in KINDS:
        raise invalid("kind", f"must be one of {', '.join(KINDS)}")
    return kind, given


@router.get("/uploads/{job_id}", **LOOK)
async def upload(
    request: Request,
    desk: AtDesk,
    caller: Who,
    job_id: str,
    verdict: Annotated[str, Query(max_length=40)] = "",
    cursor: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """How far it is; what every row would do, or has done."""
    job = await job_of(desk, caller, API, job_id)
    line = after(cursor)
    found = await desk.store.jobs.rows(job.id, int(line) if line.isdecimal() else 0, ROWS, verdict)
    following = paged([], str(found[-1].line) if len(found) == ROWS else None)["next"]
    values = {"rows": found, "verdict": verdict, "next": following, "said": job.asked, **_choices(caller)}
    values["words"] = Words(reader_of(request))
    sent = await confirmed_by(desk, job)
    return page(request, "upload.html", {"job": job_json(job), "sent": sent and job_json(sent), **values})


@router.get("/uploads/{job_id}/progress", **LOOK)
async def progress(request: Request, desk: AtDesk, caller: Who, job_id: str) -> Response:
    """A part of the page, asked for again and again until it is done; then the page is loaded anew."""
    job = await job_of(desk, caller, API, job_id)
    return progress_of(request, job, f"/uploads/{job.id}")


def progress_of(request: Request, job: Job, path: str) -> Response:
    """Of any job."""
    answer = page(request, "progress.html", {"job": job_json(job), "here": path})
    if job.state in ("done", "failed"):
        answer.headers["HX-Redirect"] = path
    return answer


@router.post("/uploads/{job_id}/otherwise", **CHANGE)
async def otherwise(request: Request, desk: AtDesk, caller: Who, job_id: str) -> Response:
    """Try the same file, read in another way."""
    form = await form_of(request)
    job = await job_of(desk, caller, API, job_id)
    kind, given = _said(form)
    caller.check(given["tenant_id"])
    kept = {name: job.asked[name] for name in ("file_name", "learners_name") if name in job.asked}
    files = {name: await desk.store.jobs.file(job.files[name]) for name in ("file", "learners") if name in job.files}
    there = {name: content for name, content in files.items() if content is not None}
    if "file" not in there:
        raise Problem(410, "The file is no longer kept; upload it again.")
    anew = await asked(request, caller, kind, given["tenant_id"], {**given, **kept}, True, there)
    return go(f"/uploads/{anew.id}")


@router.post("/uploads/{job_id}/confirm", **CHANGE)
async def confirm(request: Request, desk: AtDesk, caller: Who, job_id: str) -> Response:
    """Send what it has told of."""
    await form_of(request)
    job = await confirmed(request, caller, await job_of(desk, caller, API, job_id))
    return go(f"/uploads/{job.id}")


@router.get("/uploads/{job_id}/{name}", **LOOK)
async def download(desk: AtDesk, caller: Who, job_id: str, name: Literal["result", "impact"]) -> Response:
    """The file with its verdicts, or what would become of each record."""
    return await file_of(desk, await job_of(desk, caller, API, job_id), name)
