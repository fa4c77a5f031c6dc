"""Reassigning: chosen, told beforehand, confirmed by typing how many; and taken back."""

import re
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.admin.jobs import confirmed_by
from service.web.access import guarded
from service.web.api.common import AtDesk, Who
from service.web.api.uploads import REASSIGNMENT, Reassign, confirmed, file_of, job_json, job_of, reassigned
from service.web.console.forms import file_of as file_in
from service.web.console.forms import form_of, go, said, text_of, texts_of
from service.web.console.render import page
from service.web.console.upload import progress_of

router = APIRouter(include_in_schema=False)
LOOK = guarded("viewer", "administrator", tenants="caller")
API = "/v1/reassignments"
LISTED = 50
TEXTS = ("tenant_id", "course_id", "completed_before", "reason", "due_at", "undo")


@router.get("/reassign", **LOOK)
async def reassignments(
    request: Request, desk: AtDesk, caller: Who, undo: str = "", tenant: str = "", course: str = ""
) -> Response:
    """A form, and what was reassigned in the last week."""
    newest = await desk.store.jobs.newest(caller.only(None), "", LISTED, [REASSIGNMENT])
    said = {"undo": undo[:200], "tenant_id": tenant[:128], "course_id": course[:128]}
    return page(
        request, "reassign.html", {"jobs": list(map(job_json, newest)), "own": caller.named_tenants, "said": said}
    )


@router.post("/reassign", **guarded("administrator", tenants="body"))
async def begin(request: Request, caller: Who) -> Response:
    """Look at what it would do."""
    form = await form_of(request)
    learners = text_of(form, "learners").split()
    file = await file_in(form, "file")
    if file is not None:
        learners += file[1].decode("utf-8-sig", "replace").split()
    given: dict[str, Any] = {
        **texts_of(form, *TEXTS),
        "learners": learners,
        "keep_progress": bool(text_of(form, "keep_progress")),
        "allow_unknown": bool(text_of(form, "allow_unknown")),
    }
    wanted = said(Reassign, given)
    caller.check(wanted.tenant_id)
    job = await reassigned(request, caller, wanted)
    return go(f"/reassign/{job.id}")


@router.get("/reassign/{job_id}", **LOOK)
async def one(request: Request, desk: AtDesk, caller: Who, job_id: str) -> Response:
    """What would become of each, or has; how to take it back."""
    job = await job_of(desk, caller, API, job_id)
    sent = await confirmed_by(desk, job)
    values = {"job": job_json(job), "asked": job.asked, "sent": sent and job_json(sent), "wrong": False}
    return page(request, "reassignment.html", values)


@router.get("/reassign/{job_id}/progress", **LOOK)
async def progress(request: Request, desk: AtDesk, caller: Who, job_id: str) -> Response:
    """A part of the page, asked for again and again."""
    return progress_of(request, await job_of(desk, caller, API, job_id), f"/reassign/{job_id}")


@router.post("/reassign/{job_id}", **guarded("administrator", tenants="caller"))
async def confirm(request: Request, desk: AtDesk, caller: Who, job_id: str) -> Response:
    """Send it, once the number of learners is typed."""
    form = await form_of(request)
    job = await job_of(desk, caller, API, job_id)
    if not is_number(text_of(form, "typed"), (job.report or {}).get("learners")):
        values = {"job": job_json(job), "asked": job.asked, "sent": None, "wrong": True}
        return page(request, "reassignment.html", values, 422)
    return go(f"/reassign/{(await confirmed(request, caller, job)).id}")


def is_number(typed: str, number: int | None) -> bool:
    """Also as pages show it: 1,234 or 1.234."""
    return re.sub(r"[.,\s]", "", typed) == str(number)


@router.get("/reassign/{job_id}/impact", **LOOK)
async def impact(desk: AtDesk, caller: Who, job_id: str) -> Response:
    """What would become of each record."""
    return await file_of(desk, await job_of(desk, caller, API, job_id), "impact")
