"""Several connections of one person to a session, made into one attendance."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

MINUTE = 60


class Connection(NamedTuple):
    """Of one row: from when to when, in seconds since 1970, where the file says; whole minutes, where it says."""

    line: int
    joined_seconds: int | None = None
    left_seconds: int | None = None
    minutes: int | None = None
    is_placed: bool = False
    """The times say in which zone they are."""


class Window(NamedTuple):
    """When the session took place, in seconds since 1970."""

    start_seconds: int
    end_seconds: int


class Outside(Exception):
    """A connection has nothing of the session: its times are wrong, or the session's."""


def attended_minutes(connections: Sequence[Connection], window: Window | None) -> int:
    """Whole minutes of the union of their times: two devices at once count once.

    Where only minutes are known they are added. `window`: what is outside does not count. Raises Outside.
    """
    spans = [span for one in connections if (span := _span(one)) is not None]
    if window is not None:
        clipped = [(max(begin, window.start_seconds), min(end, window.end_seconds)) for begin, end in spans]
        if clipped and not any(begin < end for begin, end in clipped) and any(begin < end for begin, end in spans):
            raise Outside
        spans = clipped
    loose = sum(one.minutes or 0 for one in connections if _span(one) is None)
    return (_union(spans) + loose * MINUTE) // MINUTE


def _span(one: Connection) -> tuple[int, int] | None:
    """Its times; programs round minutes up or down, but what somebody has lessened by hand is lessened.

    More minutes than that are no correction: some programs repeat a person's sum in each row.
    """
    if one.joined_seconds is None or one.left_seconds is None:
        return None
    end = one.left_seconds
    if one.minutes is not None and (one.minutes + 1) * MINUTE <= end - one.joined_seconds:
        end = one.joined_seconds + one.minutes * MINUTE
    return one.joined_seconds, end


def _union(spans: Iterable[tuple[int, int]]) -> int:
    seconds, through = 0, None
    for begin, end in sorted(spans):
        start = begin if through is None else max(begin, through)
        seconds += max(0, end - start)
        through = end if through is None else max(end, through)
    return seconds
