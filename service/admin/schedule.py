"""What a course's newest definition says to uploads: its steps, and when its events take place."""

import json
from typing import Any, NamedTuple

from contracts.fields import parse_timestamp
from rules.values import CourseDefinition, Instant
from service.admin.connections import Window
from service.lanes.definitions import course_timeline
from service.lanes.ports import StoredCourse

SECOND = 1_000_000
"""Microseconds."""


class Course(NamedTuple):
    """The newest version, for the rules and as it was written."""

    definition: CourseDefinition
    steps: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, stored: StoredCourse) -> "Course":
        """As it is stored."""
        steps = json.loads(stored.newest.content)["steps"]
        return cls(course_timeline(stored)[-1], {step["step_id"]: step for step in steps})

    def starts_at(self, step_id: str, session_id: str | None) -> str | None:
        """RFC 3339, where the definition says when it starts."""
        said = self._scheduled(step_id, session_id).get("starts_at")
        return None if said is None else str(said)

    def start(self, step_id: str, session_id: str | None) -> Instant | None:
        """The same as an instant."""
        said = self.starts_at(step_id, session_id)
        instant = None if said is None else parse_timestamp(said)
        assert instant is None or isinstance(instant, int), "a text parses to an instant"
        return instant

    def window(self, step_id: str, session_id: str | None) -> Window | None:
        """From when to when it takes place, where that is known."""
        start, minutes = self.start(step_id, session_id), self._scheduled(step_id, session_id).get("scheduled_minutes")
        return None if start is None or minutes is None else Window(start // SECOND, start // SECOND + minutes * 60)

    def _scheduled(self, step_id: str, session_id: str | None) -> dict[str, Any]:
        """The event's own schedule, or that of its session."""
        step = self.steps.get(step_id, {})
        if session_id is None:
            return step
        return next((one for one in step.get("sessions", ()) if one["session_id"] == session_id), {})
