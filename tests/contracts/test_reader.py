"""Whatever comes, in whatever interleaving and however often: each change once, in order."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.export import HERE
from contracts.framing import frame, split_frame
from contracts.reader import WAITING_LIMIT, Cursor, skip_missing, take

STEP, COURSE = (
    json.loads((HERE / "examples" / f"{name}.json").read_text("utf-8"))
    for name in ("step-completion-changed", "course-completion-changed")
)


def change(sequence: int, of_step: bool) -> bytes:
    """As it is on the wire."""
    return json.dumps({**(STEP if of_step else COURSE), "sequence": sequence}).encode()


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[int, list[bytes]]:
    """How many changes there are, and both topics interleaved, each read from some place again after a restart."""
    topics = draw(st.lists(st.booleans(), min_size=1, max_size=12))
    lines = {
        of_step: [change(n, of_step) for n, one in enumerate(topics, 1) if one == of_step] for of_step in (False, True)
    }
    delivered: list[bytes] = []
    for start in [0, *draw(st.lists(st.integers(0, 12), max_size=3))]:  # restarts: from here to the end again
        left = {of_step: line[start:] for of_step, line in lines.items()}
        while any(left.values()):
            of_step = draw(st.sampled_from([name for name, line in left.items() if line]))
            delivered.append(left[of_step].pop(0))
    return len(topics), delivered


@given(given=deliveries())
def test_each_change_comes_once_and_in_order(given: tuple[int, list[bytes]]) -> None:
    count, delivered = given
    text, seen = "", []
    for message in delivered:
        read = take(Cursor.read(text), message)
        seen += [one.sequence for one in read.changes]
        text = read.cursor.text()
    assert seen == list(range(1, count + 1))
    assert Cursor.read(text) == Cursor(count), "nothing waits"


def test_a_gap_is_told_and_can_be_left_behind() -> None:
    first = take(Cursor(), change(1, True))
    assert [one.sequence for one in first.changes] == [1] and first.cursor.missing is None
    early = take(take(first.cursor, change(4, False)).cursor, change(3, True))
    assert (early.changes, early.cursor.missing) == ((), 2)
    behind = skip_missing(Cursor.read(early.cursor.text()))
    assert [one.sequence for one in behind.changes] == [3, 4] and behind.cursor == Cursor(4)
    assert skip_missing(behind.cursor).changes == ()


def test_who_begins_with_a_state_leaves_out_what_it_holds() -> None:
    cursor = Cursor.after(3)
    assert take(cursor, change(3, True)).changes == ()
    assert [one.sequence for one in take(cursor, change(4, True)).changes] == [4]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff", json.dumps({**COURSE, "status": 1}).encode(), "{}"])
def test_what_is_no_change_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # pydantic's own words, and those of UTF-8
        take(Cursor(), value)


def test_a_schemas_id_in_front_is_passed_over() -> None:
    assert take(Cursor(), frame(7) + change(1, True)) == take(Cursor(), change(1, True))
    assert split_frame(frame(258) + b"{}") == (b"\0\0\0\1\2", b"{}") and split_frame(b"{}") == (b"", b"{}")
    with pytest.raises(ValueError, match="has 4 bytes"):
        take(Cursor(), frame(7)[:4])


def test_what_waits_is_bounded() -> None:
    cursor = Cursor(0, dict.fromkeys(range(2, WAITING_LIMIT + 2), "{}"))
    with pytest.raises(ValueError, match="wait for change 1"):
        take(cursor, change(WAITING_LIMIT + 3, False))
