"""The decision tables: read from YAML, checked, compiled to a lookup.

A table's conditions range over small named domains (`SHAPES`). The hit policy is unique: `load` refuses a table unless
every combination of condition values meets one row and no combination meets two, and names what it refuses. Compiled,
a table is a dictionary from combination to row, so the row that matched is part of the answer.
"""

from collections.abc import Mapping
from importlib.resources import files
from itertools import product
from typing import Any, NamedTuple

import yaml

SOURCES = ("P1", "P2", "P3", "P4", "A", "B", "C")
ANY = "any"


class Shape(NamedTuple):
    """What a table may speak of: its conditions and outcomes, each with all the values it can have."""

    conditions: Mapping[str, tuple[str, ...]]
    outcomes: Mapping[str, tuple[str, ...]]


SHAPES: Mapping[str, Shape] = {
    "arrival": Shape(
        conditions={
            "fact": ("newest", "late", "overridden", "of_earlier_attempt", "before_definition", "new_definition"),
        },
        outcomes={"facts": ("count", "count_again", "keep")},
    ),
    "step": Shape(
        conditions={
            "trigger": ("reported", "reassigned", "definition"),
            "requirement": ("met", "not_met", "undecidable"),
            "step": ("complete", "incomplete"),
        },
        outcomes={"step": ("complete", "incomplete", "unresolved")},
    ),
    "course": Shape(
        conditions={
            "course": ("incomplete", "completed"),
            "trigger": ("reassigned", "reassigned_before_completion", "equivalency", "step", "definition"),
            "required_steps": ("all_complete", "not_all_complete"),
        },
        outcomes={
            "course": ("unchanged", "incomplete", "completed_via_steps", "completed_via_equivalency"),
            "certificate": ("keep", "revoke", "issue_if_awarded", "issue_if_awarded_on_equivalency"),
            "evidence": ("none", "unchanged", "held", "withdrawn"),
        },
    ),
}


class TableError(Exception):
    """A table cannot be used as it is: mend the row, or the combination of conditions, that the message names."""


class Row(NamedTuple):
    """One rule of a table."""

    rule_id: str
    when: Mapping[str, tuple[str, ...]]
    then: Mapping[str, str]
    because: str
    source: tuple[str, ...]


class Table(NamedTuple):
    """A checked table. `lookup` answers every combination, in the order of the shape's conditions."""

    name: str
    rows: tuple[Row, ...]
    lookup: Mapping[tuple[str, ...], Row]


class Tables(NamedTuple):
    """All that decides."""

    arrival: Table
    step: Table
    course: Table

    def row(self, rule_id: str) -> Row | None:
        """The row with this id, in whichever table; None where no table has it."""
        return next((row for table in self for row in table.rows if row.rule_id == rule_id), None)


def load(text: str, origin: str) -> Table:
    """Read one table from YAML. Raises TableError, naming origin, table, row and combination."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TableError(f"{origin}: not YAML: {error}") from None
    if not isinstance(document, dict) or document.get("table") not in SHAPES:
        raise TableError(f"{origin}: needs `table:` with one of {', '.join(SHAPES)}")
    name = document["table"]
    where = f"{origin}: table {name}"
    _only(document, {"table", "rows"}, where)
    if not isinstance(document.get("rows"), list):
        raise TableError(f"{where}: needs `rows:`, a list")
    shape = SHAPES[name]
    rows = tuple(_row(shape, raw, f"{where}: row {number}") for number, raw in enumerate(document["rows"], 1))
    if name == "course":
        _check_only_a_reassignment_removes(rows, where)
    return Table(name, rows, _compile(shape, rows, where))


def _only(mapping: dict[Any, Any], known: set[str], where: str) -> None:
    unknown = [str(key) for key in mapping if key not in known]
    if unknown:
        raise TableError(f"{where}: unknown name {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _row(shape: Shape, raw: object, where: str) -> Row:
    if not isinstance(raw, dict):
        raise TableError(f"{where}: must be a mapping with id, when, then, because, source")
    _only(raw, {"id", "when", "then", "because", "source"}, where)
    rule_id, because, source = raw.get("id"), raw.get("because"), raw.get("source")
    if not isinstance(rule_id, str) or not rule_id:
        raise TableError(f"{where}: needs `id:`, a name")
    where = f"{where} ({rule_id})"
    if not isinstance(because, str) or not because.strip():
        raise TableError(f"{where}: needs `because:`, a sentence")
    if not isinstance(source, list) or not source or not all(item in SOURCES for item in source):
        raise TableError(f"{where}: needs `source:`, a list out of {', '.join(SOURCES)}")
    when = {
        name: _values(name, _field(raw, "when", name, where), domain, where)
        for name, domain in shape.conditions.items()
    }
    then = {}
    for name, domain in shape.outcomes.items():
        value = _field(raw, "then", name, where)
        if value not in domain:
            raise TableError(f"{where}: {name}: unknown outcome {value!r}; known are {', '.join(domain)}")
        then[name] = str(value)
    _only(raw["when"], set(shape.conditions), f"{where}: when")
    _only(raw["then"], set(shape.outcomes), f"{where}: then")
    return Row(rule_id, when, then, because.strip(), tuple(source))


def _field(raw: dict[str, Any], part: str, name: str, where: str) -> object:
    section = raw.get(part)
    if not isinstance(section, dict) or name not in section:
        raise TableError(f"{where}: needs `{part}:` with {name}")
    value: object = section[name]
    return value


def _values(name: str, value: object, domain: tuple[str, ...], where: str) -> tuple[str, ...]:
    if value == ANY:
        return domain
    values = value if isinstance(value, list) else [value]
    for item in values:
        if item not in domain:
            raise TableError(f"{where}: {name}: unknown value {item!r}; known are {', '.join(domain)} and {ANY}")
    return tuple(values)


def _check_only_a_reassignment_removes(rows: tuple[Row, ...], where: str) -> None:
    for row in rows:
        removes = row.then["course"] == "incomplete" or row.then["certificate"] == "revoke"
        if removes and "completed" in row.when["course"] and row.when["trigger"] != ("reassigned",):
            raise TableError(f"{where}: row {row.rule_id}: only a reassignment may remove a completion (P3)")


def _compile(shape: Shape, rows: tuple[Row, ...], where: str) -> Mapping[tuple[str, ...], Row]:
    lookup: dict[tuple[str, ...], Row] = {}
    ids: set[str] = set()
    for row in rows:
        if row.rule_id in ids:
            raise TableError(f"{where}: row {row.rule_id}: the id stands twice")
        ids.add(row.rule_id)
        for combination in product(*row.when.values()):
            if combination in lookup:
                raise TableError(
                    f"{where}: rows {lookup[combination].rule_id} and {row.rule_id} both meet "
                    f"{_spell(shape, combination)}; the hit policy is unique"
                )
            lookup[combination] = row
    for combination in product(*shape.conditions.values()):
        if combination not in lookup:
            raise TableError(f"{where}: no row meets {_spell(shape, combination)}")
    return lookup


def _spell(shape: Shape, combination: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(shape.conditions, combination, strict=True))


def _shipped(name: str) -> Table:
    file_name = f"{name}.yaml"
    return load(files(__package__).joinpath(file_name).read_text("utf-8"), file_name)


SHIPPED = Tables(arrival=_shipped("arrival"), step=_shipped("step"), course=_shipped("course"))
"""The tables that come with this release."""
