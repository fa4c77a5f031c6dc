"""Random lives of one record (tenant t, learner l, course c), in order of arrival, for comparing implementations."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

Value = dict[str, Any]
Said = tuple[str, Value]

START = datetime(2026, 3, 1, tzinfo=UTC)
EVENTS, TRAINING, SESSIONS = ["e1", "e2"], "o1", ["s1", "s2", "s3"]
IDS = ["m01", "m02", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12"]
DURATIONS = ["P1Y", "P1M", "P30D", "P1Y6M", "P1M15D"]


def life(rng: random.Random) -> list[Said]:
    """1-12 facts at minutes 0..12 and 1-3 definitions, versions ascending in arrival, changed_at at random."""
    ids = rng.sample(IDS, rng.randint(1, len(IDS)))
    course = definitions(rng)
    latest = rng.choice([3, 12, 12])  # a short span makes ties
    said = [fact(rng, message_id, ids, latest) for message_id in ids]
    name_reassignments(rng, said)
    for place, version in zip(sorted(rng.randint(0, len(said)) for _ in course), course, strict=False):
        said.insert(place + version[1]["version"] - course[0][1]["version"], version)
    if rng.random() < 0.1:  # the same message again
        said.insert(rng.randint(0, len(said)), said[rng.randrange(len(said))])
    return ascending(said)


def ascending(said: list[Said]) -> list[Said]:
    """The same arrivals, the definitions among them in the order of their versions."""
    versions = iter(sorted((m for m in said if m[0] == "course-defined"), key=lambda m: int(m[1]["version"])))
    return [next(versions) if m[0] == "course-defined" else m for m in said]


def moment(rng: random.Random, latest: int) -> str:
    """A whole minute, written in UTC or with an offset."""
    at = START + timedelta(minutes=rng.randint(0, latest))
    if rng.random() < 0.1:
        return at.astimezone(timezone(timedelta(hours=2))).isoformat()
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def fact(rng: random.Random, message_id: str, ids: list[str], latest: int) -> Said:
    """One fact of a random kind."""
    common: Value = {
        "message_id": message_id,
        "tenant_id": "t",
        "learner_id": "l",
        "course_id": "c",
        "changed_at": moment(rng, latest),
    }
    kind = rng.choices(
        ["event", "session", "progress", "equivalency", "step", "granted", "reassigned", "withdrawn"],
        [24, 24, 16, 5, 4, 4, 14, 9],
    )[0]
    if kind == "event":
        return "attendance-changed", common | {"event_id": rng.choice(EVENTS)} | attendance(rng)
    if kind == "session":
        session = {"event_id": rng.choice(EVENTS), "session_id": rng.choice(SESSIONS)}
        return "attendance-changed", common | session | attendance(rng)
    if kind == "progress":
        progress = {"step_id": TRAINING, "progress_percent": rng.choice([0, 50, 100, 100, 100])}
        return "step-progress-changed", common | progress
    if kind == "equivalency":
        return "equivalency-granted", common
    if kind == "step":
        return "equivalency-granted", common | {"step_id": rng.choice([*EVENTS, TRAINING])}
    if kind == "granted":
        return "completion-granted", common | grant(rng)
    if kind == "reassigned":
        return "reassigned", common | rng.choice([{}, {"progress": "keep"}, {"progress": "reset"}])
    return "reassignment-withdrawn", common | {"reassignment_message_id": rng.choice([*ids, "unknown"])}


def name_reassignments(rng: random.Random, said: list[Said]) -> None:
    """Most withdrawals name a reassignment of this life, known or still to come; some another id or none at all."""
    reassigned = [value["message_id"] for topic, value in said if topic == "reassigned"]
    for topic, value in said:
        if topic == "reassignment-withdrawn" and reassigned and rng.random() < 0.85:
            value["reassignment_message_id"] = rng.choice(reassigned)


def attendance(rng: random.Random) -> Value:
    """Exactly one of attended_minutes, attended_percent, attended, or excused: true."""
    return rng.choice(
        [
            {"attended": True},
            {"attended": True},
            {"attended": True},
            {"attended": False},
            {"attended_minutes": rng.choice([0, 10, 20, 30, 45, 60, 90])},
            {"attended_minutes": rng.choice([0, 30, 60])},
            {"attended_percent": rng.choice([0, 33, 50, 99, 100])},
            {"excused": True},
        ]
    )


def grant(rng: random.Random) -> Value:
    """Source and certificate of a granted completion, each of them optional."""
    return rng.choice([{}, {"source": "manual"}, {"source": "import"}]) | rng.choice(
        [{}, {}, {"certificate": "issue"}, {"certificate": "none"}]
    )


def definitions(rng: random.Random) -> list[Said]:
    """1-3 versions of the course; a later one often is a small step from the one before."""
    made: list[Said] = []
    for version in range(1, rng.randint(1, 3) + 1):
        value: Value = {
            "message_id": f"d{version}",
            "tenant_id": "t",
            "course_id": "c",
            "version": version,
            "changed_at": moment(rng, 12),
        } | policy(rng)
        if made and rng.random() < 0.4:
            value |= {"steps": made[-1][1]["steps"], "groups": made[-1][1].get("groups", [])}
        else:
            value |= steps(rng)
        made.append(("course-defined", value))
    return made


def policy(rng: random.Random) -> Value:
    """The certificate policy and how long a completion is valid."""
    value: Value = {}
    for name, chance in (
        ("awards_certificate", 0.6),
        ("certificate_on_equivalency", 0.3),
        ("certificate_after_equivalency", 0.4),
    ):
        if rng.random() < 0.7:
            value[name] = rng.random() < chance
    return value | ({"valid_for": rng.choice(DURATIONS)} if rng.random() < 0.3 else {})


def steps(rng: random.Random) -> Value:
    """Some of e1, e2, o1, at least one; sometimes a group of optional ones."""
    chosen = [s for s in [*EVENTS, TRAINING] if rng.random() < 0.55] or [rng.choice(EVENTS)]
    made = [step(rng, step_id) for step_id in chosen]
    optional = [s["step_id"] for s in made if s.get("required") is False]
    if optional and rng.random() < 0.6:
        return {
            "steps": made,
            "groups": [{"group_id": "g1", "step_ids": optional, "at_least": rng.randint(1, len(optional))}],
        }
    return {"steps": made}


def step(rng: random.Random, step_id: str) -> Value:
    """An event with minutes, with sessions or with no schedule; or an On-the-Job Training."""
    value: Value = {"step_id": step_id, "kind": "on_the_job_training" if step_id == TRAINING else "event"}
    if rng.random() < 0.3:
        value["required"] = False
    if rng.random() < 0.4:
        value["threshold_percent"] = rng.choice([1, 33, 50, 80, 99])
    if step_id != TRAINING:
        shape = rng.choice(["minutes", "sessions", "sessions", "sessions", "nothing"])
        if shape == "minutes":
            value["scheduled_minutes"] = rng.choice([7, 30, 60])
        elif shape == "sessions":
            value["sessions"] = [session(rng, s) for s in SESSIONS if rng.random() < 0.6] or [session(rng, "s1")]
    return value


def session(rng: random.Random, session_id: str) -> Value:
    """One session, sometimes cancelled."""
    value: Value = {"session_id": session_id, "scheduled_minutes": rng.choice([7, 30, 60])}
    return value | ({"cancelled": True} if rng.random() < 0.2 else {})
