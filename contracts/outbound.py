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
    tenant_id: Id
    learner_id: Id
    course_id: Id
    attempt: int = Field(ge=1)
    sequence: int = Field(ge=1)
    """Rises by one per change of a record."""
    rule_id: str
    because: str
    caused_by: Id
    """The message_id of the deciding fact or definition."""
    changed_at: Timestamp
    """When the deciding fact happened."""
    decided_at: Timestamp

    @property
    def key(self) -> str:
        return record_key(self.tenant_id, self.learner_id, self.course_id)


class CourseStanding(Message):
    """The course once the deciding fact has been decided."""

    status: Status
    completed_via: Via | None
    evidence: Literal["held", "withdrawn"] | None


class StepCompletionChanged(CompletionChange):
    """A step's percent or completion changed."""

    step_id: Id
    step_kind: str
    percent: Percent
    previous_percent: Percent
    complete: bool
    previously_complete: bool
    course: CourseStanding


class CertificateAction(Message):
    """What becomes of the certificate; `certificate_id` is null where there is nothing to do."""

    action: Literal["issue", "revoke", "reinstate", "none"]
    certificate_id: str | None


class CourseCompletionChanged(CompletionChange):
    """The course's status or its certificate changed."""

    status: Status
    previous_status: Status
    completed_via: Via | None
    completed_at: Timestamp | None
    expires_at: Timestamp | None
    """Null where the course does not expire."""
    evidence: Literal["held", "withdrawn"] | None
    due_at: Timestamp | None
    """Of the reassignment that began the attempt."""
    course_title: str | None
    """Of the definition in force."""
    certificate: CertificateAction


class DeadLetterHeaders(Message):
    """Headers that a dead letter carries besides the original ones; key and value are the original bytes."""

    original_topic: str = Field(alias="kafka_dlt-original-topic")
    original_partition: str = Field(alias="kafka_dlt-original-partition")
    original_offset: str = Field(alias="kafka_dlt-original-offset")
    original_timestamp: str = Field(alias="kafka_dlt-original-timestamp")
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
    ] = Field(alias="kafka_dlt-exception-fqcn")
    explanation: str = Field(alias="kafka_dlt-exception-message")


class ReroutedHeaders(Message):
    """Headers that a rerouted message carries besides the original ones; key and value are the original bytes."""

    original_topic: str = Field(alias="ratchet-original-topic")
    original_partition: str = Field(alias="ratchet-original-partition")
    original_offset: str = Field(alias="ratchet-original-offset")
    original_timestamp: str = Field(alias="ratchet-original-timestamp")
