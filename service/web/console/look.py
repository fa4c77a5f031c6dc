"""Why: learners, their courses, a record's timeline, and what would happen if. Erasing, for who may."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from contracts.fields import format_timestamp, record_key
from contracts.outbound import certificate_id
from contracts.topics import ATTENDANCE_CHANGED, REASSIGNED, STEP_PROGRESS_CHANGED
from rules.explain import explain
from rules.values import Record
from service.admin import learners
from service.admin.records import find
from service.admin.what_if import WhatIf, what_if
from service.mongo.listing import PAGE_MAX, Wanted
from service.web.access import guarded
from service.web.api.common import AnId, AtDesk, Who, note
from service.web.api.records import listed_json
from service.web.console.forms import form_of, go, text_of
from service.web.console.picture import FRAME, picture, y
from service.web.console.render import Reader, page, reader_of
from service.web.console.words import Words
from service.web.problems import not_found

router = APIRouter(include_in_schema=False)
LOOK = guarded("viewer", "administrator", tenants="path")
ERASE = guarded("privacy", tenants="path")
ANYBODY = guarded("viewer", "administrator", "operator", "privacy", tenants="none")
RECORD = "/records/{tenant_id}/{learner_id}/{course_id}"
FOUND = 50
SHOWN = 200
"""So many entries of a timeline on a page."""


@router.get("/", **ANYBODY)
async def home(caller: Who) -> Response:
    """Where somebody with these roles begins."""
    if caller.is_any("viewer", "administrator"):
        return go("/learners")
    return go("/operations" if caller.is_any("operator") else "/audit")


@router.get("/learners", **guarded("viewer", "administrator", tenants="query"))
async def search(
    request: Request,
    desk: AtDesk,
    caller: Who,
    tenant: Annotated[str, Query(max_length=128)] = "",
    begins: Annotated[str, Query(max_length=128)] = "",
) -> Response:
    """Learners whose ids begin so."""
    own = caller.named_tenants
    tenant = tenant or (own[0] if len(own) == 1 else "")
    found = await desk.store.listing.learners(tenant, begins.strip(), FOUND) if tenant else []
    values = {"tenant": tenant, "begins": begins, "found": found, "most": FOUND, "own": own}
    return page(request, "learners.html", values)


@router.get("/learners/{tenant_id}/{learner_id}", **LOOK)
async def learner(request: Request, desk: AtDesk, tenant_id: AnId, learner_id: AnId) -> Response:
    """All courses of a learner."""
    found = await desk.store.listing.records(Wanted([tenant_id], learner_id=learner_id), "", PAGE_MAX)
    if not found:
        raise not_found()
    values = {"tenant_id": tenant_id, "learner_id": learner_id, "records": [listed_json(one) for one in found]}
    return page(request, "learner.html", values)


@router.get("/learners/{tenant_id}/{learner_id}/erase", **ERASE)
async def erase_page(request: Request, desk: AtDesk, tenant_id: AnId, learner_id: AnId) -> Response:
    """What would go, before it goes."""
    kept = await learners.count(desk.store, tenant_id, learner_id)
    return page(request, "erase.html", {"tenant_id": tenant_id, "learner_id": learner_id, "kept": kept, "wrong": False})


@router.post("/learners/{tenant_id}/{learner_id}/erase", **ERASE)
async def erase(request: Request, desk: AtDesk, caller: Who, tenant_id: AnId, learner_id: AnId) -> Response:
    """Erase, once the id is typed."""
    form = await form_of(request)
    kept = await learners.count(desk.store, tenant_id, learner_id)
    values = {"tenant_id": tenant_id, "learner_id": learner_id, "kept": kept}
    if text_of(form, "typed") != learner_id:
        return page(request, "erase.html", {**values, "wrong": True}, 422)
    await note(request, caller, "erase", tenant_id, {"learners": 1})
    records = await learners.erase(desk.settings, desk.store, desk.sender, tenant_id, learner_id)
    return page(request, "erased.html", {**values, "records": records})


@router.get(RECORD, **LOOK)
async def record(request: Request, desk: AtDesk, tenant_id: AnId, learner_id: AnId, course_id: AnId) -> Response:
    """How it stands, and its timeline from newest to oldest."""
    return await _record(request, desk, record_key(tenant_id, learner_id, course_id), None)


@router.post(RECORD, **LOOK)
async def suppose(request: Request, desk: AtDesk, tenant_id: AnId, learner_id: AnId, course_id: AnId) -> Response:
    """The same page, with what would be decided. Nothing is sent."""
    form = await form_of(request)
    key, what, step_id = record_key(tenant_id, learner_id, course_id), text_of(form, "what"), text_of(form, "step_id")
    amount = text_of(form, "amount") or "0"
    number = int(amount[:9]) if amount.isdecimal() else amount
    match what:
        case "minutes":
            said = ATTENDANCE_CHANGED, {"event_id": step_id, "attended_minutes": number}
        case "progress":
            said = STEP_PROGRESS_CHANGED, {"step_id": step_id, "progress_percent": number}
        case _:
            said = REASSIGNED, {"progress": "keep" if what == "reassigned_keeping" else "reset"}
    return await _record(request, desk, key, await what_if(desk.store, key, *said))


async def _record(request: Request, desk: AtDesk, key: str, supposed: WhatIf | None) -> Response:
    stored = await find(desk.store, key)
    if stored is None:
        raise not_found()
    reader = reader_of(request)
    words = Words(reader)
    told = explain(stored.record)
    values = {
        "key": key,
        "ids": key.split("/"),
        "standing": standing(key, stored.record, reader),
        "entries": [words.entry(one) for one in reversed(told[-SHOWN:])],
        "more": max(len(told) - SHOWN, 0),
        "picture": _pictured(stored.record, reader),
        "supposed": None if supposed is None else _supposed(key, supposed, reader),
    }
    return page(request, "record.html", values)


def _pictured(record: Record, reader: Reader) -> dict[str, Any] | None:
    drawn = picture(record)
    if drawn is None:
        return None
    times = {name: reader.time_text(format_timestamp(getattr(drawn, name))) for name in ("begin", "end")}
    grid = [(percent, y(percent)) for percent in (0, 50, 100)]
    return {"lines": drawn.lines, "marks": drawn.marks, "grid": grid, "frame": FRAME, **times}


def standing(key: str, record: Record, reader: Reader) -> dict[str, Any]:
    """How a record stands, in the reader's words."""
    words, certificate = Words(reader), record.standing.certificate
    course = record.standing.course
    return {
        "attempt": record.attempt,
        "course": words.course(course),
        "completed_at": None if course.completed_at is None else format_timestamp(course.completed_at),
        "expires_at": None if course.expires_at is None else format_timestamp(course.expires_at),
        "withdrawn": course.evidence == "withdrawn",
        "completed": course.completed_via is not None,
        "certificate": None
        if certificate is None
        else (reader.t(f"certificate.{certificate.status}"), certificate_id(key, certificate.attempt)),
        "steps": [
            {"step_id": step.step_id, "percent": step.percent, "kind": step.kind, "text": words.step_standing(step)}
            for step in record.standing.steps.values()
        ],
    }


def _supposed(key: str, found: WhatIf, reader: Reader) -> dict[str, Any]:
    told = None if found.told is None else Words(reader).entry(found.told)
    return {"refused": found.refused, "told": told, "after": standing(key, found.after, reader)}
