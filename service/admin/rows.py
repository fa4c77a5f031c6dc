"""The rows of a file, judged: what is accepted, and why the others are not."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from contracts.fields import format_timestamp
from rules.values import CourseDefinition, Fact, Instant, Record
from service.admin.connections import Connection, Outside, attended_minutes
from service.admin.files.cells import Row
from service.admin.noted import Noted
from service.admin.reading import Invalid, Said
from service.admin.schedule import Course
from service.lanes.ports import History, StoredRecord
from service.lanes.translate import HeardFact
from service.mongo.store import MongoStore

Verdict = Literal[
    "accepted",
    "sent before",
    "overtaken",
    "repeated",
    "merged",
    "ambiguous",
    "empty",
    "left out",
    "hidden",
    "invalid",
    "unknown learner",
    "unknown course",
    "unknown event",
    "unknown step",
]
LINES_NAMED = 5
WARNING = "counts in attempt"
"""So begins what is said of a row that is about an earlier one."""


class Judged(NamedTuple):
    """A row with its verdict, and why it is not accepted, or how it came about."""

    row: Row
    verdict: Verdict
    why: str
    said: Said | None


async def judge(
    store: MongoStore, rows: Sequence[tuple[Row, Said | Invalid]], noted: Noted, sent_before: bool
) -> list[Judged]:
    """`sent_before`: some of them may have been sent by an earlier run of the same upload."""
    keys = {said.heard.course_key for _, said in rows if isinstance(said, Said)}
    courses = {key: Course.of(course) for key, course in (await store.courses.load_all(keys)).items()}
    judged = [_verdict(row, said, courses, noted) for row, said in rows]
    judged = await _known(store, judged) if sent_before else judged
    return await _warned(store, judged, courses)


def _verdict(row: Row, said: Said | Invalid, courses: Mapping[str, Course], noted: Noted) -> Judged:
    if row.hidden:
        return Judged(row, "hidden", "the row is hidden in the sheet; show all rows, or take it out", None)
    if isinstance(said, Invalid):
        return Judged(row, said.verdict, said.why, None)
    lines, same, connections = noted.others(row.line, said)
    if connections:
        if connections[0].line != row.line:
            return Judged(row, "merged", f"counts together with line {connections[0].line}", None)
    elif lines and not same:
        named = ", ".join(map(str, lines[:LINES_NAMED])) + (" …" if len(lines) > LINES_NAMED else "")
        also = "line" if len(lines) == 1 else "lines"
        why = f"{also} {named}: another row about the same learner and {_about(said)}; add them up, or keep one"
        return Judged(row, "ambiguous", why, None)
    elif lines and lines[0] < row.line:
        return Judged(row, "repeated", f"says the same as line {lines[0]}", None)
    course = courses.get(said.heard.course_key)
    if course is None:
        return Judged(row, "unknown course", f"course {said.heard.course_key} has no definition", None)
    problem = _step_problem(said.heard, course.definition)
    if problem is not None:
        return Judged(row, "unknown event" if _about(said) == "event" else "unknown step", problem, None)
    return _merged(row, said, connections, course) if connections else Judged(row, "accepted", "", said)


def _about(said: Said) -> str:
    return {"attendance": "event", "progress": "step"}.get(said.heard.fact.kind, "course")


def _merged(row: Row, said: Said, connections: Sequence[Connection], course: Course) -> Judged:
    """The first of a person's connections stands for all."""
    step_id, session_id = said.heard.fact.step_id or "", said.heard.fact.session_id
    window = course.window(step_id, session_id)
    is_placed = all(one.is_placed for one in connections if one.joined_seconds is not None)
    try:
        minutes = attended_minutes(connections, window if is_placed else None)
    except Outside:
        what, start = "event" if session_id is None else "session", course.starts_at(step_id, session_id)
        why = f"its times are outside the {what}, which starts at {start}; see --timezone, or write days as 2026-03-31"
        return Judged(row, "invalid", why, None)
    count = len(connections)
    how = f"{minutes} minutes from {count} {'connection' if count == 1 else 'connections'}"
    untimed = count > 1 and any(one.joined_seconds is None for one in connections)
    remarks = [
        *(["what overlaps counts twice, as not all have times that can be read"] if untimed else []),
        *(["--timezone would cut them to the session"] if window is not None and not is_placed else []),
    ]
    return Judged(row, "accepted", "; ".join([how, *remarks]), said.with_minutes(minutes))


