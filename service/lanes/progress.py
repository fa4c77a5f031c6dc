"""How far a lane has come in each of its topics, when messages of other records may overtake those of one.

Below `offset`, which Kafka has as the committed one, everything is done. From there to `end` everything is done but the
messages of records that wait: of each, those from an offset of its own on. That goes with the committed offset, as its
metadata, in the same transaction: so whoever takes the lane over knows which messages beyond it are done.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from service.errors import FixConfiguration
from service.lanes.bounds import KEY_BYTES

Offsets = Mapping[str, int]


class Done(NamedTuple):
    """Of one topic. `waiting`: by `digest` of the key, the first offset of a record that is not done."""

    offset: int
    end: int
    waiting: Mapping[str, int] = {}

    @classmethod
    def up_to(cls, offset: int) -> "Done":
        """And nothing beyond."""
        return cls(offset, offset)

    @classmethod
    def but(cls, end: int, waiting: Mapping[str, int]) -> "Done":
        """Up to `end`, but of these records."""
        offset = min((end, *waiting.values()))
        return cls(offset, end, waiting if offset < end else {})

    def has(self, key: bytes | None, offset: int) -> bool:
        """Whether a message of this key is done."""
        if offset < self.offset or not self.waiting:
            return offset < self.offset
        return offset < self.end and offset < self.waiting.get(digest(key or b""), self.end)

    def with_all_below(self, offset: int) -> "Done":
        """Nothing before that offset waits any more."""
        return Done.but(max(self.end, offset), {key: max(first, offset) for key, first in self.waiting.items()})

    @property
    def metadata(self) -> str:
        """What goes with the committed offset."""
        return json.dumps({"end": self.end, "waiting": self.waiting}) if self.waiting else ""


Progress = Mapping[str, Done]
"""By topic."""


def read_done(offset: int, metadata: str) -> Done:
    """The inverse of `metadata`. What somebody else has committed says nothing beyond its offset."""
    try:
        said = json.loads(metadata)
        done = Done.but(int(said["end"]), {str(key): int(first) for key, first in said["waiting"].items()})
    except (ValueError, TypeError, KeyError, AttributeError):
        return Done.up_to(offset)
    return done if done.offset == offset else Done.up_to(offset)


def is_done(progress: Progress, topic: str, key: bytes | None, offset: int) -> bool:
    """Whether a message is done."""
    return topic in progress and progress[topic].has(key, offset)


def offsets_of(progress: Progress) -> dict[str, int]:
    """By topic, the committed offset."""
    return {topic: done.offset for topic, done in progress.items()}


def up_to(offsets: Offsets) -> dict[str, Done]:
    """And nothing beyond."""
    return {topic: Done.up_to(offset) for topic, offset in offsets.items()}


def check_within(lane: int, known: Offsets, end: Offsets) -> None:
    """What is known beyond the end of its topic would be waited for without end. Raises FixConfiguration."""
    for topic, offset in known.items():
        if offset > end.get(topic, offset):
            raise FixConfiguration(
                f"lane {lane}: the database knows {topic} up to offset {offset}, but in Kafka it ends at {end[topic]}: "
                "RATCHET_MONGODB_DATABASE or RATCHET_MONGODB_URI belongs to another Kafka, or the topic was created "
                "again; use the database that belongs to it, or a new one"
            )


def digest(key: bytes) -> str:
    """Stands for a key in the metadata, which may have 4096 characters."""
    return _kept(key) if len(key) <= KEY_BYTES else _digest(key)


def _digest(key: bytes) -> str:
    return b64encode(blake2b(key, digest_size=15).digest()).decode()


_kept = lru_cache(maxsize=4096)(_digest)
