"""What a row of an upload means: a message, or what is wrong with it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal, NamedTuple
from uuid import uuid5

from contracts.fields import parse_timestamp
from contracts.outbound import NAMESPACE
from service.admin.columns import Columns
from service.admin.connections import Connection
from service.admin.directory import Directory, Unfound
from service.admin.files import words
from service.admin.files.cells import Row
from service.admin.files.moments import could_be_two, moment, seconds
from service.admin.files.words import id_problem, shown
from service.admin.formats.catalogue import Format, plain
from service.admin.kinds import ATTENDANCE, Kind
from service.lanes.translate import HeardFact, Unusable, read

NotSaid = Literal["invalid", "empty", "left out", "unknown learner"]
WHO = ("learner_id", "other_id", "name")


class Invalid(NamedTuple):
    """A row that means nothing: which cell, and why; or that says nothing, which is no mistake."""

    why: str
    verdict: NotSaid = "invalid"


class Said(NamedTuple):
    """A row that means something: the message, and the fact in it."""

    message: Mapping[str, Any]
    heard: HeardFact
    is_dated: bool
    """It says itself when that was."""
    connection: Connection | None = None
    """It is one of several that count together."""

    @property
    def value(self) -> bytes:
        """The message as it is sent."""
        return json.dumps(self.message).encode()

    @property
    def target(self) -> str:
        """What the row sets: of several rows with the same target nobody knows which is meant.

        An address is the same however it is spelled.
        """
        fact, key = self.heard.fact, self.heard.key
        return f"{key.casefold() if '@' in key else key}/{fact.step_id}/{fact.session_id or ''}/{fact.changed_at}"

    def with_minutes(self, minutes: int) -> "Said":
        """The same person, attending as long as that."""
        others = {name: value for name, value in self.message.items() if name not in ATTENDANCE.values}
        message = {**others, "attended_minutes": minutes}
        return self._replace(message=message, heard=_heard(ATTENDANCE, message))


class Reading(NamedTuple):
    """How the rows of a file are to be read."""

    kind: Kind
    format: Format
    columns: Columns
    given: Mapping[str, str]
    """What the command says of every row, by field."""
    changed_at: str
    """Of rows that do not say, RFC 3339; empty where each must."""
    upload_id: str
    day_first: bool | None = None
    """Whether 3/2/2026 is in February; None: nobody knows."""
    has_shares: bool = False
    """Some cell of a percent is a fraction of 1 without a percent sign."""
    zone: tzinfo | None = None
    """Of times that do not say."""
    directory: Directory | None = None


class _Wrong(Exception):
    """What these cells hold cannot be meant."""

    def __init__(self, fields: Sequence[str], why: str, verdict: NotSaid = "invalid") -> None:
        super().__init__(why)
        self.fields = fields
        self.verdict = verdict


def understand(row: Row, how: Reading) -> Said | Invalid:
    """A row as the message that it is sent as. Its id follows from the upload and the line."""
    for number, wanted in how.columns.left_out.items():
        if number < len(row.cells) and plain(row.cells[number]) in wanted:
            return Invalid(f"{how.columns.headings[number]}: {row.cells[number]}", "left out")
    try:
        return _said(row, _filled(row, how), how)
    except _Wrong as wrong:
        return Invalid(f"{_names(wrong.fields, how.columns)}: {wrong}", wrong.verdict)


def _said(row: Row, cells: dict[str, str], how: Reading) -> Said:
    _complete(cells, how.given)
    if "completed_at" in cells and cells.setdefault("changed_at", cells["completed_at"]) != cells.pop("completed_at"):
        raise _Wrong(["completed_at", "changed_at"], "only one of them may be filled in")
    _check(cells)
    _identify(cells, how.directory)
    said = _values(cells, how)
    connection = _connection(row, cells, said, how)
    if said == {"attended": True} and connection is None and not how.format.yes_counts:
        raise _Wrong(["attended", "attended_minutes"], "says that somebody came, but not how long they stayed")
    missing = [field for field in how.kind.needed if field not in cells]
    if missing:
        raise _Wrong(missing, "not filled in")
    if how.kind.values and not said and connection is None:
        raise _Wrong(list(how.kind.values), "nothing is filled in, so nothing changes", "empty")
    return _message(row, cells, said, connection, how)


def _filled(row: Row, how: Reading) -> dict[str, str]:
    """The cells that say something, by field."""
    fields = how.columns.by_field.items()
    cells = {str(field): row.cells[number] for field, number in fields if number < len(row.cells)}
    may_be_nothing = {*how.kind.values, "joined_at", "left_at"}
    return {
        field: cell
        for field, cell in cells.items()
        if cell and not (field in may_be_nothing and words.is_nothing(cell))
    }


def _complete(cells: dict[str, str], given: Mapping[str, str]) -> None:
    """What the command says of all rows must not be contradicted."""
    for field, wanted in given.items():
        if cells.setdefault(field, wanted) != wanted:
            name = field.removesuffix("_id")
            raise _Wrong([field], f"{shown(cells[field])} is not {wanted}, the {name} of this upload")


def _check(cells: Mapping[str, str]) -> None:
    """An id must be what a person sees in the sheet."""
    for field, cell in cells.items():
        if cell.startswith("="):
            raise _Wrong([field], f"{shown(cell)} is a formula without a value; paste values instead")
        if field.endswith("_id") and (problem := id_problem(cell)) is not None:
            raise _Wrong([field], problem)


def _identify(cells: dict[str, str], directory: Directory | None) -> None:
    """Leaves the learner's id, as it stands or as the directory has it."""
    if "last_name" in cells:
        cells["name"] = f"{cells.get('name', '')} {cells.pop('last_name')}".strip()
    if directory is not None:
        field = next((field for field in WHO if field in cells), None)
        if field is None:
            raise _Wrong(WHO, "not filled in")
        try:
            cells["learner_id"] = directory.find(cells[field])
        except Unfound as unfound:
            raise _Wrong([field], f"{shown(cells[field])} {unfound}", "unknown learner") from None
    cells.pop("other_id", None)
    cells.pop("name", None)


