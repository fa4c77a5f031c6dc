"""Places facts and definitions in a record, in whatever order they arrive, and says what changed (domain.md, Disorder).

`decide` takes one fact, `redecide` one newer definition. Both return the record as it is then and the changes to be
announced. A completion once decided is carried in the record's standing, so counting again never takes it away.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from rules.fold import count, redefine, start_again
from rules.tables import SHIPPED, Tables
from rules.values import (
    Certificate,
    Change,
    CourseChange,
    CourseDefinition,
    Decision,
    Fact,
    Instant,
    Order,
    Record,
    Standing,
    StepChange,
    Timeline,
    order,
)

KEPT_DECISIONS = 64
"""The newest decisions stay with the record, so that it stays small."""

Decided = tuple[Record, tuple[Change, ...]]
"""The record after deciding, and what to announce. The same record object means: nothing happened."""

NOTHING: tuple[Change, ...] = ()


class MessageIdReused(Exception):
    """The message id is known with other content: the sender must send the new content under an id of its own."""


def decide(record: Record, fact: Fact, timeline: Timeline, decided_at: Instant, tables: Tables = SHIPPED) -> Decided:
    """Fold one fact into a record. A duplicate changes nothing. Raises MessageIdReused."""
    known = record.facts.get(fact.message_id)
    if known is not None:
        if known != fact:
            raise MessageIdReused
        return record, NOTHING
    assert record.definition_version <= (timeline[-1].version if timeline else 0), (
        "the timeline is older than the record"
    )
    place = fact.changed_at, fact.message_id
    arrival = tables.arrival.lookup[_arrival(record, fact, place, timeline),]
    attempt, reassigned = record.attempt, record.reassigned
    if fact.kind == "reassigned":
        attempt += 1
        reassigned = place if reassigned is None else max(place, reassigned)
    facts = {**record.facts, fact.message_id: fact}
    latest = record.latest
    if latest is None or place > latest:
        latest = place
    else:
        facts = {known.message_id: known for known in sorted(facts.values(), key=order)}
    before, version, overridden = record.standing, record.definition_version, record.overridden
    between, after, course_rule = None, before, None
    counts = arrival.then["facts"]
    if counts == "count":
        version = timeline[-1].version
        after, course_rule = count(before, fact, timeline[-1], attempt, tables)
    elif counts == "count_again":
        version = timeline[-1].version
        counted = _count_again(Record(attempt, before, facts, latest, reassigned, overridden), timeline, tables)
        between, after, overridden = counted.between, counted.after, counted.overridden
        course_rule = counted.spoken.get(fact.message_id)
    elif arrival.rule_id == "fact-is-overridden":
        overridden = overridden | {fact.message_id}
    changes = _changes(before, between, after, record.sequence, attempt, decided_at)
    step_id = fact.step_id
    decision = Decision(
        fact.message_id,
        fact.changed_at,
        decided_at,
        timeline[-1].version if timeline else 0,
        arrival.rule_id,
        step_id,
        None if step_id is None else before.steps.get(step_id),
        None if step_id is None else after.steps.get(step_id),
        before.course,
        after.course,
        course_rule,
        changes,
    )
    decisions = (*record.decisions[1 - KEPT_DECISIONS :], decision)
    sequence = record.sequence + len(changes)
    return (
        Record(attempt, after, facts, latest, reassigned, overridden, version, sequence, decisions),
        changes,
    )


def redecide(record: Record, timeline: Timeline, decided_at: Instant, tables: Tables = SHIPPED) -> Decided:
    """Decide a record again under the newest definition. One that it knows already changes nothing."""
    if not timeline or record.definition_version >= timeline[-1].version or not record.facts:
        return record, NOTHING
    arrival = tables.arrival.lookup["new_definition",]
    before, newest = record.standing, timeline[-1]
    counted = _count_again(record, timeline, tables)
    after = counted.after
    changes = _changes(before, counted.between, after, record.sequence, record.attempt, decided_at)
    decision = Decision(
        newest.message_id,
        newest.effective_at,
        decided_at,
        newest.version,
        arrival.rule_id,
        None,
        None,
        None,
        before.course,
        after.course,
        counted.spoken.get(newest.message_id),
        changes,
    )
    decided = Record(
        record.attempt,
        after,
        record.facts,
        record.latest,
        record.reassigned,
        counted.overridden,
        newest.version,
        record.sequence + len(changes),
        (*record.decisions[1 - KEPT_DECISIONS :], decision),
    )
    return decided, changes


def _arrival(record: Record, fact: Fact, place: Order, timeline: Timeline) -> str:
    if record.reassigned is not None and place < record.reassigned:
        return "of_earlier_attempt"
    late = record.latest is not None and place < record.latest
    if late and _is_overridden(record, fact, place):
        return "overridden"
    if not timeline:
        return "before_definition"
    newest = timeline[-1]
    if late or (len(timeline) > 1 and fact.changed_at < newest.effective_at):
        return "late"
    known = not record.facts or record.definition_version == newest.version
    return "newest" if known else "new_definition"


def _is_overridden(record: Record, fact: Fact, place: Order) -> bool:
    """A later known value replaces this one wholly; not while something said of the step cannot be decided."""
    if fact.step_id is None:
        return False
    step = record.standing.steps.get(fact.step_id)
    if step is not None and step.unresolved:
        return False
    return any(
        known.step_id == fact.step_id and known.session_id in (None, fact.session_id) and order(known) > place
        for known in record.facts.values()
    )


class _Counted(NamedTuple):
    """A standing counted again, from the reassignment that started the attempt (`between`, None in a first one)."""

    between: Standing | None
    after: Standing
    spoken: Mapping[str, str]
    """The course row that spoke on each message."""
    overridden: frozenset[str]


def _count_again(record: Record, timeline: Timeline, tables: Tables) -> _Counted:
    """Count the current attempt's facts and definitions again, in order of time, each under the definition of its time.

    The course completion and the certificate are carried along: they were announced. A step stays as it was while it
    cannot be decided, and then what it was depends on facts that a later one had overridden: those count after all.
    """
    counted = _count_all(record, timeline, tables)
    undecided = {step_id for step_id, step in counted.after.steps.items() if step.unresolved}
    restored = {message_id for message_id in record.overridden if record.facts[message_id].step_id in undecided}
    if restored:
        counted = _count_all(replace(record, overridden=record.overridden - restored), timeline, tables)
    return counted


def _count_all(record: Record, timeline: Timeline, tables: Tables) -> _Counted:
    before, start, attempt = record.standing, record.reassigned, record.attempt
    standing = Standing({}, before.course, before.certificate)
    definition, between = timeline[0], None
    spoken: dict[str, str] = {}
    if start is not None:
        definition = [timeline[0], *(later for later in timeline[1:] if _begins(later) < start)][-1]
        between, spoken[start[1]] = start_again(before, record.facts[start[1]], definition, attempt, tables)
        standing = between
    following = [later for later in timeline[1:] if later.version > definition.version]
    for item in _in_order_of_time(record, following, start):
        if isinstance(item, CourseDefinition):
            definition = item
            standing, spoken[item.message_id] = redefine(standing, definition, attempt, tables)
        else:
            standing, spoken[item.message_id] = count(standing, item, definition, attempt, tables)
    return _Counted(between, _known_kinds(before, standing), spoken, record.overridden)


def _known_kinds(before: Standing, after: Standing) -> Standing:
    """A step announced before stays one, though no definition of its facts' times has it."""
    lost = {
        step_id: replace(step, kind=before.steps[step_id].kind)
        for step_id, step in after.steps.items()
        if step.kind is None and step_id in before.steps
    }
    return replace(after, steps={**after.steps, **lost}) if lost else after


