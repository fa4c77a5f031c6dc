"""Operations: how far the lanes are behind, dead letters by reason, one of them whole, sent again with an edit."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic_core import from_json
from starlette.responses import Response

from contracts.fields import format_timestamp
from service.admin.dead_letters import letter_json
from service.web.access import guarded
from service.web.api.common import AtDesk, Who
from service.web.api.operations import Replay, history_of, lane_json, letter_of, letters_of, send_again
from service.web.console.forms import form_of, said, text_of
from service.web.console.picture import FRAME, stair
from service.web.console.render import page, reader_of
from service.web.problems import invalid

router = APIRouter(include_in_schema=False)
OPERATOR = guarded("operator", tenants="none")
LETTERS = 50


@router.get("/operations", **OPERATOR)
async def operations(
    request: Request, desk: AtDesk, reason: Annotated[str, Query(max_length=64)] = "", *, live: bool = True
) -> Response:
    """Lanes and dead letters. Not `live`: the lanes as they were when the page was loaded."""
    letters, sums = await letters_of(desk, reason or None, None, None, LETTERS)
    values = {"letters": [letter_json(letter) for letter in letters], "sums": sums, "reason": reason, "most": LETTERS}
    return page(request, "operations.html", {**values, "live": live, **_lanes(request)})


@router.get("/operations/lanes", **OPERATOR)
async def lanes(request: Request) -> Response:
    """A part of the page, asked for again and again."""
    return page(request, "lanes.html", {"live": True, **_lanes(request)})


def _lanes(request: Request) -> dict[str, Any]:
    history = history_of(request)
    judged, points = history.judged(), history.points()
    seen = [reader_of(request).time_text(format_timestamp(int(point.at * 1_000_000))) for point in points]
    return {
        "lanes": [lane_json(lane) for lane in judged],
        "line": stair([point.lag_seconds for point in points]),
        "most_seconds": round(max([*(point.lag_seconds for point in points), 1.0]), 1),
        "since": seen[0] if seen else "",
        "until": seen[-1] if seen else "",
        "frame": FRAME,
        "away": history.away,
    }


@router.get("/operations/dead-letters/{letter_id}", **OPERATOR)
async def letter(request: Request, desk: AtDesk, letter_id: str) -> Response:
    """One, whole."""
    return page(request, "letter.html", {"letter": await letter_of(desk, letter_id), "report": None})


@router.post("/operations/dead-letters/{letter_id}", **OPERATOR)
async def replay(request: Request, desk: AtDesk, caller: Who, letter_id: str) -> Response:
    """Send it again, with fields set."""
    form = await form_of(request)
    found = await letter_of(desk, letter_id)
    wanted = said(Replay, {"ids": [letter_id], "set": _edits(text_of(form, "edits"))})
    report = await send_again(request, desk, caller, wanted)
    return page(request, "letter.html", {"letter": found, "report": report})


def _edits(text: str) -> dict[str, Any]:
    """FIELD=VALUE, one a line; the value is JSON, or a text. Raises Problem."""
    edits: dict[str, Any] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        field, equals, value = line.partition("=")
        if not (field and equals):
            raise invalid("edits", f"{line[:80]!r} is not FIELD=VALUE")
        try:
            edits[field.strip()] = from_json(value)
        except ValueError:
            edits[field.strip()] = value
    return edits
