"""What an attendance file means: its headings, and each row as a message or as what is wrong with it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid5

from contracts.outbound import NAMESPACE
from contracts.topics import ATTENDANCE_CHANGED
from service.admin.spreadsheet import FORMULA, Row
from service.errors import FixConfiguration
from service.lanes.translate import HeardFact, Unusable, read

HEADINGS: Mapping[str, Sequence[str]] = {
    "tenant_id": ("Tenant", "Tenant ID"),
    "learner_id": ("Learner", "Learner ID", "User", "User ID", "Student", "Student ID"),
    "course_id": ("Course", "Course ID"),
    "event_id": ("Event", "Event ID"),
    "session_id": ("Session", "Session ID"),
    "attended_minutes": ("Attended minutes", "Minutes attended", "Minutes"),
    "attended_percent": ("Attended percent", "Percent attended", "Percent"),
    "attended": ("Attended", "Attendance", "Present"),
    "changed_at": ("Changed at", "Changed"),
}
"""By field, what people call it; case, spaces, underscores and hyphens do not matter."""
VALUES = ("attended_minutes", "attended_percent", "attended")
YES, NO = {"yes", "y", "true", "1", "x"}, {"no", "n", "false", "0"}
CELL_SHOWN = 40
DIGITS = 18
TEMPLATE = """\
Tenant,Learner,Course,Event,Session,Attended minutes,Changed at
acme,l-1001,safety-101,live-1,,90,2026-03-02T09:00:00Z
acme,l-1002,safety-101,live-1,,0,2026-03-02T09:00:00Z
"""


class Invalid(NamedTuple):
    """A row that means nothing: which cell, and why."""

    why: str


class Said(NamedTuple):
    """A row that means something: the message, and the fact in it."""

    value: bytes
    heard: HeardFact

    @property
    def target(self) -> str:
        """What the row sets: two rows with the same target say the same, or contradict each other."""
        fact = self.heard.fact
        return f"{self.heard.key}/{fact.step_id}/{fact.session_id or ''}/{fact.changed_at}"


class Columns(NamedTuple):
    """Where each field stands, and the columns that nobody reads."""

    by_field: Mapping[str, int]
    headings: Sequence[str]
    unread: Sequence[str]


def columns(headings: Sequence[str], needed: Sequence[str], values: Sequence[str] = ()) -> Columns:
    """Match headings leniently. Raises FixConfiguration naming those that are missing or there twice."""
    fields = {_plain(name): field for field, names in HEADINGS.items() for name in (field, *names)}
    found: dict[str, list[int]] = {}
    for number, heading in enumerate(headings):
        if _plain(heading) in fields:
            found.setdefault(fields[_plain(heading)], []).append(number)
    for field, numbers in found.items():
        if len(numbers) > 1:
            both = " and ".join(repr(headings[number]) for number in numbers)
            raise FixConfiguration(f"the headings {both} both mean {field}; keep one of them")
    missing = [HEADINGS[field][0] for field in needed if field not in found]
    if values and not any(field in found for field in values):
        missing.append(" or ".join(repr(HEADINGS[field][0]) for field in values))
    if missing:
        given = ", ".join(repr(heading) for heading in headings if heading) or "none"
        raise FixConfiguration(f"the heading {', '.join(missing)} is missing; the file has: {given}"[:1000])
    by_field = {field: numbers[0] for field, numbers in found.items()}
    return Columns(by_field, headings, [heading for heading in headings if _plain(heading) not in fields])


def _plain(heading: str) -> str:
    return "".join(heading.split()).replace("_", "").replace("-", "").lower()


def understand(row: Row, where: Columns, tenant: str | None, upload_id: str, now: str) -> Said | Invalid:
    """A row as the message that it is sent as. Its id follows from the upload and the line."""
    cells = {field: row.cells[number] for field, number in where.by_field.items() if number < len(row.cells)}
    cells = {field: cell for field, cell in cells.items() if cell}
    if tenant is not None and cells.setdefault("tenant_id", tenant) != tenant:
        return Invalid(f"Tenant: {_shown(cells['tenant_id'])} is not {tenant}, the tenant of this upload")
    values = [field for field in VALUES if field in cells]
    for field, cell in cells.items():
        if cell.startswith(FORMULA):
            return Invalid(f"{_name(field, where)}: {_shown(cell)} is a formula; paste values instead")
    if len(values) != 1:
        names = ", ".join(_name(field, where) for field in (values or VALUES) if field in where.by_field)
        return Invalid(f"{names}: {'only one of them may' if values else 'one of them must'} be filled in")
    try:
        said = _value(values[0], cells[values[0]])
    except ValueError as error:
        return Invalid(f"{_name(values[0], where)}: {_shown(cells[values[0]])} {error}")
    message = {
        "message_id": str(uuid5(NAMESPACE, f"upload/{upload_id}/{row.line}")),
        "changed_at": now,
        **cells,
        values[0]: said,
        "source": "mass_upload",
        "upload_id": upload_id,
    }
    value = json.dumps(message).encode()
    heard = read(ATTENDANCE_CHANGED, value, None)
    if isinstance(heard, Unusable):
        field, _, why = heard.explanation.partition(": ")
        return Invalid(f"{_name(field, where)}: {_shown(cells.get(field, ''))} {why}")
    assert isinstance(heard, HeardFact), "attendance is a fact"
    return Said(value, heard)


def _value(field: str, cell: str) -> Any:
    if field == "attended":
        if cell.lower() in YES | NO:
            return cell.lower() in YES
        raise ValueError("must be yes or no")
    number = cell.removesuffix("%").rstrip() if field == "attended_percent" else cell
    if not (number.isascii() and number.isdecimal() and len(number) <= DIGITS):
        raise ValueError("must be a whole number")
    return int(number)


def _name(field: str, where: Columns) -> str:
    """The heading as it is in the file."""
    number = where.by_field.get(field)
    return field if number is None else where.headings[number]


def _shown(cell: str) -> str:
    return repr(cell) if len(cell) <= CELL_SHOWN else f"{cell[:CELL_SHOWN]!r}… ({len(cell):,} characters)"
