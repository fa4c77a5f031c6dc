"""What can be uploaded: which topic a row's message goes to, what it must say, and a file to fill in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from contracts.topics import (
    ATTENDANCE_CHANGED,
    COMPLETION_GRANTED,
    EQUIVALENCY_GRANTED,
    REASSIGNED,
    STEP_PROGRESS_CHANGED,
    Topic,
)
from service.admin.files import words
from service.admin.formats.catalogue import FieldName


class Kind(NamedTuple):
    """One kind of upload. `ids`: what a row is about, the needed ones first; `values`: how each is read.

    `is_dated`: a row must say when it was completed, because now is never right.
    """

    topic: Topic
    needed: Sequence[FieldName]
    ids: Sequence[FieldName]
    values: Mapping[FieldName, Callable[[str], Any]]
    constants: Mapping[str, str]
    template: str
    is_dated: bool = False

    @property
    def fields(self) -> set[FieldName]:
        """Every one that a row may fill in."""
        dates: set[FieldName] = {"changed_at", "completed_at"} if self.is_dated else {"changed_at"}
        return {*self.ids, *self.values, *dates, "other_id", "name", "last_name", "joined_at", "left_at"}


ATTENDANCE = Kind(
    ATTENDANCE_CHANGED,
    ("tenant_id", "learner_id", "course_id", "event_id"),
    ("tenant_id", "learner_id", "course_id", "event_id", "session_id"),
    {
        "attended_minutes": words.minutes,
        "attended_percent": words.percent,
        "attended": words.yes_or_no,
        "excused": words.yes_or_no,
    },
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
    ("tenant_id", "learner_id", "course_id", "step_id", "equivalent_course_id", "granted_by", "reason"),
    {},
    {},
    """\
Tenant,Learner,Course,Step,Equivalent course,Granted by,Changed at
acme,l-1001,safety-101,,safety-2019,kim,2026-03-02T09:00:00Z
acme,l-1002,safety-101,job-1,,kim,2026-03-02T09:00:00Z
""",
)
COMPLETIONS = Kind(
    COMPLETION_GRANTED,
    ("tenant_id", "learner_id", "course_id"),
    ("tenant_id", "learner_id", "course_id", "certificate", "certificate_id", "reason"),
    {},
    {"source": "import"},
    """\
Tenant,Learner,Course,Completed at,Certificate,Certificate ID,Comment
acme,l-1001,safety-101,2019-06-30T12:00:00Z,none,OLD-4711,from the old system
acme,l-1002,safety-101,2024-01-15T09:00:00Z,issue,,from the old system
""",
    is_dated=True,
)
REASSIGNMENTS = Kind(REASSIGNED, ("learner_id",), ("tenant_id", "learner_id", "course_id"), {}, {}, "Learner\nl-1001\n")
"""Tenant and course are said by the command."""
KINDS: Mapping[str, Kind] = {
    "attendance": ATTENDANCE,
    "progress": PROGRESS,
    "equivalencies": EQUIVALENCIES,
    "completions": COMPLETIONS,
}
"""What can be uploaded, as people call it."""
