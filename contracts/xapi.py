"""Changes → statements of xAPI 1.0.3, for learning record stores. No I/O.

A learning record store keeps statements for good, so a completion that is taken away is voided by a statement about the
one that told it. Which statements stand, the caller keeps, with the cursor of `contracts.reader`, for each record:

    read = take(cursor, message.value)
    said = statements(told, read.changes, home_page="https://lms.example.org", base="https://lms.example.org/xapi")
    post(said.statements)                      # with their ids: the same ones again are nothing new to the store
    save(key, read.cursor.text(), said.told.text())

The same change always gives the same statements, with the same ids.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple
from uuid import uuid5

from contracts.fields import format_timestamp
from contracts.outbound import NAMESPACE, CourseCompletionChanged, StepCompletionChanged
from contracts.reader import Change

Statement = dict[str, Any]
"""As it is posted, as JSON."""


class Row(NamedTuple):
    """What is said of a change: of what it is, whether that was and is complete now."""

    of: Literal["course", "step"]
    was: bool
    is_now: bool
    verb: Literal["completed", "passed", "voided"]


MAPPING = (
    Row("course", was=False, is_now=True, verb="completed"),
    Row("course", was=True, is_now=False, verb="voided"),
    Row("step", was=False, is_now=True, verb="passed"),
    Row("step", was=True, is_now=False, verb="voided"),
)
"""Of anything else, such as another percent or a certificate, nothing is said."""
VERBS = {name: f"http://adlnet.gov/expapi/verbs/{name}" for name in ("completed", "passed", "voided")}
COURSE = "http://adlnet.gov/expapi/activities/course"
KINDS = {"event": "http://adlnet.gov/expapi/activities/meeting"}
"""What a step is, by its kind."""
OTHER = "http://adlnet.gov/expapi/activities/module"
"""What it is otherwise."""

_VERB_OF = {(row.of, row.was, row.is_now): row.verb for row in MAPPING}


class Told(NamedTuple):
    """Of one record: the ids of the statements that stand, that of the course and those of steps by step_id."""

    course: str | None = None
    steps: Mapping[str, str] = {}

    @classmethod
    def read(cls, text: str | bytes) -> "Told":
        """The inverse of `text`; of nothing, a record that nothing was told of. Raises ValueError."""
        if not text:
            return cls()
        said = json.loads(text)
        return cls(said["course"], said["steps"])

    def text(self) -> str:
        """To be kept."""
        return json.dumps(self._asdict())

    def of(self, step_id: str | None) -> str | None:
        """The statement that stands, of a step or of the course (None)."""
        return self.course if step_id is None else self.steps.get(step_id)

    def telling(self, step_id: str | None, statement_id: str | None) -> "Told":
        """With this statement standing, or none."""
        if step_id is None:
            return self._replace(course=statement_id)
        others = {name: one for name, one in self.steps.items() if name != step_id}
        return self._replace(steps=others if statement_id is None else {**others, step_id: statement_id})


class Said(NamedTuple):
    """What is to be posted, in this order, and what stands after that."""

    statements: tuple[Statement, ...]
    told: Told


def statements(told: Told, changes: Iterable[Change], home_page: str, base: str) -> Said:
    """Of a record's next changes, in order.

    `home_page`: of the system that the learner's account is in; `base`: what the ids of activities begin with. Both are
    absolute IRIs, or ValueError is raised.
    """
    for name, iri in (("home_page", home_page), ("base", base)):
        scheme, colon, rest = iri.partition(":")
        if not (colon and rest and scheme.isascii() and scheme[:1].isalpha()) or any(map(str.isspace, iri)):
            raise ValueError(f"{name}: must be an absolute IRI, like https://lms.example.org, not {iri!r}")
    found: list[Statement] = []
    for change in changes:
        step_id, verb = _meaning(change)
        standing = told.of(step_id)
        telling = None if verb == "voided" else _id(change, "told")
        if verb is None or telling == standing:
            continue
        actor = {"objectType": "Agent", "account": {"homePage": home_page, "name": change.learner_id}}
        if standing is not None:  # also where what took it away was never read
            found.append(_voiding(change, actor, standing))
        if telling is not None:
            found.append({"id": telling, "actor": actor, **_achievement(change, base.rstrip("/"))})
        told = told.telling(step_id, telling)
    return Said(tuple(found), told)


def _meaning(change: Change) -> tuple[str | None, str | None]:
    """The step that it is about, None for the course; and the verb, None where nothing is said."""
    if isinstance(change, StepCompletionChanged):
        return change.step_id, _VERB_OF.get(("step", change.previously_complete, change.complete))
    was, is_now = change.previous_status == "completed", change.status == "completed"
    return None, _VERB_OF.get(("course", was, is_now))


def _id(change: Change, what: str) -> str:
    return str(uuid5(NAMESPACE, f"xapi/{what}/{change.message_id}"))


def _verb(name: str) -> Mapping[str, Any]:
    return {"id": VERBS[name], "display": {"en": name}}


def _voiding(change: Change, actor: Mapping[str, Any], statement_id: str) -> Statement:
    return {
        "id": _id(change, "voided"),
        "actor": actor,
        "verb": _verb("voided"),
        "object": {"objectType": "StatementRef", "id": statement_id},
        "timestamp": format_timestamp(change.changed_at),
    }


def _achievement(change: Change, base: str) -> Statement:
    """All but id and actor. An attempt is a registration."""
    course = f"{base}/courses/{change.tenant_id}/{change.course_id}"
    registration = {"registration": str(uuid5(NAMESPACE, f"xapi/attempt/{change.key}/{change.attempt}"))}
    if isinstance(change, CourseCompletionChanged):
        at = change.changed_at if change.completed_at is None else change.completed_at
        title = {} if change.course_title is None else {"name": {"und": change.course_title}}
        return {
            "verb": _verb("completed"),
            "object": _activity(course, {"type": COURSE, **title}),
            "result": {"completion": True},
            "context": registration,
            "timestamp": format_timestamp(at),
        }
    return {
        "verb": _verb("passed"),
        "object": _activity(f"{course}/steps/{change.step_id}", {"type": KINDS.get(change.step_kind, OTHER)}),
        "result": {"completion": True, "success": True, "score": {"scaled": change.percent / 100}},
        "context": {**registration, "contextActivities": {"parent": [_activity(course, {"type": COURSE})]}},
        "timestamp": format_timestamp(change.changed_at),
    }


def _activity(iri: str, definition: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"objectType": "Activity", "id": iri, "definition": definition}
