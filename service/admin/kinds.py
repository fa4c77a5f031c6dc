"""What can be uploaded: which topic a row's message goes to, what it must say, and a file to fill in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from contracts.topics import ATTENDANCE_CHANGED, EQUIVALENCY_GRANTED, REASSIGNED, STEP_PROGRESS_CHANGED, Topic
from service.admin.files import words
from service.admin.formats.catalogue import FieldName


class Kind(NamedTuple):
    """One kind of upload. `ids`: what a row is about, the needed ones first; `values`: how each is read."""

    topic: Topic
    needed: Sequence[FieldName]
    ids: Sequence[FieldName]
    values: Mapping[FieldName, Callable[[str], Any]]
    constants: Mapping[str, str]
    template: str

    @property
    def fields(self) -> set[FieldName]:
        """Every one that a row may fill in."""
        return {*self.ids, *self.values, "changed_at", "other_id", "name", "last_name", "joined_at", "left_at"}


ATTENDANCE = Kind(
    ATTENDANCE_CHANGED,
    ("tenant_id", "learner_id", "course_id", "event_id"),
    ("tenant_id", "learner_id", "course_id", "event_id", "session_id"),
    {"attended_minutes": words.minutes, "attended_percent": words.percent, "attended": words.yes_or_no},
    {"source": "mass_upload"},
    """\
Tenant,Learner,Course,Event,Session,Attended minutes,Changed at
acme,l-1001,safety-101,live-1,,90,2026-03-02T09:00:00Z
acme,l-1002,safety-101,live-1,,0,2026-03-02T09:00:00Z
""",
)
PROGRESS = Kind(
    STEP_PROGRESS_CHANGED,
    ("tenant_id", "learner_id", "course_id", "step_id"),
    ("tenant_id", "learner_id", "course_id", "step_id"),
    {"progress_percent": words.percent},
    {"source": "mass_upload"},
    """\
Tenant,Learner,Course,Step,Progress percent,Changed at
acme,l-1001,safety-101,job-1,100,2026-03-02T09:00:00Z
acme,l-1002,safety-101,job-1,50,2026-03-02T09:00:00Z
""",
)
EQUIVALENCIES = Kind(
    EQUIVALENCY_GRANTED,
    ("tenant_id", "learner_id", "course_id"),
    ("tenant_id", "learner_id", "course_id", "equivalent_course_id", "granted_by"),
    {},
    {},
    """\
Tenant,Learner,Course,Equivalent course,Granted by,Changed at
acme,l-1001,safety-101,safety-2019,kim,2026-03-02T09:00:00Z
acme,l-1002,safety-101,,kim,2026-03-02T09:00:00Z
""",
)
REASSIGNMENTS = Kind(REASSIGNED, ("learner_id",), ("tenant_id", "learner_id", "course_id"), {}, {}, "Learner\nl-1001\n")
"""Tenant and course are said by the command."""
