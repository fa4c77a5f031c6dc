"""Messages that Ratchet writes. Order by `sequence` within a record; a repeated `message_id` is the same message."""

from hashlib import sha1
from typing import Literal
from uuid import UUID

from pydantic import Field

from contracts.fields import Id, Message, Percent, Timestamp, record_key

NAMESPACE = UUID("6a1f2c0e-5d0b-5b8e-9c55-0d6f2b7f4d11")
"""Root of every id that Ratchet derives; changing it would change every id ever sent."""

Status = Literal["completed", "incomplete"]
Via = Literal["steps", "equivalency", "granted"]
Evidence = Literal["held", "withdrawn"]


def message_id(key: str, sequence: int, content: bytes) -> str:
    """Derived from record, sequence and what is said: deciding the same again gives the same id, and nothing else does.

    `content` is the JSON of the message without `message_id` and `decided_at`.
    """
    return _uuid5(b"message/%b/%d/%b" % (key.encode(), sequence, content))


def certificate_id(key: str, attempt: int) -> str:
    """Derived from record and attempt: a new attempt gives a new certificate, deciding again the same one."""
    return _uuid5(f"certificate/{key}/{attempt}".encode())


_ROOT = sha1(NAMESPACE.bytes, usedforsecurity=False)
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _uuid5(name: bytes) -> str:
    """As uuid.uuid5 in NAMESPACE, in a third of its time: every change has one."""
    hashed = _ROOT.copy()
    hashed.update(name)
    digits = hashed.hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:32]}"


class CompletionChange(Message):
    """What every change carries."""

    message_id: Id
    """Follows from record, sequence and content: the same one again is the same change."""
    tenant_id: Id
    """Whose learner and course these are."""
    learner_id: Id
    """Of the tenant."""
    course_id: Id
    """Of the tenant."""
    attempt: int = Field(ge=1)
    """Rises by one with each reassignment."""
    sequence: int = Field(ge=1)
    """Rises by one per change of a record, over both topics."""
    rule_id: str
    """The row of a decision table that decided; more of them may come."""
    because: str
    """That row's reason, in words for people."""
    caused_by: Id
    """The message_id of the deciding fact or definition."""
    changed_at: Timestamp
    """When the deciding fact happened."""
    decided_at: Timestamp
    """When Ratchet decided it."""

    @property
    def key(self) -> str:
        return record_key(self.tenant_id, self.learner_id, self.course_id)


class CourseStanding(Message):
    """The course once the deciding fact has been decided."""

    status: Status
    """Of the course."""
    completed_via: Via | None
    """What completed it; null when incomplete."""
    evidence: Evidence | None
    """Whether what is said of the steps still bears the completion; null where it rests on none."""


class StepCompletionChanged(CompletionChange):
    """A step's percent or completion changed."""

    step_id: Id
    """Of the course."""
    step_kind: str
    """event, on_the_job_training, other; more may come."""
    percent: Percent
    """Percent of what is scheduled, or of the progress."""
    previous_percent: Percent
    """Percent before."""
    complete: bool
    """Whether the step is complete now."""
    previously_complete: bool
    """Whether it was before."""
    course: CourseStanding
    """How the course stands after that."""


class CertificateAction(Message):
    """What becomes of the certificate; `certificate_id` is null where there is nothing to do."""

    action: Literal["issue", "revoke", "reinstate", "none"]
    """What to do."""
    certificate_id: str | None
    """Of the certificate, the same one through revocation and reinstatement; null where there is nothing to do."""


class CourseCompletionChanged(CompletionChange):
    """The course's status or its certificate changed."""

    status: Status
    """Of the course now."""
    previous_status: Status
    """Before; equal where only the certificate changed."""
    completed_via: Via | None
    """What completed it; null when incomplete."""
    completed_at: Timestamp | None
    """When the learner had done all of it; null when incomplete."""
    expires_at: Timestamp | None
    """Null where the course does not expire."""
    evidence: Evidence | None
    """Whether what is said of the steps still bears the completion; null where it rests on none."""
    due_at: Timestamp | None
    """Of the reassignment that began the attempt; null without one."""
    course_title: str | None
    """Of the definition in force; null where it has none."""
    certificate: CertificateAction
    """What becomes of the certificate."""


