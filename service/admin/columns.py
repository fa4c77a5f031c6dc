"""Where each field of an upload stands in a file: found by its headings, or chosen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

from service.admin.files.spreadsheet import Sheet
from service.admin.formats.catalogue import FIELDS, OWN, FieldName, plain
from service.admin.kinds import Kind
from service.errors import FixConfiguration

HEADINGS_SHOWN = 1000
"""Characters of a message."""


BY_OPTION = {"tenant_id", "course_id", "event_id", "step_id"}
"""Fields that a command can say for all rows."""


class Columns(NamedTuple):
    """Where each field stands, the columns in which a row is no attendance, and those that nobody reads."""

    by_field: Mapping[FieldName, int]
    left_out: Mapping[int, Sequence[str]]
    headings: Sequence[str]
    unread: Sequence[str]

    def heading(self, field: str) -> str | None:
        """As it is in the file."""
        number = self.by_field.get(cast("FieldName", field))
        return None if number is None else self.headings[number]


def chosen_columns(choices: Iterable[str]) -> Mapping[FieldName, str]:
    """`FIELD=HEADING` as people type them. Raises FixConfiguration."""
    chosen: dict[FieldName, str] = {}
    for choice in choices:
        field, separator, heading = choice.partition("=")
        if not separator or field not in FIELDS:
            raise FixConfiguration(f"--column: {choice!r} must be FIELD=HEADING; fields: {', '.join(FIELDS)}")
        chosen[cast("FieldName", field)] = heading
    return chosen


def columns(
    sheet: Sheet,
    kind: Kind,
    given: Iterable[str] = (),
    chosen: Mapping[FieldName, str] | None = None,
    has_learners: bool = False,
) -> Columns:
    """Match headings leniently. Raises FixConfiguration naming those that are missing or there twice.

    `given`: fields that the command says; `chosen`: headings that it says; `has_learners`: a name tells who it is.
    """
    wanted = kind.fields if has_learners else kind.fields - {"other_id", "name", "last_name"}
    found = {field: numbers for field, numbers in _found(sheet, chosen or {}).items() if field in wanted}
    _check_twice(sheet, found)
    _check_missing(sheet, kind, {*found, *given}, has_learners)
    by_field = {field: numbers[0] for field, numbers in found.items()}
    left_out = {
        number: [plain(word) for word in words]
        for heading, words in sheet.format.left_out.items()
        for number, there in enumerate(sheet.headings)
        if plain(there) == plain(heading)
    }
    read = {*by_field.values(), *left_out}
    unread = [heading for number, heading in enumerate(sheet.headings) if heading and number not in read]
    return Columns(by_field, left_out, sheet.headings, unread)


def _found(sheet: Sheet, chosen: Mapping[FieldName, str]) -> dict[FieldName, list[int]]:
    found: dict[FieldName, list[int]] = {}
    for number, heading in enumerate(sheet.headings):
        field = sheet.format.by_heading.get(plain(heading))
        if field is not None and field not in chosen:
            found.setdefault(field, []).append(number)
    for field, wanted in chosen.items():
        numbers = [number for number, heading in enumerate(sheet.headings) if plain(heading) == plain(wanted)]
        if not numbers:
            raise FixConfiguration(f"--column: {wanted!r} is no heading; {_there(sheet)}")
        found = {other: [n for n in there if n not in numbers] for other, there in found.items()}
        found[field] = numbers
    return {field: numbers for field, numbers in found.items() if numbers}


def _check_twice(sheet: Sheet, found: Mapping[FieldName, Sequence[int]]) -> None:
    for field, numbers in found.items():
        if len(numbers) > 1 and sheet.format.name == OWN:
            both = " and ".join(repr(sheet.headings[number]) for number in numbers)
            raise FixConfiguration(f"{_where(sheet)}: the headings {both} both mean {field}; keep one of them")


def _check_missing(sheet: Sheet, kind: Kind, there: set[str], has_learners: bool) -> None:
    headings = sheet.format.headings
    missing = [_name(headings, field) for field in kind.needed if field not in there]
    if has_learners and {"other_id", "name"} & there:
        missing = [name for name in missing if name != _name(headings, "learner_id")]
    values = [field for field in kind.values if field in headings]
    if kind.values and not there & {*values, *(("joined_at",) if "left_at" in there else ())}:
        missing.append(" or ".join(repr(_name(headings, field)) for field in values))
    if missing:
        by_option = [f"--{field.removesuffix('_id')}" for field in kind.needed if field in BY_OPTION - there]
        way_out = f"; for all rows: {', '.join(by_option)}" if by_option else ""
        what = f"{_where(sheet)}: the heading {', '.join(missing)} is missing"
        raise FixConfiguration(f"{what}; {_there(sheet)}"[:HEADINGS_SHOWN] + way_out)


def _name(headings: Mapping[FieldName, Sequence[str]], field: FieldName) -> str:
    """What people call a field in this format; in others it is called as in ours."""
    return headings[field][0] if field in headings else field.removesuffix("_id").replace("_", " ").capitalize()


def _where(sheet: Sheet) -> str:
    return f"{sheet.path}: line {sheet.heading_line}"


def _there(sheet: Sheet) -> str:
    given = ", ".join(repr(heading) for heading in sheet.headings if heading) or "none"
    return f"there are: {given}"
