"""Course definitions: listed, shown, tried, applied, released."""

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel

from service.admin.courses import Candidate, apply, beyond_cap, candidate_of, preview, reevaluation, release
from service.admin.courses import all_reevaluations as every
from service.admin.courses import course_json as shown
from service.admin.courses import listed_json as listed
from service.admin.desk import Desk
from service.admin.impact import Impact
from service.clock import now
from service.web.access import guarded
from service.web.api.common import UNCHANGED, AnId, AtDesk, IdQuery, JsonObject, Who, is_known, moved, note
from service.web.problems import documented, not_found

router = APIRouter()
ONE = "/v1/courses/{tenant_id}/{course_id}"
Json = dict[str, Any]
LOOK = guarded("viewer", "administrator", tenants="path")
CHANGE = guarded("administrator", tenants="path")
Definition = Annotated[
    JsonObject,
    Body(description="The fields of course-defined; the ids are those of the path.", examples=[{"steps": []}]),
]


class Applied(BaseModel):
    """`sent`: false where this definition is known already."""

    course: str
    version: int
    sent: bool


@router.get("/v1/courses", **guarded("viewer", "administrator", tenants="query"))
async def courses(desk: AtDesk, caller: Who, tenant: IdQuery = None) -> Json:
    """Courses: newest version, how many steps, whether records are being decided again."""
    return {"items": [listed(seen) async for seen in every(desk.store, caller.only(tenant))]}


@router.get(ONE, **guarded("viewer", "administrator", tenants="path", answers=UNCHANGED))
async def course(request: Request, response: Response, desk: AtDesk, tenant_id: AnId, course_id: AnId) -> Any:
    """All versions, and how many records stand how. With `If-None-Match`, 304 while nothing of it has changed."""
    key = f"{tenant_id}/{course_id}"
    found = (await desk.store.courses.load([key])).get(key)
    if found is None:
        raise not_found()
    seen = await reevaluation(desk.store, found)
    standings = sorted((await desk.store.listing.standings(key)).items(), key=str)
    counts = [{"status": status, "evidence": evidence, "records": n} for (status, evidence), n in standings]
    told = {**shown(seen), "standings": counts}
    tag = f'"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]}"'
    if is_known(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return told


@router.put(ONE, **CHANGE)
async def define(
    request: Request, desk: AtDesk, caller: Who, tenant_id: AnId, course_id: AnId, definition: Definition
) -> Applied:
    """Send a definition to the workers. Without `version` it is the next one; one that is known is not sent."""
    candidate = await candidate_at(desk, tenant_id, course_id, definition)
    if candidate.is_new:
        await note(request, caller, "define", tenant_id, {"course_id": course_id, "version": candidate.version})
        await apply(desk.sender, desk.store, candidate)
    return Applied(course=candidate.key, version=candidate.version, sent=candidate.is_new)


@router.post(f"{ONE}/preview", **LOOK)
async def look_ahead(desk: AtDesk, tenant_id: AnId, course_id: AnId, definition: Definition) -> Json:
    """What a definition would change. Sends nothing."""
    candidate = await candidate_at(desk, tenant_id, course_id, definition)
    effects = await preview(desk.store, candidate, Impact(None), lambda _: None)
    return {
        "course": candidate.key,
        "version": candidate.version,
        "is_new": candidate.is_new,
        "records": effects.records,
        "effects": {effect: effects.counts.get(effect, 0) for effect in effects.named},
        "would_pause": candidate.is_new and beyond_cap(effects, desk.settings) is not None,
    }


@router.post(f"{ONE}/release", **guarded("administrator", tenants="path", answers=documented(409)))
async def let_go(request: Request, desk: AtDesk, caller: Who, tenant_id: AnId, course_id: AnId) -> Json:
    """Let a paused definition complete its learners."""
    key = f"{tenant_id}/{course_id}"
    found = (await desk.store.courses.load([key])).get(key)
    if found is None:
        raise not_found()
    if not found.is_paused:
        raise moved(f"Version {found.newest.version} is not paused.")
    await note(request, caller, "release", tenant_id, {"course_id": course_id, "version": found.newest.version})
    await release(desk.store, key)
    return {"course": key, "version": found.newest.version, "released": True}


async def candidate_at(desk: Desk, tenant_id: str, course_id: str, definition: Json) -> Candidate:
    """Of the course in the path, whatever the definition says. Raises FixConfiguration."""
    given = {**definition, "tenant_id": tenant_id, "course_id": course_id}
    return await candidate_of(desk.store, given, now(), "definition")
