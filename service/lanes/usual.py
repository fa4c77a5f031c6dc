"""Attendance as it is usually sent, read in a quarter of the time that the model takes.

Whatever is not just so is left to the model, which says what is wrong; what is read here, the model would read alike
(tests/lanes/test_usual.py tries it with whatever hypothesis thinks of).
"""

import re
from functools import lru_cache
from typing import Annotated

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder

from contracts.fields import MAX_NUMBER, ONE_ID, course_key, parse_timestamp, record_key
from contracts.inbound import Source
from rules.values import Fact, Value
from service.lanes.bounds import DETAIL_LIMIT

Details = tuple[tuple[str, str], ...]


class _Attendance(Struct, gc=False, forbid_unknown_fields=True):
    """The fields of contracts.inbound.AttendanceChanged but `excused`; ids are looked at later, all at once."""

    message_id: str
    tenant_id: str
    learner_id: str
    course_id: str
    changed_at: str
    event_id: str
    session_id: str | None = None
    attended_minutes: Annotated[int, Meta(ge=0)] | None = None
    attended_percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    attended: bool | None = None
    source: Source = "platform"
    upload_id: str | None = None
    actor: Annotated[str, Meta(max_length=1000)] | None = None
    reason: Annotated[str, Meta(max_length=1000)] | None = None


_decode = Decoder(_Attendance).decode
_IDS = re.compile("/".join([ONE_ID] * 7), re.ASCII)


def usual_attendance(value: bytes) -> tuple[str, str, Fact] | None:
    """Its record's key, its course's, and what it says. None: ask the model."""
    try:
        said = _decode(value)
        changed_at = parse_timestamp(said.changed_at)
    except (DecodeError, ValueError, RecursionError):
        return None
    ways = said.attended_minutes, said.attended_percent, said.attended
    if ways.count(None) != len(ways) - 1:
        return None
    session_id, upload_id = said.session_id, said.upload_id
    key = record_key(said.tenant_id, said.learner_id, said.course_id)
    others = f"{said.message_id}/{said.event_id}/{'-' if session_id is None else session_id}"
    if not _IDS.fullmatch(f"{key}/{others}/{'-' if upload_id is None else upload_id}"):
        return None
    details = details_of_upload(said.source, upload_id, said.actor, said.reason)
    fact = Fact(said.message_id, changed_at, "attendance", said.event_id, session_id, value_attended(*ways), details)
    return key, course_key(said.tenant_id, said.course_id), fact


def value_attended(minutes: int | None, percent: int | None, attended: bool | None) -> Value:
    """Of the one that is said; minutes may be any number."""
    if minutes is not None:
        return Value("minutes", min(minutes, MAX_NUMBER))
    if percent is not None:
        return Value("percent", percent)
    return Value("attended", 100 if attended else 0)


@lru_cache(maxsize=1024)
def details_of_upload(source: str, upload_id: str | None, actor: str | None, reason: str | None) -> Details:
    """Many messages share them."""
    return details(("source", source), ("upload_id", upload_id), ("actor", actor), ("reason", reason))


def details(*given: tuple[str, str | None]) -> Details:
    """What is told, and decides nothing."""
    return tuple((name, value[:DETAIL_LIMIT]) for name, value in given if value)
