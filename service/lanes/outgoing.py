"""What was decided → bytes: changes as they go out, and where a record stands after them."""

from typing import Any

import msgspec

from contracts import headers
from contracts.fields import format_timestamp, split_key
from contracts.outbound import certificate_id, message_id, state_id
from contracts.topics import COURSE_COMPLETION_CHANGED, RECORD_STATE, STEP_COMPLETION_CHANGED
from rules.attempts import due_at
from rules.tables import SHIPPED
from rules.values import Change, CourseChange, Record, StepChange, Timeline
from service.lanes.ports import Outbound, StoredRecord

_json = msgspec.json.Encoder().encode
_BECAUSE = {row.rule_id: row.because for table in SHIPPED for row in table.rows}


def outbound(key: str, change: Change, traceparent: bytes | None) -> Outbound:
    """A change of the record with this key, as it goes out: the models of contracts.outbound, written fast.

    The same bytes however often it is tried.
    """
    tenant_id, learner_id, course_id = split_key(key)
    cause, what = change.cause, change.what
    said: dict[str, Any] = {
        "tenant_id": tenant_id,
        "learner_id": learner_id,
        "course_id": course_id,
        "attempt": change.attempt,
        "sequence": change.sequence,
        "rule_id": cause.rule_id,
        "because": _BECAUSE[cause.rule_id],
        "caused_by": cause.message_id,
        "changed_at": format_timestamp(cause.changed_at),
    }
    said.update(_step_fields(what) if isinstance(what, StepChange) else _course_fields(key, what))
    topic = topic_of(change)
    content = _json(said)
    identity, decided_at = message_id(key, change.sequence, content), format_timestamp(change.decided_at)
    value = b'{"message_id":"%b","decided_at":"%b",%b' % (identity.encode(), decided_at.encode(), content[1:])
    return Outbound(topic, key.encode(), value, headers.cloud_event(identity, topic, decided_at, traceparent))


def topic_of(change: Change) -> str:
    """Where a change goes."""
    topic = STEP_COMPLETION_CHANGED if isinstance(change.what, StepChange) else COURSE_COMPLETION_CHANGED
    return topic.name


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


def _step_fields(what: StepChange) -> dict[str, Any]:
    course = what.course
    return {
        "step_id": what.step_id,
        "step_kind": what.step_kind,
        "percent": what.percent,
        "previous_percent": what.previous_percent,
        "complete": what.complete,
        "previously_complete": what.previously_complete,
        "course": {"status": course.status, "completed_via": course.completed_via, "evidence": course.evidence},
    }


def _course_fields(key: str, what: CourseChange) -> dict[str, Any]:
    course, attempt = what.course, what.certificate_attempt
    return {
        "status": course.status,
        "previous_status": "completed" if what.was_completed else "incomplete",
        "completed_via": course.completed_via,
        "completed_at": _time(course.completed_at),
        "expires_at": _time(course.expires_at),
        "evidence": course.evidence,
        "due_at": _time(what.due_at),
        "course_title": what.course_title,
        "certificate": {
            "action": what.certificate_action,
            "certificate_id": None if attempt is None else certificate_id(key, attempt),
        },
    }


def state_of(stored: StoredRecord, timeline: Timeline) -> Outbound:
    """Where a record stands, as it goes out: contracts.outbound.RecordState. `timeline`: of its course."""
    record, key = stored.record, stored.key
    tenant_id, learner_id, course_id = split_key(key)
    course, certificate = record.standing.course, record.standing.certificate
    title = next((one.title for one in timeline if one.version == record.definition_version), None)
    said: dict[str, Any] = {
        "tenant_id": tenant_id,
        "learner_id": learner_id,
        "course_id": course_id,
        "attempt": record.attempt,
        "sequence": record.sequence,
        "definition_version": record.definition_version,
        "course_title": title,
        "status": course.status,
        "completed_via": course.completed_via,
        "completed_at": _time(course.completed_at),
        "expires_at": _time(course.expires_at),
        "evidence": course.evidence,
        "due_at": _time(due_at(record)),
        "certificate": None
        if certificate is None
        else {"certificate_id": certificate_id(key, certificate.attempt), "status": certificate.status},
        "steps": [
            {"step_id": step.step_id, "step_kind": step.kind, "percent": step.percent, "complete": step.complete}
            for step in record.standing.steps.values()
            if step.kind is not None
        ],
        "updated_at": format_timestamp(stored.decided_at),
    }
    value = _json(said)
    about = headers.cloud_event(state_id(key, value), RECORD_STATE.name, said["updated_at"], None)
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
