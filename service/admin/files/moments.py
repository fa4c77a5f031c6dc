"""Dates and times as programs write them."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

LENGTH = 40
"""Characters of a moment."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = (
    r"(?:(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})"
    r"|(?P<a>\d{1,2})(?P<mark>[./-])(?P<b>\d{1,2})[./-](?P<c>\d{4}|\d{2})"
    r"|(?P<month>[A-Za-z]{3,9})\.? (?P<day>\d{1,2}),? (?P<year>\d{4}))"
)
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d+)?)?(?: ?(?P<half>[AaPp])\.? ?[Mm]\.?)?"
_ZONE = r"(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d))?"
_MOMENT = re.compile(rf"{_DATE}(?:(?:,? (?:at |à |um )?|T){_TIME}{_ZONE})?", re.ASCII)
_CENTURY = 2000
_NOON = 12
_MONTHS_IN_YEAR = 12


def moment(text: str, day_first: bool, zone: tzinfo | None = None) -> datetime | None:
    """A date with or without a time; None for anything else. `zone`: where it does not say one itself.

    `day_first`: 3/2/2026 is in February. With dots it always is.
    """
    found = _matched(text)
    if found is None:
        return None
    part = found.groupdict()
    try:
        made = datetime(*_date(part, day_first), *_clock(part), tzinfo=_zone(part["zone"]) or zone)
    except ValueError:
        return None
    return made


def order_of(texts: Iterable[str]) -> Literal["day", "month"] | None:
    """What of the dates of a column comes first, as one of them with a number above 12 shows; None: nobody knows.

    Raises ValueError where some can only be read in one way and some in the other.
    """
    firsts = set()
    for text in texts:
        found = _matched(text)
        if found is not None and found["mark"] in {"/", "-"}:
            firsts |= {"day"} if int(found["a"]) > _MONTHS_IN_YEAR else set()
            firsts |= {"month"} if int(found["b"]) > _MONTHS_IN_YEAR else set()
    if len(firsts) > 1:
        raise ValueError("some dates can only be day/month, others only month/day; write them as 2026-03-31")
    return "day" if "day" in firsts else "month" if firsts else None


def could_be_two(text: str) -> bool:
    """Whether day and month of a date could also be meant the other way round."""
    found = _matched(text)
    return found is not None and found["mark"] in {"/", "-"} and found["a"] != found["b"]


def _matched(text: str) -> re.Match[str] | None:
    if len(text) > LENGTH:
        return None
    return _MOMENT.fullmatch(" ".join(text.split()))


def _date(part: dict[str, str | None], day_first: bool) -> tuple[int, int, int]:
    if part["y"] is not None:
        return int(part["y"]), int(part["m"] or 0), int(part["d"] or 0)
    if part["month"] is not None:
        return int(part["year"] or 0), _MONTHS.index(part["month"][:3].lower()) + 1, int(part["day"] or 0)
    first, second, year = int(part["a"] or 0), int(part["b"] or 0), int(part["c"] or 0)
    day, month = (first, second) if day_first or part["mark"] == "." else (second, first)
    return (year if year > 99 else _CENTURY + year), month, day  # noqa: PLR2004  # two digits


def _clock(part: dict[str, str | None]) -> tuple[int, int, int]:
    hour, minute, second = (int(part[name] or 0) for name in ("hour", "minute", "second"))
    if part["half"] is not None:
        if not 1 <= hour <= _NOON:
            raise ValueError("no hour of a half day")
        hour = hour % _NOON + (_NOON if part["half"].lower() == "p" else 0)
    return hour, minute, second


def _zone(said: str | None) -> tzinfo | None:
    if said is None:
        return None
    if said in {"Z", "UTC", "GMT"}:
        return UTC
    return datetime.strptime(said.replace(":", ""), "%z").tzinfo  # raises ValueError for an offset that no zone has


def seconds(made: datetime) -> int:
    """Since 1970; of a time without a zone, as if it were UTC's."""
    whole = made if made.tzinfo is not None else made.replace(tzinfo=UTC)
    return (whole - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
