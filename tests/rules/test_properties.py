"""What must hold of deciding whatever the facts and the order of their arrival (domain.md, Disorder)."""

from fractions import Fraction
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.decide import MessageIdReused, decide, redecide
from rules.requirement import measure
from rules.tables import SHIPPED, TableError, load
from rules.values import (
    Change,
    CourseChange,
    CourseDefinition,
    Fact,
    Record,
    StepChange,
    StepDefinition,
    Timeline,
    Value,
    order,
    timeline,
)

STEPS = ("e1", "e2", "o1")
SESSIONS = ("s1", "s2", "s3")
LAST = 12
values = st.one_of(
    st.builds(Value, st.just("minutes"), st.integers(0, 100)),
    st.builds(Value, st.just("percent"), st.integers(0, 100)),
    st.sampled_from([Value("attended", 0), Value("attended", 100)]),
)
attendances = st.tuples(st.just("attendance"), st.sampled_from(STEPS), st.sampled_from((None, *SESSIONS)), values)
progresses = st.tuples(
    st.just("progress"), st.sampled_from(STEPS), st.none(), st.builds(Value, st.just("percent"), st.integers(0, 100))
)
others = st.tuples(st.sampled_from(("equivalency", "reassigned")), st.none(), st.none(), st.none())
kinds = st.one_of(attendances, attendances, attendances, progresses, others)


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    """Up to ten facts in any order of arrival, each with an id of its own."""
    drawn = draw(st.lists(st.tuples(st.integers(0, LAST), kinds), max_size=10))
    made = [Fact(f"m{number}", at, *kind) for number, (at, kind) in enumerate(drawn)]
    return draw(st.permutations(made))


@st.composite
def step_definitions(draw: st.DrawFn, step_id: str) -> StepDefinition:
    """A step with or without a schedule, with or without sessions."""
    minutes = draw(st.dictionaries(st.sampled_from(SESSIONS), st.integers(1, 90)))
    scheduled = sum(minutes.values()) or draw(st.sampled_from((0, 1, 60, 77)))
    cancelled = frozenset(draw(st.sets(st.sampled_from(SESSIONS)))) - set(minutes)
    threshold = draw(st.sampled_from((1, 50, 80, 100)))
    return StepDefinition(step_id, "event", draw(st.booleans()), threshold, scheduled, minutes, cancelled)


@st.composite
def timelines(draw: st.DrawFn, most: int = 3) -> Timeline:
    """One to three versions."""
    versions = []
    for version in range(1, draw(st.integers(1, most)) + 1):
        step_ids = draw(st.sets(st.sampled_from(STEPS), min_size=1))
        steps = {step_id: draw(step_definitions(step_id)) for step_id in sorted(step_ids)}
        at = draw(st.integers(0, LAST))
        versions.append(CourseDefinition(version, f"d{version}", at, steps, draw(st.booleans()), draw(st.booleans())))
    return timeline(versions)


def arrive(arriving: list[Fact], known: Timeline) -> tuple[Record, list[Change]]:
    """The record and all changes after facts arrived in this order."""
    record = Record()
    announced: list[Change] = []
    for fact in arriving:
        record, changes = decide(record, fact, known, 0)
        announced += changes
    return record, announced


def shown(record: Record) -> dict[str, tuple[int, bool]]:
    """Every step that is not at its beginning."""
    steps = {name: (step.percent, step.complete) for name, step in record.standing.steps.items()}
    return {name: step for name, step in steps.items() if step != (0, False)}


@settings(max_examples=400)
@given(facts(), timelines(), st.data())
def test_steps_and_attempt_end_the_same_for_every_order_of_arrival(
    arriving: list[Fact], known: Timeline, data: st.DataObject
) -> None:
    again = data.draw(st.permutations(arriving))
    one, other = arrive(arriving, known)[0], arrive(again, known)[0]
    assert shown(one) == shown(other)
    assert one.attempt == other.attempt
    assert list(one.facts) == list(other.facts) == [fact.message_id for fact in sorted(arriving, key=order)]


@settings(max_examples=400)
@given(facts(), timelines())
def test_a_completion_is_taken_back_only_by_a_reassignment_later_in_time(arriving: list[Fact], known: Timeline) -> None:
    record, completed_at = Record(), None
    for fact in arriving:
        record, changes = decide(record, fact, known, 0)
        for change in changes:
            if not isinstance(change.what, CourseChange):
                continue
            if change.what.completed_via is not None:
                assert completed_at is None, "completed twice without a reassignment between"
                completed_at = change.what.completed_at
            else:
                taken_by = record.facts[change.cause.message_id]
                assert taken_by.kind == "reassigned"
                assert completed_at is not None
                assert taken_by.changed_at >= completed_at
                completed_at = None
        assert record.standing.course.completed_at == completed_at


@settings(max_examples=150)
@given(facts(), timelines(), st.data())
def test_duplicates_change_nothing(arriving: list[Fact], known: Timeline, data: st.DataObject) -> None:
    record, _ = arrive(arriving, known)
    for fact in arriving:
        again, changes = decide(record, fact, known, 99)
        assert again is record
        assert not changes
    if arriving:
        fact = data.draw(st.sampled_from(arriving))
        other = Fact(fact.message_id, fact.changed_at + 1, fact.kind, fact.step_id, fact.session_id, fact.value)
        with pytest.raises(MessageIdReused):
            decide(record, other, known, 99)


@settings(max_examples=150)
@given(facts(), timelines())
def test_changes_are_numbered_without_gap_and_join_up(arriving: list[Fact], known: Timeline) -> None:
    assert_joined_up(*arrive(arriving, known))


