"""Decides records with what of their history that takes: facts that have moved away are read only where they count.

Before deciding, the ids of new facts are looked up, because a known one must change nothing. Where facts from before a
record's checkpoint count, its whole history is recalled, for a few records at a time: that bounds the memory.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from rules.recount import HistoryNeeded
from rules.values import Record
from rules.window import recall
from service.batch import NOT_ASKED, Clock, Decided, decide_record
from service.packed import unpack
from service.ports import History, Offsets, Received, Store, StoredCourse, StoredRecord
from service.translate import HeardFact, HeardRequest, course_timeline

RECALLED_TOGETHER = 8
"""Whole histories in memory at a time."""
Heard = Mapping[str, Sequence[tuple[Received, HeardFact | HeardRequest]]]


async def decide_records(
    store: Store,
    heard: Heard,
    records: Mapping[str, StoredRecord],
    courses: Mapping[str, StoredCourse],
    clock: Clock,
    committed: Offsets,
    facts_in_record: int | None = None,
) -> dict[str, Decided]:
    """Every record that was heard of, decided; `records` are those that are stored. Raises WaitAndRetry."""
    histories = await _known_facts(store, heard, records)
    decided: dict[str, Decided] = {}

    def decide_one(key: str, history: History) -> None:
        said = heard[key]
        stored = records.get(key) or StoredRecord(key, 0, Record())
        timeline = course_timeline(courses.get(said[0][1].course_key))
        decided[key] = decide_record(stored, said, timeline, clock, committed, history, facts_in_record)

    needing = []
    for key in heard:
        try:
            decide_one(key, histories.get(key, NOT_ASKED))
        except HistoryNeeded:
            needing.append(key)
    remaining = iter(needing)
    while some := list(islice(remaining, RECALLED_TOGETHER)):
        for key, history in (await store.history(dict.fromkeys(some))).items():
            decide_one(key, history)
            await asyncio.sleep(0)  # a long history takes long to count; heartbeats must not wait for all of them
    return decided


async def whole_records(store: Store, keys: Iterable[str]) -> dict[str, StoredRecord]:
    """Those that exist, by key, each with all its facts and decisions, wherever they are kept."""
    records = await store.load_records(keys)
    moved = await store.history({key: None for key, one in records.items() if one.record.checkpoint is not None})
    return {key: _whole(stored, moved.get(key, NOT_ASKED)) for key, stored in records.items()}


def _whole(stored: StoredRecord, history: History) -> StoredRecord:
    by_number = {one.decision.number: one.decision for one in (*history.decisions.values(), *unpack(stored.decisions))}
    decisions = tuple(decision for _, decision in sorted(by_number.items()))
    return replace(stored, record=replace(recall(stored.record, history.past), decisions=decisions))


async def _known_facts(store: Store, heard: Heard, records: Mapping[str, StoredRecord]) -> dict[str, History]:
    """What has moved away of the facts that were heard, for records of which anything has."""
    asked = {
        key: [item.fact.message_id for _, item in said if isinstance(item, HeardFact)]
        for key, said in heard.items()
        if key in records and records[key].record.checkpoint is not None
    }
    if not asked:
        return {}
    return await store.history(asked)
