"""A record whose old facts have moved away decides as one that has them all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rules.decide import decide, redecide
from rules.recount import HistoryNeeded
from rules.values import Change, CourseDefinition, Fact, Record, StepDefinition, Timeline, Value, timeline
from rules.window import Past, recall, shorten
from tests.rules.test_properties import facts, timelines


class Windowed:
    """A record as the service keeps it: shortened after each batch, recalled where that is needed."""

    def __init__(self, window: int) -> None:
        self.record = Record()
        self.past: dict[str, Past] = {}
        self.recalls = 0
        self._window = window

    def batch(self, items: list[Fact | None], known: Timeline) -> tuple[Change, ...]:
        """Facts, or None for a request to decide again."""
        try:
            record, announced = self._decide(self.record, items, known)
            recalled: dict[str, Past] = {}
        except HistoryNeeded:
            self.recalls += 1
            record, announced = self._decide(recall(self.record, self.past), items, known)
            recalled = self.past
        record = replace(record, decisions=())
        self.record, moving = shorten(record, self.record, recalled, self._window, known)
        self.past |= {one.fact.message_id: one for one in moving}
        return announced

    def _decide(self, record: Record, items: list[Fact | None], known: Timeline) -> tuple[Record, tuple[Change, ...]]:
        announced: tuple[Change, ...] = ()
        for item in items:
            decided = redecide(record, known, 0) if item is None else decide(record, item, known, 0)
            record, announced = decided[0], announced + decided[1]
        return record, announced


def plain(record: Record) -> tuple[object, ...]:
    """What must be the same whatever has moved away."""
    return (
        record.attempt,
        record.standing,
        list(record.standing.steps),
        record.latest,
        record.started,
        record.counts_from,
        record.reassignments,
        record.withdrawals,
        record.earned,
        record.definition_version,
        record.sequence,
        record.decided,
    )


Batches = list[tuple[list[Fact | None], Timeline]]


@st.composite
def lives(draw: st.DrawFn) -> tuple[Batches, int]:
    """Batches of facts and requests, each with the timeline known by then; and a window."""
    arriving, known = draw(facts()), draw(timelines())
    turns = draw(st.permutations([*arriving, *[None] * len(known)]))
    together = draw(st.lists(st.booleans(), min_size=len(turns), max_size=len(turns)))
    batches: Batches = []
    versions = draw(st.integers(0, 1))
    for item, with_last in zip(turns, together, strict=True):
        versions = min(versions + (item is None), len(known))
        if batches and with_last and len(batches[-1][1]) == versions:
            batches[-1][0].append(item)
        else:
            batches.append(([item], known[:versions]))
    return batches, draw(st.integers(1, 3))


@pytest.mark.parametrize("window", [99, 2, 1])
def test_evidence_does_not_fall_because_facts_have_moved_away(window: int) -> None:
    """Completed under a version that cannot decide what was said since: by that version it is still held."""
    other = StepDefinition("o1", "other", required=False)
    first = CourseDefinition(1, "d1", 0, {"e1": StepDefinition("e1", "event"), "o1": other})
    scheduled = StepDefinition("e1", "event", scheduled_minutes=60)
    known = timeline([first, CourseDefinition(2, "d2", 10, {"e1": scheduled, "o1": other})])
    record = Windowed(window)
    record.batch([Fact("m1", 1, "attendance", "e1", None, Value("attended", 100))], timeline([first]))
    record.batch([None], known)
    record.batch([Fact("m2", 20, "attendance", "e1", None, Value("minutes", 30))], known)
    for number in range(3, 9):
        record.batch([Fact(f"m{number}", 20 + number, "progress", "o1", None, Value("percent", number))], known)
        assert record.record.standing.course.evidence == "held"


@pytest.mark.full
@settings(max_examples=500)
@given(lives())
def test_a_window_changes_nothing(life: tuple[Batches, int]) -> None:
    batches, window = life
    windowed, whole = Windowed(window), Windowed(1000)
    seen: set[str] = set()
    for items, known in batches:
        overridden = whole.record.overridden
        assert windowed.batch(items, known) == whole.batch(items, known)
        assert plain(windowed.record) == plain(whole.record)
        seen |= {item.message_id for item in items if item is not None}
        assert set(windowed.record.facts) | set(windowed.past) == seen
        count_after_all = overridden - whole.record.overridden
        assert len(windowed.record.facts) <= 2 * window + len(items) + len(count_after_all)
    together = recall(windowed.record, windowed.past)
    assert together.facts == whole.record.facts
    assert list(together.facts) == list(whole.record.facts)
    assert together.overridden == whole.record.overridden
    assert not whole.recalls


def test_history_is_recalled_only_where_it_counts() -> None:
    """A late fact behind the checkpoint costs no more than the window; one before it has the history recalled."""
    course = CourseDefinition(1, "d1", 0, {"e1": StepDefinition("e1", "event"), "e2": StepDefinition("e2", "event")})
    known = timeline([course])

    def said(number: int, at: int, step_id: str = "e1") -> Fact:
        return Fact(f"m{number}", at, "attendance", step_id, None, Value("percent", number % 101))

    windowed = Windowed(window=10)
    for number in range(200):
        windowed.batch([said(number, 10 * number)], known)
    for number in (200, 202, 204):
        windowed.batch([said(number, 1985, "e2")], known)
        windowed.batch([said(number + 1, 1975, "e1")], known)
    windowed.batch([said(206, 55, "e1"), said(207, 55, "e2")], known)  # overridden, as one sees without looking further
    assert windowed.recalls == 0
    windowed.batch([Fact("m208", 57, "equivalency")], known)
    assert windowed.recalls == 1
    assert windowed.record.standing.course.completed_via == "equivalency"
    for number in range(209, 230):
        windowed.batch([said(number, 2000 + number)], known)
        assert len(windowed.record.facts) <= 2 * 10 + 1
    assert windowed.recalls == 1
    assert {"m206", "m207", "m208"} <= set(windowed.past), "those that came late have moved away by now"


def attendance(message_id: str, second: int, step_id: str, minutes: int | None) -> Fact:
    """None: excused."""
    value = Value("excused", 0) if minutes is None else Value("minutes", minutes)
    return Fact(message_id, second * 1_000_000, "attendance", step_id, None, value)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 99])
def test_an_overridden_fact_that_has_moved_away_still_stands_behind_an_undecided_step(window: int) -> None:
    known = timeline(
        [CourseDefinition(1, "d-1", 1_594_000_000, {"e0": StepDefinition("e0", "event", True, 100, 30, {})})]
    )
    reassigned = Fact("m4", 2_000_000_000, "reassigned", None, None, None)
    withdrawn = Fact("m21", 492_000_000, "withdrawn", None, None, None, withdraws="m4")
    earlier: list[Fact | None] = [
        attendance("m11", 626, "e0", 20),
        attendance("m12", 754, "e0", None),
        attendance("m13", 249, "e0", 30),
        attendance("m15", 537, "e1", 30),
        attendance("m20", 1592, "e0", 20),
    ]
    batches: Batches = [
        ([reassigned], ()),
        ([None], known),
        *(([one], known) for one in earlier),
        ([withdrawn], known),
        ([attendance("m31", 2396, "e1", 30)], known),
    ]
    whole, windowed = Windowed(99), Windowed(window)
    for items, timeline_then in batches:
        assert windowed.batch(list(items), timeline_then) == whole.batch(list(items), timeline_then)
        assert plain(windowed.record) == plain(whole.record)
