"""Why a record stands as it stands: its facts in order of time, what each decided, by which rows, and what followed."""

from collections.abc import Iterator

from msgspec import Struct

from rules.tables import SHIPPED, Tables
from rules.values import Change, Course, Decision, Fact, Instant, Record, Shown


class Reason(Struct, frozen=True):
    """A row that spoke, and its sentence."""

    rule_id: str
    because: str


class Told(Struct, frozen=True):
    """One fact, or one definition, of a record's story."""

    changed_at: Instant
    message_id: str
    fact: Fact | None
    """None: a new course definition."""
    decided_at: Instant | None
    """None: decided so long ago that the decision is not kept any more."""
    reasons: tuple[Reason, ...]
    step_before: Shown | None
    step_after: Shown | None
    course_before: Course | None
    course_after: Course | None
    announced: tuple[Change, ...]


def explain(record: Record, tables: Tables = SHIPPED) -> tuple[Told, ...]:
    """The record's story, in order of time."""
    decisions = {decision.message_id: decision for decision in record.decisions}
    told = [_tell(fact, decisions.pop(fact.message_id, None), tables) for fact in record.facts.values()]
    told += [_tell(None, decision, tables) for decision in decisions.values()]
    return tuple(sorted(told, key=lambda one: (one.changed_at, one.fact is not None, one.message_id)))


def _tell(fact: Fact | None, decision: Decision | None, tables: Tables) -> Told:
    if decision is None:
        assert fact is not None, "there is something to tell"
        return Told(fact.changed_at, fact.message_id, fact, None, (), None, None, None, None, ())
    return Told(
        decision.changed_at,
        decision.message_id,
        fact,
        decision.decided_at,
        tuple(_reasons(decision, tables)),
        decision.step_before,
        decision.step_after,
        decision.course_before,
        decision.course_after,
        decision.changes,
    )


def _reasons(decision: Decision, tables: Tables) -> Iterator[Reason]:
    for rule_id in rules_that_spoke(decision):
        row = tables.row(rule_id)
        yield Reason(rule_id, "This rule is no longer in use." if row is None else row.because)


def rules_that_spoke(decision: Decision) -> tuple[str, ...]:
    """Ids of the rows behind a decision: of the fact's arrival, the step, the changes, the course."""
    rule_ids = [decision.arrival]
    if decision.step_rule is not None:
        rule_ids.append(decision.step_rule)
    rule_ids += [change.cause.rule_id for change in decision.changes]
    if decision.course_rule is not None:
        rule_ids.append(decision.course_rule)
    return tuple(dict.fromkeys(rule_ids))
