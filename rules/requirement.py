"""The arithmetic of requirements, in integers only (domain.md, Percent and requirement).

An event is met when `attended * 100 >= threshold_percent * scheduled` over the sum of its sessions that are not
cancelled. An event-level value replaces the session values set before it and counts as that share of every session
that has no value of its own since. Percents shown are floored and capped at 100.
"""

from collections.abc import Mapping
from typing import Literal

from rules.values import StepDefinition, Value

Verdict = Literal["met", "not_met", "undecidable"]


Measure = tuple[int, Verdict, bool]
"""How far a step's values go: the percent shown, the verdict, and whether something said cannot be decided yet
(minutes without a schedule, or a session that the definition lacks)."""

NOTHING: Measure = 0, "not_met", False
UNDECIDABLE: Measure = 0, "undecidable", True


def measure(step: StepDefinition, base: Value | None, sessions: Mapping[str, Value]) -> Measure:
    """Percent (0-100, floored) and verdict of a step's values under its definition."""
    if sessions:
        return _measure_sessions(step, base, sessions)
    if base is None:
        return NOTHING
    amount = base.amount
    if base.unit != "minutes":
        return amount, "met" if amount >= step.threshold_percent else "not_met", False
    scheduled = step.scheduled_minutes
    if not scheduled:
        return UNDECIDABLE if amount else NOTHING
    attended = min(amount, scheduled) * 100
    return attended // scheduled, "met" if attended >= step.threshold_percent * scheduled else "not_met", False


def _measure_sessions(step: StepDefinition, base: Value | None, sessions: Mapping[str, Value]) -> Measure:
    waits = any(
        session_id not in step.sessions and session_id not in step.cancelled and (value.amount > 0 or base is not None)
        for session_id, value in sessions.items()
    )
    if not step.sessions:
        percent, verdict, undecidable = measure(step, base, {})
        return percent, verdict, undecidable or waits
    share, whole = _share(base, step.scheduled_minutes)
    attended = 0  # in parts of a minute, 100 * whole of them
    for session_id, scheduled in step.sessions.items():
        value = sessions.get(session_id)
        if value is None:
            attended += share * scheduled * 100
        elif value.unit == "minutes":
            attended += min(value.amount, scheduled) * 100 * whole
        else:
            attended += value.amount * scheduled * whole
    required = step.scheduled_minutes * whole
    return attended // required, "met" if attended >= step.threshold_percent * required else "not_met", waits


def _share(base: Value | None, scheduled: int) -> tuple[int, int]:
    """The event-level value as a fraction of the event: numerator, denominator."""
    if base is None:
        return 0, 1
    if base.unit == "minutes":
        return min(base.amount, scheduled), scheduled
    return base.amount, 100
