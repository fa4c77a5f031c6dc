"""Places facts and definitions in a record, in whatever order they arrive, and says what changed (README.md, Order).

`decide` takes one fact, `redecide` one newer definition. Both return the record as it is then and the changes to be
announced. A completion once decided is carried in the record's standing, so counting again never takes it away.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from rules.attempts import due_at, last_certificate, noted, standing_completion, turn
from rules.evidence import with_evidence
from rules.fold import count
from rules.recount import HistoryNeeded, count_again, counts_at_once
from rules.requirement import is_said_of
from rules.tables import SHIPPED, Tables
from rules.values import (
    Cause,
    Certificate,
    CertificateAction,
    Change,
    Course,
    CourseChange,
    CourseDefinition,
    Decision,
    Fact,
    Instant,
    Order,
    Record,
    Shown,
    Standing,
    StepChange,
    Timeline,
    in_force,
    order,
)

Decided = tuple[Record, tuple[Change, ...]]
"""The record after deciding, and what to announce. The same record object means: nothing happened."""

NOTHING: tuple[Change, ...] = ()


class MessageIdReused(Exception):
    """The message id is known with other content: the sender must send the new content under an id of its own."""


class _Counted(NamedTuple):
    """A standing after a fact or a definition, and what is to be said of the course."""

    after: Standing
    course_rule: str | None
    ended: Cause | None = None
    returned: Cause | None = None


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
    place = order(fact)
    how = _arrival(record, fact, place, timeline)
    arrival = tables.arrival.lookup[how,]
    knowing, version = _with(record, fact, place), record.definition_version
    counts = arrival.then["facts"]
    if counts == "keep":
        counted = _Counted(record.standing, None)
        if how == "overridden" or (timeline and how == "of_earlier_attempt" and _is_overridden(record, fact, timeline)):
            knowing = replace(knowing, overridden=knowing.overridden | {fact.message_id})
    else:
        knowing, counted = _count(record, knowing, fact, counts, timeline, tables)
        version = timeline[-1].version
    shown = _shown(fact, record.standing, counted.after)
    return _decided(record, knowing, fact, version, arrival.rule_id, shown, counted, timeline, decided_at)


def redecide(record: Record, timeline: Timeline, decided_at: Instant, tables: Tables = SHIPPED) -> Decided:
    """Decide a record again under the newest definition. One that it knows already changes nothing.

    Raises HistoryNeeded.
    """
    if not timeline or record.definition_version >= timeline[-1].version or record.latest is None:
        return record, NOTHING
    arrival, newest = tables.arrival.lookup["new_definition",], timeline[-1]
    again = count_again(record, timeline, standing_completion(record.standing), tables)
    after = _finished(record, record, again.after, None, timeline, tables)
    counted = _Counted(after, again.spoken.get(newest.message_id))
    shown = (None, None, None)
    return _decided(record, record, newest, newest.version, arrival.rule_id, shown, counted, timeline, decided_at)


def _with(record: Record, fact: Fact, place: Order) -> Record:
    """The record, knowing the fact."""
    facts, latest = {**record.facts, fact.message_id: fact}, record.latest
    if latest is None or place > latest:
        latest = place
    else:
        facts = {known.message_id: known for known in sorted(facts.values(), key=order)}
    knowing = replace(record, facts=facts, latest=latest)
    return noted(knowing, fact) if fact.kind in ("reassigned", "withdrawn") else knowing


def _count(
    record: Record, knowing: Record, fact: Fact, counts: str, timeline: Timeline, tables: Tables
) -> tuple[Record, _Counted]:
    ended = returned = None
    rule_id: str | None
    if fact.kind in ("reassigned", "withdrawn"):
        turned = turn(record, knowing, fact, timeline, tables)
        knowing = replace(knowing, earned=turned.earned)
        after, rule_id, ended, returned = turned.after, turned.spoken[fact.message_id], turned.ended, turned.returned
    elif counts == "count" and counts_at_once(record):
        after, rule_id = count(record.standing, fact, timeline[-1], record.attempt, tables)
    else:
        counted = count_again(knowing, timeline, standing_completion(record.standing), tables)
        after, rule_id = counted.after, counted.spoken.get(fact.message_id)
    return knowing, _Counted(_finished(record, knowing, after, ended, timeline, tables), rule_id, ended, returned)


def _finished(
    before: Record, knowing: Record, after: Standing, ended: Cause | None, timeline: Timeline, tables: Tables
) -> Standing:
    """With what does not depend on how it was counted: the evidence, and the certificate of an incomplete course."""
    return last_certificate(before.standing, with_evidence(knowing, after, timeline, tables), ended)


def _decided(
    before: Record,
    knowing: Record,
    cause: Fact | CourseDefinition,
    version: int,
    arrival: str,
    shown: tuple[Shown | None, Shown | None, str | None],
    counted: _Counted,
    timeline: Timeline,
    decided_at: Instant,
) -> Decided:
    """The record with the decision in it, and what is to be announced."""
    changes = _changes(before, knowing, counted, timeline, decided_at)
    if isinstance(cause, Fact):
        changed_at, step_id = cause.changed_at, cause.step_id
    else:
        changed_at, step_id = cause.effective_at, None
    decision = Decision(
        before.decided + 1,
        cause.message_id,
        changed_at,
        decided_at,
        timeline[-1].version if timeline else 0,
        arrival,
        step_id,
        *shown,
        before.standing.course,
        counted.after.course,
        counted.course_rule,
        changes,
    )
    decided = replace(
        knowing,
        standing=counted.after,
        definition_version=version,
        sequence=before.sequence + len(changes),
        decisions=(*before.decisions, decision),
        decided=before.decided + 1,
    )
    return decided, changes


def _arrival(record: Record, fact: Fact, place: Order, timeline: Timeline) -> str:
    withdrawn = _withdrawal(record, fact)
    if withdrawn == "withdrawal" and timeline and record.checkpoint is not None:
        raise HistoryNeeded
    if withdrawn is not None:
        return withdrawn if timeline or withdrawn != "withdrawal" else "before_definition"
    if record.counts_from is not None and place < record.counts_from:
        if record.checkpoint is not None and place < record.checkpoint.place:
            raise HistoryNeeded
        return "of_earlier_attempt"
    late = record.latest is not None and place < record.latest
    if late and timeline and _is_overridden(record, fact, timeline):
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


def _withdrawal(record: Record, fact: Fact) -> str | None:
    """What a withdrawal, or a reassignment that is withdrawn already, comes to; None for every other fact."""
    if fact.kind == "reassigned":
        return "withdrawal" if fact.message_id in record.withdrawals else None
    if fact.withdraws is None:
        return None
    if fact.withdraws in record.withdrawals:
        return "withdrawal_again"
    return "withdrawal" if fact.withdraws in record.reassignments else "withdrawal_of_unknown"


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


def _is_overridden(record: Record, fact: Fact, timeline: Timeline) -> bool:
    """Whether a known later value of the same attempt replaces this one wholly, by the definition in force by then."""
    place = order(fact)
    resets = [reset.place for reset in record.reassignments.values() if not reset.keeps and reset.place > place]
    until = min(resets, default=None)
    return fact.step_id is not None and any(
        known.step_id == fact.step_id
        and known.session_id in (None, fact.session_id)
        and known.value is not None
        and order(known) > place
        and (until is None or order(known) < until)
        and is_said_of(in_force(timeline, order(known)).steps.get(fact.step_id), known.session_id, known.value)
        for known in record.facts.values()
    )


def _changes(
    before: Record, knowing: Record, counted: _Counted, timeline: Timeline, decided_at: Instant
) -> tuple[Change, ...]:
    """What differs, to be announced in this order: steps, then the course, which may fall and rise again."""
    old, new = before.standing, counted.after
    if new is old:
        return NOTHING
    whats: list[tuple[Cause, StepChange | CourseChange]] = []
    for step_id, step in new.steps.items():
        was = old.steps.get(step_id)
        if was is step or step.kind is None:
            continue
        percent, complete = (0, False) if was is None else (was.percent, was.complete)
        if step.percent != percent or step.complete != complete:
            change = StepChange(step_id, step.kind, step.percent, percent, step.complete, complete, new.course)
            whats.append((step.cause, change))
    if old.course is not new.course or old.certificate is not new.certificate:
        whats += _course_changes(old, knowing, counted, timeline)
    sequence, attempt = before.sequence, knowing.attempt
    return tuple(
        Change(sequence + number, attempt, cause, decided_at, what) for number, (cause, what) in enumerate(whats, 1)
    )


def _course_changes(
    old: Standing, knowing: Record, counted: _Counted, timeline: Timeline
) -> Iterator[tuple[Cause, CourseChange]]:
    new, told = counted.after, (due_at(knowing), timeline[-1].title)
    stood, stands = old.course.completed_via is not None, new.course.completed_via is not None
    if counted.ended is not None:
        yield counted.ended, CourseChange(Course(), stood, *_action("revoke", old.certificate), *told)
        stood = False
    certificate = new.certificate
    if stands and not stood:
        cause = counted.returned or new.course_cause
        assert cause is not None, "a completion has a cause"
        issued = certificate is not None and certificate.attempt == knowing.attempt
        yield cause, CourseChange(new.course, stood, *_action("issue" if issued else "reinstate", certificate), *told)
    elif stands and certificate is not None and certificate != old.certificate:
        yield certificate.cause, CourseChange(new.course, stood, *_action("issue", certificate), *told)


def _action(action: CertificateAction, certificate: Certificate | None) -> tuple[CertificateAction, int | None]:
    return ("none", None) if certificate is None else (action, certificate.attempt)
