"""How far the group is behind, lane by lane, and whether that is a reason to act: Burrow's rules over a few samples.

Burrow (LinkedIn's lag checker) judges a window of commits instead of a threshold of messages: lag is fine as long as
the consumer gets on. Kafka does not tell when a commit was made, so the window is made of samples taken here:

    ok       some sample shows no lag, or the lane commits and its lag falls
    warning  the lane commits, but its lag has not fallen once in the window
    stalled  there is lag, and nothing was committed in the window though the group has members
    stopped  there is lag, nothing was committed, and the group has no members

and two that Burrow does not have:

    blocked     a transaction of another producer was open all through the window: what lies behind cannot be read
    unreadable  the lane's next batch cannot be unpacked (ratchet skip)
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Literal, get_args

from msgspec import Struct

from service.kafka.lag import LagReader, LaneSample, Sample

Status = Literal["ok", "warning", "blocked", "stalled", "stopped", "unreadable"]
SEVERITY: tuple[Status, ...] = get_args(Status)


class LaneLag(Struct, frozen=True):
    """What the window says of a lane, or of all. `trend`: messages per second, negative while it catches up."""

    lane: int | None
    status: Status
    lag_messages: int
    lag_seconds: float
    trend: float


def judge(window: Sequence[Sample]) -> list[LaneLag]:
    """Each lane by Burrow's rules, and the sum as the last one, as bad as the worst."""
    newest = window[-1]
    lanes = [_judge_lane(number, window) for number in sorted(newest.lanes)]
    return [
        *lanes,
        LaneLag(
            None,
            max((lane.status for lane in lanes), key=SEVERITY.index, default="ok"),
            sum(lane.lag_messages for lane in lanes),
            max((lane.lag_seconds for lane in lanes), default=0.0),
            round(sum(lane.trend for lane in lanes), 1),
        ),
    ]


def _judge_lane(number: int, window: Sequence[Sample]) -> LaneLag:
    seen = [sample.lanes[number] for sample in window if number in sample.lanes]
    seconds = window[-1].at - window[0].at
    trend = (seen[-1].lag_messages - seen[0].lag_messages) / seconds if seconds else 0.0
    status = _status(seen, members=window[-1].members)
    return LaneLag(number, status, seen[-1].lag_messages, round(seen[-1].lag_seconds, 1), round(trend, 1))


def _status(seen: Sequence[LaneSample], *, members: bool) -> Status:
    if seen[-1].unreadable:
        return "unreadable"
    if len(seen) > 1 and frozenset.intersection(*(sample.stuck_at for sample in seen)):
        return "blocked"
    if any(sample.lag_messages == 0 for sample in seen):
        return "ok"
    stands_still = seen[-1].committed == seen[0].committed
    if stands_still and not members:
        return "stopped"
    if len(seen) == 1:
        return "ok"  # whether it gets on shows with the next sample
    if stands_still:
        return "stalled"
    falls = any(later.lag_messages < earlier.lag_messages for earlier, later in pairwise(seen))
    return "ok" if falls else "warning"


async def watch(
    reader: LagReader, window_seconds: float, every_seconds: float
) -> AsyncIterator[tuple[list[LaneLag], bool]]:
    """What the latest window says, after each sample, for ever; and whether that is sure.

    It is once the samples span the window, however long they took, or when nothing waits.
    """
    window: list[Sample] = []
    while True:
        window.append(await reader.sample())
        while len(window) > 1 and window[-1].at - window[1].at >= window_seconds:
            window.pop(0)
        quiet = not any(lane.lag_messages or lane.stuck_at for lane in window[-1].lanes.values())
        yield judge(window), quiet or window[-1].at - window[0].at >= window_seconds
        await asyncio.sleep(every_seconds)