def _step_problem(heard: HeardFact, course: CourseDefinition) -> str | None:
    fact = heard.fact
    if fact.step_id is None:
        return None
    step = course.steps.get(fact.step_id)
    wanted = "event" if fact.kind == "attendance" else "step"
    if step is None:
        return f"{wanted} {fact.step_id} is not in course {heard.course_key}"
    if (step.kind == "event") != (wanted == "event"):
        other = f"no event but {step.kind}" if wanted == "event" else "an event"
        return f"step {fact.step_id} of course {heard.course_key} is {other}"
    if fact.session_id is not None and fact.session_id not in {*step.sessions, *step.cancelled}:
        return f"session {fact.session_id} is not in event {fact.step_id} of course {heard.course_key}"
    return None


async def _known(store: MongoStore, judged: Sequence[Judged]) -> list[Judged]:
    """Those whose messages their records know already, told apart from the others."""
    facts = {one.said.heard.fact.message_id: one.said.heard for one in judged if one.said is not None}
    known = await _known_facts(store, facts)
    told = []
    for one in judged:
        message_id = "" if one.said is None else one.said.heard.fact.message_id
        if one.said is None or message_id not in known:
            told.append(one)
        elif _stands(known[message_id].record, one.said.heard.fact):
            told.append(Judged(one.row, "sent before", "counts already, and changes nothing", None))
        else:
            told.append(Judged(one.row, "overtaken", "was sent before; a later value counts now", None))
    return told


async def _warned(store: MongoStore, judged: Sequence[Judged], courses: Mapping[str, Course]) -> list[Judged]:
    """Rows about an event that was over before the attempt began in which they would count say so."""
    starts = {one.row.line: start for one in judged if (start := _start(one, courses)) is not None}
    if not starts:
        return list(judged)
    keys = {one.said.heard.key for one in judged if one.said is not None and one.row.line in starts}
    records = await store.records.load(keys)
    return [_with_warning(one, starts.get(one.row.line), records) for one in judged]


def _start(one: Judged, courses: Mapping[str, Course]) -> Instant | None:
    if one.said is None:
        return None
    fact = one.said.heard.fact
    return courses[one.said.heard.course_key].start(fact.step_id or "", fact.session_id)


def _with_warning(one: Judged, start: Instant | None, records: Mapping[str, StoredRecord]) -> Judged:
    if one.said is None or start is None or one.said.heard.key not in records:
        return one
    record = records[one.said.heard.key].record
    if record.started is None or not start < record.started[0] <= one.said.heard.fact.changed_at:
        return one
    began = format_timestamp(record.started[0])
    says = f"{WARNING} {record.attempt}, which began at {began}, after the event took place; see --changed-at"
    return one._replace(why="; ".join(filter(None, (one.why, says))))


async def _known_facts(store: MongoStore, facts: Mapping[str, HeardFact]) -> dict[str, StoredRecord]:
    """Of the facts that their records know already, by message id, the record."""
    records = await store.records.load({heard.key for heard in facts.values()})
    asked: dict[str, list[str]] = {}
    for message_id, heard in facts.items():
        if heard.key in records and records[heard.key].record.checkpoint is not None:
            asked.setdefault(heard.key, []).append(message_id)
    moved = await store.records.history(asked)
    return {
        message_id: records[heard.key]
        for message_id, heard in facts.items()
        if heard.key in records and _knows(records[heard.key], moved, message_id)
    }


def _knows(stored: StoredRecord, moved: Mapping[str, History], message_id: str) -> bool:
    return message_id in stored.record.facts or (stored.key in moved and message_id in moved[stored.key].past)


def _stands(record: Record, fact: Fact) -> bool:
    """Whether what the fact says is still what is known of its step."""
    if fact.step_id is None:
        return record.standing.course.completed_via is not None
    step = record.standing.steps.get(fact.step_id)
    if step is None:
        return False
    return (step.base if fact.session_id is None else step.sessions.get(fact.session_id)) == fact.value
