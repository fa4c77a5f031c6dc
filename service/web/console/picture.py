"""Pictures, drawn on the server: percent over time, lag over the last hour. SVG without styles of its own."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from rules.values import Decision, Instant, Record, StepChange

WIDTH, HEIGHT = 720, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 24, 26
FRAME = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM}
LEAD = 28
"""Of time before the first instant, and after the last, so that both are seen."""
SERIES = 6
"""So many kinds of lines can be told apart."""
BESIDE = 12.0
"""Marks of the same instant stand so far apart."""
X = Callable[[Instant], float]
"""Where an instant is drawn."""
Placed = Sequence[tuple[Decision, Instant]]
"""Decisions in their order, each with the instant at which it is drawn."""


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


class Picture(NamedTuple):
    """Percent of each step over time, and what became of the course. `begin`, `end`: of the time that is shown."""

    lines: Sequence[Line]
    marks: Sequence[Mark]
    begin: Instant
    end: Instant


def picture(record: Record) -> Picture | None:
    """None where nothing was ever announced. What came late is drawn where it began to count."""
    decisions = sorted(record.decisions, key=lambda decision: decision.number)
    instants = accumulate((decision.changed_at for decision in decisions), max)
    placed = list(zip(decisions, instants, strict=True))
    if not any(decision.changes for decision, _ in placed):
        return None
    begin, end = placed[0][1], placed[-1][1]
    span = max(end - begin, 1)

    def x(instant: Instant) -> float:
        return LEFT + LEAD + (WIDTH - RIGHT - LEFT - 2 * LEAD) * (instant - begin) / span

    return Picture(_lines(placed, x), _beside(_marks(record, placed, x)), begin, end)


def _lines(placed: Placed, x: X) -> list[Line]:
    stairs: dict[str, list[tuple[float, float]]] = {}
    for decision, instant in placed:
        for what in (change.what for change in decision.changes):
            if isinstance(what, StepChange):
                points = stairs.setdefault(what.step_id, [(LEFT, y(what.previous_percent))])
                points += [(x(instant), points[-1][1]), (x(instant), y(what.percent))]
    return [
        Line(step_id, number % SERIES, [*points, (WIDTH - RIGHT, points[-1][1])])
        for number, (step_id, points) in enumerate(sorted(stairs.items()))
    ]


def _marks(record: Record, placed: Placed, x: X) -> list[Mark]:
    marks: list[Mark] = []
    for decision, instant in placed:
        if decision.message_id in record.reassignments:
            marks.append(Mark("reassigned", x(instant)))
        for what in (change.what for change in decision.changes):
            if isinstance(what, StepChange):
                continue
            completed = what.course.completed_via is not None
            if completed != what.was_completed:
                marks.append(Mark("completed" if completed else "removed", x(instant)))
    return marks


def _beside(marks: Sequence[Mark]) -> list[Mark]:
    """None covers the one before it."""
    spread: list[Mark] = []
    for mark in marks:
        least = spread[-1].x + BESIDE if spread else LEFT
        spread.append(mark._replace(x=min(max(mark.x, least), WIDTH - RIGHT)))
    return spread


def y(percent: float) -> float:
    """Where a percent is drawn."""
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - percent / 100)


def stair(values: Sequence[float]) -> str:
    """A line over values, evenly spaced, the highest at the top; as SVG spells its points."""
    most, steps = max([*values, 1]), max(len(values) - 1, 1)
    width = WIDTH - LEFT - RIGHT
    return " ".join(f"{LEFT + width * n / steps:.1f},{y(100 * value / most):.1f}" for n, value in enumerate(values))
