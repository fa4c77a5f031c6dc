"""The values that are decided about: facts, course definitions, standings, changes, records.

All are immutable: a mapping inside them is never written to once it is there, only copied. Instants are integers,
microseconds since 1970-01-01T00:00:00 UTC; they compare exactly and survive storage unchanged.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

Instant = int
FactKind = Literal["attendance", "progress", "equivalency", "granted", "reassigned", "withdrawn"]
Unit = Literal["minutes", "percent", "attended", "granted", "excused"]
Via = Literal["steps", "equivalency", "granted"]
Evidence = Literal["held", "withdrawn"]
CertificateAction = Literal["issue", "revoke", "reinstate", "none"]
GrantedCertificate = Literal["issue", "none", "as_awarded"]


class Value(Struct, frozen=True, gc=False, array_like=True):
    """What a fact says of a step: minutes, a percent, attended (100) / not attended (0), granted (100), excused (0)."""

    unit: Unit
    amount: int


class Fact(Struct, frozen=True, gc=False, array_like=True):
    """One validated inbound message about one record (README.md, Words)."""

    message_id: str
    changed_at: Instant
    kind: FactKind
    step_id: str | None = None
    session_id: str | None = None
    value: Value | None = None
    details: tuple[tuple[str, str], ...] = ()
    """What does not decide anything but belongs to the story: source, upload_id, actor, reason, …"""
    keeps: bool = False
    """Of a reassignment: the steps stay as they stand."""
    due_at: Instant | None = None
    """Of a reassignment: until when the learner is to have done it again. It is told, and decides nothing."""
    withdraws: str | None = None
    """Of a withdrawal: the message id of the reassignment that was a mistake."""
    certificate: GrantedCertificate | None = None
    """Of a granted completion: what is said of its certificate."""


Order = tuple[Instant, int, str]
_LAST = {"reassigned": 1, "withdrawn": 2}


def order(fact: Fact) -> Order:
    """Facts count in the order of this key, not in the order of arrival; at one instant a reassignment comes last."""
    return fact.changed_at, _LAST.get(fact.kind, 0), fact.message_id


class StepDefinition(Struct, frozen=True, gc=False, array_like=True):
    """One step of a course and what it takes to complete it."""

    step_id: str
    kind: str
    required: bool = True
    threshold_percent: int = 100
    scheduled_minutes: int = 0
    """Sum over the sessions that are not cancelled; 0 where nothing is scheduled."""
    sessions: Mapping[str, int] = {}
    """Scheduled minutes of each session that is not cancelled."""
    cancelled: frozenset[str] = frozenset()


class Group(Struct, frozen=True, gc=False, array_like=True):
    """So many of these steps must be complete, as of an event that is offered on several dates."""

    group_id: str
    step_ids: tuple[str, ...]
    at_least: int


ValidFor = tuple[int, int, int]
"""Years, months, days."""


class CourseDefinition(Struct, frozen=True, gc=False, array_like=True):
    """One version of a course: in force from `effective_at` until the next version's."""

    version: int
    message_id: str
    effective_at: Instant
    steps: Mapping[str, StepDefinition]
    awards_certificate: bool = True
    certificate_on_equivalency: bool = False
    required: tuple[str, ...] = ()
    """The ids of the required steps; `timeline` fills it in."""
    certificate_after_equivalency: bool = False
    valid_for: ValidFor | None = None
    groups: tuple[Group, ...] = ()
    title: str | None = None


def places_of(definition: CourseDefinition) -> int:
    """How many steps and sessions it has, cancelled ones included."""
    return sum(1 + len(step.sessions) + len(step.cancelled) for step in definition.steps.values())


Timeline = tuple[CourseDefinition, ...]
"""The known versions of a course, oldest first; empty while it is not defined. The first covers all time before it."""


def timeline(versions: Iterable[CourseDefinition]) -> Timeline:
    """Order of versions is order of effect: none takes effect before the version it follows (README.md)."""
    ordered: list[CourseDefinition] = []
    for definition in sorted(versions, key=lambda definition: definition.version):
        effective_at = max(definition.effective_at, ordered[-1].effective_at) if ordered else definition.effective_at
        required = tuple(step_id for step_id, step in definition.steps.items() if step.required)
        ordered.append(replace(definition, effective_at=effective_at, required=required))
    return tuple(ordered)


def begins(definition: CourseDefinition) -> Order:
    """A definition comes before the facts of the same instant: it is in force from there on."""
    return definition.effective_at, -1, ""


def in_force(known: Timeline, place: Order) -> CourseDefinition:
    """The definition at a place in time; the first one covers all time before it too."""
    for definition in reversed(known):
        if begins(definition) < place:
            return definition
    return known[0]


class Cause(Struct, frozen=True, gc=False, array_like=True):
    """What set a step or a course: the fact (or definition), when it happened, and the row that decided."""

    message_id: str
    changed_at: Instant
    rule_id: str


class Step(Struct, frozen=True, gc=False, array_like=True):
    """A step's completion, and the values it follows from."""

    step_id: str
    kind: str | None
    """None while no definition has this step: its facts wait."""
    percent: int
    complete: bool
    unresolved: bool
    """Something said of this step cannot be decided under the definition in force; it waits for another one."""
    base: Value | None
    """The event-level value."""
    sessions: Mapping[str, Value]
    """Session values set after the event-level one."""
    cause: Cause
    is_own_work: bool = True
    """Not granted: the learner has done it."""


