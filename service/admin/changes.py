"""What goes out, for receivers without Kafka: resumable by the id of the last change that they have."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

from contracts.fields import split_key
from contracts.topics import COURSE_COMPLETION_CHANGED, STEP_COMPLETION_CHANGED
from service.kafka.changes import Place, positions_now, read
from service.settings import Settings

LETTERS = {STEP_COMPLETION_CHANGED.short: "s", COURSE_COMPLETION_CHANGED.short: "c"}
ID_LIMIT = 4096
"""Characters of an id."""
Wanted = Callable[[str, str], bool]
"""Whether a change of this tenant and course is asked for."""


class Event(NamedTuple):
    """A change, or None where there was none for a while; `id`: to go on behind it."""

    id: str
    topic: str
    value: Mapping[str, Any] | None


def spelled(positions: Mapping[Place, int]) -> str:
    """Positions as an id: `s0.17-c3.4`, topic's letter, partition, offset."""
    return "-".join(f"{LETTERS[topic]}{number}.{offset}" for (topic, number), offset in sorted(positions.items()))


def parse(id_: str) -> dict[Place, int]:
    """The inverse. Raises ValueError."""
    topics = {letter: topic for topic, letter in LETTERS.items()}
    if len(id_) > ID_LIMIT:
        raise ValueError("is too long")
    positions: dict[Place, int] = {}
    for part in filter(None, id_.split("-")):
        number, dot, offset = part[1:].partition(".")
        if part[0] not in topics or not (dot and number.isdecimal() and offset.isdecimal()):
            raise ValueError(f"{part[:20]!r} is none of a position's; give back an id as it came")
        positions[topics[part[0]], int(number[:9])] = int(offset[:18])
    return positions


async def changes(settings: Settings, after: str | None, wanted: Wanted) -> AsyncIterator[Event]:
    """Every change that is asked for, once, in the order of each topic's partition; `sequence` orders a record's.

    `after`: the id of the last one that the receiver has; None: from now on. Raises ValueError for one that is none.
    """
    positions = await positions_now(settings) if after is None else parse(after)
    async for batch in read(settings, positions):
        for out in batch:
            positions[out.place] = out.offset
            value = json.loads(out.value or b"{}")
            tenant_id, _, course_id = split_key((out.key or b"//").decode())
            if wanted(tenant_id, course_id):
                yield Event(spelled(positions), out.topic, value)
        if not batch:
            yield Event(spelled(positions), "", None)