def _values(cells: Mapping[str, str], how: Reading) -> dict[str, Any]:
    """The value; minutes or a percent are finer than a yes, and must not contradict a no."""
    said: dict[str, Any] = {}
    for field, read_as in how.kind.values.items():
        if field in cells:
            try:
                said[field] = _own_word(cells[field], how.format) if field == "attended" else None
                if said[field] is None:
                    said[field] = read_as(cells[field])
                if read_as is words.percent and how.has_shares:
                    words.refuse_share(cells[field])
            except ValueError as error:
                raise _Wrong([field], f"{shown(cells[field])} {error}") from None
    _excuse(said)
    if "attended_minutes" in said and "attended_percent" in said:
        raise _Wrong(["attended_minutes", "attended_percent"], "only one of them may be filled in")
    attended = said.get("attended")
    if attended is not None and len(said) > 1:
        del said["attended"]
        ((finer, amount),) = said.items()
        if amount and not attended:
            raise _Wrong(["attended", finer], f"{shown(cells['attended'])} contradicts {shown(cells[finer])}")
    return said


def _excuse(said: dict[str, Any]) -> None:
    """Who is excused has not attended; nobody is excused by a no."""
    if not said.pop("excused", False):
        return
    contradicting = [field for field, value in said.items() if value]
    if contradicting:
        raise _Wrong(["excused", *contradicting], "somebody is excused or has attended: only one may be filled in")
    said.clear()
    said["excused"] = True


def _own_word(cell: str, form: Format) -> bool | None:
    """A word that this format has for yes or no."""
    if plain(cell) in map(plain, form.yes):
        return True
    return False if plain(cell) in map(plain, form.no) else None


