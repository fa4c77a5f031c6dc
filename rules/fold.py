"""Moves a standing along: one fact, or one new definition, at a time, by the step and the course table.

Every function returns the new standing and the id of the course row that spoke. None of them looks at the order of
arrival; that is `decide`'s subject.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from rules.requirement import UNDECIDABLE, measure
from rules.tables import Tables
from rules.values import Cause, Certificate, Course, CourseDefinition, Fact, Order, Standing, Step, Value, order

NO_SESSIONS: Mapping[str, Value] = {}
Moved = tuple[Standing, str]


def count(standing: Standing, fact: Fact, definition: CourseDefinition, attempt: int, tables: Tables) -> Moved:
    """Fold one fact onto the standing."""
    if fact.kind == "reassigned":
        return start_again(standing, order(fact), definition, attempt, tables)
    if fact.kind == "equivalency":
        cause = Cause(fact.message_id, fact.changed_at, "")
        return _decide_course(standing, standing.steps, "equivalency", cause, definition, attempt, tables)
    assert fact.step_id is not None, "attendance and progress are of a step"
    before = standing.steps.get(fact.step_id)
    sessions: Mapping[str, Value]
    if fact.session_id is None:
        base, sessions = fact.value, NO_SESSIONS
    else:
        assert fact.value is not None, "attendance and progress have a value"
        base, known = (None, NO_SESSIONS) if before is None else (before.base, before.sessions)
        sessions = {**known, fact.session_id: fact.value}
    step = _judge(
        before, fact.step_id, base, sessions, "reported", fact.message_id, fact.changed_at, definition, tables
    )
    steps = {**standing.steps, fact.step_id: step}
    return _decide_course(standing, steps, "step", step.cause, definition, attempt, tables)


def start_again(standing: Standing, start: Order, definition: CourseDefinition, attempt: int, tables: Tables) -> Moved:
    """Fold a reassignment: every step back to 0 %; the course too, unless it was completed after it (Disorder)."""
    row = tables.step.lookup["reassigned", "not_met", "complete"]
    changed_at, message_id = start
    cause = Cause(message_id, changed_at, row.rule_id)
    steps = {
        step_id: Step(step_id, step.kind, 0, False, False, None, NO_SESSIONS, cause)
        for step_id, step in standing.steps.items()
        if step.kind is not None
    }
    decided = standing.course_cause
    outlived = standing.course.completed_via is not None and (
        decided is not None and (decided.changed_at, decided.message_id) > start
    )
    trigger = "reassigned_before_completion" if outlived else "reassigned"
    return _decide_course(standing, steps, trigger, cause, definition, attempt, tables)


def consult(
    standing: Standing, steps: Mapping[str, Step], definition: CourseDefinition, attempt: int, tables: Tables
) -> Standing:
    """Put steps in place that were counted before: what a completed course says of its evidence follows from them."""
    if standing.course.completed_via is None:
        return replace(standing, steps=steps)
    nobody = Cause("", 0, "")
    return _decide_course(standing, steps, "step", nobody, definition, attempt, tables)[0]


def redefine(standing: Standing, definition: CourseDefinition, attempt: int, tables: Tables) -> Moved:
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
    return _decide_course(standing, steps, "definition", cause, definition, attempt, tables)


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
    percent, verdict, waits = UNDECIDABLE if required is None else measure(required, base, sessions)
    if before is None:
        kind, shown, complete = None, 0, False
    else:
        kind, shown, complete = before.kind, before.percent, before.complete
    row = tables.step.lookup[trigger, verdict, "complete" if complete else "incomplete"]
    outcome = row.then["step"]
    if outcome == "unresolved":
        percent, waits = shown, True
    else:
        complete = outcome == "complete"
    if required is not None:
        kind = required.kind
    return Step(step_id, kind, percent, complete, waits, base, sessions, Cause(message_id, changed_at, row.rule_id))


def _decide_course(
    standing: Standing,
    steps: Mapping[str, Step],
    trigger: str,
    by: Cause,
    definition: CourseDefinition,
    attempt: int,
    tables: Tables,
) -> Moved:
    """Ask the course table; `by` names the fact or definition that asks."""
    course = standing.course
    row = tables.course.lookup[
        "incomplete" if course.completed_via is None else "completed",
        trigger,
        "all_complete" if _all_complete(steps, definition.required) else "not_all_complete",
    ]
    outcome = row.then["course"]
    if outcome == "unchanged":
        if course.completed_via == "steps":
            evidence = row.then["evidence"]
            if evidence not in ("unchanged", course.evidence):
                course = replace(course, evidence=evidence)
        return Standing(steps, course, standing.certificate, standing.course_cause), row.rule_id
    cause = Cause(by.message_id, by.changed_at, row.rule_id)
    if outcome == "incomplete":
        course = Course()
    elif outcome == "completed_via_steps":
        course = Course("steps", by.changed_at, "held")
    else:
        course = Course("equivalency", by.changed_at)
    certificate = _certificate(standing.certificate, row.then["certificate"], definition, attempt)
    return Standing(steps, course, certificate, cause), row.rule_id


def _all_complete(steps: Mapping[str, Step], required: tuple[str, ...]) -> bool:
    """A definition with no required step never completes a course by itself."""
    for step_id in required:
        step = steps.get(step_id)
        if step is None or not step.complete:
            return False
    return bool(required)


def _certificate(
    certificate: Certificate | None, outcome: str, definition: CourseDefinition, attempt: int
) -> Certificate | None:
    if outcome == "revoke" and certificate is not None:
        return Certificate(certificate.attempt, "revoked")
    awarded = definition.awards_certificate and (
        outcome == "issue_if_awarded"
        or (outcome == "issue_if_awarded_on_equivalency" and definition.certificate_on_equivalency)
    )
    return Certificate(attempt, "issued") if awarded else certificate
