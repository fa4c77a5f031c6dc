"""How records stand, and why: one, its timeline, many by what is said of them, and what would be if."""

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from contracts.fields import format_timestamp, record_key, split_key
from contracts.topics import (
    ATTENDANCE_CHANGED,
    COMPLETION_GRANTED,
    EQUIVALENCY_GRANTED,
    REASSIGNED,
    STEP_PROGRESS_CHANGED,
    Topic,
)
from service.admin.records import find
from service.admin.simulate import state
from service.admin.story import story_json, told_json
from service.admin.what_if import what_if
from service.lanes.ports import StoredRecord
from service.mongo.listing import Listed, Wanted
from service.web.access import guarded
from service.web.api.common import (
    UNCHANGED,
    AnId,
    AtDesk,
    Cursor,
    IdQuery,
    JsonObject,
    Limit,
    Moment,
    Who,
    after,
    instant,
    is_known,
    page,
)
from service.web.problems import invalid, not_found

router = APIRouter()
ONE = "/v1/records/{tenant_id}/{learner_id}/{course_id}"
ASKED: dict[str, Topic] = {
    topic.short: topic
    for topic in (ATTENDANCE_CHANGED, STEP_PROGRESS_CHANGED, EQUIVALENCY_GRANTED, COMPLETION_GRANTED, REASSIGNED)
}
Json = dict[str, Any]
LOOK = guarded("viewer", "administrator", tenants="path")


class Supposed(BaseModel):
    """A message but for its ids: `{"topic": "attendance-changed", "value": {"event_id": "e-1", "attended": false}}`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    topic: str = Field(description=f"One of {', '.join(ASKED)}.")
    value: JsonObject


@router.get("/v1/records", **guarded("viewer", "administrator", tenants="query"))
async def records(
    desk: AtDesk,
    caller: Who,
    tenant: IdQuery = None,
    course: IdQuery = None,
    status: Literal["completed", "incomplete"] | None = None,
    evidence: Literal["held", "withdrawn"] | None = None,
    completed_via: Literal["steps", "equivalency", "granted"] | None = None,
    completed_after: Moment = None,
    completed_before: Moment = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Json:
    """Records, in order of tenant, learner and course."""
    wanted = Wanted(
        caller.only(tenant),
        course or "",
        status=status,
        evidence=evidence,
        completed_via=completed_via,
        completed_after=instant("completed_after", completed_after),
        completed_before=instant("completed_before", completed_before),
    )
    found = await desk.store.listing.records(wanted, after(cursor), limit)
    return page([listed_json(one) for one in found], found[-1].key if len(found) == limit else None)


def listed_json(one: Listed) -> Json:
    """A record as a list shows it."""
    tenant_id, learner_id, course_id = split_key(one.key)
    completed_at = None if one.completed_at is None else format_timestamp(one.completed_at)
    ids = {"tenant_id": tenant_id, "learner_id": learner_id, "course_id": course_id}
    return {**ids, **one._asdict(), "completed_at": completed_at, "key": one.key}


@router.get(ONE, **guarded("viewer", "administrator", tenants="path", answers=UNCHANGED))
async def record(
    request: Request, response: Response, desk: AtDesk, tenant_id: AnId, learner_id: AnId, course_id: AnId
) -> Any:
    """How a record stands. With `If-None-Match`, 304 while nothing has changed."""
    stored = await _stored(desk, tenant_id, learner_id, course_id)
    tag = f'"{stored.rev}"'
    if is_known(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return {"record": stored.key, **state(stored.key, stored.record)}


@router.get(f"{ONE}/timeline", **LOOK)
async def timeline(desk: AtDesk, tenant_id: AnId, learner_id: AnId, course_id: AnId) -> Json:
    """Why it stands so: each fact in order of time, what it decided, by which rules, because of what, what went out."""
    stored = await _stored(desk, tenant_id, learner_id, course_id)
    return story_json(stored.key, stored.record)


@router.post(f"{ONE}/what-if", **LOOK)
async def suppose(desk: AtDesk, tenant_id: AnId, learner_id: AnId, course_id: AnId, supposed: Supposed) -> Json:
    """What would be decided if this message came now. Nothing is sent."""
    key = record_key(tenant_id, learner_id, course_id)
    if supposed.topic not in ASKED:
        raise invalid("topic", f"must be one of {', '.join(ASKED)}")
    found = await what_if(desk.store, key, ASKED[supposed.topic], supposed.value)
    return {
        "refused": found.refused,
        "before": state(key, found.before),
        "after": state(key, found.after),
        "decision": None if found.told is None else told_json(key, found.told),
    }


async def _stored(desk: AtDesk, tenant_id: str, learner_id: str, course_id: str) -> StoredRecord:
    found = await find(desk.store, record_key(tenant_id, learner_id, course_id))
    if found is None:
        raise not_found()
    return found
