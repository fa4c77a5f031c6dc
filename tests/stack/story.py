"""The scenarios A, B and C as messages, and how each must end."""

from typing import Any, NamedTuple

Message = tuple[str, dict[str, Any]]


class Act(NamedTuple):
    """One scenario: a title, the messages in order, how the learner's record must stand at the end."""

    title: str
    learner: str
    messages: list[Message]
    ends: dict[str, Any]


EVENT = "live-1"
COURSE = "safety-101"


def story(tenant: str) -> tuple[Message, list[Act]]:
    """The course definition and the acts, in a tenant of their own."""
    common = {"tenant_id": tenant, "course_id": COURSE}

    def say(topic: str, learner: str, number: int, **fields: Any) -> Message:
        at = f"2026-03-{number:02d}T09:00:00Z"
        message_id = f"{tenant}-{learner}-{number}"
        return topic, {"message_id": message_id, **common, "learner_id": learner, "changed_at": at, **fields}

    def attendance(learner: str, number: int, **fields: Any) -> Message:
        return say("attendance-changed", learner, number, event_id=EVENT, **fields)

    upload = {"source": "mass_upload", "upload_id": "upload-1"}
    fallen = {EVENT: {"percent": 0, "complete": False}}
    by_steps = {"status": "completed", "completed_via": "steps", "evidence": "withdrawn"}
    by_equivalency = {"status": "completed", "completed_via": "equivalency", "evidence": None}
    incomplete = {"status": "incomplete", "completed_via": None, "evidence": None}
    definition: Message = (
        "course-defined",
        {
            "message_id": f"{tenant}-definition",
            **common,
            "changed_at": "2026-01-01T00:00:00Z",
            "version": 1,
            "title": "Safety at work",
            "steps": [{"step_id": EVENT, "kind": "event", "title": "Live introduction", "scheduled_minutes": 90}],
        },
    )
    return definition, [
        Act(
            "A. A mass upload marks a learner as attended; later the attended time is set to 0 minutes",
            "anna",
            [attendance("anna", 2, attended=True, **upload), attendance("anna", 3, attended_minutes=0)],
            {"steps": fallen, "course": by_steps, "certificate": "issued"},
        ),
        Act(
            "A, where the course was not complete. The event falls, the course stays incomplete",
            "ada",
            [attendance("ada", 2, attended_minutes=60, **upload), attendance("ada", 3, attended_minutes=0)],
            {"steps": fallen, "course": incomplete, "certificate": None},
        ),
        Act(
            "B. Marked 100 % attended by hand, and so the course is earned; later attendance is set to 0 minutes",
            "ben",
            [
                attendance("ben", 2, attended_percent=100, source="manual"),
                attendance("ben", 3, attended_minutes=0, source="manual"),
            ],
            {"steps": fallen, "course": by_steps, "certificate": "issued"},
        ),
        Act(
            "C. Complete by equivalency; a mass upload marks attendance, later it is reset to 0 minutes",
            "cleo",
            [
                say("equivalency-granted", "cleo", 1, equivalent_course_id="safety-100"),
                attendance("cleo", 2, attended=True, **upload),
                attendance("cleo", 3, attended_minutes=0),
            ],
            {"steps": fallen, "course": by_equivalency, "certificate": None},
        ),
        Act(
            "After B: a reassignment. That, and nothing else, removes the completion and the certificate",
            "ben",
            [say("reassigned", "ben", 4, reason="Do it again")],
            {"steps": fallen, "course": incomplete, "certificate": "revoked"},
        ),
    ]
