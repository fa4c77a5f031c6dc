"""A record's story in words, and as JSON."""

from typing import Any

from contracts.fields import format_timestamp
from contracts.outbound import certificate_id
from rules.explain import Told, explain
from rules.values import Change, Course, CourseChange, Fact, Record, Shown, Step, StepChange
from service.admin.simulate import state


def story_json(key: str, record: Record) -> dict[str, Any]:
    """For programs."""
    return {
        "record": key,
        "state": state(key, record),
        "timeline": [told_json(key, told) for told in explain(record)],
    }


def told_json(key: str, told: Told) -> dict[str, Any]:
    """One entry of it."""
    return {
        "changed_at": format_timestamp(told.changed_at),
        "message_id": told.message_id,
        "what": what_text(told),
        "decided_at": None if told.decided_at is None else format_timestamp(told.decided_at),
        "rules": [{"rule_id": reason.rule_id, "because": reason.because} for reason in told.reasons],
        "before": {"step": _shown_json(told, told.step_before), "course": course_json(told.course_before)},
        "after": {"step": _shown_json(told, told.step_after), "course": course_json(told.course_after)},
        "announced": [_change_json(key, change) for change in told.announced],
    }


def _shown_json(told: Told, step: Shown | None) -> dict[str, Any] | None:
    return None if step is None or told.fact is None else _step_fields(told.fact.step_id, step)


def step_json(step: Step | None) -> dict[str, Any] | None:
    """A step's standing."""
    return None if step is None else _step_fields(step.step_id, step)


def _step_fields(step_id: str | None, step: Step | Shown) -> dict[str, Any]:
    return {
        "step_id": step_id,
        "percent": step.percent,
        "complete": step.complete,
        "unresolved": step.unresolved,
    }


def course_json(course: Course | None) -> dict[str, Any] | None:
    """The course's standing."""
    if course is None:
        return None
    return {
        "status": course.status,
        "completed_via": course.completed_via,
        "evidence": course.evidence,
        "expires_at": None if course.expires_at is None else format_timestamp(course.expires_at),
    }


def _change_json(key: str, change: Change) -> dict[str, Any]:
    common = {"sequence": change.sequence, "attempt": change.attempt, "rule_id": change.cause.rule_id}
    return common | announced_json(key, change.what)


def announced_json(key: str, what: StepChange | CourseChange) -> dict[str, Any]:
    """What a change of the record with this key says."""
    if isinstance(what, StepChange):
        return {
            "step_id": what.step_id,
            "percent": what.percent,
            "previous_percent": what.previous_percent,
            "complete": what.complete,
            "previously_complete": what.previously_complete,
        }
    attempt = what.certificate_attempt
    return {
        "status": what.course.status,
        "previous_status": "completed" if what.was_completed else "incomplete",
        "completed_via": what.course.completed_via,
        "certificate": {
            "action": what.certificate_action,
            "certificate_id": None if attempt is None else certificate_id(key, attempt),
        },
    }


def standing_text(key: str, record: Record) -> list[str]:
    """How a record stands, line by line, for people."""
    course, certificate = record.standing.course, record.standing.certificate
    lines = [f"Record {key}, attempt {record.attempt}", f"Course: {course_text(course)}"]
    if certificate is not None:
        lines.append(f"Certificate: {certificate.status}, {certificate_id(key, certificate.attempt)}")
    return [*lines, *(f"Step {step_text(step)}" for step in record.standing.steps.values())]


def step_text(step: Step) -> str:
    """A step's standing in words."""
    if step.kind is None:
        return f"{step.step_id}: waits for a course definition that has it"
    complete = "complete" if step.complete else "incomplete"
    return f"{step.step_id}: {step.percent} %, {complete}{', something waits to be decided' if step.unresolved else ''}"


def course_text(course: Course) -> str:
    """The course's standing in words."""
    if course.completed_via is None or course.completed_at is None:
        return "incomplete"
    evidence = "" if course.evidence is None else f", evidence {course.evidence}"
    expires = "" if course.expires_at is None else f", expires at {format_timestamp(course.expires_at)}"
    return f"completed via {course.completed_via} at {format_timestamp(course.completed_at)}{evidence}{expires}"


def what_text(told: Told) -> str:
    """What happened, in words."""
    return fact_text(told.fact)


def fact_text(fact: Fact | None) -> str:
    """A fact in words; None: a new course definition."""
    if fact is None:
        return "the course has a new definition"
    details = [f"{name} {value}" for name, value in fact.details]
    if fact.due_at is not None:
        details.append(f"due_at {format_timestamp(fact.due_at)}")
    told = ", ".join(details)
    return f"{_fact(fact)}{f' ({told})' if told else ''}"


def _fact(fact: Fact) -> str:
    value = fact.value
    if value is None:
        return _about_course(fact)
    if value.unit == "granted":
        return f"equivalency granted for {fact.step_id}"
    session = "" if fact.session_id is None else f", session {fact.session_id}"
    if value.unit == "attended":
        said = "attended" if value.amount else "not attended"
    elif value.unit == "excused":
        said = "excused"
    else:
        said = f"{value.amount} {'minutes' if value.unit == 'minutes' else '%'}"
    return f"{fact.kind} of {fact.step_id}{session}: {said}"


def _about_course(fact: Fact) -> str:
    match fact.kind:
        case "equivalency":
            return "equivalency granted"
        case "granted":
            certificate = {"issue": ", with a certificate", "none": ", without a certificate"}
            return f"completion granted{certificate.get(fact.certificate or '', '')}"
        case "withdrawn":
            return f"reassignment {fact.withdraws} withdrawn"
        case _:
            return f"reassigned{', the steps are kept' if fact.keeps else ''}"


def change_text(change: Change) -> str:
    """An announced change, in words."""
    return f"#{change.sequence} {announced_text(change.what)}"


def announced_text(what: StepChange | CourseChange) -> str:
    """What a change says, in words."""
    if isinstance(what, StepChange):
        became = "" if what.complete == what.previously_complete else ", complete" if what.complete else ", incomplete"
        return f"step {what.step_id}: {what.previous_percent} → {what.percent} %{became}"
    via = what.course.completed_via
    status = "incomplete" if via is None else f"completed via {via}"
    stays = "stays " if what.was_completed == (via is not None) else ""
    action = "" if what.certificate_action == "none" else f", {what.certificate_action} certificate"
    return f"course {stays}{status}{action}"
