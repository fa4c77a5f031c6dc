"""Attendance as it is usually sent, read in a quarter of the time that the model takes.

Whatever is not just so is left to the model, which says what is wrong; what is read here, the model would read alike
(tests/lanes/test_usual.py tries it with whatever hypothesis thinks of).
"""

import re
from functools import lru_cache
from typing import Annotated

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder

from contracts.fields import ID_PATTERN, MAX_NUMBER, course_key, parse_timestamp, record_key
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
_ONE_ID = ID_PATTERN.strip("^$")
_IDS = re.compile("/".join([_ONE_ID] * 7), re.ASCII)
_VALUES = {True: Value("attended", 100), False: Value("attended", 0)}


def usual_attendance(value: bytes) -> tuple[str, str, Fact] | None:
    """Its record's key, its course's, and what it says. None: ask the model."""
    try:
        said = _decode(value)
        changed_at = parse_timestamp(said.changed_at)
    except (DecodeError, ValueError, RecursionError):
        return None
    attended = _attended(said)
    if attended is None:
        return None
    session_id, upload_id = said.session_id, said.upload_id
    key = record_key(said.tenant_id, said.learner_id, said.course_id)
    others = f"{said.message_id}/{said.event_id}/{'-' if session_id is None else session_id}"
    if not _IDS.fullmatch(f"{key}/{others}/{'-' if upload_id is None else upload_id}"):
        return None
    details = details_of_upload(said.source, upload_id, said.actor, said.reason)
    fact = Fact(said.message_id, changed_at, "attendance", said.event_id, session_id, attended, details)
    return key, course_key(said.tenant_id, said.course_id), fact


def _attended(said: _Attendance) -> Value | None:
    """None unless it is said in exactly one way."""
    minutes, percent, attended = said.attended_minutes, said.attended_percent, said.attended
    if minutes is not None and percent is None and attended is None:
        return Value("minutes", min(minutes, MAX_NUMBER))
    if minutes is None and percent is not None and attended is None:
        return Value("percent", percent)
    if minutes is None and percent is None and attended is not None:
        return _VALUES[attended]
    return None


@lru_cache(maxsize=1024)
def details_of_upload(source: str, upload_id: str | None, actor: str | None, reason: str | None) -> Details:
    """Many messages share them."""
    return details(("source", source), ("upload_id", upload_id), ("actor", actor), ("reason", reason))


def details(*given: tuple[str, str | None]) -> Details:
    """What is told, and decides nothing."""
    return tuple((name, value[:DETAIL_LIMIT]) for name, value in given if value)
