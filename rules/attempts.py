"""What a reassignment, or its withdrawal, does to a record (README.md, P3 and Beyond the tables).

A reassignment in force ends an attempt and begins the next one; one that is withdrawn is counted as if it had not been.
The ground of an attempt is where it began and from where its steps count. A completion that ends is kept with its
ground: where a withdrawal brings the same ground back, that completion stands again, with its own date and certificate.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from rules.recount import count_again
from rules.tables import Row, Tables
from rules.values import Cause, Certificate, Earned, Fact, Order, Reassignment, Record, Standing, Step, Timeline, order


class Turned(NamedTuple):
    """A standing after a reassignment or a withdrawal was counted."""

    after: Standing
    spoken: Mapping[str, str]
    """The course row that spoke on each message."""
    ended: Cause | None
    """What ended the completion that stood before; None where it still stands, or there was none."""
    returned: Cause | None
    """What brought the completion back that stands now; None where none came back."""
    earned: Mapping[str, Earned]


def noted(record: Record, fact: Fact) -> Record:
    """The record, knowing of the reassignment or withdrawal: which attempt it is, and where that begins."""
    reassignments, withdrawals = record.reassignments, record.withdrawals
    if fact.kind == "reassigned":
        reassignments = {**reassignments, fact.message_id: Reassignment(order(fact), fact.keeps, fact.due_at)}
    else:
        assert fact.withdraws is not None, "a withdrawal names a reassignment"
        withdrawals = withdrawals | {fact.withdraws}
    in_force = [one for message_id, one in reassignments.items() if message_id not in withdrawals]
    return replace(
        record,
        attempt=1 + len(reassignments) + len(withdrawals & reassignments.keys()),
        reassignments=reassignments,
        withdrawals=withdrawals,
        started=max((one.place for one in in_force), default=None),
        counts_from=max((one.place for one in in_force if not one.keeps), default=None),
    )


def due_at(record: Record) -> int | None:
    """Until when the learner is to have done it again; None in a first attempt, or where nobody said so."""
    return None if record.started is None else record.reassignments[record.started[2]].due_at


def standing_completion(standing: Standing) -> Earned | None:
    """The completion that stands, with its certificate."""
    if standing.course.completed_via is None or standing.course_cause is None:
        return None
    return Earned(standing.course, standing.course_cause, standing.certificate)


def turn(before: Record, record: Record, fact: Fact, timeline: Timeline, tables: Tables) -> Turned:
    """Count a reassignment or a withdrawal; `record` is the one before it, knowing of it. Raises HistoryNeeded."""
    stood = standing_completion(before.standing)
    earned = before.earned
    if _ground(before) != _ground(record) and stood is not None:
        earned = {**earned, _ground(before): stood}
    if fact.kind == "reassigned":
        carried, row = _reassigned(before, record, fact, stood, timeline, tables)
    else:
        carried, row = _withdrawn(before, record, stood, earned, timeline, tables)
    cause = Cause(fact.message_id, fact.changed_at, row.rule_id)
    ended = cause if stood is not None and carried is not stood else None
    returned = None
    if carried is not None and carried is not stood:
        row = tables.course.lookup["incomplete", "reinstated", "met", "not_due"]
        if row.then["course"] == "completed_as_before":
            returned = replace(cause, rule_id=row.rule_id)
        else:
            carried = None
    counted = count_again(record, timeline, carried, tables)
    after = counted.after
    if fact.kind == "withdrawn":
        after = replace(after, steps=_standing_again(before.standing.steps, after.steps, fact, tables))
    spoken = {fact.message_id: row.rule_id, **counted.spoken}
    return Turned(after, spoken, ended, returned, earned)


def last_certificate(before: Standing, after: Standing, ended: Cause | None) -> Standing:
    """Of an incomplete course, the last certificate that was revoked is told."""
    if after.course.completed_via is not None or before.certificate is None:
        return after
    certificate = before.certificate
    if certificate.status == "issued":
        assert ended is not None, "only with its completion is a certificate revoked"
        certificate = Certificate(certificate.attempt, "revoked", ended)
    return replace(after, certificate=certificate)


def _reassigned(
    before: Record, record: Record, fact: Fact, stood: Earned | None, timeline: Timeline, tables: Tables
) -> tuple[Earned | None, Row]:
    """What stands through it, and the row that says so."""
    if _ground(before) == _ground(record):  # withdrawn before it came, or one that a later one has made history
        return stood, _row("withdrawn" if fact.message_id in record.withdrawals else "reassigned", None, tables)
    if stood is None or _place(stood.cause, record) < order(fact):
        row = _row("reassigned", stood, tables)
    else:
        by_itself = count_again(record, timeline, None, tables).after.course.completed_via is not None
        row = _row("reassigned_before_work" if by_itself else "reassigned_amid_work", stood, tables)
    return (None if row.then["course"] == "incomplete" else stood), row


def _withdrawn(
    before: Record,
    record: Record,
    stood: Earned | None,
    earned: Mapping[str, Earned],
    timeline: Timeline,
    tables: Tables,
) -> tuple[Earned | None, Row]:
    """What stands again, or still, and the row that says what it ended."""
    back, row = earned.get(_ground(record)), _row("withdrawn", stood, tables)
    if stood is None:
        return back, row
    if back is not None:
        stays = _is_same(back, stood)
    else:
        stays = before.started == record.started or _is_older(before, record, stood, timeline, tables)
    if stays or row.then["course"] == "unchanged":
        return stood, _row("withdrawn", None, tables)
    return back, row


def _is_older(before: Record, record: Record, stood: Earned, timeline: Timeline, tables: Tables) -> bool:
    """Whether it was announced before the withdrawn reassignment came, and stands in the attempt that goes on, too."""
    others = {ground: one for ground, one in before.earned.items() if ground != _ground(before)}
    standing = [one for ground, one in others.items() if ground.partition(" ")[0] not in record.withdrawals]
    if not any(_is_same(one, stood) for one in standing):
        return False
    if record.started is not None and _place(stood.cause, record) < record.started:
        return False
    return count_again(record, timeline, None, tables).after.course.completed_via is not None


def _is_same(earlier: Earned, stood: Earned) -> bool:
    """Whether it is the completion that stands, which may have been given a certificate since."""
    return earlier.cause == stood.cause and earlier.certificate in (None, stood.certificate)


def _place(cause: Cause, record: Record) -> Order:
    """Where in time the completion lies; a reassignment that kept the steps may have decided it."""
    reassignment = record.reassignments.get(cause.message_id)
    return (cause.changed_at, 0, cause.message_id) if reassignment is None else reassignment.place


def _row(trigger: str, stood: Earned | None, tables: Tables) -> Row:
    return tables.course.lookup["incomplete" if stood is None else "completed", trigger, "met", "not_due"]


def _ground(record: Record) -> str:
    """Where the attempt began, and from where its steps count, by the reassignments' message ids."""
    return " ".join("" if place is None else place[2] for place in (record.started, record.counts_from))


def _standing_again(
    before: Mapping[str, Step], after: Mapping[str, Step], fact: Fact, tables: Tables
) -> Mapping[str, Step]:
    """Steps that a withdrawal has changed were set by it."""
    cause = Cause(fact.message_id, fact.changed_at, tables.step.lookup["withdrawn", "met", "complete"].rule_id)
    steps = dict(after)
    for step_id, step in after.items():
        was = before.get(step_id)
        if was is None or (was.percent, was.complete) != (step.percent, step.complete):
            steps[step_id] = replace(step, cause=cause)
    return steps
