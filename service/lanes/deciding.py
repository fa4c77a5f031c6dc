"""Decides records with what of their history that takes: facts that have moved away are read only where they count.

Before deciding, the ids of new facts are looked up, because a known one must change nothing. Where facts from before a
record's checkpoint count, its whole history is recalled, for a few records at a time: that bounds the memory.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from contracts.fields import course_key_of
from contracts.topics import REEVALUATION_REQUESTED
from rules.recount import HistoryNeeded
from rules.values import Decision, Instant, Record
from rules.window import recall
from service import metrics
from service.lanes.batch import NOT_ASKED, Clock, Decided, Letter, decide_record, outdated
from service.lanes.definitions import course_timeline
from service.lanes.failpoint import expects, reach
from service.lanes.packed import unpack
from service.lanes.ports import History, Received, Store, StoredCourse, StoredRecord
from service.lanes.progress import Progress
from service.lanes.translate import HeardFact, HeardRequest

RECALLED_DECISIONS = 10_000
"""Of the whole histories that are in memory at a time; one alone may have more (RECORD_DECISIONS)."""
RECOUNTED_FACTS = 200_000
"""About so many are counted before the event loop has its turn, a second or two: heartbeats must not wait longer."""
NEVER_SENT = 2**62
"""Offset of a request that is behind all that were ever sent."""
Heard = Mapping[str, Sequence[tuple[Received, HeardFact | HeardRequest]]]


class TooMuchAtOnce(Exception):
    """Fewer messages are to be prepared together."""


class Stored(NamedTuple):
    """Records as they are stored by now, the courses they were decided under, and what could not be used."""

    records: Mapping[str, StoredRecord]
    courses: Mapping[str, StoredCourse]
    letters: Sequence[Letter]


async def decide_and_store(
    store: Store,
    heard: Heard,
    stored: Mapping[str, StoredRecord],
    courses: Mapping[str, StoredCourse],
    clock: Clock,
    committed: Progress,
    facts_in_record: int,
) -> Stored:
    """Every record that was heard of, as stored. A miss means another owner wrote: load and decide again."""
    records, courses = dict(stored), dict(courses)
    while True:
        # Only of records that are not there: an erased learner has none, and none can be stored (save_records).
        erased = await store.records.erased([key for key in heard if key not in records])
        courses |= await store.courses.load(outdated(records, courses))
        due = {key: said for key, said in heard.items() if key not in erased}
        with metrics.STAGE_SECONDS.labels("decide").time():
            decided = await decide_records(
                store, due, records, courses, clock, committed, facts_in_record, unreleased(courses)
            )
        changed = [
            one
            for key, one in decided.items()
            if one.stored is not records.get(key) and one.stored.record.latest is not None
        ]
        with metrics.STAGE_SECONDS.labels("store").time():
            if not changed or await _save(store, changed):
                metrics.ERASED.inc(sum(isinstance(item, HeardFact) for key in erased for _, item in heard[key]))
                metrics.count_decisions(_rules(decision) for one in changed for decision in one.decisions)
                letters = [letter for one in decided.values() for letter in one.letters]
                return Stored({key: one.stored for key, one in decided.items()}, courses, letters)
        metrics.STORE_MISSES.inc()
        records = await store.records.load(heard)


def _rules(decision: Decision) -> tuple[str | None, ...]:
    """The rows that spoke."""
    return decision.arrival, decision.step_rule, decision.course_rule


async def _save(store: Store, decided: Collection[Decided]) -> bool:
    """What moves out of the records first, then the records: all at once, unless a test wants a death between."""
    records = [one.stored for one in decided]
    pages = [one.page for one in decided if one.page is not None]
    if pages:
        await store.records.save_history(pages)
    if not expects("mid_store"):
        return await store.records.save(records)
    half = len(records) // 2
    first = await store.records.save(records[:half]) if half else True
    reach("mid_store")
    return await store.records.save(records[half:]) and first


async def decide_again(
    store: Store, keys: Iterable[str], course: StoredCourse, now: Instant
) -> list[tuple[StoredRecord, StoredRecord]]:
    """Each of these records as it is, and as it would be under the course's newest definition. Nothing is stored."""
    stored = await store.records.load(keys)
    nothing = Received(REEVALUATION_REQUESTED.name, 0, NEVER_SENT, 0, None, None, ())
    heard = {key: [(nothing, HeardRequest(key, course.key, None))] for key in stored}
    decided = await decide_records(store, heard, stored, {course.key: course}, Clock(now, now), {})
    return [(stored[key], one.stored) for key, one in decided.items()]


