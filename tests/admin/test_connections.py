"""Connections of one person count together: by an oracle that looks at every second."""

from hypothesis import given
from hypothesis import strategies as st

from service.admin.connections import Connection, Outside, Window, attended_minutes

times = st.integers(0, 4000)
timed = st.builds(
    lambda begin, length, less: Connection(
        0, begin, begin + length, None if less is None else max(0, length // 60 - less)
    ),
    times,
    st.integers(0, 4000),
    st.none() | st.integers(0, 20),
)
windows = st.none() | st.builds(lambda begin, length: Window(begin, begin + length), times, st.integers(60, 4000))


def seconds_of(one: Connection) -> set[int]:
    """In which seconds somebody was there; minutes that say less than the times shorten them."""
    assert one.joined_seconds is not None and one.left_seconds is not None
    whole = range(one.joined_seconds, one.left_seconds)
    if one.minutes is None or one.minutes >= len(whole) // 60:
        return set(whole)
    return set(whole[: one.minutes * 60])


@given(st.lists(timed, min_size=1, max_size=6), windows)
def test_every_second_counts_once(connections: list[Connection], window: Window | None) -> None:
    there = set().union(*map(seconds_of, connections))
    inside = there if window is None else there & set(range(*window))
    try:
        assert attended_minutes(connections, window) == len(inside) // 60
    except Outside:
        assert there and not inside, "nobody who was there, or never anywhere, is outside"


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_minutes_without_times_are_added(lengths: list[int]) -> None:
    connections = [Connection(line, minutes=length) for line, length in enumerate(lengths)]
    assert attended_minutes(connections, None) == sum(lengths)