class Shown(Struct, frozen=True, gc=False, array_like=True):
    """What of a step a decision remembers."""

    percent: int
    complete: bool
    unresolved: bool


class Course(Struct, frozen=True, gc=False, array_like=True):
    """The course completion of the current attempt. Incomplete when `completed_via` is None."""

    completed_via: Via | None = None
    completed_at: Instant | None = None
    evidence: Evidence | None = None
    expires_at: Instant | None = None
    """Told, and changes no completion; None where the course does not expire."""
    certificate_waived: bool = False
    """Granted without a certificate, by choice: no definition issues one later."""

    @property
    def status(self) -> Literal["completed", "incomplete"]:
        return "incomplete" if self.completed_via is None else "completed"


class Certificate(Struct, frozen=True, gc=False, array_like=True):
    """A certificate: its identity is the record's and the attempt's in which it was issued."""

    attempt: int
    status: Literal["issued", "revoked"]
    cause: Cause
    """What issued or revoked it."""


class Standing(Struct, frozen=True, gc=False, array_like=True):
    """What has been decided: each step's completion, the course's, the certificate."""

    steps: Mapping[str, Step] = {}
    course: Course = Course()
    certificate: Certificate | None = None
    """Of a completed course, that of its completion; of an incomplete one, the last that was revoked."""
    course_cause: Cause | None = None
    """What set the course's status."""

    @property
    def is_certified(self) -> bool:
        """Whether there is a certificate that is valid now."""
        return self.certificate is not None and self.certificate.status == "issued"


class StepChange(Struct, frozen=True, gc=False, array_like=True, tag="step"):
    """A step's percent or completion changed."""

    step_id: str
    step_kind: str
    percent: int
    previous_percent: int
    complete: bool
    previously_complete: bool
    course: Course
    """The course once the fact has been decided."""


class CourseChange(Struct, frozen=True, gc=False, array_like=True, tag="course"):
    """The course's status or its certificate changed."""

    course: Course
    """As it is then."""
    was_completed: bool
    certificate_action: CertificateAction
    certificate_attempt: int | None
    due_at: Instant | None
    """Of the reassignment that began the attempt."""
    course_title: str | None


class Change(Struct, frozen=True, gc=False, array_like=True):
    """Something decided that downstream must hear; numbered within its record."""

    sequence: int
    attempt: int
    cause: Cause
    decided_at: Instant
    what: StepChange | CourseChange


class Decision(Struct, frozen=True, gc=False, array_like=True):
    """Why a change, or no change, followed from a fact or a definition."""

    number: int
    """Which of the record's decisions it is, from 1 on."""
    message_id: str
    changed_at: Instant
    decided_at: Instant
    definition_version: int
    """The newest version known then; 0 while the course was not defined."""
    arrival: str
    """Row of the arrival table: how the fact took its place among the known ones."""
    step_id: str | None
    step_before: Shown | None
    step_after: Shown | None
    step_rule: str | None
    """Row of the step table that set the step because of this message."""
    course_before: Course
    course_after: Course
    course_rule: str | None
    """Row of the course table that spoke on this message, None where none was asked."""
    changes: tuple[Change, ...]


class Checkpoint(Struct, frozen=True, gc=False, array_like=True):
    """What the steps of the current attempt had come to once every fact up to `place` was counted."""

    place: Order
    steps: Mapping[str, Step]


class Reassignment(Struct, frozen=True, gc=False, array_like=True):
    """A known reassignment."""

    place: Order
    keeps: bool
    due_at: Instant | None


class Earned(Struct, frozen=True, gc=False, array_like=True):
    """A completion that was announced, with its certificate: it returns when what ended it is withdrawn."""

    course: Course
    cause: Cause
    certificate: Certificate | None


class Record(Struct, frozen=True, gc=False, array_like=True):
    """One learner's standing in one course, with the facts and decisions behind it.

    Old facts may have moved away (rules.window): every one after the checkpoint is here.
    """

    attempt: int = 1
    standing: Standing = Standing()
    facts: Mapping[str, Fact] = {}
    """By message id, in the order in which they happened."""
    latest: Order | None = None
    """Order of the newest fact."""
    started: Order | None = None
    """Order of the newest reassignment in force: where the current attempt starts."""
    counts_from: Order | None = None
    """Order of the newest one in force that did not keep the steps: facts after it count."""
    reassignments: Mapping[str, Reassignment] = {}
    """All that are known, by message id."""
    withdrawals: frozenset[str] = frozenset()
    """Message ids of reassignments that are withdrawn, known or not."""
    earned: Mapping[str, Earned] = {}
    """Completions that ended, by the ground that they were earned on (rules.attempts)."""
    overridden: frozenset[str] = frozenset()
    """Late facts that a later one already known had overridden when they came: they never count."""
    definition_version: int = 0
    """Version of the definition under which it was last decided; 0 before the first."""
    sequence: int = 0
    decisions: tuple[Decision, ...] = ()
    """Those at hand, oldest first; earlier ones are kept beside a record that is stored."""
    decided: int = 0
    """Count of decisions ever made."""
    checkpoint: Checkpoint | None = None
    """None: all facts are here."""

    @property
    def in_progress(self) -> bool:
        """A newer definition may complete something here: such records are decided again before the others."""
        return (
            self.standing.course.completed_via is None
            or self.definition_version == 0
            or any(step.unresolved for step in self.standing.steps.values())
        )
