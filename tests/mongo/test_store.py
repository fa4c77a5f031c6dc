"""What a store promises, the same for the one in memory and the one on MongoDB."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from msgspec.structs import replace
from pymongo import MongoClient

from rules.decide import redecide
from rules.values import Cause, Change, Course, Fact, Record, StepChange, Timeline, Value
from rules.window import Past
from service.errors import FixConfiguration, RecordTooLarge, TakeLess
from service.lanes.bounds import COURSES_BYTES
from service.lanes.packed import Packed, pack
from service.lanes.ports import (
    History,
    Page,
    Pending,
    Store,
    StoredCourse,
    StoredDefinition,
    StoredRecord,
)
from service.mongo import documents
from service.mongo.documents import record_document, stored_record
from service.mongo.learners import Erased
from service.mongo.store import connect
from tests.mongo.memory_store import MemoryStore
from tests.rules.test_properties import arrive, facts, timelines
from tests.stack.servers import Server

KEY = "acme/l-1/c-1"
FACT = Fact("m1", 5, "attendance", "e.1", "s.1", Value("minutes", 30), (("source", "manual"),))
ARRIVED, _ = arrive([FACT], ())
RECORD = replace(ARRIVED, decisions=())
DECISION = Packed(ARRIVED.decisions[0], of_definition=False)
PACKED = pack([DECISION])
CHANGE = Change(
    2, 1, Cause("m1", 5, "completed"), 7, StepChange("e.1", "event", 50, 0, False, False, Course("steps", 5, "held"))
)
PENDING = (Pending("lms.attendance-changed.v1", 3, 2**40, CHANGE, b"00-trace\xff"),)
VERSION = StoredDefinition(1, "d1", 5, '{"steps": []}')


class Erasing(Protocol):
    """What erases."""

    async def erase(self, tenant_id: str, learner_id: str) -> Erased:
        """Delete all that is kept about a learner, for good."""

    async def told(self, tenant_id: str, learner_id: str) -> None:
        """Those downstream know."""


class ErasingStore(Store, Protocol):
    """What the commands need besides."""

    @property
    def learners(self) -> Erasing:
        """Erases them."""


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.servers)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ErasingStore]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryStore()
        return
    server: Server = request.getfixturevalue("database")
    made = connect(server.address, f"store{uuid4().hex[:8]}", "g", {})
    await made.prepare()
    yield made
    await made.close()


async def test_a_record_is_given_back_as_it_was_saved(store: Store) -> None:
    assert await store.records.load([KEY]) == {}
    assert await store.records.save([StoredRecord(KEY, 0, RECORD, PENDING, PACKED)])
    assert await store.records.load([KEY, "a/b/c"]) == {KEY: StoredRecord(KEY, 1, RECORD, PENDING, PACKED)}


def test_a_record_that_the_database_would_not_take_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "RECORD_BYTES", 10)
    with pytest.raises(RecordTooLarge, match=r"would have \d+ bytes with what it has to announce, at most 10"):
        record_document(StoredRecord("t/l/c", 0, Record()))


async def test_a_save_on_an_old_revision_misses_and_the_others_are_stored(store: Store) -> None:
    first, other = StoredRecord(KEY, 0, RECORD), StoredRecord("acme/l-2/c-1", 0, RECORD)
    assert await store.records.save([first])
    newer = StoredRecord(KEY, 1, RECORD, PENDING)
    assert await store.records.save([newer])
    assert not await store.records.save([StoredRecord(KEY, 1, Record()), other])
    stored = await store.records.load([KEY, other.key])
    assert stored == {KEY: StoredRecord(KEY, 2, RECORD, PENDING), other.key: StoredRecord(other.key, 1, RECORD)}


async def test_a_second_insert_misses(store: Store) -> None:
    first, known = StoredRecord(KEY, 0, RECORD), StoredRecord("acme/l-2/c-1", 0, RECORD)
    assert await store.records.save([first, known])
    newer = StoredRecord(known.key, 1, RECORD, PENDING)
    assert not await store.records.save([StoredRecord(KEY, 0, Record()), newer])
    assert (await store.records.load([KEY]))[KEY].record == RECORD
    assert (await store.records.load([known.key]))[known.key] == StoredRecord(known.key, 2, RECORD, PENDING)


async def test_what_has_moved_away_is_found_by_id_or_as_a_whole(store: Store) -> None:
    past, second = Past(FACT, False), Past(replace(FACT, message_id="m2"), True)
    elsewhere = Past(replace(FACT, message_id="m.1"), False)
    pages = [Page(KEY, 1, (past,), PACKED), Page(KEY, 20, (second,), b""), Page(f"{KEY}0", 1, (elsewhere,), b"")]
    await store.records.save_history(pages)
    await store.records.save_history(pages)
    whole = await store.records.history({KEY: None, "a/b/c": None})
    mine = History({"m1": past, "m2": second}, {"m1": DECISION}, True, 20)
    assert whole == {KEY: mine, "a/b/c": History({}, {}, True, 0)}
    found = await store.records.history({KEY: ["m2", "m.1"], f"{KEY}0": None, "a/b/c": ["m1"]})
    assert {key: (one.past, one.whole, one.rev) for key, one in found.items()} == {
        KEY: ({"m2": second}, False, 20),
        f"{KEY}0": ({"m.1": elsewhere}, True, 1),
        "a/b/c": ({}, False, 0),
    }
    assert await store.records.history({}) == {}


async def test_of_what_has_moved_away_the_newest_revision_counts(store: Store) -> None:
    def page(rev: int, overridden: bool) -> Page:
        return Page(KEY, rev, (Past(FACT, overridden),), b"")

    await store.records.save_history([page(10, True), page(9, False)])
    await store.records.save_history([page(2, False)])
    assert (await store.records.history({KEY: None}))[KEY].past == {"m1": Past(FACT, True)}
    await store.records.save_history([page(11, False)])
    assert (await store.records.history({KEY: ["m1"]}))[KEY].past == {"m1": Past(FACT, False)}


async def test_of_two_writers_at_once_one_wins_each_record(store: Store) -> None:
    keys = [f"acme/l-{number}/c-1" for number in range(50)]
    await store.records.save([StoredRecord(key, 0, RECORD) for key in keys])

    async def write(offset: int) -> bool:
        mark = (Pending("lms.attendance-changed.v1", 0, offset, CHANGE, None),)
        return await store.records.save([StoredRecord(key, 1, RECORD, mark) for key in keys])

    hits = await asyncio.gather(write(1), write(2))
    stored = await store.records.load(keys)
    assert all(record.rev == 2 and len(record.pending) == 1 for record in stored.values())
    winners = {record.pending[0].offset for record in stored.values()}
    assert hits.count(True) == (1 if len(winners) == 1 else 0)


async def test_an_erased_learner_is_gone_for_good_and_no_other(store: ErasingStore) -> None:
    mine = [StoredRecord(f"acme/l-1/c-{number}", 0, RECORD) for number in range(3)]
    others = [StoredRecord(key, 0, RECORD) for key in ("acme/l-10/c-1", "acme/l-0/c-1", "acme/l-1+/c-1", "a/l-1/c-1")]
    assert await store.records.save([*mine, *others])
    names = [record.key for record in (*mine, *others)]
    assert await store.records.erased(names) == set() == await store.records.erased([])
    records, erased_at, untold = await store.learners.erase("acme", "l-1")
    assert records == 3
    assert untold == [record.key for record in mine]
    again = await store.learners.erase("acme", "l-1")
    assert again == (0, erased_at, untold), "the time is that of the first time, and nobody was told yet"
    await store.learners.told("acme", "l-1")
    assert (await store.learners.erase("acme", "l-1")).untold == []
    assert set(await store.records.load(names)) == {record.key for record in others}
    unseen = ["acme/l-1/c-9", "acme/l-2/c-1", "acme/l-11/c-1"]
    assert await store.records.erased([*names, *unseen]) == {record.key for record in mine} | {unseen[0]}
    assert not await store.records.save([mine[0]])
    assert not await store.records.save([StoredRecord(mine[0].key, 1, RECORD)])
    assert not await store.records.save([StoredRecord(unseen[0], 0, RECORD)])
    assert await store.records.load([*unseen, mine[0].key]) == {}
    assert await store.records.save([StoredRecord(unseen[1], 0, RECORD), StoredRecord(unseen[2], 0, RECORD)])


async def test_an_erasure_and_inserts_at_once_leave_nothing_behind(store: ErasingStore) -> None:
    """Whoever comes first: an insert that was told it hit is deleted by the erasure, any later one misses."""
    hits = 0

    async def insert(learner: int, course: int) -> None:
        nonlocal hits
        hits += await store.records.save([StoredRecord(f"acme/l-{learner}/c-{course}", 0, RECORD)])

    for learner in range(30):
        await insert(learner, 8)  # one is there whoever is quicker
        inserts = [insert(learner, course) for course in range(8)]
        await asyncio.gather(*inserts[:4], store.learners.erase("acme", f"l-{learner}"), *inserts[4:])
    keys = [f"acme/l-{learner}/c-{course}" for learner in range(30) for course in range(9)]
    assert await store.records.load(keys) == {}
    assert 30 <= hits < len(keys)


async def test_a_tombstone_tells_nobody_whose_it_is(database: Server) -> None:
    name = f"store{uuid4().hex[:8]}"
    one, other = (connect(database.address, name, "g", {}) for _ in range(2))
    await asyncio.gather(*(store.records.erased([KEY]) for store in (one, other)))
    await one.learners.erase("acme", "l-1")
    assert await other.records.erased([KEY]) == {KEY}, "the key is the database's, not the process's"
    elsewhere = connect(database.address, f"{name}x", "g", {})
    await elsewhere.learners.erase("acme", "l-1")
    with MongoClient[dict[str, Any]](database.address) as client:
        (here,), (there,) = (list(client[database_]["erased"].find()) for database_ in (name, f"{name}x"))
        assert here.keys() - {"untold"} == {"_id", "erased_at"}
        assert len(here["_id"]) == 64
        assert here["_id"] != there["_id"]
        everything = [list(client[name][collection].find()) for collection in client[name].list_collection_names()]
        assert "l-1" not in str(everything)
    for store in (one, other, elsewhere):
        await store.close()


async def test_what_is_noted_of_a_lane_only_rises(store: Store) -> None:
    assert await store.notes.committed(3) == {}
    await store.notes.note(3, {"lms.reassigned.v1": 5, "completion.rerouted.v1": 1})
    await store.notes.note(3, {"lms.reassigned.v1": 4, "completion.rerouted.v1": 1})  # of an owner long gone
    await store.notes.note(3, {"lms.reassigned.v1": 5, "completion.rerouted.v1": 1})
    assert await store.notes.committed(3) == {"lms.reassigned.v1": 5, "completion.rerouted.v1": 1}
    await store.notes.note(3, {"lms.reassigned.v1": 5, "completion.rerouted.v1": 2})
    assert await store.notes.committed(3) == {"lms.reassigned.v1": 5, "completion.rerouted.v1": 2}
    assert await store.notes.committed(4) == {}


async def test_a_course_is_saved_by_compare_and_set(store: Store) -> None:
    course = StoredCourse("acme/c-1", 0, 2, (VERSION,), sweeping=True)
    assert await store.courses.save(course)
    assert not await store.courses.save(course)
    stored = (await store.courses.load(["acme/c-1", "x/y"]))["acme/c-1"]
    assert stored == StoredCourse("acme/c-1", 1, 2, (VERSION,), sweeping=True)
    assert await store.courses.to_sweep(2) == [stored.key]
    assert await store.courses.to_sweep(1) == []
    assert await store.courses.save(StoredCourse("acme/c-1", 1, 2, (VERSION,), released=1))
    assert await store.courses.to_sweep(2) == []


async def test_courses_that_are_large_together_are_not_loaded_together(store: Store) -> None:
    large = replace(VERSION, content="x" * (COURSES_BYTES // 4))
    keys = [f"acme/c-{number}" for number in range(5)]
    for key in keys:
        assert await store.courses.save(StoredCourse(key, 0, 2, (large,)))
    assert set(await store.courses.load(keys[:4])) == set(keys[:4])
    with pytest.raises(TakeLess):
        await store.courses.load(keys)


async def test_only_released_versions_are_told_to_batches_in_flight(store: Store) -> None:
    keys = ["acme/c-1", "x/y"]
    judged = StoredCourse("acme/c-1", 0, 2, (VERSION,), sweeping=True)
    paused = replace(judged, rev=1, would_complete=7)
    released = replace(judged, rev=2, released=1)
    outdated = replace(released, rev=3, versions=(VERSION, replace(VERSION, version=2, changed_at=6)))
    for course, told in ((judged, {}), (paused, {}), (released, {"acme/c-1": (1, 5)}), (outdated, {})):
        assert await store.courses.save(course)
        assert await store.courses.load(keys) == {"acme/c-1": replace(course, rev=course.rev + 1)}
        assert await store.courses.newest_versions(keys) == told
        assert await store.courses.to_sweep(2) == ["acme/c-1"], "paused ones, too"


async def test_records_behind_a_version_are_paged(store: Store, known: Timeline) -> None:
    waiting = [f"acme/l-{number}/c-1" for number in range(5)]
    decided, _ = redecide(RECORD, known, 0)
    assert decided.definition_version == 1
    others = {"acme/l-9/c-1": decided, "acme/l-1/c-2": RECORD, "other/l-1/c-1": RECORD}
    saved = [StoredRecord(key, 0, RECORD) for key in waiting]
    await store.records.save(saved + [StoredRecord(key, 0, record) for key, record in others.items()])
    assert await store.records.behind("acme/c-1", 1, True, "", 3) == waiting[:3]
    assert await store.records.behind("acme/c-1", 1, True, waiting[2], 3) == waiting[3:]
    assert await store.records.behind("acme/c-1", 1, True, waiting[4], 3) == []
    assert await store.records.count_behind("acme/c-1", 1) == 5
    assert await store.records.count_behind("acme/c-1", 0) == 0
    assert await store.records.count_behind("acme/c-1", 2) == 6, "also the one that was decided under version 1"


@pytest.fixture
def known() -> Timeline:
    """One definition that decides nothing."""
    from rules.values import CourseDefinition, StepDefinition, timeline

    return timeline([CourseDefinition(1, "d1", 0, {"e9": StepDefinition("e9", "event")})])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(facts(), timelines())
def test_every_record_survives_its_document(arriving: list[Fact], versions: Timeline) -> None:
    record, _ = arrive(arriving, versions)
    document = record_document(StoredRecord(KEY, 4, record, PENDING))
    assert stored_record(document) == StoredRecord(KEY, 5, record, PENDING)


@pytest.mark.parametrize("uri", ["", "http://x", "mongodb://", "mongodb://h/?nonsense=1&tls=maybe", "mongodb://h:x"])
def test_an_address_that_is_none_is_refused_by_name(uri: str) -> None:
    with pytest.raises(FixConfiguration, match="RATCHET_MONGODB_URI"):
        connect(uri, "d", "g", {})
