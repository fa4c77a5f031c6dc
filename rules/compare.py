"""What other decision tables would have decided about a record: its facts replayed under both, one by one.

A replay takes facts and definitions in order of time, each definition when it took effect, as if everything had been
reported at the moment when it happened. What came late and was counted again for that is therefore not part of it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from rules.decide import decide, redecide
from rules.explain import rules_that_spoke
from rules.tables import Tables
from rules.values import (
    Cause,
    Certificate,
    Course,
    CourseChange,
    CourseDefinition,
    Fact,
    Instant,
    Record,
    Step,
    StepChange,
    Timeline,
)

NO_CAUSE = Cause("", 0, "")
NO_RULE = "none"
"""Stands where one side has a rule that spoke and the other has none."""
Replayed = tuple[Fact | CourseDefinition, "Said"]


class Said(Struct, frozen=True):
    """What was decided on one fact or definition. Equal when nobody could tell two decisions apart.

    The causes of step and certificate are left out: they only name a rule that stands in `rules` once it speaks.
    """

    rules: tuple[str, ...]
    """The rows that spoke; empty where nothing was to be decided."""
    step: Step | None
    """The step that the fact is about, as it was then."""
    course: Course
    certificate: Certificate | None
    announced: tuple[StepChange | CourseChange, ...]


class Difference(Struct, frozen=True):
    """A fact, or a definition, on which the tables decide differently."""

    changed_at: Instant
    message_id: str
    fact: Fact | None
    """None: a new course definition."""
    now: Said
    then: Said


def compare(facts: Sequence[Fact], timeline: Timeline, now: Tables, then: Tables) -> list[Difference]:
    """Replay a record's facts, given in order of time, under both tables. Empty: nothing would differ."""
    differences = []
    for (item, said), (_, other) in zip(_replay(facts, timeline, now), _replay(facts, timeline, then), strict=True):
        if said != other:
            fact, changed_at = (item, item.changed_at) if isinstance(item, Fact) else (None, item.effective_at)
            differences.append(Difference(changed_at, item.message_id, fact, said, other))
    return differences


def rule_pairs(difference: Difference, now: Tables, then: Tables) -> list[tuple[str, str]]:
    """Which rule speaks now, and which would instead, table by table.

    Where the same rules speak, and only what they decide differs, these are the rows that one table has otherwise than
    the other; or, where the difference was made by an earlier fact, the last rule that spoke.
    """
    pairs = []
    for table, other in zip(now, then, strict=True):
        was = _of_table(difference.now.rules, {row.rule_id for row in table.rows})
        would = _of_table(difference.then.rules, {row.rule_id for row in other.rows})
        if was != would:
            pairs.append((was, would))
    if pairs:
        return pairs
    same = difference.now.rules or (NO_RULE,)
    changed = [rule_id for rule_id in same if now.row(rule_id) != then.row(rule_id)]
    return [(rule_id, rule_id) for rule_id in changed or same[-1:]]


def _of_table(spoke: Iterable[str], rule_ids: set[str]) -> str:
    return ", ".join(rule_id for rule_id in spoke if rule_id in rule_ids) or NO_RULE


def _replay(facts: Sequence[Fact], timeline: Timeline, tables: Tables) -> Iterator[Replayed]:
    """What is decided on each fact, and on each definition but the first, which covers all time before it too."""
    record = Record()
    for number, item in _in_order_of_time(facts, timeline):
        if isinstance(item, Fact):
            after, changes = decide(record, item, timeline[:number], item.changed_at, tables)
        else:
            after, changes = redecide(record, timeline[:number], item.effective_at, tables)
        spoke: tuple[str, ...] = () if after is record else rules_that_spoke(after.decisions[-1])
        step_id = item.step_id if isinstance(item, Fact) and after is not record else None
        record = after
        step = None if step_id is None else record.standing.steps.get(step_id)
        certificate = record.standing.certificate
        yield (
            item,
            Said(
                spoke,
                None if step is None else replace(step, cause=NO_CAUSE),
                record.standing.course,
                None if certificate is None else replace(certificate, cause=NO_CAUSE),
                tuple(change.what for change in changes),
            ),
        )


def _in_order_of_time(facts: Sequence[Fact], timeline: Timeline) -> Iterator[tuple[int, Fact | CourseDefinition]]:
    """Each with the number of versions known by then. A definition comes before the facts of the same instant."""
    number = min(1, len(timeline))
    for fact in chain(facts, [None]):
        while number < len(timeline) and (fact is None or timeline[number].effective_at <= fact.changed_at):
            number += 1
            yield number, timeline[number - 1]
        if fact is not None:
            yield number, fact
