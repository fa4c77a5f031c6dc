"""Counts an attempt again, in order of time, from where its steps start or from the record's checkpoint.

A checkpoint holds what the steps had come to at some place in time; the facts up to there need not be at hand. Counting
from it gives exactly what counting from the start would give, unless something changes before it: a fact or a
definition that belongs there, a withdrawn reassignment, or a step that cannot be decided, which keeps a standing from
facts that a later one had overridden. Then `HistoryNeeded` says that the facts before the checkpoint must be recalled
first.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from rules.fold import award, count, decide_course, redefine, started_again
from rules.tables import Tables
from rules.values import (
    Cause,
    Checkpoint,
    Course,
    CourseDefinition,
    Earned,
    Fact,
    Order,
    Record,
    Standing,
    Step,
    Timeline,
    begins,
    in_force,
    order,
)


class HistoryNeeded(Exception):
    """The facts before the record's checkpoint count here: recall them and decide again."""


class Counted(NamedTuple):
    """A standing counted again."""

    after: Standing
    spoken: Mapping[str, str]
    """The course row that spoke on each message."""


def count_again(record: Record, timeline: Timeline, carried: Earned | None, tables: Tables) -> Counted:
    """Count the current attempt's facts and definitions again, in order of time, each under the definition of its time.

    The completion that is `carried` stands from the attempt's beginning, whatever is counted: it was announced. Facts
    that were overridden when they came decide nothing, but a step that cannot be decided keeps the standing that it has
    from all of them. Raises HistoryNeeded.
    """
    checkpoint = _checkpoint(record)
    if checkpoint is not None:
        _check_definitions(record, checkpoint, timeline)
        _check_resolved(record.standing.steps, checkpoint)
    counted = _count(record, timeline, carried, tables)
    if _is_undecided(counted.after.steps):
        if checkpoint is not None:
            raise HistoryNeeded
        if record.overridden:
            of_all = _count(replace(record, overridden=frozenset()), timeline, carried, tables)
            counted = Counted(replace(counted.after, steps=of_all.after.steps), counted.spoken)
    return counted


def counts_at_once(record: Record) -> bool:
    """Whether the standing's steps are what decides: not where one keeps the standing of an overridden fact.

    Facts before the checkpoint may have been overridden, too.
    """
    may_have_overridden = bool(record.overridden) or record.checkpoint is not None
    return not may_have_overridden or not _is_undecided(record.standing.steps)


def checkpoint_at(place: Order, record: Record, timeline: Timeline, tables: Tables) -> Checkpoint:
    """What the steps had come to at a place in time, as far as the record's own definition version knows."""
    known = tuple(definition for definition in timeline if definition.version <= record.definition_version)
    if not known or (record.counts_from is not None and place <= record.counts_from):
        return Checkpoint(place, {})
    return Checkpoint(place, _count(record, known, None, tables, until=place).after.steps)


def _checkpoint(record: Record) -> Checkpoint | None:
    """The checkpoint, where it lies among the facts that count."""
    checkpoint, start = record.checkpoint, record.counts_from
    if checkpoint is None or (start is not None and checkpoint.place <= start):
        return None
    return checkpoint


def check_knowing(record: Record, known: Timeline) -> None:
    """A checkpoint is no help that was counted by definitions that are not to be known. Raises HistoryNeeded."""
    if record.checkpoint is not None and record.definition_version > known[-1].version:
        raise HistoryNeeded


def _check_definitions(record: Record, checkpoint: Checkpoint, timeline: Timeline) -> None:
    """A definition that the checkpoint does not know must not begin before it; the first covers all time before it."""
    news = [definition for definition in timeline if definition.version > record.definition_version]
    if record.definition_version == 0 or any(begins(definition) < checkpoint.place for definition in news):
        raise HistoryNeeded


def _check_resolved(steps: Mapping[str, Step], checkpoint: Checkpoint) -> None:
    if _is_undecided(steps) or _is_undecided(checkpoint.steps):
        raise HistoryNeeded


def _is_undecided(steps: Mapping[str, Step]) -> bool:
    return any(step.unresolved for step in steps.values())


def _count(
    record: Record, timeline: Timeline, carried: Earned | None, tables: Tables, until: Order | None = None
) -> Counted:
    start, checkpoint = record.counts_from, _checkpoint(record)
    definition = timeline[0] if start is None else in_force(timeline, start)
    steps = {} if start is None else started_again(record.standing.steps, start[0], start[2], tables)
    if checkpoint is not None:
        start, definition = checkpoint.place, in_force(timeline, checkpoint.place)
        steps |= checkpoint.steps
    counting = _Counting(record, carried, definition, steps, start, tables)
    later = [one for one in timeline if one.version > definition.version]
    for item in _in_order_of_time(record, later, start, until):
        counting.take(item)
    after = counting.end()
    return Counted(replace(after, steps=_known_kinds(record.standing.steps, after.steps)), counting.spoken)


