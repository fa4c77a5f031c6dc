"""What a worker says of itself: whether it can work, and how each of its lanes stands."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

State = Literal["taking over", "open", "waiting", "unreadable", "lost", "closed"]


class LaneHealth(NamedTuple):
    """One lane. `failure`: why it waits; `ready`: open, and not waiting for what an earlier owner went through."""

    lane: int
    state: State
    lag_messages: int
    failure: str | None
    ready: bool
    paused_reevaluations: int


class FloodHealth(NamedTuple):
    """Whether too many of the latest messages are dead letters, and how many."""

    flood: bool
    unusable: int
    of_messages: int


class Health(NamedTuple):
    """A worker. `joined`: the group has given it lanes once; `outages`: what is away, and how that shows."""

    joined: bool
    outages: Mapping[str, str | None]
    dead_letters: FloodHealth
    lanes: Sequence[LaneHealth]

    @property
    def ready(self) -> bool:
        """The group was joined, broker and database answer, every lane is open."""
        return self.joined and not any(self.outages.values()) and all(lane.ready for lane in self.lanes)
