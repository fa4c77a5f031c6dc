"""What operators watch: how far the lanes are behind, and the dead letters of every tenant."""

import re
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from contracts.fields import format_timestamp
from service.admin.dead_letters import Edit, Letter, Place, chosen, letter_json, newest, place_of, replay
from service.admin.lag import LaneLag
from service.admin.lag_history import LagHistory
from service.web.access import guarded
from service.web.api.common import AtDesk, Cursor, JsonObject, Limit, Moment, Who, after, instant, note, page
from service.web.problems import invalid, not_found

router = APIRouter()
Json = dict[str, Any]
OPERATOR = guarded("operator", tenants="none")


class Replay(BaseModel):
    """Which: `ids`, or all of a `reason`, or `all`. `set`: fields of the value, set first."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[str] = Field([], max_length=1000)
    reason: str | None = Field(None, min_length=1, max_length=64)
    all: bool = False
    set: JsonObject = Field({}, max_length=100)


def lane_json(lag: LaneLag) -> Json:
    """A lane, or all of them where `lane` is null."""
    return {name: getattr(lag, name) for name in lag.__struct_fields__}


def history_of(request: Request) -> LagHistory:
    """Of this process."""
    history: LagHistory = request.app.state.lag
    return history


@router.get("/v1/lanes", **OPERATOR)
async def lanes(request: Request) -> Json:
    """Each lane: messages and seconds behind, the trend, and by Burrow's rules whether to act."""
    history = history_of(request)
    return {"items": [lane_json(lag) for lag in history.judged() if lag.lane is not None], "away": history.away}


@router.get("/v1/lag", **OPERATOR)
async def lag(request: Request) -> Json:
    """All lanes together, now and over the last hour."""
    history = history_of(request)
    judged = history.judged()
    points = [{**point._asdict(), "at": format_timestamp(int(point.at * 1_000_000))} for point in history.points()]
    return {"total": lane_json(judged[-1]) if judged else None, "history": points, "away": history.away}


@router.get("/v1/dead-letters", **OPERATOR)
async def dead_letters(
    desk: AtDesk,
    reason: Annotated[str | None, Query(max_length=64)] = None,
    since: Moment = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Json:
    """Messages that could not be used, the newest first, and how many there are of each reason."""
    found, sums = await letters_of(desk, reason, since, _place(after(cursor)), limit)
    last = _spelled(place_of(found[-1])) if len(found) == limit else None
    return {**page([letter_json(letter) for letter in found], last), "reasons": sums}


def _spelled(place: Place) -> str:
    return "-".join(map(str, place))


def _place(cursor: str) -> Place | None:
    """Of the last letter of the page before. Raises Problem."""
    if not cursor:
        return None
    if not re.fullmatch(r"\d{1,18}-\d{1,9}-\d{1,18}", cursor, re.ASCII):
        raise invalid("cursor", "is none of ours; give back `next` as it came")
    at, partition, offset = map(int, cursor.split("-"))
    return at, partition, offset


async def letters_of(
    desk: AtDesk, reason: str | None, since: str | None, before: Place | None, limit: int
) -> tuple[list[Letter], Counter[str]]:
    """The newest before a place, the newest first, and how many there are in all of each reason."""
    start = max(instant("since", since) or 0, 0) // 1000
    return await newest(chosen(desk.settings, reason, start, None), before, limit)


@router.get("/v1/dead-letters/{letter_id}", **OPERATOR)
async def dead_letter(desk: AtDesk, letter_id: str) -> Json:
    """One, whole: where it came from, its headers, its value, what is wrong with it."""
    return await letter_of(desk, letter_id)


async def letter_of(desk: AtDesk, letter_id: str) -> Json:
    """Raises Problem where there is none."""
    async for letter in chosen(desk.settings, None, 0, [_checked(letter_id)]):
        return letter_json(letter)
    raise not_found()


@router.post("/v1/dead-letters/replay", **OPERATOR)
async def send_again(request: Request, desk: AtDesk, caller: Who, said: Replay) -> Json:
    """Send them to the topics that they came from once more, each only once, however often it is asked for."""
    if bool(said.ids) + said.all + (said.reason is not None) != 1:
        raise invalid("ids", "say which: ids, or reason, or all")
    ids = [_checked(id_) for id_ in said.ids]
    await note(request, caller, "replay", "", {"ids": ids[:100], "reason": said.reason, "fields": sorted(said.set)})
    letters = chosen(desk.settings, said.reason, 0, ids or None)
    report = await replay(desk.settings, desk.store, letters, [Edit(*one) for one in said.set.items()])
    return {name: getattr(report, name) for name in report.__struct_fields__}


def _checked(letter_id: str) -> str:
    if not re.fullmatch(r"\d{1,9}-\d{1,18}", letter_id, re.ASCII):
        raise not_found()
    return letter_id
