"""What a worker says of itself: whether it can work, and how each of its lanes stands."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

State = Literal["taking over", "open", "waiting", "unreadable", "lost", "closed"]


class LaneHealth(NamedTuple):
    """One lane. `failure`: why it waits; `ready`: open, and not waiting for what an earlier owner went through.

    `deleted_unread`: what retention took before this worker could read it.
    """

    lane: int
    state: State
    lag_messages: int
    lag_seconds: float
    """Age of the oldest of them."""
    failure: str | None
    ready: bool
    paused_reevaluations: int
    deleted_unread: Sequence[str] = ()


class FloodHealth(NamedTuple):
    """Whether too many of the latest messages are dead letters, and how many."""

    flood: bool
    unusable: int
    of_messages: int


class HangingTransaction(NamedTuple):
    """A producer has begun it at this offset and not ended it: nothing from there on can be read.

    `producer_id`, `last_write_at` (milliseconds since 1970): None where Kafka does not tell.
    """

    topic: str
    partition: int
    offset: int
    producer_id: int | None
    last_write_at: int | None


class Health(NamedTuple):
    """A worker. `joined`: the group has given it lanes once; `outages`: what is away, and how that shows.

    `topics`: what is wrong with their partitions.
    """

    joined: bool
    outages: Mapping[str, str | None]
    dead_letters: FloodHealth
    lanes: Sequence[LaneHealth]
    hanging_transactions: Sequence[HangingTransaction] = ()
    topics: str | None = None

    @property
    def ready(self) -> bool:
        """The group was joined, broker and database answer, every lane is open."""
        return self.joined and not any(self.outages.values()) and all(lane.ready for lane in self.lanes)
