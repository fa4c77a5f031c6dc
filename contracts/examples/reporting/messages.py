"""What the two topics say, as values; no I/O. Whatever stands there, nothing is raised."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from contracts.fields import ID_PATTERN, split_key
from contracts.outbound import LearnerErased, RecordState
from contracts.topics import LEARNER_ERASED, RECORD_STATE

TOPICS = (RECORD_STATE.name, LEARNER_ERASED.name)
LARGEST = 2**63 - 1
"""More than this no database keeps in a column of numbers."""


class Erased(NamedTuple):
    """Forget this learner. `course_id`: of the record whose tombstone it is; None where it is no tombstone."""

    tenant_id: str
    learner_id: str
    course_id: str | None = None


Said = RecordState | Erased | None
"""None: nothing that can be used."""


class Read(NamedTuple):
    """A message and where it stood. `topic`: with the prefix."""

    topic: str
    partition: int
    offset: int
    said: Said


def understood(topic: str, key: bytes | None, value: bytes | None) -> Said:
    """What a message of this topic, named without the prefix, says. Key and value must be about the same."""
    try:
        name = (key or b"").decode()
        if topic == LEARNER_ERASED.name:
            return _erased(name, value or b"")
        return _tombstone(name) if value is None else _state(name, value)
    except ValueError:
        return None


def _erased(name: str, value: bytes) -> Erased | None:
    said = LearnerErased.model_validate_json(value)
    return Erased(said.tenant_id, said.learner_id) if name == f"{said.tenant_id}/{said.learner_id}" else None


def _tombstone(name: str) -> Erased | None:
    ids = split_key(name)
    return Erased(*ids) if all(re.fullmatch(ID_PATTERN, one) for one in ids) else None


def _state(name: str, value: bytes) -> RecordState | None:
    state = RecordState.model_validate_json(value)
    fits = max(state.attempt, state.sequence, state.definition_version) <= LARGEST
    return state if fits and state.key == name else None


class Counts(NamedTuple):
    """What became of a batch. No ids: it is logged."""

    states: int = 0
    known: int = 0
    """States and tombstones that were read before."""
    erasures: int = 0
    unusable: int = 0

    def with_one(self, name: str) -> "Counts":
        """One more of these."""
        return self._replace(**{name: getattr(self, name) + 1})

    def __str__(self) -> str:
        return (
            f"{self.states} states, {self.known} known already, {self.erasures} erasures, {self.unusable} skipped: "
            "no message of this topic"
        )


Place = tuple[str, int]
"""Topic, with the prefix, and partition."""
Positions = Mapping[Place, int]
"""Of each partition the offset that is read next."""
