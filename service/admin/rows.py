"""The rows of a file, judged: what is accepted, and why the others are not."""

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from rules.values import CourseDefinition, Fact, Record
from service.admin.attendance_file import Invalid, Said
from service.admin.spreadsheet import Row
from service.lanes.ports import History, StoredRecord
from service.lanes.translate import HeardFact, course_timeline
from service.mongo.store import MongoStore

Verdict = Literal[
    "accepted",
    "sent before",
    "overtaken",
    "repeated",
    "ambiguous",
    "empty",
    "hidden",
    "invalid",
    "unknown course",
    "unknown event",
]
LINES_NAMED = 5


class Judged(NamedTuple):
    """A row with its verdict, and why it is not accepted."""

    row: Row
    verdict: Verdict
    why: str
    said: Said | None


class Seen:
    """What all rows of a file say: on disk, so that the size of the file does not matter. Made by `seen`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("create table targets (target text, line int, says blob, primary key (target, line))")
        database.execute("create table facts (key text, line int, value blob, primary key (key, line)) without rowid")

    def note(self, row: Row, said: Said) -> None:
        """Every row, before the first is judged.

        Rows that say when it was say the same if their values are; others only if all their cells are.
        """
        says = repr(said.heard.fact.value) if said.is_dated else "\0".join(row.cells)
        digest = hashlib.sha256(says.encode()).digest()
        self._database.execute("insert into targets values (?, ?, ?)", (said.target, row.line, digest))

    def others(self, row: Row, said: Said) -> tuple[list[int], bool]:
        """The first lines with the same target, and whether all of them say the same."""
        asked = "select line, says from targets where target = ? order by line"
        found = self._database.execute(asked, (said.target,)).fetchall()
        return [line for line, _ in found if line != row.line], len({says for _, says in found}) == 1

    def keep(self, key: str, line: int, value: bytes) -> None:
        """For the impact."""
        self._database.execute("insert into facts values (?, ?, ?)", (key, line, value))

    def by_record(self) -> Iterator[tuple[str, int, bytes]]:
        """All that was kept, record by record."""
        return iter(self._database.execute("select key, line, value from facts order by key, line"))


@contextmanager
def seen() -> Iterator[Seen]:
    """For one file."""
    with tempfile.NamedTemporaryFile(prefix="ratchet-") as file:
        database = sqlite3.connect(file.name)
        database.execute("pragma synchronous = off")
        try:
            yield Seen(database)
        finally:
            database.close()


async def judge(
    store: MongoStore, rows: Sequence[tuple[Row, Said | Invalid]], noted: Seen, sent_before: bool
) -> list[Judged]:
    """`sent_before`: some of them may have been sent by an earlier run of the same upload."""
    keys = {said.heard.course_key for _, said in rows if isinstance(said, Said)}
    courses = {key: course_timeline(course)[-1] for key, course in (await store.courses.load_all(keys)).items()}
    judged = [_verdict(row, said, courses, noted) for row, said in rows]
    return await _known(store, judged) if sent_before else judged


def _verdict(row: Row, said: Said | Invalid, courses: Mapping[str, CourseDefinition], noted: Seen) -> Judged:
    if row.hidden:
        return Judged(row, "hidden", "the row is hidden in the sheet; show all rows, or take it out", None)
    if isinstance(said, Invalid):
        return Judged(row, said.verdict, said.why, None)
    lines, same = noted.others(row, said)
    if lines and not same:
        named = ", ".join(map(str, lines[:LINES_NAMED])) + (" …" if len(lines) > LINES_NAMED else "")
        also = "line" if len(lines) == 1 else "lines"
        why = f"{also} {named}: another row about the same learner and event; add them up, or keep one"
        return Judged(row, "ambiguous", why, None)
    if lines and lines[0] < row.line:
        return Judged(row, "repeated", f"says the same as line {lines[0]}", None)
    course = courses.get(said.heard.course_key)
    if course is None:
        return Judged(row, "unknown course", f"course {said.heard.course_key} has no definition", None)
    problem = _event_problem(said.heard, course)
    if problem is not None:
        return Judged(row, "unknown event", problem, None)
    return Judged(row, "accepted", "", said)


def _event_problem(heard: HeardFact, course: CourseDefinition) -> str | None:
    fact = heard.fact
    step = course.steps.get(fact.step_id or "")
    if step is None:
        return f"event {fact.step_id} is not in course {heard.course_key}"
    if step.kind != "event":
        return f"step {fact.step_id} of course {heard.course_key} is no event but {step.kind}"
    if fact.session_id is not None and fact.session_id not in {*step.sessions, *step.cancelled}:
        return f"session {fact.session_id} is not in event {fact.step_id} of course {heard.course_key}"
    return None


async def _known(store: MongoStore, judged: Sequence[Judged]) -> list[Judged]:
    """Those whose messages their records know already, told apart from the others."""
    facts = {one.said.heard.fact.message_id: one.said.heard for one in judged if one.said is not None}
    records = await store.records.load({heard.key for heard in facts.values()})
    asked: dict[str, list[str]] = {}
    for message_id, heard in facts.items():
        if heard.key in records and records[heard.key].record.checkpoint is not None:
            asked.setdefault(heard.key, []).append(message_id)
    moved = await store.records.history(asked)
    told = []
    for one in judged:
        if one.said is None or not _knows(records, moved, one.said.heard):
            told.append(one)
        elif _stands(records[one.said.heard.key].record, one.said.heard.fact):
            told.append(Judged(one.row, "sent before", "counts already, and changes nothing", None))
        else:
            told.append(Judged(one.row, "overtaken", "was sent before; a later value counts now", None))
    return told


def _knows(records: Mapping[str, StoredRecord], moved: Mapping[str, History], heard: HeardFact) -> bool:
    message_id = heard.fact.message_id
    if heard.key in records and message_id in records[heard.key].record.facts:
        return True
    return heard.key in moved and message_id in moved[heard.key].past


def _stands(record: Record, fact: Fact) -> bool:
    """Whether what the fact says is still what is known of its step."""
    step = record.standing.steps.get(fact.step_id or "")
    if step is None:
        return False
    return (step.base if fact.session_id is None else step.sessions.get(fact.session_id)) == fact.value
