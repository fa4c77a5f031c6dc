"""What was decided → bytes: changes as they go out, and where a record stands after them."""

from typing import Any

import msgspec
from msgspec import Struct

from contracts import headers
from contracts.fields import format_timestamp, split_key
from contracts.outbound import certificate_id, message_id, state_id
from contracts.topics import COURSE_COMPLETION_CHANGED, RECORD_STATE, STEP_COMPLETION_CHANGED
from rules.attempts import due_at
from rules.tables import SHIPPED
from rules.values import Change, CourseChange, Record, StepChange, Timeline
from service.lanes.ports import Outbound, StoredRecord

About = tuple[str, str, str, int, int, str, str, str, str]
"""The fields of _Said."""
_json = msgspec.json.Encoder().encode
_BECAUSE = {row.rule_id: row.because for table in SHIPPED for row in table.rows}


class _CourseStanding(Struct, gc=False):
    status: str
    completed_via: str | None
    evidence: str | None


class _CertificateAction(Struct, gc=False):
    action: str
    certificate_id: str | None


class _Said(Struct, gc=False):
    """contracts.outbound.CompletionChange without message_id, which follows from it, and decided_at."""

    tenant_id: str
    learner_id: str
    course_id: str
    attempt: int
    sequence: int
    rule_id: str
    because: str
    caused_by: str
    changed_at: str


class _StepSaid(_Said, gc=False):
    step_id: str
    step_kind: str
    percent: int
    previous_percent: int
    complete: bool
    previously_complete: bool
    course: _CourseStanding


class _CourseSaid(_Said, gc=False):
    status: str
    previous_status: str
    completed_via: str | None
    completed_at: str | None
    expires_at: str | None
    evidence: str | None
    due_at: str | None
    course_title: str | None
    certificate: _CertificateAction


class _Certificate(Struct, gc=False):
    certificate_id: str
    status: str


class _Step(Struct, gc=False):
    step_id: str
    step_kind: str
    percent: int
    complete: bool


class _StateSaid(Struct, gc=False):
    """contracts.outbound.RecordState."""

    tenant_id: str
    learner_id: str
    course_id: str
    attempt: int
    sequence: int
    definition_version: int
    course_title: str | None
    status: str
    completed_via: str | None
    completed_at: str | None
    expires_at: str | None
    evidence: str | None
    due_at: str | None
    certificate: _Certificate | None
    steps: list[_Step]
    updated_at: str


def outbound(key: str, change: Change, traceparent: bytes | None) -> Outbound:
    """A change of the record with this key, as it goes out: the models of contracts.outbound, written fast.

    The same bytes however often it is tried.
    """
    cause, what = change.cause, change.what
    about = (
        *split_key(key),
        change.attempt,
        change.sequence,
        cause.rule_id,
        _BECAUSE[cause.rule_id],
        cause.message_id,
        format_timestamp(cause.changed_at),
    )
    if isinstance(what, StepChange):
        topic, content = STEP_COMPLETION_CHANGED.name, _json(_step_said(about, what))
    else:
        topic, content = COURSE_COMPLETION_CHANGED.name, _json(_course_said(key, about, what))
    identity, decided_at = message_id(key, change.sequence, content), format_timestamp(change.decided_at)
    value = b'{"message_id":"%b","decided_at":"%b",%b' % (identity.encode(), decided_at.encode(), content[1:])
    return Outbound(topic, key.encode(), value, headers.cloud_event(identity, topic, decided_at, traceparent))


def kind_of(change: Change) -> str:
    """What it tells, as metrics name it."""
    what = change.what
    if isinstance(what, StepChange):
        turned = what.complete != what.previously_complete
        return ("step_completed" if what.complete else "step_lost") if turned else "step_progressed"
    is_completed = what.course.completed_via is not None
    if is_completed == what.was_completed:
        return "course_updated"
    return "course_completed" if is_completed else "course_removed"


def topic_of(kind: str) -> str:
    """Where changes of a kind go."""
    return (STEP_COMPLETION_CHANGED if kind.startswith("step_") else COURSE_COMPLETION_CHANGED).name


def _step_said(about: About, what: StepChange) -> _StepSaid:
    course = what.course
    return _StepSaid(
        *about,
        what.step_id,
        what.step_kind,
        what.percent,
        what.previous_percent,
        what.complete,
        what.previously_complete,
        _CourseStanding(course.status, course.completed_via, course.evidence),
    )


def _course_said(key: str, about: About, what: CourseChange) -> _CourseSaid:
    course, attempt = what.course, what.certificate_attempt
    return _CourseSaid(
        *about,
        course.status,
        "completed" if what.was_completed else "incomplete",
        course.completed_via,
        _time(course.completed_at),
        _time(course.expires_at),
        course.evidence,
        _time(what.due_at),
        what.course_title,
        _CertificateAction(what.certificate_action, None if attempt is None else certificate_id(key, attempt)),
    )


def state_of(stored: StoredRecord, timeline: Timeline) -> Outbound:
    """Where a record stands, as it goes out: contracts.outbound.RecordState. `timeline`: of its course."""
    record, key = stored.record, stored.key
    course, certificate = record.standing.course, record.standing.certificate
    updated_at = format_timestamp(stored.decided_at)
    said = _StateSaid(
        *split_key(key),
        record.attempt,
        record.sequence,
        record.definition_version,
        next((one.title for one in timeline if one.version == record.definition_version), None),
        course.status,
        course.completed_via,
        _time(course.completed_at),
        _time(course.expires_at),
        course.evidence,
        _time(due_at(record)),
        None if certificate is None else _Certificate(certificate_id(key, certificate.attempt), certificate.status),
        [
            _Step(step.step_id, step.kind, step.percent, step.complete)
            for step in record.standing.steps.values()
            if step.kind is not None
        ],
        updated_at,
    )
    value = _json(said)
    about = headers.cloud_event(state_id(key, value), RECORD_STATE.name, updated_at, None)
    return Outbound(RECORD_STATE.name, key.encode(), value, about)


def no_state(key: str) -> Outbound:
    """There is no record with this key, or no longer."""
    return Outbound(RECORD_STATE.name, key.encode(), None, ())


def stand_alike(one: Record, other: Record) -> bool:
    """Whether two records have the same state, but for when it was decided."""
    return _told(one) == _told(other)


def _told(record: Record) -> tuple[Any, ...]:
    """Of what `state_of` tells, all that follows from facts."""
    standing, certificate = record.standing, record.standing.certificate
    steps = [
        (step.step_id, step.kind, step.percent, step.complete)
        for step in standing.steps.values()
        if step.kind is not None
    ]
    issued = None if certificate is None else (certificate.attempt, certificate.status)
    numbers = record.attempt, record.sequence, record.definition_version
    return *numbers, standing.course, due_at(record), issued, steps


def _time(instant: int | None) -> str | None:
    return None if instant is None else format_timestamp(instant)