class _Counting:
    """Where the counting of an attempt has come to. Before the attempt begins, only the steps are counted."""

    def __init__(
        self,
        record: Record,
        carried: Earned | None,
        definition: CourseDefinition,
        steps: Mapping[str, Step],
        start: Order | None,
        tables: Tables,
    ) -> None:
        self.spoken: dict[str, str] = {}
        self._last = ""
        self._started, self._attempt, self._tables = record.started, record.attempt, tables
        self._carried = carried
        self._definition = definition
        self._standing = Standing(steps)
        self._began = record.started is None or (start is not None and record.started <= start)
        self._to_award = carried is not None
        """The definition in force at the completion that is carried has not been asked for a certificate yet."""
        if self._began:
            self._carry()
        if start is not None and self._began and _lies_before(self._standing.course, start[0]):
            self._to_award = False  # it was asked when that was counted

    def take(self, item: Fact | CourseDefinition) -> None:
        """The next one in order of time."""
        if self._began and self._is_behind_completion(item):
            self._award()
        rule_id = self._count(item)
        self._last = item.message_id
        if self._began and rule_id:
            self.spoken[item.message_id] = rule_id

    def _is_behind_completion(self, item: Fact | CourseDefinition) -> bool:
        """Of the completion that is carried. At one instant definitions come first, in the order of their versions."""
        if isinstance(item, Fact):
            return _lies_before(self._standing.course, item.changed_at, same=True)
        cause = self._standing.course_cause
        was_last = cause is not None and cause.message_id == self._last
        return _lies_before(self._standing.course, item.effective_at, same=was_last)

    def end(self) -> Standing:
        """What it has come to."""
        if self._began:
            self._award()
        return self._standing

    def _count(self, item: Fact | CourseDefinition) -> str:
        rule_id = ""
        if isinstance(item, CourseDefinition):
            anew = item.awards_certificate and not self._definition.awards_certificate and not self._to_award
            self._definition = item
            self._standing, rule_id = redefine(self._standing, item, anew, self._attempt, self._tables)
        elif item.kind != "reassigned":
            self._standing, rule_id = count(self._standing, item, self._definition, self._attempt, self._tables)
        elif order(item) == self._started:
            self._began = True
            self._carry()
            if self._carried is None:
                rule_id = self._keep_steps(item)
        return rule_id

    def _carry(self) -> None:
        """At the beginning of the attempt: what was decided before it is not its."""
        steps, carried = self._standing.steps, self._carried
        if carried is None:
            self._standing = Standing(steps)
        else:
            self._standing = Standing(steps, carried.course, carried.certificate, carried.cause)

    def _keep_steps(self, reassignment: Fact) -> str:
        cause = Cause(reassignment.message_id, reassignment.changed_at, "")
        self._standing, rule_id = decide_course(
            self._standing, "reassigned_keeping_steps", cause, self._definition, self._attempt, self._tables
        )
        return rule_id

    def _award(self) -> None:
        if self._to_award:
            self._standing = award(self._standing, self._definition, self._attempt, self._tables)[0]
            self._to_award = False


def _lies_before(course: Course, instant: int, *, same: bool = True) -> bool:
    """Whether it was completed before this instant, or at the same one."""
    completed_at = course.completed_at
    return completed_at is not None and (completed_at < instant or (same and completed_at == instant))


def _known_kinds(before: Mapping[str, Step], after: Mapping[str, Step]) -> Mapping[str, Step]:
    """A step announced before stays one, though no definition of its facts' times has it."""
    lost = {
        step_id: replace(step, kind=before[step_id].kind)
        for step_id, step in after.items()
        if step.kind is None and step_id in before
    }
    return {**after, **lost} if lost else after


def _in_order_of_time(
    record: Record, definitions: list[CourseDefinition], after: Order | None, until: Order | None
) -> Iterator[Fact | CourseDefinition]:
    number = 0
    for fact in record.facts.values():
        place = order(fact)
        if (after is not None and place <= after) or not _counts(fact, record):
            continue
        if until is not None and place > until:
            break
        while number < len(definitions) and begins(definitions[number]) < place:
            yield definitions[number]
            number += 1
        yield fact
    for definition in definitions[number:]:
        if until is None or begins(definition) < until:
            yield definition


def _counts(fact: Fact, record: Record) -> bool:
    if fact.kind == "withdrawn" or fact.message_id in record.overridden:
        return False
    return fact.kind != "reassigned" or fact.message_id not in record.withdrawals
