"""Counts an attempt again, in order of time, from its start or from the record's checkpoint.

A checkpoint holds what the steps had come to at some place in time; the facts up to there need not be at hand. Counting
from it gives exactly what counting from the start would give, unless something changes before it: a fact or a
definition that belongs there, or a step that cannot be decided, whose facts may count after all. Then `HistoryNeeded`
says that the facts before the checkpoint must be recalled first.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from rules.fold import consult, count, redefine, start_again
from rules.tables import Tables
from rules.values import Checkpoint, CourseDefinition, Fact, Order, Record, Standing, Timeline, order


class HistoryNeeded(Exception):
    """The facts before the record's checkpoint count here: recall them and decide again."""


class Counted(NamedTuple):
    """A standing counted again, from the reassignment that started the attempt (`between`, None in a first one)."""

    between: Standing | None
    after: Standing
    spoken: Mapping[str, str]
    """The course row that spoke on each message."""
    overridden: frozenset[str]


def count_again(record: Record, timeline: Timeline, tables: Tables) -> Counted:
    """Count the current attempt's facts and definitions again, in order of time, each under the definition of its time.

    The course completion and the certificate are carried along: they were announced. A step stays as it was while it
    cannot be decided, and then what it was depends on facts that a later one had overridden: those count after all.
    Raises HistoryNeeded.
    """
    checkpoint = _checkpoint(record)
    if checkpoint is not None:
        _check_definitions(record, checkpoint, timeline)
        _check_resolved(record.standing, checkpoint)
    counted = _count_all(record, timeline, tables)
    undecided = {step_id for step_id, step in counted.after.steps.items() if step.unresolved}
    if checkpoint is not None and undecided:
        raise HistoryNeeded
    restored = {
        message_id
        for message_id in record.overridden
        if record.facts[message_id].step_id in undecided and _is_of_attempt(record.facts[message_id], record.reassigned)
    }
    if restored:
        counted = _count_all(replace(record, overridden=record.overridden - restored), timeline, tables)
    return counted


def checkpoint_at(place: Order, record: Record, timeline: Timeline, tables: Tables) -> Checkpoint:
    """What the steps had come to at a place in time, as far as the record's own definition version knows."""
    known = tuple(definition for definition in timeline if definition.version <= record.definition_version)
    if not known or (record.reassigned is not None and place <= record.reassigned):
        return Checkpoint(place, {})
    return Checkpoint(place, _count_all(record, known, tables, until=place).after.steps)


def _checkpoint(record: Record) -> Checkpoint | None:
    """The checkpoint, where it lies in the current attempt."""
    checkpoint, start = record.checkpoint, record.reassigned
    if checkpoint is None or (start is not None and checkpoint.place <= start):
        return None
    return checkpoint


def _check_definitions(record: Record, checkpoint: Checkpoint, timeline: Timeline) -> None:
    """A definition that the checkpoint does not know must not begin before it; the first covers all time before it."""
    news = [definition for definition in timeline if definition.version > record.definition_version]
    if record.definition_version == 0 or any(_begins(definition) < checkpoint.place for definition in news):
        raise HistoryNeeded


def _check_resolved(standing: Standing, checkpoint: Checkpoint) -> None:
    if any(step.unresolved for steps in (standing.steps, checkpoint.steps) for step in steps.values()):
        raise HistoryNeeded


def _count_all(record: Record, timeline: Timeline, tables: Tables, until: Order | None = None) -> Counted:
    before, start, attempt = record.standing, record.reassigned, record.attempt
    checkpoint = _checkpoint(record)
    standing = replace(before, steps={})
    definition, between = timeline[0], None
    spoken: dict[str, str] = {}
    if start is not None:
        definition = _in_force(timeline, start)
        between, spoken[start[1]] = start_again(before, start, definition, attempt, tables)
        standing = between
    if checkpoint is not None:
        definition = _in_force(timeline, checkpoint.place)
        steps = {**standing.steps, **checkpoint.steps}
        standing = consult(standing, steps, definition, attempt, tables)
    after = start if checkpoint is None else checkpoint.place
    following = [later for later in timeline[1:] if later.version > definition.version]
    for item in _in_order_of_time(record, following, after, until):
        if isinstance(item, CourseDefinition):
            definition = item
            standing, spoken[item.message_id] = redefine(standing, definition, attempt, tables)
        else:
            standing, spoken[item.message_id] = count(standing, item, definition, attempt, tables)
    return Counted(between, _known_kinds(before, standing), spoken, record.overridden)


def _in_force(timeline: Timeline, place: Order) -> CourseDefinition:
    return [timeline[0], *(later for later in timeline[1:] if _begins(later) < place)][-1]


def _known_kinds(before: Standing, after: Standing) -> Standing:
    """A step announced before stays one, though no definition of its facts' times has it."""
    lost = {
        step_id: replace(step, kind=before.steps[step_id].kind)
        for step_id, step in after.steps.items()
        if step.kind is None and step_id in before.steps
    }
    return replace(after, steps={**after.steps, **lost}) if lost else after


def _is_of_attempt(fact: Fact, start: Order | None) -> bool:
    return start is None or order(fact) > start


def _begins(definition: CourseDefinition) -> Order:
    """A definition comes before the facts of the same instant: it is in force from there on."""
    return definition.effective_at, ""


def _in_order_of_time(
    record: Record, definitions: list[CourseDefinition], after: Order | None, until: Order | None
) -> Iterator[Fact | CourseDefinition]:
    number = 0
    for fact in record.facts.values():
        place = order(fact)
        if (after is not None and place <= after) or fact.message_id in record.overridden:
            continue
        if until is not None and place > until:
            break
        while number < len(definitions) and _begins(definitions[number]) < place:
            yield definitions[number]
            number += 1
        yield fact
    for definition in definitions[number:]:
        if until is None or _begins(definition) < until:
            yield definition
