"""Keeps a record small: its newest facts stay with it, older ones move away with their decisions.

`shorten` says which may go, `recall` brings them back. A fact goes only once the record that has it is stored: what has
moved away is known, whatever becomes of the write that removes it from the record. So a fact that was recalled and
looks otherwise now, or has just arrived, stays until the next time, however old it is.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from rules.recount import checkpoint_at
from rules.tables import SHIPPED, Tables
from rules.values import Decision, Fact, Record, Timeline, order

KEPT_DEFINITIONS = 16
"""So many decisions that followed from definitions stay with the record, the newest."""


class Past(Struct, frozen=True, gc=False, array_like=True):
    """A fact that has moved out of its record, whether a later one had overridden it, and how it was decided."""

    fact: Fact
    overridden: bool
    decision: Decision | None


def recall(record: Record, past: Mapping[str, Past]) -> Record:
    """The record with all its facts, given all that have moved away, by message id. Its own word on a fact counts."""
    missing = {message_id: one for message_id, one in past.items() if message_id not in record.facts}
    facts = [*record.facts.values(), *(one.fact for one in missing.values())]
    decisions = [*record.decisions, *(one.decision for one in missing.values() if one.decision is not None)]
    return replace(
        record,
        facts={fact.message_id: fact for fact in sorted(facts, key=order)},
        overridden=record.overridden | {message_id for message_id, one in missing.items() if one.overridden},
        decisions=tuple(sorted(decisions, key=lambda decision: decision.number)),
        checkpoint=None,
    )


def shorten(
    record: Record,
    stored: Record,
    past: Mapping[str, Past],
    window: int,
    timeline: Timeline,
    tables: Tables = SHIPPED,
) -> tuple[Record, tuple[Past, ...]]:
    """The record with its newest facts, and those that move away now.

    `stored`: the record as it is stored; `past`: what was recalled for it.
    """
    ordered = list(record.facts.values())
    place = None if record.checkpoint is None else record.checkpoint.place
    if len(ordered) > window:
        cut = order(ordered[-1 - window])
        place = cut if place is None else max(place, cut)
    if place is None or order(ordered[0]) > place:
        return record, ()
    checkpoint = record.checkpoint
    if checkpoint is None or checkpoint.place < place:
        checkpoint = checkpoint_at(place, record, timeline, tables)
    going = {
        fact.message_id
        for fact in ordered
        if order(fact) <= place and _is_stored(fact.message_id, fact.message_id in record.overridden, stored, past)
    }
    decisions = {decision.message_id: decision for decision in record.decisions if decision.message_id in going}
    moving = tuple(
        Past(record.facts[message_id], message_id in record.overridden, decisions.get(message_id))
        for message_id in record.facts
        if message_id in going and (message_id in stored.facts or message_id not in past)
    )
    shortened = replace(
        record,
        facts={message_id: fact for message_id, fact in record.facts.items() if message_id not in going},
        overridden=record.overridden - going,
        decisions=_kept(record, going),
        checkpoint=checkpoint,
    )
    return shortened, moving


def _is_stored(message_id: str, overridden: bool, stored: Record, past: Mapping[str, Past]) -> bool:
    if message_id in stored.facts:
        return overridden == (message_id in stored.overridden)
    return message_id in past and overridden == past[message_id].overridden


def _kept(record: Record, going: Iterable[str]) -> tuple[Decision, ...]:
    gone = set(going)
    of_definitions = [d.number for d in record.decisions if d.message_id not in record.facts]
    oldest = of_definitions[-KEPT_DEFINITIONS] if len(of_definitions) > KEPT_DEFINITIONS else 0
    return tuple(
        decision
        for decision in record.decisions
        if decision.message_id not in gone and (decision.message_id in record.facts or decision.number >= oldest)
    )
