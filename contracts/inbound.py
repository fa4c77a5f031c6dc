"""Messages that Ratchet reads (README.md, Send). One that breaks a field's rule is a dead letter."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from contracts.fields import (
    Id,
    Message,
    Minutes,
    Percent,
    ScheduledMinutes,
    Threshold,
    Timestamp,
    Told,
    ValidFor,
    Version,
    course_key,
    integral,
    record_key,
)

Source = Literal["manual", "mass_upload", "platform"]
_WAYS_TO_SAY = {"attended_minutes": "integer", "attended_percent": "integer", "attended": "boolean"}


def _given(*names: str) -> dict[str, Any]:
    """JSON Schema: these fields are there and not null."""
    return {"required": list(names), "properties": {name: {"not": {"type": "null"}} for name in names}}


def _of_type(name: str, kind: str) -> dict[str, Any]:
    """JSON Schema: this field is there with a value of this type, in words that makers of types understand."""
    return {"required": [name], "properties": {name: {"type": kind}}}


def _said(name: str, value: object) -> dict[str, Any]:
    """JSON Schema: this field is there with this value."""
    return {"required": [name], "properties": {name: {"const": value}}}


class Said(Message):
    """What somebody says: by whom and why is kept and shown, and decides nothing.

    Fields that are not known are ignored, unless another topic has them (`foreign_fields`).
    """

    model_config = ConfigDict(extra="allow")

    actor: Told | None = None
    """Who did it: an opaque id."""
    reason: Told | None = None
    """Why, in words for people."""


class AboutRecord(Message):
    """What every message about one learner's record carries."""

    message_id: Id
    """Makes the message itself: the same one again changes nothing."""
    tenant_id: Id
    """Whose learners and courses these are."""
    learner_id: Id
    """Of the tenant."""
    course_id: Id
    """Of the tenant."""
    changed_at: Timestamp
    """When it happened, not when it was sent."""

    @property
    def key(self) -> str:
        return record_key(self.tenant_id, self.learner_id, self.course_id)


class Fact(AboutRecord, Said):
    """What somebody says about one learner's record."""


class AttendanceChanged(Fact):
    """A learner's attendance of an event, or of one session of it: exactly one of the four ways to say it."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [*(_of_type(*way) for way in _WAYS_TO_SAY.items()), _said("excused", True)]}
    )

    event_id: Id
    """The step of the course that is this event."""
    session_id: Id | None = None
    """One session of the event; not given: the event as a whole."""
    attended_minutes: Minutes | None = None
    """Minutes."""
    attended_percent: Percent | None = None
    """Percent of what is scheduled."""
    attended: bool | None = None
    """true: all of it, false: nothing."""
    excused: bool | None = None
    """true: it does not count for this learner, neither as attended nor as scheduled."""
    source: Source = "platform"
    """Where it comes from."""
    upload_id: Id | None = None
    """Of the mass upload that said so."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        said = (self.attended_minutes, self.attended_percent, self.attended, self.excused or None)
        if said.count(None) != len(said) - 1:
            raise ValueError(f"needs exactly one of {', '.join(_WAYS_TO_SAY)}, or excused: true")
        return self


class StepProgressChanged(Fact):
    """A learner's progress in a step of another kind, such as an On-the-Job Training."""

    step_id: Id
    """Of the course."""
    progress_percent: Percent
    """Percent."""
    source: Source = "platform"
    """Where it comes from."""


class EquivalencyGranted(Fact):
    """The course counts as completed by an equivalent one; with a step, that step does."""

    step_id: Id | None = None
    """Not given: the whole course."""
    equivalent_course_id: Id | None = None
    """The course that was really done."""
    granted_by: str | None = None
    """Who granted it."""


