"""A file as an upload reads and judges it, without servers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.topics import COURSE_DEFINED
from service.admin import rows
from service.admin.kinds import ATTENDANCE
from service.admin.noted import noting
from service.admin.reading import Said, understand
from service.admin.rows import Judged
from service.admin.schedule import Course
from service.admin.uploads import Asked, Upload, open_file
from service.lanes.definitions import timeline_of
from service.lanes.translate import HeardDefinition, read

AT = "2026-05-01T00:00:00Z"
SIXTY = {"course_id": "c-1", "steps": [{"step_id": "e1", "kind": "event", "scheduled_minutes": 60}]}
HERE: Mapping[str, str] = {"tenant_id": "T", "course_id": "c-1", "event_id": "e1"}


def course(definition: Mapping[str, Any]) -> Course:
    """Of tenant T."""
    common = {"message_id": "d", "tenant_id": "T", "changed_at": "2026-01-01T00:00:00Z", "version": 1}
    heard = read(COURSE_DEFINED, json.dumps({**common, **definition}).encode(), None)
    assert isinstance(heard, HeardDefinition), heard
    steps = json.loads(heard.definition.content)["steps"]
    return Course(timeline_of((heard.definition,))[-1], {step["step_id"]: step for step in steps})


def judged(upload: Upload, definition: Mapping[str, Any] = SIXTY) -> list[Judged]:
    """Every row with its verdict."""
    courses = {"T/c-1": course(definition)}
    said = [(row, understand(row, upload.at(AT))) for row in upload.sheet.rows()]
    with noting() as noted:
        for row, one in said:
            if isinstance(one, Said) and not row.hidden:
                noted.note(row, one)
        return [rows._verdict(row, one, courses, noted) for row, one in said]


def opened(path: Path, content: str | bytes, asked: Asked | None = None) -> Upload:
    """A file with this content, for attendance of one event."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_file(path, ATTENDANCE, asked or Asked(given=HERE))


def minutes(found: list[Judged]) -> dict[str, int]:
    """What is accepted, by learner."""
    values = {one.said.heard.key.split("/")[1]: one.said.heard.fact.value for one in found if one.said is not None}
    return {learner: value.amount for learner, value in values.items() if value is not None}


def percents(found: list[Judged], scheduled: int = 60) -> dict[str, int]:
    """What is accepted, as the percent of the scheduled minutes."""
    shares = {}
    for one in found:
        if one.said is not None:
            value = one.said.heard.fact.value
            assert value is not None
            share = value.amount * 100 // scheduled if value.unit == "minutes" else value.amount
            shares[one.said.heard.key.split("/")[1]] = min(share, 100)
    return shares
