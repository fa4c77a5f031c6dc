"""Moves a standing along: one fact, or one new definition, at a time, by the step and the course table.

Every function returns the new standing and the id of the course row that spoke. None of them looks at the order of
arrival; that is `decide`'s subject.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from rules.requirement import UNDECIDABLE, course_is_met, measure
from rules.tables import Row, Tables
from rules.values import (
    Cause,
    Certificate,
    Course,
    CourseDefinition,
    Fact,
    GrantedCertificate,
    Instant,
    Standing,
    Step,
    Value,
    Via,
)

NO_SESSIONS: Mapping[str, Value] = {}
Moved = tuple[Standing, str]
VIA: Mapping[str, Via] = {
    "completed_via_steps": "steps",
    "completed_via_equivalency": "equivalency",
    "completed_via_granted": "granted",
}


def count(standing: Standing, fact: Fact, definition: CourseDefinition, attempt: int, tables: Tables) -> Moved:
    """Fold one fact onto the standing; reassignments and withdrawals are the subject of rules.attempts."""
    if fact.step_id is None:
        cause = Cause(fact.message_id, fact.changed_at, "")
        return decide_course(standing, fact.kind, cause, definition, attempt, tables, fact.certificate)
    assert fact.value is not None, "what is of a step has a value"
    before = standing.steps.get(fact.step_id)
    base: Value | None
    sessions: Mapping[str, Value]
    if fact.session_id is None:
        base, sessions = fact.value, NO_SESSIONS
    else:
        base, known = (None, NO_SESSIONS) if before is None else (before.base, before.sessions)
        sessions = {**known, fact.session_id: fact.value}
    step = _judge(
        before, fact.step_id, base, sessions, "reported", fact.message_id, fact.changed_at, definition, tables
    )
    moved = Standing(
        {**standing.steps, fact.step_id: step}, standing.course, standing.certificate, standing.course_cause
    )
    return decide_course(moved, "step", step.cause, definition, attempt, tables)


def redefine(
    standing: Standing, definition: CourseDefinition, awards_anew: bool, attempt: int, tables: Tables
) -> Moved:
    """Fold a new version of the definition: every step is judged again, then the course."""
    message_id, effective_at = definition.message_id, definition.effective_at
    steps = {}
    for step_id, step in standing.steps.items():
        judged = _judge(
            step, step_id, step.base, step.sessions, "definition", message_id, effective_at, definition, tables
        )
        same = judged.percent == step.percent and judged.complete == step.complete
        steps[step_id] = replace(judged, cause=step.cause) if same else judged
    cause = Cause(message_id, effective_at, "")
    moved = replace(standing, steps=steps)
    return decide_course(moved, "definition", cause, definition, attempt, tables, awards_anew=awards_anew)


def award(standing: Standing, definition: CourseDefinition, attempt: int, tables: Tables) -> Moved:
    """What the definition in force when the course was completed says of its certificate."""
    cause = Cause(definition.message_id, definition.effective_at, "")
    return decide_course(
        standing,
        "definition",
        cause,
        definition,
        attempt,
        tables,
        at=standing.course.completed_at,
        awards_anew=definition.awards_certificate,
    )


def started_again(steps: Mapping[str, Step], changed_at: int, message_id: str, tables: Tables) -> dict[str, Step]:
    """Every step of these back to 0 %, by a reassignment."""
    cause = Cause(message_id, changed_at, tables.step.lookup["reassigned", "not_met", "complete"].rule_id)
    return {
        step_id: Step(step_id, step.kind, 0, False, False, None, NO_SESSIONS, cause)
        for step_id, step in steps.items()
        if step.kind is not None
    }


def _judge(
    before: Step | None,
    step_id: str,
    base: Value | None,
    sessions: Mapping[str, Value],
    trigger: str,
    message_id: str,
    changed_at: int,
    definition: CourseDefinition,
    tables: Tables,
) -> Step:
    required = definition.steps.get(step_id)
    if required is None:
        percent, verdict, waits = UNDECIDABLE
    else:
        percent, verdict, waits = measure(required, base, sessions)
    if before is None:
        kind, shown, complete = None, 0, False
    else:
        kind, shown, complete = before.kind, before.percent, before.complete
    row = tables.step.lookup[trigger, verdict, "complete" if complete else "incomplete"]
    outcome = row.then["step"]
    own_work = base is None or base.unit != "granted"
    if outcome == "unresolved":
        percent, waits = shown, True
        own_work = before is None or before.is_own_work
    else:
        complete = outcome == "complete"
    if required is not None:
        kind = required.kind
    cause = Cause(message_id, changed_at, row.rule_id)
    return Step(step_id, kind, percent, complete, waits, base, sessions, cause, own_work)


def decide_course(
    standing: Standing,
    trigger: str,
    by: Cause,
    definition: CourseDefinition,
    attempt: int,
    tables: Tables,
    granted: GrantedCertificate | None = None,
    at: Instant | None = None,
    awards_anew: bool = False,
) -> Moved:
    """Ask the course table; `by` names the fact or definition that asks, `granted` what it says of the certificate.

    `at`: the instant that is asked about, where it is not that of `by`; `awards_anew`: from then on the course awards
    certificates, also to those who have completed it.
    """
    course, steps = standing.course, standing.steps

    def is_complete(step_id: str) -> bool:
        step = steps.get(step_id)
        return step is not None and step.complete

    met = course_is_met(definition, is_complete)
    row = tables.course.lookup[
        "incomplete" if course.completed_via is None else "completed",
        trigger,
        "met" if met else "not_met",
        "due" if _is_due(standing, definition, met, by.changed_at if at is None else at, awards_anew) else "not_due",
    ]
    outcome = row.then["course"]
    if outcome not in VIA and row.then["certificate"] != "issue":
        return standing, row.rule_id
    cause = Cause(by.message_id, by.changed_at, row.rule_id)
    if outcome not in VIA:
        issued = Certificate(attempt, "issued", cause)
        return Standing(steps, course, issued, standing.course_cause), row.rule_id
    course = Course(
        VIA[outcome],
        by.changed_at,
        certificate_waived=granted == "none",
    )
    certificate = Certificate(attempt, "issued", cause) if _is_issued(row, definition, granted) else None
    return Standing(steps, course, certificate, cause), row.rule_id


def _is_issued(row: Row, definition: CourseDefinition, granted: GrantedCertificate | None) -> bool:
    outcome = row.then["certificate"]
    if outcome == "issue_if_granted":
        return granted == "issue" or (granted == "as_awarded" and definition.awards_certificate)
    return definition.awards_certificate and (
        outcome == "issue_if_awarded"
        or (outcome == "issue_if_awarded_on_equivalency" and definition.certificate_on_equivalency)
    )


def _is_due(standing: Standing, definition: CourseDefinition, met: bool, at: Instant, awards_anew: bool) -> bool:
    """Whether the definition awards a certificate, from this instant on, for a completion that has none."""
    course = standing.course
    if course.completed_at is None or at < course.completed_at or standing.certificate is not None:
        return False
    if not definition.awards_certificate or course.certificate_waived:
        return False
    if awards_anew and (course.completed_via != "equivalency" or definition.certificate_on_equivalency):
        return True
    return (
        course.completed_via == "equivalency"
        and met
        and definition.certificate_after_equivalency
        and _is_own_work(standing.steps, definition)
    )


def _is_own_work(steps: Mapping[str, Step], definition: CourseDefinition) -> bool:
    """Whether the course is met without the steps that were granted."""

    def by_learner(step_id: str) -> bool:
        step = steps.get(step_id)
        return step is not None and step.complete and step.is_own_work

    return course_is_met(definition, by_learner)
