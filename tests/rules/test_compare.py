"""Two sets of tables compared on a record's facts: what differs is told, and nothing else."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compare import NO_RULE, compare, rule_pairs
from rules.tables import SHAPES, SHIPPED, TableError, Tables, load
from rules.values import CourseDefinition, Fact, StepDefinition, Timeline, Value, order, timeline
from tests.rules.test_properties import document, facts, timelines

DEFINED = timeline([CourseDefinition(1, "d1", 0, {"e1": StepDefinition("e1", "event", scheduled_minutes=60)})])
ATTENDED = Fact("m1", 1, "attendance", "e1", None, Value("attended", 100))
RESET = Fact("m2", 2, "attendance", "e1", None, Value("minutes", 0))
EQUIVALENCY = Fact("m3", 3, "equivalency")


def candidate(name: str, rule_id: str, **changed: Any) -> Tables:
    """The shipped tables, one row of one of them otherwise."""
    whole = document(name)
    for row in whole["rows"]:
        if row["id"] == rule_id:
            row["id"] = changed.pop("id", rule_id)
            row["then"] |= changed
    return SHIPPED._replace(**{name: load(yaml.safe_dump(whole), "candidate")})


def test_an_outcome_that_differs_is_told_where_it_decides() -> None:
    tables = candidate("step", "step-lost", step="complete")
    (difference,) = compare([ATTENDED, RESET], DEFINED, SHIPPED, tables)
    assert (difference.message_id, difference.changed_at, difference.fact) == ("m2", 2, RESET)
    now, then = difference.now, difference.then
    assert now.rules == ("fact-is-newest", "step-lost", "completion-preserved")
    assert then.rules == ("fact-is-newest", "step-lost", "completion-confirmed")
    assert now.step is not None and then.step is not None
    assert ((now.step.percent, now.step.complete), (then.step.percent, then.step.complete)) == ((0, False), (0, True))
    assert now.course.evidence == then.course.evidence == "withdrawn", "which is judged by what was said"
    assert rule_pairs(difference, SHIPPED, tables) == [("completion-preserved", "completion-confirmed")]


def test_a_completion_that_would_not_be_decided_shows_in_all_that_follows() -> None:
    tables = candidate("course", "completed-by-steps", course="unchanged", certificate="keep")
    first, second, third = compare([ATTENDED, RESET, EQUIVALENCY], DEFINED, SHIPPED, tables)
    assert (first.now.course.status, first.then.course.status) == ("completed", "incomplete")
    assert first.now.certificate is not None and first.then.certificate is None
    assert len(first.now.announced) == 2 and len(first.then.announced) == 1
    assert rule_pairs(first, SHIPPED, tables) == [("completed-by-steps", "completed-by-steps")]
    assert rule_pairs(second, SHIPPED, tables) == [("completion-preserved", "not-yet-completed")]
    assert rule_pairs(third, SHIPPED, tables) == [("first-completion-stands", "completed-by-equivalency")]


def test_a_rule_under_another_id_is_a_difference() -> None:
    tables = candidate("course", "completed-by-steps", id="all-done")
    (difference,) = compare([ATTENDED, RESET], DEFINED, SHIPPED, tables)
    assert difference.now.course == difference.then.course
    assert rule_pairs(difference, SHIPPED, tables) == [("completed-by-steps", "all-done")]


def test_a_sentence_alone_is_no_difference() -> None:
    whole = document("course")
    for row in whole["rows"]:
        row["because"] = "Because."
    tables = SHIPPED._replace(course=load(yaml.safe_dump(whole), "candidate"))
    assert compare([ATTENDED, RESET, EQUIVALENCY], DEFINED, SHIPPED, tables) == []


def test_a_definition_is_compared_when_it_took_effect() -> None:
    longer = {"e1": StepDefinition("e1", "event", scheduled_minutes=90)}
    shorter = {"e1": StepDefinition("e1", "event", scheduled_minutes=60)}
    known = timeline([CourseDefinition(1, "d1", 0, longer), CourseDefinition(2, "d2", 5, shorter)])
    attended = Fact("m1", 1, "attendance", "e1", None, Value("minutes", 60))
    tables = candidate("step", "step-reached-by-definition", step="incomplete")
    (difference,) = compare([attended], known, SHIPPED, tables)
    assert (difference.message_id, difference.changed_at, difference.fact) == ("d2", 5, None)
    assert (difference.now.course.status, difference.then.course.status) == ("completed", "incomplete")
    assert rule_pairs(difference, SHIPPED, tables) == [("completed-by-steps", "not-yet-completed")]


def test_a_fact_that_would_only_be_kept_is_a_difference() -> None:
    tables = candidate("arrival", "fact-is-newest", facts="keep")
    (difference,) = compare([ATTENDED], DEFINED, SHIPPED, tables)
    assert difference.then.rules == ("fact-is-newest",)
    assert difference.then.announced == ()
    assert rule_pairs(difference, SHIPPED, tables) == [
        ("step-reached", NO_RULE),
        ("completed-by-steps", NO_RULE),
    ]


def in_order(arriving: list[Fact]) -> list[Fact]:
    """As a record has them."""
    return sorted(arriving, key=order)


@pytest.mark.full
@settings(max_examples=300, deadline=None)
@given(facts(), timelines())
def test_the_same_tables_never_differ(arriving: list[Fact], known: Timeline) -> None:
    assert compare(in_order(arriving), known, SHIPPED, SHIPPED) == []
    assert compare(in_order(arriving), (), SHIPPED, SHIPPED) == []


@st.composite
def candidates(draw: st.DrawFn) -> Tables:
    """The shipped tables with outcomes changed at random, as far as they are not refused."""
    name = draw(st.sampled_from(sorted(SHAPES)))
    whole = document(name)
    for row in draw(st.lists(st.sampled_from(whole["rows"]), min_size=1, max_size=3)):
        outcome, domain = draw(st.sampled_from(sorted(SHAPES[name].outcomes.items())))
        row["then"][outcome] = draw(st.sampled_from(domain))
    try:
        return SHIPPED._replace(**{name: load(yaml.safe_dump(whole), "candidate")})
    except TableError:
        return SHIPPED


@pytest.mark.full
@settings(max_examples=400, deadline=None)
@given(facts(), timelines(), candidates())
def test_whatever_is_not_refused_can_be_compared_either_way_round(
    arriving: list[Fact], known: Timeline, tables: Tables
) -> None:
    there = compare(in_order(arriving), known, SHIPPED, tables)
    back = compare(in_order(arriving), known, tables, SHIPPED)
    assert [(one.message_id, one.now, one.then) for one in there] == [(b.message_id, b.then, b.now) for b in back]
    assert {one.message_id for one in there} <= {f.message_id for f in arriving} | {d.message_id for d in known}
    assert all(rule_pairs(one, SHIPPED, tables) for one in there)