def _begins(definition: CourseDefinition) -> Order:
    """A definition comes before the facts of the same instant: it is in force from there on."""
    return definition.effective_at, ""


def _in_order_of_time(
    record: Record, definitions: list[CourseDefinition], start: Order | None
) -> Iterator[Fact | CourseDefinition]:
    number = 0
    for fact in record.facts.values():
        place = order(fact)
        if (start is not None and place <= start) or fact.message_id in record.overridden:
            continue
        while number < len(definitions) and _begins(definitions[number]) < place:
            yield definitions[number]
            number += 1
        yield fact
    yield from definitions[number:]


def _changes(
    old: Standing, between: Standing | None, new: Standing, sequence: int, attempt: int, decided_at: Instant
) -> tuple[Change, ...]:
    """What differs, to be announced in this order: steps, then the course, which may fall and rise again."""
    if new is old:
        return NOTHING
    changes = []
    for step_id, step in new.steps.items():
        before = old.steps.get(step_id)
        if before is step or step.kind is None:
            continue
        percent, complete = (0, False) if before is None else (before.percent, before.complete)
        if step.percent != percent or step.complete != complete:
            sequence += 1
            what = StepChange(step_id, step.kind, step.percent, percent, step.complete, complete, new.course)
            changes.append(Change(sequence, attempt, step.cause, decided_at, what))
    if old.course is not new.course:
        at = old
        for standing in (new,) if between is None else (between, new):
            cause = standing.course.cause
            if cause is not None and standing.course.status != at.course.status:
                sequence += 1
                what_course = _course_change(standing, at.certificate)
                changes.append(Change(sequence, attempt, cause, decided_at, what_course))
                at = standing
    return tuple(changes)


def _course_change(standing: Standing, before: Certificate | None) -> CourseChange:
    course, certificate = standing.course, standing.certificate
    if certificate is None or certificate == before:
        return CourseChange(course.completed_via, course.completed_at, "none", None)
    if certificate.status == "issued":
        return CourseChange(course.completed_via, course.completed_at, "issue", certificate.attempt)
    return CourseChange(course.completed_via, course.completed_at, "revoke", certificate.attempt)
