"""Where a comparator works: the environment of `ratchet serve`, read without its settings."""

import os
from typing import NamedTuple

from contracts.topics import ATTENDANCE_CHANGED, STEP_COMPLETION_CHANGED

BATCH_MESSAGES = 2000
"""The best of 500, 1,000, 2,000 and 4,000 for the comparators that take batches."""
PRODUCER_BATCH_BYTES = 4 * 1024 * 1024
"""The changes of such a batch go out together."""


class Place(NamedTuple):
    """Addresses and names."""

    kafka: str
    mongodb: str
    database: str
    group: str
    inbound: str
    """Topic of attendance."""
    outbound: str
    """Topic of changes."""


def place() -> Place:
    """As the environment says."""
    prefix = os.environ["RATCHET_TOPIC_PREFIX"]
    return Place(
        os.environ["RATCHET_KAFKA_BOOTSTRAP_SERVERS"],
        os.environ["RATCHET_MONGODB_URI"],
        os.environ["RATCHET_MONGODB_DATABASE"],
        os.environ["RATCHET_GROUP"],
        prefix + ATTENDANCE_CHANGED.name,
        prefix + STEP_COMPLETION_CHANGED.name,
    )
