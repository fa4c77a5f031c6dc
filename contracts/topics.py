"""The topic catalogue. Names carry a configurable prefix; these are the names without one."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from contracts.fields import Message
from contracts.inbound import (
    AttendanceChanged,
    CompletionGranted,
    CourseDefined,
    EquivalencyGranted,
    LaneProgress,
    Reassigned,
    ReassignmentWithdrawn,
    ReevaluationRequested,
    StepProgressChanged,
)
from contracts.outbound import (
    CourseCompletionChanged,
    DeadLetterHeaders,
    LearnerErased,
    RecordState,
    ReroutedHeaders,
    StepCompletionChanged,
)


class Topic(NamedTuple):
    """A topic is a piece of data: what it is called, what is in it, who writes it."""

    name: str
    direction: Literal["in", "out", "internal"]
    key: str
    model: type[Message]
    """Of the value; where key and value are another topic's, of the headers that are added (`carries_others`)."""
    summary: str
    settings: Mapping[str, str] = {}
    """What differs from the broker's own, in Kafka's words. See `ratchet topics create`."""

    @property
    def carries_others(self) -> bool:
        """Key and value are those of a message of another topic."""
        return self.key == "as it was"

    @property
    def short(self) -> str:
        """The name that people type: without domain and version."""
        return self.name.split(".")[1]


COMPACTED = {"cleanup.policy": "compact"}
ROOM = {"max.message.bytes": str(2 * 1_048_588)}
"""Twice Kafka's default, for what carries messages of others and headers besides."""
DAY_MILLISECONDS = 24 * 3600 * 1000
RECORD_KEY = "tenant_id/learner_id/course_id"
COURSE_KEY = "tenant_id/course_id"
LEARNER_KEY = "tenant_id/learner_id"

ATTENDANCE_CHANGED = Topic(
    "lms.attendance-changed.v1", "in", RECORD_KEY, AttendanceChanged, "A learner's attendance of an event was set."
)
STEP_PROGRESS_CHANGED = Topic(
    "lms.step-progress-changed.v1", "in", RECORD_KEY, StepProgressChanged, "A learner's progress in a step was set."
)
EQUIVALENCY_GRANTED = Topic(
    "lms.equivalency-granted.v1",
    "in",
    RECORD_KEY,
    EquivalencyGranted,
    "The course, or a step of it, counts as completed by another.",
)
COMPLETION_GRANTED = Topic(
    "lms.completion-granted.v1",
    "in",
    RECORD_KEY,
    CompletionGranted,
    "The course counts as completed, in an older system or marked by hand.",
)
REASSIGNED = Topic("lms.reassigned.v1", "in", RECORD_KEY, Reassigned, "The learner is to do the course again.")
REASSIGNMENT_WITHDRAWN = Topic(
    "lms.reassignment-withdrawn.v1", "in", RECORD_KEY, ReassignmentWithdrawn, "A reassignment was a mistake."
)
COURSE_DEFINED = Topic(
    "lms.course-defined.v1", "in", COURSE_KEY, CourseDefined, "A course got a definition.", COMPACTED
)
REEVALUATION_REQUESTED = Topic(
    "completion.reevaluation-requested.v1",
    "internal",
    RECORD_KEY,
    ReevaluationRequested,
    "A record is to be decided again under the newest definition.",
)
REROUTED = Topic(
    "completion.rerouted.v1",
    "internal",
    "as it was",
    ReroutedHeaders,
    "A message that was sent to another partition than its key's, forwarded to the right one as it was.",
    ROOM,
)
STEP_COMPLETION_CHANGED = Topic(
    "completion.step-completion-changed.v1",
    "out",
    RECORD_KEY,
    StepCompletionChanged,
    "A step's percent or completion changed.",
)
COURSE_COMPLETION_CHANGED = Topic(
    "completion.course-completion-changed.v1",
    "out",
    RECORD_KEY,
    CourseCompletionChanged,
    "The course's completion or its certificate changed.",
)
RECORD_STATE = Topic(
    "completion.record-state.v1",
    "out",
    RECORD_KEY,
    RecordState,
    "Where a record stands now, as a whole; the last one of each key counts.",
    COMPACTED,
)
LEARNER_ERASED = Topic(
    "completion.learner-erased.v1",
    "out",
    LEARNER_KEY,
    LearnerErased,
    "A learner was erased: forget what you know of them.",
)
DEAD_LETTER = Topic(
    "completion.dead-letter.v1",
    "out",
    "as it was",
    DeadLetterHeaders,
    "A message that could not be used: key, value and headers as they were, and in further headers what is wrong.",
    {**ROOM, "retention.ms": str(30 * DAY_MILLISECONDS)},
)

LANE_PROGRESS = Topic(
    "completion.lane-progress.v1",
    "internal",
    "group/lane",
    LaneProgress,
    "How far a lane of a group has come, in the same transaction as what it announced.",
    COMPACTED,
)

FACTS = (
    ATTENDANCE_CHANGED,
    STEP_PROGRESS_CHANGED,
    EQUIVALENCY_GRANTED,
    COMPLETION_GRANTED,
    REASSIGNED,
    REASSIGNMENT_WITHDRAWN,
)
CONSUMED = (COURSE_DEFINED, *FACTS, REEVALUATION_REQUESTED, REROUTED)
"""All that a worker reads. They have equally many partitions: partition p of each belongs to lane p."""
TOPICS = (
    *CONSUMED,
    LANE_PROGRESS,
    STEP_COMPLETION_CHANGED,
    COURSE_COMPLETION_CHANGED,
    RECORD_STATE,
    LEARNER_ERASED,
    DEAD_LETTER,
)


def owners_of(field: str) -> tuple[str, ...]:
    """The inbound topics that have a field of this name."""
    return tuple(topic.name for topic in TOPICS if topic.direction == "in" and field in topic.model.model_fields)


def foreign_fields(topic: Topic) -> frozenset[str]:
    """Fields that others of the inbound topics have and this one has not: on it they are a misunderstanding."""
    if topic.direction != "in":
        return frozenset()
    known = {name for other in TOPICS if other.direction == "in" for name in other.model.model_fields}
    return frozenset(known - topic.model.model_fields.keys())
