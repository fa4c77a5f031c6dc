"""Changes as xAPI statements: what a learning record store is told, and that what it was told is taken back once."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tincan import Statement as Parsed  # type: ignore[import-untyped]

from contracts.outbound import CourseCompletionChanged, StepCompletionChanged
from contracts.reader import Change, Cursor, take
from contracts.xapi import VERBS, Statement, Told, statements
from service.admin.simulate import Simulation
from tests.commands.test_commands import ATTENDED, DEFINITION, RESET
from tests.rules.lives import life

HOME, BASE = "https://lms.example.org", "https://lms.example.org/xapi/"
RECORD = {"tenant_id": "acme", "learner_id": "l-1", "course_id": "c-1"}
ACTOR = {"objectType": "Agent", "account": {"homePage": HOME, "name": "l-1"}}
COURSE, STEP = "https://lms.example.org/xapi/courses/acme/c-1", "https://lms.example.org/xapi/courses/acme/c-1/steps/e1"
VOIDED = VERBS["voided"]


def changes_of(*messages: tuple[str, Any]) -> list[Change]:
    """What goes out for these messages about one record, through the reader."""
    lines = [json.dumps({"topic": topic, "value": value}).encode() for topic, value in messages]
    cursor, changes = Cursor(), list[Change]()
    for line in Simulation().lines(lines):
        if line["topic"] in {"step-completion-changed", "course-completion-changed"}:
            read = take(cursor, json.dumps(line["value"]))
            changes += read.changes
            cursor = read.cursor
    return changes


def told_one_by_one(changes: Sequence[Change]) -> list[Statement]:
    """As a caller does it that keeps what was told as a text in between."""
    text, found = "", list[Statement]()
    for change in changes:
        said = statements(Told.read(text), [change], HOME, BASE)
        found += said.statements
        text = said.told.text()
    return found


def meaning(statement: Statement) -> tuple[str, str]:
    """Verb, and id of the object."""
    verb = statement["verb"]["id"]
    return next(name for name, iri in VERBS.items() if iri == verb), statement["object"]["id"]


def voids(said: Sequence[Statement]) -> list[str]:
    """The statements that are voided, in order."""
    return [statement["object"]["id"] for statement in said if statement["verb"]["id"] == VOIDED]


def again(kind: str, number: int, **said: str) -> tuple[str, Any]:
    """A reassignment or its withdrawal."""
    return kind, {**RECORD, "message_id": f"r{number}", "changed_at": f"2026-02-0{number}T00:00:00Z", **said}


DONE_AGAIN = {**ATTENDED, "message_id": "m3", "changed_at": "2026-02-05T09:00:00Z"}


def test_completed_corrected_reassigned_and_completed_again() -> None:
    changes = changes_of(
        ("course-defined", {**DEFINITION, "title": "Safety"}),
        ("attendance-changed", ATTENDED),
        ("attendance-changed", RESET),
        again("reassigned", 1),
        ("attendance-changed", DONE_AGAIN),
    )
    said = told_one_by_one(changes)
    passed, completed, step_gone, course_gone, *anew = said
    assert passed == {
        "id": passed["id"],
        "actor": ACTOR,
        "verb": {"id": "http://adlnet.gov/expapi/verbs/passed", "display": {"en": "passed"}},
        "object": {
            "objectType": "Activity",
            "id": STEP,
            "definition": {"type": "http://adlnet.gov/expapi/activities/meeting"},
        },
        "result": {"completion": True, "success": True, "score": {"scaled": 1.0}},
        "context": {
            "registration": passed["context"]["registration"],
            "contextActivities": {
                "parent": [
                    {
                        "objectType": "Activity",
                        "id": COURSE,
                        "definition": {"type": "http://adlnet.gov/expapi/activities/course"},
                    }
                ]
            },
        },
        "timestamp": "2026-01-02T09:00:00Z",
    }
    assert completed == {
        "id": completed["id"],
        "actor": ACTOR,
        "verb": {"id": "http://adlnet.gov/expapi/verbs/completed", "display": {"en": "completed"}},
        "object": {
            "objectType": "Activity",
            "id": COURSE,
            "definition": {"type": "http://adlnet.gov/expapi/activities/course", "name": {"und": "Safety"}},
        },
        "result": {"completion": True},
        "context": {"registration": passed["context"]["registration"]},
        "timestamp": "2026-01-02T09:00:00Z",
    }
    assert step_gone == {
        "id": step_gone["id"],
        "actor": ACTOR,
        "verb": {"id": "http://adlnet.gov/expapi/verbs/voided", "display": {"en": "voided"}},
        "object": {"objectType": "StatementRef", "id": passed["id"]},
        "timestamp": "2026-01-03T09:00:00Z",
    }, "the step is lost, the course stays"
    assert meaning(course_gone) == ("voided", completed["id"]), "by the reassignment"
    assert [meaning(one) for one in anew] == [("passed", STEP), ("completed", COURSE)]
    assert len({one["id"] for one in said}) == len(said) == 6
    assert anew[0]["context"]["registration"] != passed["context"]["registration"], "another attempt"


def test_what_is_reinstated_is_completed_anew() -> None:
    said = told_one_by_one(
        changes_of(
            ("course-defined", DEFINITION),
            ("attendance-changed", ATTENDED),
            again("reassigned", 1),
            again("reassignment-withdrawn", 2, reassignment_message_id="r1"),
        )
    )
    assert [meaning(one)[0] for one in said] == ["passed", "completed", "voided", "voided", "passed", "completed"]
    assert len({one["id"] for one in said}) == 6


def test_of_another_percent_and_of_a_certificate_alone_nothing_is_said() -> None:
    half = {**ATTENDED, "attended": None, "attended_percent": 50}
    assert told_one_by_one(changes_of(("course-defined", DEFINITION), ("attendance-changed", half))) == []
    (*_, course) = changes_of(("course-defined", DEFINITION), ("attendance-changed", ATTENDED))
    assert isinstance(course, CourseCompletionChanged)
    assert statements(Told(), [course.model_copy(update={"previous_status": "completed"})], HOME, BASE).statements == ()


def test_behind_a_gap_nothing_is_left_standing_beside_its_successor() -> None:
    step, course = changes_of(("course-defined", DEFINITION), ("attendance-changed", ATTENDED))
    assert isinstance(step, StepCompletionChanged) and isinstance(course, CourseCompletionChanged)
    first = statements(Told(), [step, course], HOME, BASE)
    assert statements(first.told, [step, course], HOME, BASE) == ((), first.told), "the same again"
    later = course.model_copy(update={"message_id": "m-9", "attempt": 2})
    said = statements(first.told, [later], HOME, BASE)
    assert [meaning(one) for one in said.statements] == [
        ("voided", first.statements[1]["id"]),
        ("completed", COURSE),
    ]
    gone = course.model_copy(update={"message_id": "m-10", "previous_status": "completed", "status": "incomplete"})
    assert statements(Told(), [gone], HOME, BASE) == ((), Told()), "of what was never told nothing is taken back"


@given(seed=st.integers(0, 2**32), cut=st.integers(0, 40))
def test_ids_repeat_and_what_is_voided_was_sent_and_stood(seed: int, cut: int) -> None:
    changes = changes_of(*life(random.Random(seed)))
    at_once, one_by_one = statements(Told(), changes, HOME, BASE), told_one_by_one(changes)
    assert list(at_once.statements) == one_by_one, "replaying gives the same"
    before = statements(Told(), changes[:cut], HOME, BASE)
    after = statements(Told.read(before.told.text()), changes[cut:], HOME, BASE)
    assert (before.statements + after.statements, after.told) == at_once, "wherever it is interrupted"
    sent, standing = set[str](), dict[str, str]()
    for statement in one_by_one:
        assert statement["id"] not in sent
        verb, object_id = meaning(statement)
        if verb == "voided":
            assert object_id in sent and object_id in standing.values(), "each once, and no voiding statement"
            standing = {activity: one for activity, one in standing.items() if one != object_id}
        else:
            assert object_id not in standing, "one at a time stands of an activity"
            standing[object_id] = statement["id"]
        sent.add(statement["id"])
    assert len(voids(one_by_one)) == len(set(voids(one_by_one)))
    assert set(standing.values()) == {one for one in (at_once.told.course, *at_once.told.steps.values()) if one}


@given(seed=st.integers(0, 2**32))
def test_the_tin_can_library_reads_every_statement(seed: int) -> None:
    """It knows which fields there are, what an id is, how scores are bounded and what a time looks like."""
    for statement in told_one_by_one(changes_of(*life(random.Random(seed)))):
        written = json.loads(Parsed.from_json(json.dumps(statement)).to_json())
        assert written.pop("version").startswith("1.0"), "which it adds itself"
        assert {**written, "timestamp": None} == {**statement, "timestamp": None}


@pytest.mark.parametrize("iri", ["", "lms.example.org", "https:", "/lms", "https://lms example.org", "1:x"])
def test_what_is_no_iri_is_refused(iri: str) -> None:
    with pytest.raises(ValueError, match="home_page: must be an absolute IRI"):
        statements(Told(), [], iri, BASE)
    with pytest.raises(ValueError, match="base: must be an absolute IRI"):
        statements(Told(), [], HOME, iri)
