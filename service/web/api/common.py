"""What the routes share: the desk, pages with cursors, the audit, ids and times in paths and queries."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator

from contracts.fields import ID_PATTERN, parse_timestamp
from service.admin.desk import Desk
from service.mongo.audit import Entry
from service.web.access import Answers, Caller, caller_of
from service.web.problems import Problem, invalid

AnId = Annotated[str, Path(pattern=ID_PATTERN)]
IdQuery = Annotated[str | None, Query(pattern=ID_PATTERN)]
Moment = Annotated[
    str | None, Query(description="RFC 3339, with an offset.", json_schema_extra={"format": "date-time"})
]
Limit = Annotated[int, Query(ge=1, le=1000, description="So many at most.")]
Cursor = Annotated[str, Query(max_length=1024, description="`next` of the page before.")]
NESTING = 64
"""Levels of lists and objects: what is deeper cannot be relied on to be read and written again."""
Who = Annotated[Caller, Depends(caller_of)]
UNCHANGED: Answers = {304: {"description": "Nothing has changed."}}


def _bounded(value: Any) -> Any:
    """Level by level, because what recurses is what must not meet it."""
    level = [value]
    for _ in range(NESTING):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _values(one)]
    if any(isinstance(one, dict | list) for one in level):
        raise ValueError(f"has more than {NESTING} levels of lists and objects")
    return value


def _values(nested: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return nested.values() if isinstance(nested, dict) else nested


AnyJson = Annotated[Any, AfterValidator(_bounded)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_bounded)]


def desk_of(request: Request) -> Desk:
    """The process's own."""
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(desk_of)]


def after(cursor: str) -> str:
    """What a cursor stands for. Raises Problem for one that is none."""
    try:
        return base64.b64decode(cursor.encode(), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid("cursor", "is none of ours; give back `next` as it came") from None


def page(items: list[Any], last: str | None) -> dict[str, Any]:
    """A page of a list; `last`: behind which the next one begins, None where there is none."""
    return {"items": items, "next": None if last is None else base64.urlsafe_b64encode(last.encode()).decode()}


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has what this tag stands for (RFC 9110, 13.1.2)."""
    known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    return tag in known or known == ["*"]


def instant(name: str, text: str | None) -> int | None:
    """Microseconds since 1970. Raises Problem that names the parameter."""
    if text is None:
        return None
    try:
        found = parse_timestamp(text)
    except ValueError as error:
        raise invalid(name, str(error)) from None
    assert isinstance(found, int), "a text parses to an instant"
    return found


async def note(request: Request, caller: Caller, what: str, tenant_id: str, about: Mapping[str, Any]) -> None:
    """Keep that somebody changes something, before it is done. Raises WaitAndRetry, and then nothing is done."""
    where = request.client.host if request.client is not None else "unknown"
    entry = Entry(datetime.now(UTC), caller.name, caller.how, where, what, tenant_id, about)
    await desk_of(request).store.audit.add(entry)


def moved(text: str) -> Problem:
    """What cannot be done as things stand."""
    return Problem(409, text)