class CompletionGranted(Fact):
    """The course counts as completed: in an older system, or marked by hand. `changed_at` is its date."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": _given("certificate_id"),
            "then": {
                "anyOf": [
                    _said("certificate", "none"),
                    {"allOf": [_said("source", "import"), {"not": _given("certificate")}]},
                ]
            },
        }
    )

    source: Literal["manual", "import"] = "manual"
    """By hand, or from an older system."""
    certificate: Literal["issue", "none"] | None = None
    """Not given: as the course awards for `manual`, none for `import`."""
    certificate_id: Told | None = None
    """Of the older system, kept as told."""

    @property
    def is_without_certificate(self) -> bool:
        return self.certificate == "none" or (self.certificate is None and self.source == "import")

    @model_validator(mode="after")
    def _one_certificate(self) -> Self:
        if self.certificate_id is not None and not self.is_without_certificate:
            raise ValueError("certificate_id is that of the older system: only with certificate: none")
        return self


class Reassigned(Fact):
    """A new attempt starts; completion and certificate are removed. The steps start again, or are kept."""

    progress: Literal["reset", "keep"] = "reset"
    """What becomes of the steps: they start again, or stay."""
    reassigned_by: str | None = None
    """Who reassigned it."""
    due_at: Timestamp | None = None
    """Until when it is to be done; told, and decides nothing."""


class ReassignmentWithdrawn(Fact):
    """The reassignment was a mistake: what it ended stands again."""

    reassignment_message_id: Id
    """The message_id of that reassignment."""


class ReevaluationRequested(AboutRecord):
    """Internal: decide this record again under the newest definition; `changed_at` is that definition's.

    Or, without deciding anything, tell its state once more.
    """

    definition_version: Version | None = None
    """The version to decide under; none where only the state is to be told."""


class TopicProgress(Message):
    """How far a lane has come in a topic: as its group's committed offset says, but kept in the log itself."""

    offset: Annotated[int, Field(ge=0)]
    """Of the next message."""
    metadata: str
    """What beyond it is done already, where messages have overtaken others; else empty."""


class LaneProgress(Message):
    """Internal: where a lane stands, written with what it announces."""

    topics: dict[str, TopicProgress]
    """By topic, without the prefix."""


class SessionDefinition(Message):
    """One session of an event."""

    session_id: Id
    """Within the event."""
    scheduled_minutes: ScheduledMinutes
    """Minutes."""
    cancelled: bool = False
    """true: it does not count."""
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
    """Within the course; of an event, its event_id."""
    kind: Literal["event", "on_the_job_training", "other"]
    """What it is: an event is attended, the others progress."""
    title: str | None = None
    """For people."""
    required: bool = True
    """Whether the course takes it, by itself; false: perhaps by a group."""
    threshold_percent: Threshold = 100
    """Percent that completes it."""
    scheduled_minutes: ScheduledMinutes | None = None
    """Minutes, of an event without sessions."""
    sessions: Annotated[list[SessionDefinition], Field(min_length=1, max_length=1000)] | None = None
    """Of an event that is held in several."""
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


class Group(Message):
    """So many of these steps must be complete, as of an event that is offered on several dates."""

    group_id: Id
    """Within the course."""
    step_ids: Annotated[list[Id], Field(min_length=1, max_length=500)]
    """Steps that are not required by themselves."""
    at_least: Annotated[int, Field(ge=1, le=500), BeforeValidator(integral)]
    """So many of them."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        _unique("step_id", self.step_ids)
        if self.at_least > len(self.step_ids):
            raise ValueError(f"at_least: {self.at_least} of {len(self.step_ids)} steps can never be complete")
        return self


class CourseDefined(Said):
    """The definition of a course; a higher version replaces a lower one."""

    message_id: Id
    """Makes the message itself: the same one again changes nothing."""
    tenant_id: Id
    """Whose course it is."""
    course_id: Id
    """Of the tenant."""
    changed_at: Timestamp
    """Since when it is defined so."""
    version: Version
    """Rises; a lower or equal one with other content is refused."""
    title: str | None = None
    """For people."""
    awards_certificate: bool = True
    """Whether a completion by steps, or one granted by hand, has a certificate."""
    certificate_on_equivalency: bool = False
    """Whether a completion by an equivalent course has one, too."""
    certificate_after_equivalency: bool = False
    """A completion by equivalency gets a certificate once the required steps are complete by the learner's own work."""
    valid_for: ValidFor | None = None
    """ISO 8601: from `completed_at` to `expires_at`."""
    steps: Annotated[list[StepDefinition], Field(max_length=500)]
    """What the course consists of."""
    groups: Annotated[list[Group], Field(max_length=500)] | None = None
    """What it takes of steps that are not required by themselves."""

    @property
    def key(self) -> str:
        return course_key(self.tenant_id, self.course_id)

    @property
    def places(self) -> int:
        """Steps, sessions and steps of groups together."""
        of_groups = sum(len(group.step_ids) for group in self.groups or ())
        return of_groups + sum(1 + len(step.sessions or ()) for step in self.steps)

    @model_validator(mode="after")
    def _steps_differ(self) -> Self:
        _unique("step_id", (step.step_id for step in self.steps))
        return self

    @model_validator(mode="after")
    def _groups_are_of_optional_steps(self) -> Self:
        _unique("group_id", (group.group_id for group in self.groups or ()))
        required = {step.step_id: step.required for step in self.steps}
        for group in self.groups or ():
            for step_id in group.step_ids:
                if required.get(step_id, True):
                    missing = f"step {step_id} is not a step of this definition with required: false"
                    raise ValueError(f"groups: {group.group_id}: {missing}")
        return self


def _unique(name: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{name} {value} stands twice")
        seen.add(value)
