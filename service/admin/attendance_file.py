"""What an attendance file means: its headings, and each row as a message or as what is wrong with it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from uuid import uuid5

from contracts.outbound import NAMESPACE
from contracts.topics import ATTENDANCE_CHANGED
from service.admin import words
from service.admin.spreadsheet import AS_TEXT, Doubtful, Row, Sheet
from service.errors import FixConfiguration
from service.lanes.translate import HeardFact, Unusable, read

HEADINGS: Mapping[str, Sequence[str]] = {
    "tenant_id": ("Tenant", "Tenant ID", "Mandant", "Mandanten-ID"),
    "learner_id": (
        *("Learner", "Learner ID", "User", "User ID", "Student", "Student ID"),
        *("Benutzer", "Benutzer-ID", "Teilnehmer", "Teilnehmer-ID", "Lernender", "Lernende"),
        *("Apprenant", "ID apprenant", "Utilisateur", "ID utilisateur", "Étudiant"),
        *("Alumno", "ID de alumno", "Usuario", "ID de usuario", "Estudiante"),
    ),
    "course_id": ("Course", "Course ID", "Kurs", "Kurs-ID", "Cours", "ID du cours", "Curso", "ID del curso"),
    "event_id": (
        *("Event", "Event ID", "Veranstaltung", "Veranstaltungs-ID", "Événement", "ID événement"),
        *("Evento", "ID del evento"),
    ),
    "session_id": ("Session", "Session ID", "Sitzung", "Sitzungs-ID", "Séance", "Sesión"),
    "attended_minutes": (
        *("Attended minutes", "Minutes attended", "Minutes", "Time in Session (minutes)"),
        *("Anwesenheit (Minuten)", "Anwesende Minuten", "Minuten", "Présence (minutes)", "Minutes de présence"),
        *("Minutos", "Asistencia (minutos)"),
    ),
    "attended_percent": (
        *("Attended percent", "Percent attended", "Percent", "Attendance %", "Prozent", "Anwesenheit (%)"),
        *("Pourcentage", "Présence (%)", "Porcentaje", "Asistencia (%)"),
    ),
    "attended": (
        *("Attended", "Attendance", "Present", "Anwesend", "Anwesenheit", "Présent", "Présence"),
        *("Presente", "Asistencia", "Asistió"),
    ),
    "changed_at": ("Changed at", "Changed", "Geändert am", "Modifié le", "Modificado"),
}
"""By field, what people call it; case, spaces, underscores and hyphens do not matter."""
IDS = ("tenant_id", "learner_id", "course_id", "event_id", "session_id")
NEEDED = IDS[:-1]
VALUES: Mapping[str, Callable[[str], Any]] = {
    "attended_minutes": words.minutes,
    "attended_percent": words.percent,
    "attended": words.yes_or_no,
}
"""By field, how it is read."""
CELL_SHOWN = 40
TEMPLATE = """\
Tenant,Learner,Course,Event,Session,Attended minutes,Changed at
acme,l-1001,safety-101,live-1,,90,2026-03-02T09:00:00Z
acme,l-1002,safety-101,live-1,,0,2026-03-02T09:00:00Z
"""


class Invalid(NamedTuple):
    """A row that means nothing: which cell, and why; or that says nothing, which is no mistake (`empty`)."""

    why: str
    verdict: Literal["invalid", "empty"] = "invalid"


class Said(NamedTuple):
    """A row that means something: the message, and the fact in it."""

    value: bytes
    heard: HeardFact
    is_dated: bool
    """It says itself when that was."""

    @property
    def target(self) -> str:
        """What the row sets: of several rows with the same target nobody knows which is meant.

        An address is the same however it is spelled.
        """
        fact, key = self.heard.fact, self.heard.key
        return f"{key.casefold() if '@' in key else key}/{fact.step_id}/{fact.session_id or ''}/{fact.changed_at}"


class Columns(NamedTuple):
    """Where each field stands, and the columns that nobody reads."""

    by_field: Mapping[str, int]
    headings: Sequence[str]
    unread: Sequence[str]


def columns(sheet: Sheet, needed: Sequence[str], values: Iterable[str] = ()) -> Columns:
    """Match headings leniently. Raises FixConfiguration naming those that are missing or there twice."""
    headings, where = sheet.headings, f"{sheet.path}: line {sheet.heading_line}"
    found: dict[str, list[int]] = {}
    for number, heading in enumerate(headings):
        if _plain(heading) in _FIELDS:
            found.setdefault(_FIELDS[_plain(heading)], []).append(number)
    for field, numbers in found.items():
        if len(numbers) > 1:
            both = " and ".join(repr(headings[number]) for number in numbers)
            raise FixConfiguration(f"{where}: the headings {both} both mean {field}; keep one of them")
    missing = [HEADINGS[field][0] for field in needed if field not in found]
    if values and not any(field in found for field in values):
        missing.append(" or ".join(repr(HEADINGS[field][0]) for field in values))
    if missing:
        given = ", ".join(repr(heading) for heading in headings if heading) or "none"
        raise FixConfiguration(f"{where}: the heading {', '.join(missing)} is missing; there are: {given}"[:1000])
    by_field = {field: numbers[0] for field, numbers in found.items()}
    return Columns(by_field, headings, [heading for heading in headings if heading and _plain(heading) not in _FIELDS])


def known_headings(cells: Sequence[str]) -> int:
    """How many different fields these cells are headings of."""
    return len({_FIELDS[_plain(cell)] for cell in cells if _plain(cell) in _FIELDS})


def _plain(heading: str) -> str:
    return "".join(heading.split()).replace("_", "").replace("-", "").casefold()


_FIELDS = {_plain(name): field for field, names in HEADINGS.items() for name in (field, *names)}


def understand(row: Row, where: Columns, tenant: str | None, upload_id: str, now: str) -> Said | Invalid:
    """A row as the message that it is sent as. Its id follows from the upload and the line."""
    cells = _filled(row, where)
    if tenant is not None and cells.setdefault("tenant_id", tenant) != tenant:
        return Invalid(f"Tenant: {_shown(cells['tenant_id'])} is not {tenant}, the tenant of this upload")
    try:
        for field, cell in cells.items():
            _check(field, cell)
        said = _said(cells)
    except _Wrong as wrong:
        return Invalid(f"{_names(wrong.fields, where)}: {wrong}")
    missing = [field for field in NEEDED if field not in cells]
    if missing:
        return Invalid(f"{_names(missing, where)}: not filled in")
    if not said:
        return Invalid(f"{_names(VALUES, where)}: nothing is filled in, so nothing changes", "empty")
    message = {
        "message_id": str(uuid5(NAMESPACE, f"upload/{upload_id}/{row.line}")),
        "changed_at": now,
        **{field: cell for field, cell in cells.items() if field not in VALUES},
        **said,
        "source": "mass_upload",
        "upload_id": upload_id,
    }
    value = json.dumps(message).encode()
    heard = read(ATTENDANCE_CHANGED, value, None)
    if isinstance(heard, Unusable):
        field, _, why = heard.explanation.partition(": ")
        return Invalid(f"{_names([field], where)}: {_shown(cells.get(field, ''))} {why}")
    assert isinstance(heard, HeardFact), "attendance is a fact"
    return Said(value, heard, "changed_at" in cells)


class _Wrong(Exception):
    """What these cells hold cannot be meant."""

    def __init__(self, fields: Sequence[str], why: str) -> None:
        super().__init__(why)
        self.fields = fields


def _filled(row: Row, where: Columns) -> dict[str, str]:
    """The cells that say something, by field."""
    cells = {field: row.cells[number] for field, number in where.by_field.items() if number < len(row.cells)}
    return {field: cell for field, cell in cells.items() if cell and not (field in VALUES and words.is_nothing(cell))}


def id_problem(cell: str) -> str | None:
    """Why a cell cannot be taken for an id: nobody knows what a person sees in the sheet, or meant."""
    if isinstance(cell, Doubtful):
        return f"{_shown(cell)} {cell.why}"
    if len(cell) <= words.LENGTH and words.SCIENTIFIC.fullmatch(cell):
        return f"{_shown(cell)} is a number that a spreadsheet program has shortened; {AS_TEXT}"
    return None


def _check(field: str, cell: str) -> None:
    """An id must be what a person sees in the sheet."""
    if cell.startswith("="):
        raise _Wrong([field], f"{_shown(cell)} is a formula without a value; paste values instead")
    if field in IDS and (problem := id_problem(cell)) is not None:
        raise _Wrong([field], problem)


def _said(cells: Mapping[str, str]) -> dict[str, Any]:
    """The value; minutes or a percent are finer than a yes, and must not contradict a no."""
    said = {}
    for field, read_as in VALUES.items():
        if field in cells:
            try:
                said[field] = read_as(cells[field])
            except ValueError as error:
                raise _Wrong([field], f"{_shown(cells[field])} {error}") from None
    if "attended_minutes" in said and "attended_percent" in said:
        raise _Wrong(["attended_minutes", "attended_percent"], "only one of them may be filled in")
    attended = said.get("attended")
    if attended is not None and len(said) > 1:
        del said["attended"]
        ((field, amount),) = said.items()
        if amount and not attended:
            raise _Wrong(["attended", field], f"{_shown(cells['attended'])} contradicts {_shown(cells[field])}")
    return said


def _names(fields: Iterable[str], where: Columns) -> str:
    """The headings as they are in the file; fields that it does not have by their names, if it has none of them."""
    given = [where.headings[where.by_field[field]] for field in fields if field in where.by_field]
    return ", ".join(given or fields)


def _shown(cell: str) -> str:
    return repr(str(cell)) if len(cell) <= CELL_SHOWN else f"{cell[:CELL_SHOWN]!r}… ({len(cell):,} characters)"
