"""Pictures, drawn on the server: percent over time, lag over the last hour. SVG without styles of its own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rules.values import Change, Record, StepChange

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 14, 26
SERIES = 6
"""So many kinds of lines can be told apart."""
X = Callable[[int], float]
"""Where an instant is drawn."""


class Line(NamedTuple):
    """A step's percent: a stair. `points`: x and y of its corners."""

    name: str
    number: int
    points: Sequence[tuple[float, float]]

    @property
    def path(self) -> str:
        """As SVG spells it."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


class Mark(NamedTuple):
    """Something that happened to the course: `completed`, `reassigned`, `removed`."""

    kind: str
    x: float
    at: int


class Picture(NamedTuple):
    """Percent of each step over the time at which it was decided, and what became of the course."""

    lines: Sequence[Line]
    marks: Sequence[Mark]
    begin: int
    end: int


def picture(record: Record) -> Picture | None:
    """None where nothing was ever announced."""
    changes = [change for decision in record.decisions for change in decision.changes]
    instants = [decision.decided_at for decision in record.decisions]
    if not changes:
        return None
    begin, end = min(instants), max(instants)
    span = max(end - begin, 1)

    def x(instant: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (instant - begin) / span

    return Picture(_lines(changes, x, end), _marks(record, changes, x), begin, end)


def _lines(changes: Sequence[Change], x: X, end: int) -> list[Line]:
    stairs: dict[str, list[tuple[float, float]]] = {}
    for change in changes:
        what = change.what
        if not isinstance(what, StepChange):
            continue
        at = x(change.decided_at)
        points = stairs.setdefault(what.step_id, [(LEFT, y(what.previous_percent))])
        points += [(at, points[-1][1]), (at, y(what.percent))]
    return [
        Line(step_id, number % SERIES, [*points, (x(end), points[-1][1])])
        for number, (step_id, points) in enumerate(sorted(stairs.items()))
    ]


def _marks(record: Record, changes: Sequence[Change], x: X) -> list[Mark]:
    marks = [
        Mark("reassigned", x(decision.decided_at), decision.decided_at)
        for decision in record.decisions
        if decision.message_id in record.reassignments
    ]
    for change in changes:
        what = change.what
        if isinstance(what, StepChange):
            continue
        completed = what.course.completed_via is not None
        if completed != what.was_completed:
            kind = "completed" if completed else "removed"
            marks.append(Mark(kind, x(change.decided_at), change.decided_at))
    return marks


def y(percent: float) -> float:
    """Where a percent is drawn."""
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - percent / 100)


def stair(values: Sequence[float]) -> str:
    """A line over values, evenly spaced, the highest at the top; as SVG spells its points."""
    most, steps = max([*values, 1]), max(len(values) - 1, 1)
    width = WIDTH - LEFT - RIGHT
    return " ".join(f"{LEFT + width * n / steps:.1f},{y(100 * value / most):.1f}" for n, value in enumerate(values))
