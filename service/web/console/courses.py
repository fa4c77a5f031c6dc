"""Courses: versions and what differs between two, how many stand how; a definition tried, applied, released."""

import asyncio
import contextlib
import difflib
import json
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from contracts.fields import format_timestamp
from service.admin.courses import (
    Reevaluation,
    all_reevaluations,
    apply,
    beyond_cap,
    parsed,
    preview,
    reevaluation,
    release,
    watch,
)
from service.admin.courses import listed_json as listed
from service.admin.impact import Impact
from service.errors import FixConfiguration
from service.lanes.ports import StoredDefinition
from service.web.access import guarded
from service.web.api.common import AnId, AtDesk, Who, note
from service.web.api.courses import candidate_at
from service.web.console.forms import form_of, go, text_of
from service.web.console.render import page
from service.web.problems import invalid, not_found

router = APIRouter(include_in_schema=False)
LOOK = guarded("viewer", "administrator", tenants="path")
CHANGE = guarded("administrator", tenants="path")
ONE = "/courses/{tenant_id}/{course_id}"
VersionQuery = Annotated[int | None, Query(ge=1)]
ARRIVES_SECONDS = 5.0
EMPTY = """\
title: What the course is called
steps:
  - {step_id: live-1, kind: event, threshold_percent: 80, scheduled_minutes: 90}
"""


@router.get("/courses", **guarded("viewer", "administrator", tenants="query"))
async def courses(
    request: Request, desk: AtDesk, caller: Who, tenant: Annotated[str, Query(max_length=128)] = ""
) -> Response:
    """All courses, those that wait for a release first."""
    found = [listed(seen) async for seen in all_reevaluations(desk.store, caller.only(tenant))]
    shown = sorted(found, key=lambda one: one["state"] != "paused")
    return page(request, "courses.html", {"courses": shown, "tenant": tenant, "own": caller.named_tenants})


@router.get("/courses/new", **guarded("administrator", tenants="none"))
async def new(request: Request, tenant_id: str = "", course_id: str = "") -> Response:
    """Where a course begins that is not known yet."""
    if tenant_id and course_id:
        return go(f"/courses/{tenant_id}/{course_id}/edit")
    return page(request, "course_new.html", {"tenant_id": tenant_id, "course_id": course_id})


@router.get(ONE, **LOOK)
async def course(
    request: Request,
    desk: AtDesk,
    tenant_id: AnId,
    course_id: AnId,
    older: VersionQuery = None,
    newer: VersionQuery = None,
) -> Response:
    """Its versions, what differs between two of them, how its records stand."""
    seen = await _seen(desk, f"{tenant_id}/{course_id}")
    versions = {one.version: one for one in seen.course.versions}
    newest = seen.course.newest.version
    newer = newer if newer in versions else newest
    below = [version for version in versions if version < newer]
    older = older if older in versions else max(below, default=newer)
    values = {
        "tenant_id": tenant_id,
        "course_id": course_id,
        "course": listed(seen),
        "definition": json.loads(seen.course.newest.content),
        "versions": [
            {"version": one.version, "changed_at": format_timestamp(one.changed_at)} for one in seen.course.versions
        ],
        "older": older,
        "newer": newer,
        "difference": difference(versions[older], versions[newer]),
        "standings": await _standings(desk, seen.course.key),
    }
    return page(request, "course.html", values)


async def _seen(desk: AtDesk, key: str) -> Reevaluation:
    found = (await desk.store.courses.load([key])).get(key)
    if found is None:
        raise not_found()
    return await reevaluation(desk.store, found)


async def _standings(desk: AtDesk, key: str) -> dict[str, int]:
    counted = await desk.store.listing.standings(key)
    return {
        "completed": sum(number for (status, _), number in counted.items() if status == "completed"),
        "incomplete": sum(number for (status, _), number in counted.items() if status != "completed"),
        "withdrawn": sum(number for (_, evidence), number in counted.items() if evidence == "withdrawn"),
    }


def as_yaml(definition: StoredDefinition) -> str:
    """As people write it, without ids and version."""
    said = json.loads(definition.content)
    kept = {name: value for name, value in said.items() if name not in ("tenant_id", "course_id", "version")}
    return str(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))


def difference(older: StoredDefinition, newer: StoredDefinition) -> list[tuple[str, str]]:
    """Lines with `+`, `-` or a blank before them."""
    lines = difflib.ndiff(as_yaml(older).splitlines(), as_yaml(newer).splitlines())
    return [(line[0], line[2:]) for line in lines if line[0] in "+- "]


@router.get(f"{ONE}/edit", **CHANGE)
async def edit(request: Request, desk: AtDesk, tenant_id: AnId, course_id: AnId) -> Response:
    """The newest version, to be changed."""
    key = f"{tenant_id}/{course_id}"
    found = (await desk.store.courses.load([key])).get(key)
    text = EMPTY if found is None else as_yaml(found.newest)
    return page(request, "course_edit.html", _editing(tenant_id, course_id, text))


def _editing(tenant_id: str, course_id: str, text: str, **more: Any) -> dict[str, Any]:
    ids = {"tenant_id": tenant_id, "course_id": course_id, "text": text}
    return {"effects": None, "version": None, "is_new": True, "would_pause": False, "problem": None, **ids, **more}


@router.post(f"{ONE}/edit", **CHANGE)
async def try_or_apply(request: Request, desk: AtDesk, caller: Who, tenant_id: AnId, course_id: AnId) -> Response:
    """Tell what it would do; or send it, where that is what the button says."""
    form = await form_of(request)
    text = text_of(form, "text")
    try:
        candidate = await candidate_at(desk, tenant_id, course_id, await asyncio.to_thread(parsed, text, "definition"))
    except FixConfiguration as error:
        return page(request, "course_edit.html", _editing(tenant_id, course_id, text, problem=str(error)), 422)
    if text_of(form, "do") == "apply" and candidate.is_new:
        await note(request, caller, "define", tenant_id, {"course_id": course_id, "version": candidate.version})
        await apply(desk.sender, desk.store, candidate)
        await _arrived(desk, candidate.key, candidate.version)
        return page(request, "course_applied.html", _editing(tenant_id, course_id, text, version=candidate.version))
    effects = await preview(desk.store, candidate, Impact(None), lambda _: None)
    told = {"effects": effects, "version": candidate.version, "is_new": candidate.is_new}
    pauses = beyond_cap(effects, desk.settings) is not None
    return page(request, "course_edit.html", _editing(tenant_id, course_id, text, would_pause=pauses, **told))


async def _arrived(desk: AtDesk, key: str, version: int) -> None:
    """Give the workers a moment, so that a new course is there when it is looked at."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ARRIVES_SECONDS):
            async for seen in watch(desk.store, key, version):
                if seen is not None:
                    return


@router.post(f"{ONE}/release", **CHANGE)
async def let_go(request: Request, desk: AtDesk, caller: Who, tenant_id: AnId, course_id: AnId) -> Response:
    """Let a paused definition complete its learners."""
    await form_of(request)
    seen = await _seen(desk, f"{tenant_id}/{course_id}")
    if not seen.course.is_paused:
        raise invalid("version", f"{seen.course.newest.version} is not paused")
    version = seen.course.newest.version
    await note(request, caller, "release", tenant_id, {"course_id": course_id, "version": version})
    await release(desk.store, seen.course.key)
    return go(f"/courses/{tenant_id}/{course_id}")