def _connection(row: Row, cells: dict[str, str], said: Mapping[str, Any], how: Reading) -> Connection | None:
    """Where a row is one connection of several: its times, and its minutes."""
    times: dict[str, str] = {field: cells.pop(field) for field in ("joined_at", "left_at") if field in cells}
    joined, left = (_moment(times.get(field), how) for field in ("joined_at", "left_at"))
    if not said:
        _refuse_unread(times, how)
    is_other = "attended_percent" in said or "excused" in said or said.get("attended") is False
    if (
        how.format.rows == "people"
        or is_other
        or (how.format.rows != "connections" and (joined is None or left is None))
    ):
        return None
    minutes = said.get("attended_minutes")
    if joined is None or left is None:
        return None if minutes is None else Connection(row.line, minutes=minutes)
    if seconds(left) < seconds(joined):
        raise _Wrong(["left_at"], "is before the time of joining")
    is_placed = joined.tzinfo is not None and left.tzinfo is not None
    return Connection(row.line, seconds(joined), seconds(left), minutes, is_placed)


def _moment(cell: str | None, how: Reading) -> datetime | None:
    return None if cell is None else moment(cell, day_first=bool(how.day_first), zone=how.zone)


def _refuse_unread(times: Mapping[str, str], how: Reading) -> None:
    """Where nothing else is said, times that cannot be read are not nothing."""
    for field, cell in times.items():
        if _moment(cell, how) is None:
            raise _Wrong([field], f"{shown(cell)} is no date and time that can be read; write 2026-03-31 09:30")


def _message(
    row: Row, cells: Mapping[str, str], said: Mapping[str, Any], connection: Connection | None, how: Reading
) -> Said:
    about = {field: cell for field, cell in cells.items() if field in how.kind.ids}
    if "changed_at" not in cells and not how.changed_at:
        raise _Wrong(["changed_at"], "not filled in; a completion needs its date, or give --changed-at for all rows")
    message = {
        "message_id": str(uuid5(NAMESPACE, f"upload/{how.upload_id}/{row.line}")),
        "changed_at": _changed_at(cells["changed_at"], how) if "changed_at" in cells else how.changed_at,
        **about,
        **(said or ({"attended_minutes": 0} if connection is not None else {})),
        **how.kind.constants,
    }
    if how.kind is ATTENDANCE:
        message["upload_id"] = how.upload_id
    try:
        return Said(message, _heard(how.kind, message), "changed_at" in cells, connection)
    except _Wrong as wrong:
        (field,) = wrong.fields
        raise _Wrong([field], f"{shown(cells.get(field, ''))} {wrong}") from None


def _changed_at(cell: str, how: Reading) -> str:
    """As it is where it says its offset; otherwise in the zone that the command gives."""
    try:
        parse_timestamp(cell)
    except ValueError as error:
        dated = ["changed_at", "completed_at"]
        made = moment(cell, day_first=bool(how.day_first), zone=how.zone)
        if made is None:
            raise _Wrong(dated, f"{shown(cell)} {error}") from None
        if made.tzinfo is None:
            raise _Wrong(dated, f"{shown(cell)} {error}; or give --timezone") from None
        if how.day_first is None and could_be_two(cell):
            raise _Wrong(dated, f"{shown(cell)} could be day/month or month/day; write 2026-03-31") from None
        return made.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return cell


def _heard(kind: Kind, message: Mapping[str, Any]) -> HeardFact:
    heard = read(kind.topic, json.dumps(message).encode(), None)
    if isinstance(heard, Unusable):
        field, _, why = heard.explanation.partition(": ")
        raise _Wrong([field], why)
    assert isinstance(heard, HeardFact), "uploads are facts"
    return heard


def _names(fields: Iterable[str], where: Columns) -> str:
    """The headings as they are in the file; fields that it does not have by their names, if it has none of them."""
    given = [heading for field in fields if (heading := where.heading(field)) is not None]
    return ", ".join(given or fields)
