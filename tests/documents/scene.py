"""What has happened before each section of the administrator's page: files, courses, learners, mistakes."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.stack.wire import Wire

ROOT = Path(__file__).parents[2]
ABOUT = {"tenant_id": "acme", "course_id": "safety-101"}
LIVE_1 = {"step_id": "live-1", "kind": "event", "scheduled_minutes": 90}
LIVE_2 = {"step_id": "live-2", "kind": "event", "scheduled_minutes": 60}
MARCH = """\
Tenant,Learner,Course,Event,Attended minutes
acme,l-1002,safety-101,live-1,0
acme,l-1003,safety-101,live-1,90
acme,l-1003,safety-101,live-1,90
acme,l-1004,safety-101,live-7,90
acme,l-1005,safety-101,live-1,ninety
"""
PEOPLE = """\
Learner,E-mail address,Name
l-1001,ada@example.org,Ada Ek
l-1002,ben@example.org,Ben Ott
"""
PARTICIPANTS = """\
Name (Original Name),User Email,Join Time,Leave Time,Duration (Minutes),Guest
Ada Ek,Ada@example.org,03/02/2026 10:00:00 AM,03/02/2026 10:40:00 AM,40,No
Ada (phone),ada@example.org,03/02/2026 10:30:00 AM,03/02/2026 11:20:00 AM,50,No
Ben Ott,,03/02/2026 10:00:00 AM,03/02/2026 11:30:00 AM,90,Yes
Bem,bem@example.org,03/02/2026 10:00:00 AM,03/02/2026 11:30:00 AM,90,Yes
"""
MISTAKEN = """\
Learner
l-1001
"""
FIRST_AID = """\
tenant_id: acme
course_id: first-aid
title: First aid
steps:
  - step_id: live-1
    kind: event
    scheduled_minutes: 90
  - step_id: live-2
    kind: event
    required: false
    scheduled_minutes: 60
"""
MESSAGES = [
    (
        "course-defined",
        {**ABOUT, "message_id": "d1", "changed_at": "2026-01-01T00:00:00Z", "version": 1, "steps": [LIVE_1]},
    ),
    (
        "attendance-changed",
        {
            **ABOUT,
            "message_id": "m1",
            "learner_id": "anna",
            "changed_at": "2026-03-02T09:00:00Z",
            "event_id": "live-1",
            "attended": True,
        },
    ),
    (
        "attendance-changed",
        {
            **ABOUT,
            "message_id": "m2",
            "learner_id": "anna",
            "changed_at": "2026-03-03T09:00:00Z",
            "event_id": "live-1",
            "attended_minutes": 0,
        },
    ),
]


class Scene(NamedTuple):
    """Kafka, and the folder in which the commands are typed."""

    wire: Wire
    folder: Path

    async def say(self, topic: str, **fields: Any) -> None:
        """One message."""
        await self.wire.send([(topic, {**ABOUT, **fields})])

    async def attend(self, learner: str, course: str, minutes: int, day: int) -> None:
        """By hand, on a day of March."""
        await self.say(
            "attendance-changed",
            message_id=f"{course}-{learner}-{day}",
            learner_id=learner,
            course_id=course,
            changed_at=f"2026-03-{day:02}T09:00:00Z",
            event_id="live-1",
            attended_minutes=minutes,
            source="manual",
        )

    async def define(self, course: str, *steps: Mapping[str, Any]) -> None:
        """The course's first version."""
        await self.say(
            "course-defined",
            message_id=f"{course}-1",
            course_id=course,
            changed_at="2026-01-01T00:00:00Z",
            version=1,
            steps=list(steps),
        )


async def somebody_completes(scene: Scene) -> None:
    await scene.define("safety-101", LIVE_1)
    await scene.wire.settled()
    await scene.attend("l-1001", "safety-101", 90, 2)
    await scene.attend("l-1001", "safety-101", 0, 3)


async def a_file(scene: Scene) -> None:
    await scene.attend("l-1002", "safety-101", 90, 2)
    files = (("march", MARCH), ("people", PEOPLE), ("participants", PARTICIPANTS), ("mistaken", MISTAKEN))
    for name, content in files:
        (scene.folder / f"{name}.csv").write_text(content)


async def half_way(scene: Scene) -> None:
    await scene.define("first-aid", LIVE_1, LIVE_2)
    await scene.wire.settled()
    for learner, minutes in (("l-1001", 90), ("l-1002", 90), ("l-1003", 90), ("l-1004", 45)):
        await scene.attend(learner, "first-aid", minutes, 2)
    (scene.folder / "first-aid.yaml").write_text(FIRST_AID)


async def a_candidate(scene: Scene) -> None:
    await scene.define("fire-drill", LIVE_1)
    await scene.wire.settled()
    for learner, minutes in (("l-1001", 30), ("l-1002", 90), ("l-1003", 90)):
        await scene.attend(learner, "fire-drill", minutes, 2)
    shipped = (ROOT / "rules" / "course.yaml").read_text()
    before, steps, after = shipped.partition("completed-by-steps")
    assert "issue_if_awarded" in after
    (scene.folder / "course.yaml").write_text(before + steps + after.replace("issue_if_awarded", "keep", 1))


async def a_clock_that_is_ahead(scene: Scene) -> None:
    await scene.say(
        "attendance-changed",
        message_id="ahead-1",
        learner_id="l-1002",
        changed_at="2062-03-02T09:00:00Z",
        event_id="live-1",
        attended=True,
    )


async def messages(scene: Scene) -> None:
    lines = (json.dumps({"topic": topic, "value": value}) for topic, value in MESSAGES)
    (scene.folder / "messages.jsonl").write_text("".join(f"{line}\n" for line in lines))


BEFORE: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "Why is she complete?": somebody_completes,
    "Upload attendance": a_file,
    "Change a course": half_way,
    "Try a rule change": a_candidate,
    "Mend dead letters": a_clock_that_is_ahead,
    "Send": messages,
}
"""By the section's heading."""