async def decide_records(
    store: Store,
    heard: Heard,
    records: dict[str, StoredRecord],
    courses: Mapping[str, StoredCourse],
    clock: Clock,
    committed: Progress,
    facts_in_record: int | None = None,
    waiting: Collection[str] = (),
) -> dict[str, Decided]:
    """Every record that was heard of, decided; `records` are those stored, kept up to date.

    Raises WaitAndRetry; TooMuchAtOnce, where each of many facts has a long history counted again. Without
    `facts_in_record` all stay in the record, which is not to be stored, and nothing is too much.
    `waiting`: courses under whose newest version no record is decided again.
    """
    histories = await _histories(store, records, _new_facts(heard, records))
    decided: dict[str, Decided] = {}

    def decide_one(key: str, history: History) -> None:
        stored, course_key = records.get(key) or StoredRecord(key, 0, Record()), course_key_of(key)
        timeline, may_redecide = course_timeline(courses.get(course_key)), course_key not in waiting
        decided[key] = decide_record(
            stored, heard[key], timeline, clock, committed, history, facts_in_record, may_redecide
        )

    needing = []
    for key in heard:
        try:
            decide_one(key, histories.get(key, NOT_ASKED))
        except HistoryNeeded:
            counted = len(heard[key]) * records[key].record.decided
            if facts_in_record is not None and len(heard[key]) > 1 and counted > RECOUNTED_FACTS:
                raise TooMuchAtOnce from None
            needing.append(key)
    for some in _few(needing, records):
        for key, history in (await _histories(store, records, dict.fromkeys(some))).items():
            decide_one(key, history)
            await asyncio.sleep(0)  # heartbeats must not wait for all of them
    return decided


def _few(keys: Iterable[str], records: Mapping[str, StoredRecord]) -> Iterator[list[str]]:
    """So many records that their histories fit into memory together."""
    few: list[str] = []
    decisions = 0
    for key in keys:
        if few and decisions + records[key].record.decided > RECALLED_DECISIONS:
            yield few
            few, decisions = [], 0
        few.append(key)
        decisions += records[key].record.decided
    if few:
        yield few


async def _histories(
    store: Store, records: dict[str, StoredRecord], asked: Mapping[str, Collection[str] | None]
) -> dict[str, History]:
    """What has moved out of these records. One that was overtaken since it was loaded is loaded again.

    Otherwise a fact might be known from the history of a revision that the record loaded here has not come to, and
    what that revision has to announce would be passed over.
    """
    found: dict[str, History] = {}
    while asked:
        found |= await store.records.history(asked)
        overtaken = {key: asked[key] for key in asked if found[key].rev > records[key].rev}
        records |= await store.records.load(overtaken)
        asked = overtaken
    return found


def unreleased(courses: Mapping[str, StoredCourse]) -> set[str]:
    """Courses under whose newest version no record may be decided again yet."""
    return {key for key, course in courses.items() if not course.is_released}


async def whole_records(store: Store, keys: Iterable[str]) -> dict[str, StoredRecord]:
    """Those that exist, by key, each with all its facts and decisions, wherever they are kept."""
    records = await store.records.load(keys)
    moved = await store.records.history(
        {key: None for key, one in records.items() if one.record.checkpoint is not None}
    )
    return {key: _whole(stored, moved.get(key, NOT_ASKED)) for key, stored in records.items()}


def _whole(stored: StoredRecord, history: History) -> StoredRecord:
    by_number = {one.decision.number: one.decision for one in (*history.decisions.values(), *unpack(stored.decisions))}
    decisions = tuple(decision for _, decision in sorted(by_number.items()))
    return replace(stored, record=replace(recall(stored.record, history.past), decisions=decisions))


def _new_facts(heard: Heard, records: Mapping[str, StoredRecord]) -> dict[str, list[str]]:
    """The facts that were heard about records of which any have moved away."""
    return {
        key: [item.fact.message_id for _, item in said if isinstance(item, HeardFact)]
        for key, said in heard.items()
        if key in records and records[key].record.checkpoint is not None
    }
