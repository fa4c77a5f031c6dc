"""Messages that Ratchet reads. Every field's rule is contracts.md's; a message that breaks one is a dead letter."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from contracts.fields import (
    Id,
    Message,
    Minutes,
    Percent,
    ScheduledMinutes,
    Threshold,
    Timestamp,
    Version,
    course_key,
    record_key,
)

Source = Literal["manual", "mass_upload", "platform"]
_WAYS_TO_SAY = ("attended_minutes", "attended_percent", "attended")


def _given(*names: str) -> dict[str, Any]:
    """JSON Schema: these fields are there and not null."""
    return {"required": list(names), "properties": {name: {"not": {"type": "null"}} for name in names}}


class AboutRecord(Message):
    """What every message about one learner's record carries."""

    message_id: Id
    tenant_id: Id
    learner_id: Id
    course_id: Id
    changed_at: Timestamp
    """When it happened, not when it was sent."""

    @property
    def key(self) -> str:
        return record_key(self.tenant_id, self.learner_id, self.course_id)


class AttendanceChanged(AboutRecord):
    """A learner's attendance of an event, or of one session of it: exactly one of the three ways to say how much."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_given(name) for name in _WAYS_TO_SAY]})

    event_id: Id
    session_id: Id | None = None
    attended_minutes: Minutes | None = None
    attended_percent: Percent | None = None
    attended: bool | None = None
    source: Source = "platform"
    upload_id: Id | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        said = (self.attended_minutes, self.attended_percent, self.attended)
        if said.count(None) != len(said) - 1:
            raise ValueError(f"needs exactly one of {', '.join(_WAYS_TO_SAY)}")
        return self


class StepProgressChanged(AboutRecord):
    """A learner's progress in a step of another kind, such as an On-the-Job Training."""

    step_id: Id
    progress_percent: Percent
    source: Source = "platform"


class EquivalencyGranted(AboutRecord):
    """The course counts as completed by an equivalent one."""

    equivalent_course_id: Id | None = None
    granted_by: str | None = None


class Reassigned(AboutRecord):
    """A new attempt starts; completion and certificate are removed."""

    reassigned_by: str | None = None
    reason: str | None = None
    due_at: Timestamp | None = None


class ReevaluationRequested(AboutRecord):
    """Internal: decide this record again under the newest definition. `changed_at` is that definition's."""

    definition_version: Version


class SessionDefinition(Message):
    """One session of an event."""

    session_id: Id
    scheduled_minutes: ScheduledMinutes
    cancelled: bool = False
    starts_at: Timestamp | None = None
    """Told to administrators; decides nothing."""


class StepDefinition(Message):
    """One step of a course and what it takes to complete it."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": _given("scheduled_minutes", "sessions"),
            "anyOf": [
                {"properties": {"kind": {"const": "event"}}},
                {"not": {"anyOf": [_given("scheduled_minutes"), _given("sessions"), _given("starts_at")]}},
            ],
        }
    )

    step_id: Id
    kind: Literal["event", "on_the_job_training", "other"]
    title: str | None = None
    required: bool = True
    threshold_percent: Threshold = 100
    scheduled_minutes: ScheduledMinutes | None = None
    sessions: Annotated[list[SessionDefinition], Field(min_length=1, max_length=1000)] | None = None
    starts_at: Timestamp | None = None
    """Of an event without sessions. Told to administrators; decides nothing."""

    @model_validator(mode="after")
    def _schedule(self) -> Self:
        if self.scheduled_minutes is not None and self.sessions is not None:
            raise ValueError("scheduled_minutes and sessions exclude each other: give one of them")
        if self.kind != "event" and (self.scheduled_minutes is not None or self.sessions is not None):
            raise ValueError(f"only events have scheduled_minutes or sessions, not the kind {self.kind}")
        if self.kind != "event" and self.starts_at is not None:
            raise ValueError(f"only events have starts_at, not the kind {self.kind}")
        _unique("session_id", (session.session_id for session in self.sessions or ()))
        return self


class CourseDefined(Message):
    """The definition of a course; a higher version replaces a lower one."""

    message_id: Id
    tenant_id: Id
    course_id: Id
    changed_at: Timestamp
    version: Version
    title: str | None = None
    awards_certificate: bool = True
    certificate_on_equivalency: bool = False
    steps: Annotated[list[StepDefinition], Field(max_length=500)]

    @property
    def key(self) -> str:
        return course_key(self.tenant_id, self.course_id)

    @property
    def places(self) -> int:
        """Steps and sessions together."""
        return sum(1 + len(step.sessions or ()) for step in self.steps)

    @model_validator(mode="after")
    def _steps_differ(self) -> Self:
        _unique("step_id", (step.step_id for step in self.steps))
        return self


def _unique(name: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{name} {value} stands twice")
        seen.add(value)
