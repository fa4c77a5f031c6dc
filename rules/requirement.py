"""The arithmetic of requirements, in integers only (README.md, Requirement).

An event is met when `attended * 100 >= threshold_percent * scheduled` over the sum of its sessions that are neither
cancelled nor excused for the learner. An event-level value replaces the session values set before it and counts as that
share of every session that has no value of its own since. Percents shown are floored and capped at 100.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from rules.values import CourseDefinition, StepDefinition, Value

Verdict = Literal["met", "not_met", "undecidable", "excused"]
"""Excused: nothing is left to meet."""

Measure = tuple[int, Verdict, bool]
"""How far a step's values go: the percent shown, the verdict, and whether something said cannot be decided yet
(minutes without a schedule, or a session that the definition lacks)."""

NOTHING: Measure = 0, "not_met", False
UNDECIDABLE: Measure = 0, "undecidable", True
EXCUSED: Measure = 0, "excused", False


def measure(step: StepDefinition, base: Value | None, sessions: Mapping[str, Value]) -> Measure:
    """Percent (0-100, floored) and verdict of a step's values under its definition."""
    if not sessions:
        return _measure_whole(step, base)
    waits = any(
        session_id not in step.sessions and session_id not in step.cancelled and (value.amount > 0 or base is not None)
        for session_id, value in sessions.items()
    )
    if base is None and _are_gone(step, sessions):
        return UNDECIDABLE
    if step.sessions:
        percent, verdict = _measure_sessions(step, base, sessions)
        return percent, verdict, waits
    percent, verdict, undecidable = _measure_whole(step, base)
    return percent, verdict, undecidable or waits


def _measure_whole(step: StepDefinition, base: Value | None) -> Measure:
    if base is None:
        return NOTHING
    amount = base.amount
    if base.unit == "excused":
        return EXCUSED
    if base.unit != "minutes":
        return amount, "met" if amount >= step.threshold_percent else "not_met", False
    scheduled = step.scheduled_minutes
    if not scheduled:
        return UNDECIDABLE if amount else NOTHING
    attended = min(amount, scheduled) * 100
    return attended // scheduled, "met" if attended >= step.threshold_percent * scheduled else "not_met", False


def _measure_sessions(step: StepDefinition, base: Value | None, sessions: Mapping[str, Value]) -> tuple[int, Verdict]:
    share, whole = _share(base, step.scheduled_minutes)
    attended = required = 0  # in parts of a minute, 100 * whole of them
    for session_id, scheduled in step.sessions.items():
        value = sessions.get(session_id)
        counting = base if value is None else value
        if counting is not None and counting.unit == "excused":
            continue
        required += scheduled * whole
        if value is None:
            attended += share * scheduled * 100
        elif value.unit == "minutes":
            attended += min(value.amount, scheduled) * 100 * whole
        else:
            attended += value.amount * scheduled * whole
    if not required:
        return 0, "excused"
    return attended // required, "met" if attended >= step.threshold_percent * required else "not_met"


def _share(base: Value | None, scheduled: int) -> tuple[int, int]:
    """The event-level value as a fraction of the event: numerator, denominator."""
    if base is None:
        return 0, 1
    if base.unit == "minutes":
        return min(base.amount, scheduled), scheduled
    return base.amount, 100


def _are_gone(step: StepDefinition, sessions: Mapping[str, Value]) -> bool:
    """Whether more than a 0 is said, but all of sessions that are not defined (any more), or none takes place."""
    known = {**step.sessions, **dict.fromkeys(step.cancelled, 0)} if step.sessions else {}
    return (
        any(value.amount or value.unit == "excused" for value in sessions.values())
        and not known.keys() & sessions.keys()
    )


def is_said_of(step: StepDefinition | None, session_id: str | None, value: Value) -> bool:
    """Whether this value, by itself, can be decided under the definition."""
    if step is None:
        return False
    verdict = measure(step, value, {}) if session_id is None else measure(step, None, {session_id: value})
    return verdict[1] != "undecidable"


def course_is_met(definition: CourseDefinition, is_complete: Callable[[str], bool]) -> bool:
    """All required steps, and enough of every group; with neither, a definition completes nothing by itself."""
    for step_id in definition.required:
        if not is_complete(step_id):
            return False
    for group in definition.groups:
        if sum(map(is_complete, group.step_ids)) < group.at_least:
            return False
    return bool(definition.required or definition.groups)
