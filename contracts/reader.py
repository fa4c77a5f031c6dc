"""Reads the changes of a record in order and once, from both topics together; for services downstream. No I/O.

A record's changes are numbered over both topics (`sequence`). Topics and partitions come in any interleaving, and after
a restart some come again. So of each record the reader keeps a `Cursor`: up to which number it has given changes out,
and which ones wait for one that has not come yet. Keep the cursor with your own data, in the same transaction:

    cursor = Cursor.read(load(key))            # b"" where there is none
    read = take(cursor, message.value)
    for change in read.changes:                # what is due, in order, each once
        apply(change)
    save(key, read.cursor.text())

Then it does not matter where you start to read again, how often, or with which client: `isolation.level=read_committed`
is all it takes, with or without a schema registry's id in front of values. `take` raises ValueError for what is no
change.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from contracts.framing import split_frame
from contracts.outbound import CourseCompletionChanged, StepCompletionChanged

Change = StepCompletionChanged | CourseCompletionChanged
WAITING_LIMIT = 10_000
"""Changes of one record that may wait for another one; Ratchet itself never writes so many in one transaction."""


class Cursor(NamedTuple):
    """Of one record. `sequence`: of the last change that was given out; `waiting`: by sequence, what came too early."""

    sequence: int = 0
    waiting: Mapping[int, str] = {}

    @classmethod
    def read(cls, text: str | bytes) -> "Cursor":
        """The inverse of `text`; of nothing, a record that nothing was read of. Raises ValueError."""
        if not text:
            return cls()
        said = json.loads(text)
        return cls(said["sequence"], {int(number): value for number, value in said["waiting"].items()})

    @classmethod
    def after(cls, sequence: int) -> "Cursor":
        """For who begins with a record's state instead of its first change: all up to this one is known."""
        return cls(sequence)

    def text(self) -> str:
        """To be kept."""
        return json.dumps({"sequence": self.sequence, "waiting": self.waiting})

    @property
    def missing(self) -> int | None:
        """The change that the waiting ones wait for; None where none waits.

        For a moment that is usual: the other topic is behind. Where it lasts, retention has deleted it, or the topics
        are not read from where this record begins.
        """
        return self.sequence + 1 if self.waiting else None


class Read(NamedTuple):
    """What is due now, and the cursor behind it."""

    changes: tuple[Change, ...]
    cursor: Cursor


def take(cursor: Cursor, value: str | bytes) -> Read:
    """With one more message of either topic, about the cursor's record. Raises ValueError where it is no change."""
    text = split_frame(value)[1].decode() if isinstance(value, bytes) else value
    sequence = _parsed(text).sequence
    if sequence <= cursor.sequence or sequence in cursor.waiting:
        return Read((), cursor)
    waiting = {**cursor.waiting, sequence: text}
    if len(waiting) > WAITING_LIMIT:
        raise ValueError(f"more than {WAITING_LIMIT} changes wait for change {cursor.sequence + 1}")
    return _due(cursor.sequence, waiting)


def skip_missing(cursor: Cursor) -> Read:
    """Go on behind a gap: what is missing will never come, and somebody has decided to live without it."""
    return _due(min(cursor.waiting) - 1 if cursor.waiting else cursor.sequence, dict(cursor.waiting))


def _due(sequence: int, waiting: dict[int, str]) -> Read:
    changes = []
    while sequence + 1 in waiting:
        sequence += 1
        changes.append(_parsed(waiting.pop(sequence)))
    return Read(tuple(changes), Cursor(sequence, waiting))


def _parsed(text: str) -> Change:
    """By what it says: a change of a step has one."""
    model: Any = StepCompletionChanged if '"step_id"' in text else CourseCompletionChanged
    change: Change = model.model_validate_json(text)
    return change
