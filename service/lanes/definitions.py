"""Course definitions as they are stored → what the rules need of them; kept at hand, because every batch needs them."""

import json

import msgspec
from cachetools import LRUCache, cached
from msgspec import Struct

from contracts.fields import parse_valid_for
from rules.values import CourseDefinition, Group, StepDefinition, Timeline, places_of, timeline
from service.lanes.bounds import DETAIL_LIMIT, TIMELINE_PLACES
from service.lanes.ports import StoredCourse, StoredDefinition

PLACE_BYTES = 200
"""Of what is kept of a definition beside its places, so much counts like one."""


def timeline_of(versions: tuple[StoredDefinition, ...]) -> Timeline:
    """What the rules need of a course's versions."""
    return _kept(versions)[0]


@cached(LRUCache(TIMELINE_PLACES, getsizeof=lambda kept: kept[1]))
def _kept(versions: tuple[StoredDefinition, ...]) -> tuple[Timeline, int]:
    """With what it takes, in places; the cache has the definitions themselves, too."""
    known, size_bytes = timeline(map(_course_definition, versions)), sum(len(one.content.encode()) for one in versions)
    return known, 1 + sum(map(places_of, known)) + size_bytes // PLACE_BYTES


def course_timeline(course: StoredCourse | None) -> Timeline:
    """Empty while the course is not defined."""
    return () if course is None else timeline_of(course.versions)


class _Group(Struct):
    group_id: str
    step_ids: tuple[str, ...]
    at_least: int


class _Content(Struct):
    """Of a definition as it is stored, what decides."""

    steps: list[msgspec.Raw]
    awards_certificate: bool
    certificate_on_equivalency: bool
    certificate_after_equivalency: bool = False
    valid_for: str | None = None
    groups: list[_Group] = []
    title: str | None = None


_content = msgspec.json.Decoder(_Content).decode


def _course_definition(stored: StoredDefinition) -> CourseDefinition:
    content = _content(stored.content)
    steps = [_step_definition(bytes(step)) for step in content.steps]
    return CourseDefinition(
        stored.version,
        stored.message_id,
        stored.changed_at,
        {step.step_id: step for step in steps},
        content.awards_certificate,
        content.certificate_on_equivalency,
        certificate_after_equivalency=content.certificate_after_equivalency,
        valid_for=None if content.valid_for is None else parse_valid_for(content.valid_for),
        groups=tuple(Group(group.group_id, group.step_ids, group.at_least) for group in content.groups),
        title=None if content.title is None else content.title[:DETAIL_LIMIT],
    )


@cached(LRUCache(TIMELINE_PLACES, getsizeof=lambda step: 1 + len(step.sessions) + len(step.cancelled)))
def _step_definition(content: bytes) -> StepDefinition:
    """The versions of a course have most of their steps in common."""
    step = json.loads(content)
    listed = step.get("sessions", [])
    sessions = {s["session_id"]: s["scheduled_minutes"] for s in listed if not s["cancelled"]}
    return StepDefinition(
        step["step_id"],
        step["kind"],
        step["required"],
        step["threshold_percent"],
        sum(sessions.values()) if listed else step.get("scheduled_minutes", 0),
        sessions,
        frozenset(s["session_id"] for s in listed if s["cancelled"]),
    )
