"""Types of fields that several messages share, and the keys that follow from them."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

ONE_ID = r"[A-Za-z0-9._:@+-]{1,128}"
ID_PATTERN = f"^{ONE_ID}$"
"""An id has no slash, so that a key of ids joined by slashes is unambiguous."""

MAX_NUMBER = 2**31 - 1
"""Versions and schedules fit 32 bits. Attended minutes may be any number; what is above the schedule does not count."""

TIMESTAMP_LIMIT = 64
"""Characters: enough for any fraction of a second that means something."""

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def parse_timestamp(text: object) -> int:
    """RFC 3339 with an offset → microseconds since 1970 UTC. Raises ValueError; what is finer is cut off."""
    if isinstance(text, int) and not isinstance(text, bool):
        raise ValueError("must be a text like 2026-03-01T09:30:00Z, not a number")
    if not isinstance(text, str):
        raise ValueError("must be a text like 2026-03-01T09:30:00Z")
    if len(text) > TIMESTAMP_LIMIT:
        raise ValueError(f"must have at most {TIMESTAMP_LIMIT} characters")
    return _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> int:
    """Many messages share one."""
    if not _RFC_3339.fullmatch(text):
        raise ValueError("must be an RFC 3339 time with an offset, like 2026-03-01T09:30:00Z")
    try:
        instant = (datetime.fromisoformat(text.upper()) - _EPOCH) // _MICROSECOND
    except ValueError as error:
        raise ValueError(f"is not a time that exists: {error}") from None
    if not _FIRST <= instant <= _LAST:  # an offset can carry it out of the years that can be written
        raise ValueError("is not a time that exists: in UTC its year is not 1 to 9999")
    return instant


@lru_cache(maxsize=4096)
def format_timestamp(instant: int) -> str:
    """Microseconds since 1970 UTC → RFC 3339 in UTC, with a fraction where there is one. Many share one."""
    return (_EPOCH + instant * _MICROSECOND).isoformat().removesuffix("+00:00") + "Z"


def integral(value: object) -> object:
    """As JSON Schema has it: 100.0 is the integer 100."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[str, Field(pattern=ID_PATTERN)]
Version = Annotated[int, Field(ge=1, le=MAX_NUMBER), BeforeValidator(integral)]
Minutes = Annotated[int, Field(ge=0), BeforeValidator(integral)]
ScheduledMinutes = Annotated[int, Field(ge=1, le=MAX_NUMBER), BeforeValidator(integral)]
Percent = Annotated[int, Field(ge=0, le=100), BeforeValidator(integral)]
Threshold = Annotated[int, Field(ge=1, le=100), BeforeValidator(integral)]
_VALID_FOR = re.compile(r"P(\d{1,4}Y)?(\d{1,4}M)?(\d{1,5}D)?", re.ASCII)
VALID_FOR_PATTERN = r"^P(?=[0-9]*[1-9]|.*[A-Z][0-9]*[1-9])([0-9]{1,4}Y)?([0-9]{1,4}M)?([0-9]{1,5}D)?$"


def check_valid_for(text: str) -> str:
    """An ISO 8601 duration in years, months and days, not of no length. Raises ValueError."""
    if not _VALID_FOR.fullmatch(text) or not any(digit in text for digit in "123456789"):
        raise ValueError("must be an ISO 8601 duration in years, months and days, like P1Y, P6M or P1Y6M15D")
    return text


def parse_valid_for(text: str) -> tuple[int, int, int]:
    """Years, months, days of what `check_valid_for` let pass."""
    match = _VALID_FOR.fullmatch(text)
    assert match, "it was checked"
    years, months, days = (int((part or "0_")[:-1]) for part in match.groups())
    return years, months, days


Timestamp = Annotated[
    int,
    BeforeValidator(parse_timestamp),
    PlainSerializer(format_timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": TIMESTAMP_LIMIT}),
]
"""Microseconds since 1970 UTC in Python; RFC 3339 with an offset on the wire."""


ValidFor = Annotated[
    str, AfterValidator(check_valid_for), WithJsonSchema({"type": "string", "pattern": VALID_FOR_PATTERN})
]
"""How long a completion is valid."""
TOLD_CHARACTERS = 1000
Told = Annotated[str, Field(max_length=TOLD_CHARACTERS)]
"""A text that is kept and shown, and decides nothing."""


class Message(BaseModel):
    """Readers ignore fields that they do not know, and convert nothing: "5" is not 5 (but 5.0 is)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def record_key(tenant_id: str, learner_id: str, course_id: str) -> str:
    """Kafka key of everything about a record."""
    return f"{tenant_id}/{learner_id}/{course_id}"


def course_key(tenant_id: str, course_id: str) -> str:
    """Kafka key of a course definition."""
    return f"{tenant_id}/{course_id}"


def split_key(key: str) -> tuple[str, str, str]:
    """Tenant, learner and course of a record's key. Ids have no slash, so there is one way to split it."""
    tenant_id, learner_id, course_id = key.split("/")
    return tenant_id, learner_id, course_id


_RECORD_KEY = re.compile(f"{ONE_ID}/{ONE_ID}/{ONE_ID}".encode(), re.ASCII)


def is_record_key(key: bytes) -> bool:
    """Whether it is a record's, whatever stands under it."""
    return _RECORD_KEY.fullmatch(key) is not None


@lru_cache(maxsize=16384)
def course_key_of(key: str) -> str:
    """The key of the course that a record is about."""
    tenant_id, _, course_id = split_key(key)
    return course_key(tenant_id, course_id)
