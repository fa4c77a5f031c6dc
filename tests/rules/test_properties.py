"""What must hold of deciding whatever the facts and the order of their arrival (rules/README.md, Beyond the tables)."""

from fractions import Fraction
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rules.decide import MessageIdReused, decide, redecide
from rules.requirement import measure
from rules.tables import SHIPPED, TableError, load
from rules.values import (
    Change,
    CourseChange,
    CourseDefinition,
    Fact,
    FactKind,
    GrantedCertificate,
    Group,
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
    st.sampled_from([Value("attended", 0), Value("attended", 100), Value("excused", 0)]),
)
Said = tuple[FactKind, str, str | None, Value]
attendances: st.SearchStrategy[Said] = st.tuples(
    st.just("attendance"), st.sampled_from(STEPS), st.sampled_from((None, *SESSIONS)), values
)
progresses: st.SearchStrategy[Said] = st.tuples(
    st.just("progress"), st.sampled_from(STEPS), st.none(), st.builds(Value, st.just("percent"), st.integers(0, 100))
)
granted_steps: st.SearchStrategy[Said] = st.tuples(
    st.just("equivalency"), st.sampled_from(STEPS), st.none(), st.just(Value("granted", 100))
)
values_of_steps = st.one_of(attendances, attendances, attendances, progresses, granted_steps)
CERTIFICATES: tuple[GrantedCertificate, ...] = ("issue", "none", "as_awarded")
REASSIGNMENTS = ("r0", "r1", "r2")


@st.composite
def fact(draw: st.DrawFn, message_id: str) -> Fact:
    """Of any kind but a reassignment, which have ids that can be withdrawn."""
    at = draw(st.integers(0, LAST))
    sort = draw(st.sampled_from(("value", "value", "value", "value", "equivalency", "granted", "withdrawn")))
    match sort:
        case "value":
            kind, step_id, session_id, value = draw(values_of_steps)
            return Fact(message_id, at, kind, step_id, session_id, value)
        case "equivalency":
            return Fact(message_id, at, "equivalency")
        case "granted":
            certificate = draw(st.sampled_from(CERTIFICATES))
            return Fact(message_id, at, "granted", certificate=certificate)
        case _:
            return Fact(message_id, at, "withdrawn", withdraws=draw(st.sampled_from((*REASSIGNMENTS, "unknown"))))


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    """Up to a dozen facts in any order of arrival, each with an id of its own."""
    made = [draw(fact(f"m{number}")) for number in range(draw(st.integers(0, 9)))]
    made += [
        Fact(message_id, draw(st.integers(0, LAST)), "reassigned", keeps=draw(st.booleans()))
        for message_id in REASSIGNMENTS[: draw(st.sampled_from((0, 0, 1, 1, 2, 3)))]
    ]
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
        flags = [draw(st.booleans()) for _ in range(3)]
        versions.append(
            CourseDefinition(
                version,
                f"d{version}",
                draw(st.integers(0, LAST)),
                steps,
                flags[0],
                flags[1],
                certificate_after_equivalency=flags[2],
                valid_for=draw(st.sampled_from((None, (0, 1, 0)))),
                groups=draw(groups(steps)),
            )
        )
    return timeline(versions)


@st.composite
def groups(draw: st.DrawFn, steps: dict[str, StepDefinition]) -> tuple[Group, ...]:
    """None or one, of the steps that are not required."""
    optional = tuple(step_id for step_id, step in steps.items() if not step.required)
    if not optional or draw(st.booleans()):
        return ()
    return (Group("g", optional, draw(st.integers(1, len(optional)))),)


def arrive(arriving: list[Fact], known: Timeline) -> tuple[Record, list[Change]]:
    """The record and all changes after facts arrived in this order."""
    record = Record()
    announced: list[Change] = []
    for fact in arriving:
        record, changes = decide(record, fact, known, 0)
        announced += changes
    return record, announced


def _earned(record: Record) -> tuple[int | None, str | None]:
    """When and by what: of two grants at one instant the first to arrive stands, with its choice of certificate."""
    cause = record.standing.course_cause
    return record.standing.course.completed_at, cause.message_id if cause else None


def shown(record: Record) -> dict[str, tuple[int, bool]]:
    """Every step that is not at its beginning."""
    steps = {name: (step.percent, step.complete) for name, step in record.standing.steps.items()}
    return {name: step for name, step in steps.items() if step != (0, False)}


