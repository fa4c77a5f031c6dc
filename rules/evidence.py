"""What is said beside a completion: whether the steps still meet what it was earned under, and until when it is valid.

Both follow the definition that was in force at `completed_at` (README.md, Evidence and expiry). Where that one cannot
decide what is said of a step today, the attempt is counted again as if no definition had followed it.
"""

from msgspec.structs import replace

from rules.recount import check_knowing, count_again
from rules.requirement import course_is_met, measure
from rules.tables import Tables
from rules.validity import expiry
from rules.values import Record, Standing, Timeline


def with_evidence(record: Record, standing: Standing, timeline: Timeline, tables: Tables) -> Standing:
    """The standing with evidence and expiry; `record` has the facts. Raises HistoryNeeded."""
    course = standing.course
    if course.completed_via is None or course.completed_at is None:
        return standing
    known = timeline
    if timeline[-1].effective_at > course.completed_at:
        known = tuple(one for one in timeline if one.effective_at <= course.completed_at) or timeline[:1]
    completed, is_met = "otherwise", True
    if course.completed_via == "steps":
        completed, is_met = "by_steps", _is_met(record, standing, known, tables)
    outcome = tables.evidence.lookup[completed, "met" if is_met else "not_met"].then["evidence"]
    evidence = None if outcome == "none" else outcome
    expires_at = expiry(course.completed_at, known[-1].valid_for)
    if (evidence, expires_at) == (course.evidence, course.expires_at):
        return standing
    return replace(standing, course=replace(course, evidence=evidence, expires_at=expires_at))


def _is_met(record: Record, standing: Standing, known: Timeline, tables: Tables) -> bool:
    definition, steps = known[-1], standing.steps
    unclear = False

    def is_met(step_id: str) -> bool:
        nonlocal unclear
        step, defined = steps.get(step_id), definition.steps.get(step_id)
        if step is None or defined is None:
            return False
        verdict = measure(defined, step.base, step.sessions)[1]
        unclear = unclear or verdict == "undecidable"
        return verdict == "met"

    if course_is_met(definition, is_met):
        return True
    if not unclear:
        return False
    check_knowing(record, known)
    counted = count_again(record, known, None, tables).after.steps
    return course_is_met(definition, lambda step_id: step_id in counted and counted[step_id].complete)
