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

from rules import bounded_yaml

SOURCES = ("P1", "P2", "P3", "P4", "A", "B", "C", "beyond")
"""Principles, scenarios, and what is decided beyond them (README.md)."""
ANY = "any"


class Shape(NamedTuple):
    """What a table may speak of: its conditions and outcomes, each with all the values it can have."""

    conditions: Mapping[str, tuple[str, ...]]
    outcomes: Mapping[str, tuple[str, ...]]


SHAPES: Mapping[str, Shape] = {
    "arrival": Shape(
        conditions={
            "fact": (
                "newest",
                "late",
                "overridden",
                "of_earlier_attempt",
                "before_definition",
                "new_definition",
                "withdrawal",
                "withdrawal_of_unknown",
                "withdrawal_again",
            ),
        },
        outcomes={"facts": ("count", "count_again", "keep")},
    ),
    "step": Shape(
        conditions={
            "trigger": ("reported", "reassigned", "definition", "withdrawn"),
            "requirement": ("met", "not_met", "undecidable", "excused"),
            "step": ("complete", "incomplete"),
        },
        outcomes={"step": ("complete", "incomplete", "unresolved", "as_counted")},
    ),
    "course": Shape(
        conditions={
            "course": ("incomplete", "completed"),
            "trigger": (
                "reassigned",
                "reassigned_keeping_steps",
                "reassigned_before_work",
                "reassigned_amid_work",
                "withdrawn",
                "reinstated",
                "equivalency",
                "granted",
                "step",
                "definition",
            ),
            "requirement": ("met", "not_met"),
            "certificate": ("due", "not_due"),
        },
        outcomes={
            "course": (
                "unchanged",
                "incomplete",
                "completed_via_steps",
                "completed_via_equivalency",
                "completed_via_granted",
                "completed_as_before",
            ),
            "certificate": (
                "keep",
                "revoke",
                "reinstate",
                "issue",
                "issue_if_awarded",
                "issue_if_awarded_on_equivalency",
                "issue_if_granted",
            ),
        },
    ),
    "evidence": Shape(
        conditions={"completed": ("by_steps", "otherwise"), "requirement_then": ("met", "not_met")},
        outcomes={"evidence": ("none", "held", "withdrawn")},
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
    evidence: Table

    def row(self, rule_id: str) -> Row | None:
        """The row with this id, in whichever table; None where no table has it."""
        return next((row for table in self for row in table.rows if row.rule_id == rule_id), None)


class _UniqueKeys(yaml.CSafeLoader):
    """YAML lets the last of two equal keys win; a table with two has a mistake in it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) < len(keys):
            key = next(key for key in keys if keys.count(key) > 1)
            raise yaml.YAMLError(f"the key {key} stands twice{node.start_mark}")
        return super().construct_mapping(node, deep)


def load(text: str, origin: str) -> Table:
    """Read one table from YAML. Raises TableError, naming origin, table, row and combination."""
    try:
        document = bounded_yaml.load(text, _UniqueKeys)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise TableError(f"{origin}: not YAML: {str(error)[:500]}") from None
    name = document.get("table") if isinstance(document, dict) else None
    if not isinstance(name, str) or name not in SHAPES:
        raise TableError(f"{origin}: needs `table:` with one of {', '.join(SHAPES)}")
    where = f"{origin}: table {name}"
    _only(document, {"table", "rows"}, where)
    if not isinstance(document.get("rows"), list):
        raise TableError(f"{where}: needs `rows:`, a list")
    shape = SHAPES[name]
    rows = tuple(_row(shape, raw, f"{where}: row {number}") for number, raw in enumerate(document["rows"], 1))
    lookup = _compile(shape, rows, where)
    if name == "course":
        _check_principles(rows, where)
    if name == "step":
        _check_withdrawn(rows, where)
    if name == "arrival":
        _check_waiting(rows, where)
    return Table(name, rows, lookup)


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
    if not values:
        raise TableError(f"{where}: {name}: an empty list meets nothing; known are {', '.join(domain)} and {ANY}")
    for item in values:
        if item not in domain:
            raise TableError(f"{where}: {name}: unknown value {item!r}; known are {', '.join(domain)} and {ANY}")
    return tuple(values)


ENDS = {"reassigned", "reassigned_keeping_steps", "reassigned_amid_work", "withdrawn"}
"""Only on these may a course table remove a completion."""
OCCURS = {"completed_as_before": "reinstated", "reinstate": "reinstated", "issue_if_granted": "granted"}
"""Outcomes of the course table that make sense on one trigger only."""


def _check_principles(rows: tuple[Row, ...], where: str) -> None:
    """What no course table may do, whatever it says."""
    for row in rows:
        for outcome in row.then.values():
            if outcome in OCCURS and row.when["trigger"] != (OCCURS[outcome],):
                raise TableError(f"{where}: row {row.rule_id}: {outcome}: only on the trigger {OCCURS[outcome]}")
        gives = row.then["certificate"].startswith(("issue", "reinstate"))
        if "incomplete" in row.when["course"] and gives and not row.then["course"].startswith("completed"):
            raise TableError(
                f"{where}: row {row.rule_id}: course = incomplete: a certificate is of a completion: there is none (P1)"
            )
        if "completed" not in row.when["course"]:
            continue
        combination = f"course = completed, trigger = {', '.join(row.when['trigger'])}"
        removes = row.then["course"] == "incomplete" or row.then["certificate"] == "revoke"
        if removes and not ENDS.issuperset(row.when["trigger"]):
            raise TableError(
                f"{where}: row {row.rule_id}: {combination}: only a reassignment may remove a completion (P3)"
            )
        if (row.then["course"] == "incomplete") != (row.then["certificate"] == "revoke"):
            raise TableError(f"{where}: row {row.rule_id}: {combination}: a completion goes with its certificate (P3)")
        issues = row.then["certificate"].startswith("issue") and row.when["certificate"] != ("due",)
        if row.then["course"].startswith("completed") or issues:
            raise TableError(f"{where}: row {row.rule_id}: {combination}: the first completion stands (P1)")


def _check_withdrawn(rows: tuple[Row, ...], where: str) -> None:
    """A step after a withdrawal is as it was counted, and on no other trigger has it been counted yet."""
    for row in rows:
        if ("withdrawn" in row.when["trigger"]) != (row.then["step"] == "as_counted") or (
            row.then["step"] == "as_counted" and len(row.when["trigger"]) > 1
        ):
            raise TableError(f"{where}: row {row.rule_id}: as_counted: on the trigger withdrawn, and on no other")


ONLY_KEPT = {"before_definition", "withdrawal_of_unknown", "withdrawal_again"}
"""What has nothing to be counted by: an arrival table can only keep it."""


def _check_waiting(rows: tuple[Row, ...], where: str) -> None:
    """What no arrival table may do: without a definition, or what it is about, there is nothing to count."""
    for row in rows:
        for fact in row.when["fact"]:
            if fact in ONLY_KEPT and row.then["facts"] != "keep":
                raise TableError(f"{where}: row {row.rule_id}: fact = {fact}: can only be kept")
            if fact == "withdrawal" and row.then["facts"] == "count":
                raise TableError(f"{where}: row {row.rule_id}: fact = {fact}: cannot be counted by itself")


def _compile(shape: Shape, rows: tuple[Row, ...], where: str) -> Mapping[tuple[str, ...], Row]:
    lookup: dict[tuple[str, ...], Row] = {}
    for row in rows:
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
    ids = [row.rule_id for row in rows]
    for rule_id in ids:
        if ids.count(rule_id) > 1:
            raise TableError(f"{where}: row {rule_id}: the id stands twice")
    return lookup


def _spell(shape: Shape, combination: tuple[str, ...]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(shape.conditions, combination, strict=True))


def _shipped(name: str) -> Table:
    file_name = f"{name}.yaml"
    return load(files(__package__).joinpath(file_name).read_text("utf-8"), file_name)


SHIPPED = Tables(*map(_shipped, Tables._fields))
"""The tables that come with this release."""