@pytest.mark.long
@given(facts(), timelines(), st.data())
def test_steps_and_attempt_end_the_same_for_every_order_of_arrival(
    arriving: list[Fact], known: Timeline, data: st.DataObject
) -> None:
    again = data.draw(st.permutations(arriving))
    one, other = arrive(arriving, known)[0], arrive(again, known)[0]
    assert shown(one) == shown(other)
    assert one.attempt == other.attempt
    assert list(one.facts) == list(other.facts) == [fact.message_id for fact in sorted(arriving, key=order)]


@pytest.mark.long
@given(facts(), timelines())
def test_a_completion_is_taken_back_only_by_a_reassignment_or_its_withdrawal(
    arriving: list[Fact], known: Timeline
) -> None:
    record, stands, certificates = Record(), False, set[int]()
    for fact in arriving:
        record, changes = decide(record, fact, known, 0)
        for change in changes:
            what = change.what
            if not isinstance(what, CourseChange):
                continue
            assert what.was_completed == stands
            stands = what.course.completed_via is not None
            if what.was_completed and not stands:
                assert record.facts[change.cause.message_id].kind in ("reassigned", "withdrawn")
                assert what.certificate_action in ("revoke", "none")
            match what.certificate_action:
                case "issue":
                    assert what.certificate_attempt == record.attempt
                    assert not certificates, "one learner, one valid certificate"
                    certificates.add(what.certificate_attempt)
                case "revoke":
                    certificates.remove(what.certificate_attempt or 0)
                case "reinstate":
                    assert record.facts[change.cause.message_id].kind == "withdrawn"
                    assert not certificates, "one learner, one valid certificate"
                    certificates.add(what.certificate_attempt or 0)
        standing = record.standing
        assert (standing.course.completed_via is not None) == stands
        valid = {standing.certificate.attempt} if standing.certificate and standing.is_certified else set()
        assert valid == certificates


@pytest.mark.long
@given(facts(), timelines())
def test_what_is_completed_in_order_of_time_is_completed_in_every_order(arriving: list[Fact], known: Timeline) -> None:
    """But for late values that were overridden; the other way round, what was announced cannot be unsaid."""
    in_time, _ = redecide(arrive(sorted(arriving, key=order), ())[0], known, 0)
    record = arrive(arriving, known)[0]
    if in_time.standing.course.completed_via is not None and not record.overridden:
        assert record.standing.course.completed_via is not None
    if record.standing.course.completed_via is None:
        assert not record.standing.is_certified
    elif _earned(in_time) == _earned(record):
        assert record.standing.is_certified >= in_time.standing.is_certified or record.overridden


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
@given(facts(), timelines())
def test_deciding_again_under_a_known_definition_changes_nothing(arriving: list[Fact], known: Timeline) -> None:
    record, _ = redecide(arrive(arriving, known)[0], known, 0)
    for older in range(len(known) + 1):
        again, changes = redecide(record, known[:older], 1)
        assert again is record
        assert not changes


@pytest.mark.long
@given(step_definitions("e1"), st.none() | values, st.dictionaries(st.sampled_from(SESSIONS), values))
def test_percent_against_exact_fractions(step: StepDefinition, base: Value | None, sessions: dict[str, Value]) -> None:
    percent, verdict, _ = measure(step, base, sessions)
    places: dict[str | None, int] = {None: step.scheduled_minutes}
    if step.sessions:
        places = dict(step.sessions.items())
    counting = {place: sessions.get(place or "", base) for place in places}
    known = {*step.sessions, *step.cancelled} if step.sessions else set()
    if (
        base is None
        and any(value.amount or value.unit == "excused" for value in sessions.values())
        and not known & sessions.keys()
    ):
        assert verdict == "undecidable", "the sessions are gone, or none takes place"
        return
    if not step.scheduled_minutes and base is not None and base.unit == "minutes" and base.amount:
        assert verdict == "undecidable"
        return
    counting = {place: value for place, value in counting.items() if value is None or value.unit != "excused"}
    if not counting:
        assert (percent, verdict) == (0, "excused")
        return

    def share(place: str | None) -> Fraction:
        value, minutes = counting[place], places[place]
        if value is None:
            return Fraction(0)
        if value.unit != "minutes":
            return Fraction(value.amount, 100)
        whole = minutes if place in sessions else step.scheduled_minutes
        return min(Fraction(value.amount, whole or 1), Fraction(1))

    whole = sum(places[place] or 1 for place in counting)
    exact = sum(share(place) * (places[place] or 1) for place in counting) / whole * 100
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
