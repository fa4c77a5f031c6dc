"""Keeps a record small: its newest facts stay with it, older ones move away.

`shorten` says which may go, `recall` brings them back. A fact goes only once the record that has it is stored: what has
moved away is known, whatever becomes of the write that removes it from the record. So a fact that was recalled and
looks otherwise now, or has just arrived, stays until the next time, however old it is.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from rules.recount import checkpoint_at
from rules.tables import SHIPPED, Tables
from rules.values import Fact, Record, Timeline, order


class Past(Struct, frozen=True, gc=False, array_like=True):
    """A fact that has moved out of its record, and whether a later one had overridden it."""

    fact: Fact
    overridden: bool


def recall(record: Record, past: Mapping[str, Past]) -> Record:
    """The record with all its facts, given all that have moved away, by message id. Its own word on a fact counts."""
    missing = {message_id: one for message_id, one in past.items() if message_id not in record.facts}
    facts = [*record.facts.values(), *(one.fact for one in missing.values())]
    return replace(
        record,
        facts={fact.message_id: fact for fact in sorted(facts, key=order)},
        overridden=record.overridden | {message_id for message_id, one in missing.items() if one.overridden},
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
    """The record with its newest facts, once there are twice as many, and those that move away now.

    `stored`: the record as it is stored; `past`: what was recalled for it.
    """
    if len(record.facts) <= 2 * window:
        return record, ()
    ordered = list(record.facts.values())
    place, checkpoint = order(ordered[-1 - window]), record.checkpoint
    if checkpoint is not None and place <= checkpoint.place:
        place = checkpoint.place
    else:
        checkpoint = checkpoint_at(place, record, timeline, tables)
    going = {
        fact.message_id
        for fact in ordered
        if order(fact) <= place and _is_stored(fact.message_id, fact.message_id in record.overridden, stored, past)
    }
    moving = tuple(
        Past(record.facts[message_id], message_id in record.overridden)
        for message_id in record.facts
        if message_id in going and (message_id in stored.facts or message_id not in past)
    )
    shortened = replace(
        record,
        facts={message_id: fact for message_id, fact in record.facts.items() if message_id not in going},
        overridden=record.overridden - going,
        checkpoint=checkpoint,
    )
    return shortened, moving


def _is_stored(message_id: str, overridden: bool, stored: Record, past: Mapping[str, Past]) -> bool:
    if message_id in stored.facts:
        return overridden == (message_id in stored.overridden)
    return message_id in past and overridden == past[message_id].overridden