def assert_joined_up(record: Record, announced: list[Change]) -> None:
    """What was announced adds up to how the record stands."""
    assert [change.sequence for change in announced] == list(range(1, record.sequence + 1))
    steps: dict[str, tuple[int, bool]] = {}
    for change in announced:
        if isinstance(change.what, StepChange):
            what = change.what
            assert steps.get(what.step_id, (0, False)) == (what.previous_percent, what.previously_complete)
            steps[what.step_id] = what.percent, what.complete
    stands = {name: step for name, step in shown(record).items() if record.standing.steps[name].kind is not None}
    assert {name: step for name, step in steps.items() if step != (0, False)} == stands


@settings(max_examples=150)
@given(facts(), timelines(most=1))
def test_in_order_and_all_at_once_give_the_same(arriving: list[Fact], known: Timeline) -> None:
    """Facts that waited for their definition end as they would have ended had it been there from the start."""
    in_order = sorted(arriving, key=order)
    at_once, _ = redecide(arrive(in_order, ())[0], known, 0)
    one_by_one, _ = arrive(in_order, known)
    assert shown(at_once) == shown(one_by_one)
    at_once_course, one_by_one_course = at_once.standing.course, one_by_one.standing.course
    assert at_once_course.completed_via == one_by_one_course.completed_via
    assert at_once_course.completed_at == one_by_one_course.completed_at
    assert at_once_course.evidence == one_by_one_course.evidence
    assert at_once.attempt == one_by_one.attempt


@settings(max_examples=400)
@given(facts(), timelines(), st.data())
def test_definitions_may_come_in_between(arriving: list[Fact], known: Timeline, data: st.DataObject) -> None:
    """Changes join up, and steps end the same, wherever among the facts the definitions arrive."""

    def live(order_of_arrival: list[int]) -> tuple[Record, list[Change]]:
        record, versions = Record(), 0
        announced: list[Change] = []
        coming = iter(arriving)
        for turn in order_of_arrival:
            if turn:
                versions += 1
                record, changes = redecide(record, known[:versions], 0)
            else:
                record, changes = decide(record, next(coming), known[:versions], 0)
            announced += changes
        return record, announced

    turns = [0] * len(arriving) + [1] * len(known)
    records = []
    for _ in range(2):
        record, announced = live(data.draw(st.permutations(turns)))
        assert_joined_up(record, announced)
        records.append(record)
    assert shown(records[0]) == shown(records[1])
    assert records[0].attempt == records[1].attempt


@settings(max_examples=150)
@given(facts(), timelines())
def test_deciding_again_under_a_known_definition_changes_nothing(arriving: list[Fact], known: Timeline) -> None:
    record, _ = redecide(arrive(arriving, known)[0], known, 0)
    for older in range(len(known) + 1):
        again, changes = redecide(record, known[:older], 1)
        assert again is record
        assert not changes


@settings(max_examples=400)
@given(step_definitions("e1"), st.none() | values, st.dictionaries(st.sampled_from(SESSIONS), values))
def test_percent_against_exact_fractions(step: StepDefinition, base: Value | None, sessions: dict[str, Value]) -> None:
    percent, verdict, _ = measure(step, base, sessions)
    counted = {name: value for name, value in sessions.items() if name in step.sessions}
    if base is not None and base.unit == "minutes" and base.amount and not step.scheduled_minutes:
        assert verdict == "undecidable"
        return
    share = Fraction(0)
    if base is not None:
        whole = (step.scheduled_minutes if base.unit == "minutes" else 0) or 100
        share = min(Fraction(base.amount, whole), Fraction(1))
    attended = Fraction(0)
    for name, minutes in step.sessions.items():
        value = counted.get(name)
        if value is None:
            attended += share * minutes
        elif value.unit == "minutes":
            attended += min(value.amount, minutes)
        else:
            attended += Fraction(value.amount, 100) * minutes
    exact = attended / step.scheduled_minutes * 100 if step.sessions else share * 100
    assert percent == exact.__floor__()
    assert verdict == ("met" if exact >= step.threshold_percent else "not_met")


TABLES = {table.name: table for table in SHIPPED}


def document(name: str) -> dict[str, Any]:
    """A shipped table as YAML would have it."""
    rows = [
        {
            "id": row.rule_id,
            "when": {condition: list(domain) for condition, domain in row.when.items()},
            "then": dict(row.then),
            "because": row.because,
            "source": list(row.source),
        }
        for row in TABLES[name].rows
    ]
    return {"table": name, "rows": rows}


@given(st.sampled_from(sorted(TABLES)), st.data())
def test_a_table_with_a_row_removed_or_doubled_is_refused(name: str, data: st.DataObject) -> None:
    whole = document(name)
    load(yaml.safe_dump(whole), "whole")
    number = data.draw(st.integers(0, len(whole["rows"]) - 1))
    row = whole["rows"][number]
    removed = {**whole, "rows": [*whole["rows"][:number], *whole["rows"][number + 1 :]]}
    with pytest.raises(TableError, match=f"table {name}: no row meets .* = "):
        load(yaml.safe_dump(removed), "candidate")
    doubled = {**whole, "rows": [*whole["rows"], {**row, "id": "again"}]}
    with pytest.raises(TableError, match=f"table {name}: rows {row['id']} and again both meet .* = "):
        load(yaml.safe_dump(doubled), "candidate")
    doubled = {**whole, "rows": [*whole["rows"], row]}
    with pytest.raises(TableError, match=f"table {name}: rows {row['id']} and {row['id']} both meet .* = "):
        load(yaml.safe_dump(doubled), "candidate")
