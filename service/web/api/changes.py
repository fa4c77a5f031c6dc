"""`GET /v1/changes`: what goes out, as Server-Sent Events, for receivers without Kafka."""

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from contracts.topics import TOPICS
from service.admin.changes import Event, changes, parse
from service.web.access import guarded
from service.web.api.common import AtDesk, IdQuery, Who
from service.web.problems import documented, invalid, too_many

router = APIRouter()
STREAMS = 50
"""So many at once; each reads Kafka for itself."""
STREAM_SECONDS = 3600.0
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
SHORT = {topic.name: topic.short for topic in TOPICS}


@router.get(
    "/v1/changes",
    response_class=StreamingResponse,
    **guarded("viewer", "administrator", tenants="query", answers=EVENTS | documented(429)),
)
async def stream(
    request: Request,
    desk: AtDesk,
    caller: Who,
    tenant: IdQuery = None,
    course: IdQuery = None,
    last_event_id: Annotated[str | None, Header(description="Of the last event that the receiver has.")] = None,
    begin: Annotated[str | None, Query(pattern="^(now|earliest)$", description="Where to begin without one.")] = None,
) -> StreamingResponse:
    """Every completion change, as it is committed, each with an id to go on behind.

    The event's name is the short one of the topic, its data the message as it is in Kafka. Order within a record is
    that of `sequence`. An event without data comes every few seconds; what was sent again has the same `message_id`.
    A stream ends after an hour, so that who may not see it any more does not: go on with `Last-Event-ID`.
    """
    state = request.app.state
    after = last_event_id if last_event_id is not None else {"earliest": ""}.get(begin or "now")
    try:
        parse(after or "")
    except ValueError as error:
        raise invalid("Last-Event-ID", str(error)) from None
    if state.streams >= STREAMS:
        raise too_many(30, f"{STREAMS} receivers are connected already.")

    def wanted(tenant_id: str, course_id: str) -> bool:
        return caller.sees(tenant_id) and tenant in (None, tenant_id) and course in (None, course_id)

    async def events() -> AsyncIterator[str]:
        state.streams += 1
        ends = time.monotonic() + STREAM_SECONDS
        try:
            async for event in changes(desk.settings, after, wanted):
                yield _spelled(event)
                if time.monotonic() > ends:
                    return
        finally:
            state.streams -= 1

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _spelled(event: Event) -> str:
    if event.value is None:
        return f"id: {event.id}\n: nothing new\n\n"
    return f"id: {event.id}\nevent: {SHORT[event.topic]}\ndata: {json.dumps(event.value)}\n\n"