class StepState(Message):
    """A step of which something is known, as it stands."""

    step_id: Id
    """Of the course."""
    step_kind: str
    """event, on_the_job_training, other; more may come."""
    percent: Percent
    """Percent of what is scheduled, or of the progress."""
    complete: bool
    """Whether the step is complete."""


class CertificateState(Message):
    """A certificate, as it stands."""

    certificate_id: str
    """The same one through revocation and reinstatement."""
    status: Literal["issued", "revoked"]
    """Whether it is valid."""


class RecordState(Message):
    """Where a record stands, as a whole: each replaces the one before it. A tombstone: the learner was erased."""

    tenant_id: Id
    """Whose learner and course these are."""
    learner_id: Id
    """Of the tenant."""
    course_id: Id
    """Of the tenant."""
    attempt: int = Field(ge=1)
    """Rises by one with each reassignment, and each that is withdrawn."""
    sequence: int = Field(ge=0)
    """Of the last change that this state includes; 0 where nothing was announced yet."""
    definition_version: int = Field(ge=0)
    """Under which version of the course it was decided; 0 while the course is not defined."""
    course_title: str | None
    """Of that version; null where it has none."""
    status: Status
    """Of the course."""
    completed_via: Via | None
    """What completed it; null when incomplete."""
    completed_at: Timestamp | None
    """When the learner had done all of it; null when incomplete."""
    expires_at: Timestamp | None
    """Null where the course does not expire."""
    evidence: Evidence | None
    """Whether what is said of the steps still bears the completion; null where it rests on none."""
    due_at: Timestamp | None
    """Of the reassignment that began the attempt; null without one."""
    certificate: CertificateState | None = Field(title="Certificate")
    """Of a completed course, that of its completion; of an incomplete one, the last that was revoked; else null."""
    steps: list[StepState]
    """Those that something was said of and a definition has, over all of the attempt."""
    updated_at: Timestamp
    """When Ratchet last decided anything about this record."""

    @property
    def key(self) -> str:
        return record_key(self.tenant_id, self.learner_id, self.course_id)


def state_id(key: str, content: bytes) -> str:
    """The `ce_id` of a state: telling the same again tells it under the same id."""
    return _uuid5(b"state/%b/%b" % (key.encode(), content))


def erasure_id(tenant_id: str, learner_id: str) -> str:
    """The `ce_id` of what tells of an erasure: telling again tells the same."""
    return _uuid5(f"erased/{tenant_id}/{learner_id}".encode())


class LearnerErased(Message):
    """A learner was erased for good: forget what you know of them. It may come more than once."""

    tenant_id: Id
    """Whose learner it was."""
    learner_id: Id
    """Of the tenant; not given to anybody else again."""
    erased_at: Timestamp
    """When it was erased first."""


class DeadLetterHeaders(Message):
    """Headers that a dead letter carries besides the original ones; key and value are the original bytes."""

    original_topic: str = Field(alias="kafka_dlt-original-topic")
    """Where the message stood."""
    original_partition: str = Field(alias="kafka_dlt-original-partition")
    """A number."""
    original_offset: str = Field(alias="kafka_dlt-original-offset")
    """A number."""
    original_timestamp: str = Field(alias="kafka_dlt-original-timestamp")
    """Milliseconds since 1970."""
    reason: Literal[
        "invalid_json",
        "invalid_message",
        "changed_at_in_future",
        "message_id_reused",
        "invalid_definition",
        "stale_definition",
        "record_limit",
        "internal_error",
        "skipped",
    ] = Field(alias="kafka_dlt-exception-fqcn", json_schema_extra={"x-may-grow": True})
    """The reason code; more of them may come."""
    explanation: str = Field(alias="kafka_dlt-exception-message")
    """What is wrong, field by field, in words for people."""


class ReroutedHeaders(Message):
    """Headers that a rerouted message carries besides the original ones; key and value are the original bytes."""

    original_topic: str = Field(alias="ratchet-original-topic")
    """Where the message stood."""
    original_partition: str = Field(alias="ratchet-original-partition")
    """A number."""
    original_offset: str = Field(alias="ratchet-original-offset")
    """A number."""
    original_timestamp: str = Field(alias="ratchet-original-timestamp")
    """Milliseconds since 1970."""
