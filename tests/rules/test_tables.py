"""What a decision table must be, and that the docs show the ones that decide."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from rules.render import replaced
from rules.tables import SHIPPED, TableError, load
from tests.rules.test_properties import document

PAGE = Path(__file__).parents[2] / "rules" / "README.md"
Document = dict[str, Any]


ROWS = [row.rule_id for row in SHIPPED.course.rows]


def row(rule_id: str) -> int:
    """Where a row of the course table stands."""
    return ROWS.index(rule_id)


def set_in(path: tuple[Any, ...], value: object) -> Callable[[Document], None]:
    """A change to a document."""

    def change(whole: Document) -> None:
        target: Any = whole
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value

    return change


REFUSED = {
    "unknown table": (set_in(("table",), "steps"), "needs `table:` with one of"),
    "unknown name at the top": (set_in(("hit",), "first"), "unknown name hit"),
    "rows are no list": (set_in(("rows",), {}), "needs `rows:`, a list"),
    "a row is no mapping": (set_in(("rows", 0), "x"), "row 1: must be a mapping"),
    "no id": (set_in(("rows", 0, "id"), None), "row 1: needs `id:`"),
    "the id twice": (set_in(("rows", 1, "id"), "reassignment-removes-completion"), "the id stands twice"),
    "a condition that nothing meets": (
        set_in(("rows", 0, "when", "trigger"), []),
        "trigger: an empty list meets nothing",
    ),
    "completed twice": (
        set_in(("rows", row("completion-confirmed"), "then", "course"), "completed_via_steps"),
        "row completion-confirmed: course = completed, trigger = step, definition: the first completion stands",
    ),
    "no sentence": (
        set_in(("rows", 0, "because"), " "),
        r"row 1 \(reassignment-removes-completion\): needs `because:`",
    ),
    "unknown source": (set_in(("rows", 0, "source"), ["P9"]), "needs `source:`"),
    "unknown condition": (set_in(("rows", 0, "when", "mood"), "good"), "when: unknown name mood"),
    "unknown outcome": (set_in(("rows", 0, "then", "mail"), "send"), "then: unknown name mail"),
    "unknown value": (set_in(("rows", 0, "when", "trigger"), "whim"), "trigger: unknown value 'whim'"),
    "unknown result": (set_in(("rows", 0, "then", "course"), "gone"), "course: unknown outcome 'gone'"),
    "missing condition": (set_in(("rows", 0, "when"), {"course": "completed"}), "needs `when:` with trigger"),
    "a step takes the completion away": (
        set_in(("rows", row("completion-preserved"), "then", "course"), "incomplete"),
        "row completion-preserved: course = completed, trigger = step, definition: only a reassignment may remove",
    ),
    "a step revokes the certificate": (
        set_in(("rows", row("completion-preserved"), "then", "certificate"), "revoke"),
        "row completion-preserved: course = completed, trigger = step, definition: only a reassignment may remove",
    ),
    "a completion goes and its certificate stays": (
        set_in(("rows", row("reassignment-removes-completion"), "then", "certificate"), "keep"),
        "row reassignment-removes-completion: .*: a completion goes with its certificate",
    ),
    "a certificate of nothing": (
        set_in(("rows", row("not-yet-completed"), "then", "certificate"), "issue"),
        "row not-yet-completed: course = incomplete: a certificate is of a completion",
    ),
    "a certificate that is not due": (
        set_in(("rows", row("completion-confirmed"), "then", "certificate"), "issue"),
        "row completion-confirmed: course = completed, trigger = step, definition: the first completion stands",
    ),
    "reinstated by a step": (
        set_in(("rows", row("completed-by-steps"), "then", "certificate"), "reinstate"),
        "row completed-by-steps: reinstate: only on the trigger reinstated",
    ),
    "granted by a step": (
        set_in(("rows", row("completed-by-steps"), "then", "certificate"), "issue_if_granted"),
        "row completed-by-steps: issue_if_granted: only on the trigger granted",
    ),
}

REFUSED_ELSEWHERE = [
    ("step", "step-stands-again", {"step": "complete"}, "as_counted: on the trigger withdrawn, and on no other"),
    ("step", "step-reached", {"step": "as_counted"}, "as_counted: on the trigger withdrawn, and on no other"),
    ("arrival", "course-not-defined", {"facts": "count"}, "fact = before_definition: can only be kept"),
    ("arrival", "withdrawal-waits", {"facts": "count_again"}, "fact = withdrawal_of_unknown: can only be kept"),
    ("arrival", "withdrawn-already", {"facts": "count"}, "fact = withdrawal_again: can only be kept"),
    ("arrival", "withdrawal-counts", {"facts": "count"}, "fact = withdrawal: cannot be counted by itself"),
]


@pytest.mark.parametrize(("table", "rule_id", "then", "says"), REFUSED_ELSEWHERE)
def test_outcomes_that_make_no_sense_are_refused(table: str, rule_id: str, then: Document, says: str) -> None:
    whole = deepcopy(document(table))
    next(row for row in whole["rows"] if row["id"] == rule_id)["then"] |= then
    with pytest.raises(TableError, match=f"row {rule_id}: {says}"):
        load(yaml.safe_dump(whole), "candidate.yaml")


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED)
def test_refused_with_table_and_row(change: Callable[[Document], None], says: str) -> None:
    whole = deepcopy(document("course"))
    load(yaml.safe_dump(whole), "candidate.yaml")
    change(whole)
    with pytest.raises(TableError, match=says) as refused:
        load(yaml.safe_dump(whole), "candidate.yaml")
    assert str(refused.value).startswith("candidate.yaml: ")


NO_TABLES = [
    "{",
    "- a",
    "",
    "5",
    "a: &a [*a]",
    "table: [course]",
    "table: {a: 1}",
    "table: course\ntable: step\nrows: []",
    "table: course\nrows: [{id: 2001-99-99}]",
    "table: course\nrows: [!!int abc]",
    "table: course\n? [a, b]\n: c",
    "[" * 2000,
]


@pytest.mark.parametrize("text", NO_TABLES)
def test_not_a_table(text: str) -> None:
    with pytest.raises(TableError, match="candidate: "):
        load(text, "candidate")


def test_every_rule_id_is_used_once_over_all_tables() -> None:
    ids = [row.rule_id for table in SHIPPED for row in table.rows]
    assert len(ids) == len(set(ids))


def test_the_readme_shows_the_tables_of_today() -> None:
    """Stale? `make docs` writes it again."""
    page = PAGE.read_text("utf-8")
    assert page == replaced(page)
    assert [
        row.rule_id for table in SHIPPED for row in table.rows if f"| {row.because} | {row.rule_id} (" not in page
    ] == []
