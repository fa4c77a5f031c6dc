"""Places facts and definitions in a record, in whatever order they arrive, and says what changed (domain.md, Disorder).

`decide` takes one fact, `redecide` one newer definition. Both return the record as it is then and the changes to be
announced. A completion once decided is carried in the record's standing, so counting again never takes it away.
"""

from rules.fold import count
from rules.recount import HistoryNeeded, count_again
from rules.tables import SHIPPED, Tables
from rules.values import (
    Certificate,
    Change,
    CourseChange,
    Decision,
    Fact,
    Instant,
    Order,
    Record,
    Shown,
    Standing,
    StepChange,
    Timeline,
    order,
)

Decided = tuple[Record, tuple[Change, ...]]
"""The record after deciding, and what to announce. The same record object means: nothing happened."""

NOTHING: tuple[Change, ...] = ()


class MessageIdReused(Exception):
    """The message id is known with other content: the sender must send the new content under an id of its own."""


def decide(record: Record, fact: Fact, timeline: Timeline, decided_at: Instant, tables: Tables = SHIPPED) -> Decided:
    """Fold one fact into a record. A duplicate changes nothing. Raises MessageIdReused, HistoryNeeded."""
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
        counting = Record(
            attempt,
            before,
            facts,
            latest,
            reassigned,
            overridden,
            record.definition_version,
            0,
            (),
            0,
            record.checkpoint,
        )
        counted = count_again(counting, timeline, tables)
        between, after, overridden = counted.between, counted.after, counted.overridden
        course_rule = counted.spoken.get(fact.message_id)
    elif arrival.rule_id == "fact-is-overridden":
        overridden = overridden | {fact.message_id}
    changes = _changes(before, between, after, record.sequence, attempt, decided_at)
    decision = Decision(
        record.decided + 1,
        fact.message_id,
        fact.changed_at,
        decided_at,
        timeline[-1].version if timeline else 0,
        arrival.rule_id,
        fact.step_id,
        *_shown(fact, before, after),
        before.course,
        after.course,
        course_rule,
        changes,
    )
    decided = Record(
        attempt,
        after,
        facts,
        latest,
        reassigned,
        overridden,
        version,
        record.sequence + len(changes),
        (*record.decisions, decision),
        record.decided + 1,
        record.checkpoint,
    )
    return decided, changes


def redecide(record: Record, timeline: Timeline, decided_at: Instant, tables: Tables = SHIPPED) -> Decided:
    """Decide a record again under the newest definition. One that it knows already changes nothing.

    Raises HistoryNeeded.
    """
    if not timeline or record.definition_version >= timeline[-1].version or record.latest is None:
        return record, NOTHING
    arrival = tables.arrival.lookup["new_definition",]
    before, newest = record.standing, timeline[-1]
    counted = count_again(record, timeline, tables)
    after = counted.after
    changes = _changes(before, counted.between, after, record.sequence, record.attempt, decided_at)
    decision = Decision(
        record.decided + 1,
        newest.message_id,
        newest.effective_at,
        decided_at,
        newest.version,
        arrival.rule_id,
        None,
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
        (*record.decisions, decision),
        record.decided + 1,
        record.checkpoint,
    )
    return decided, changes


def _arrival(record: Record, fact: Fact, place: Order, timeline: Timeline) -> str:
    if record.reassigned is not None and place < record.reassigned:
        return "of_earlier_attempt"
    late = record.latest is not None and place < record.latest
    if late and _is_overridden(record, fact, place):
        return "overridden"
    if record.checkpoint is not None and place < record.checkpoint.place:
        raise HistoryNeeded
    if not timeline:
        return "before_definition"
    newest = timeline[-1]
    if late or (len(timeline) > 1 and fact.changed_at < newest.effective_at):
        return "late"
    known = record.latest is None or record.definition_version == newest.version
    return "newest" if known else "new_definition"


def _shown(fact: Fact, before: Standing, after: Standing) -> tuple[Shown | None, Shown | None, str | None]:
    """The fact's step before and after, and the row that set it."""
    if fact.step_id is None:
        return None, None, None
    was, now = before.steps.get(fact.step_id), after.steps.get(fact.step_id)
    if now is None:
        return None, None, None
    rule_id = now.cause.rule_id if now.cause.message_id == fact.message_id else None
    shown = Shown(now.percent, now.complete, now.unresolved)
    return None if was is None else Shown(was.percent, was.complete, was.unresolved), shown, rule_id


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
            cause = standing.course_cause
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
