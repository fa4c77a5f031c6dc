"""What is too rare for the simulation's seeds, arranged.

A record and its history are read one after the other: what moves away in between must not pass for known. A request
counts once. A state goes out with the message that changed it. A definition may come while a batch is being decided. A
long history is not counted for many facts at once.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from contracts.topics import ATTENDANCE_CHANGED, REEVALUATION_REQUESTED
from service.lanes import deciding
from service.lanes.batch import Clock, Decided, decide_record, sort_out
from service.lanes.deciding import TooMuchAtOnce, decide_and_store, decide_records, whole_records
from service.lanes.ports import Place, Received, StoredRecord
from service.lanes.sweep import request
from service.lanes.translate import HeardFact, translate
from tests.lanes.test_preparing import definition, fact, prepared, received
from tests.mongo.memory_store import MemoryRecords, MemoryStore
from tests.simulation.mutations import (
    count_requests_again,
    forget_what_was_in_flight,
    restate_with_the_last_message,
    trust_a_history_that_is_ahead,
)

RECORD = "acme/l-1/c-1"
LATER = Clock(1_800_000_000_000_000, 1_900_000_000_000_000)


def facts(first: int, count: int, event: str = "e1") -> list[Received]:
    """In order of time."""
    return [
        fact(
            message_id=f"m-{n}",
            changed_at=f"2026-01-02T{n // 60:02}:{n % 60:02}:00Z",
            event_id=event,
            attended=n % 2 == 0,
        )
        for n in range(first, first + count)
    ]


async def overtaken() -> list[int]:
    """The sequences that an owner has to announce who loaded the record before another one went on with it."""
    store = MemoryStore()
    await prepared([definition(), *facts(0, 40)], store)
    await prepared(facts(40, 40), store)
    stale = await store.records.load([RECORD])
    assert stale[RECORD].record.checkpoint is not None, "some have moved away already"
    await prepared(facts(80, 1), store)
    await prepared(facts(81, 60), store)
    await prepared(facts(141, 60), store)
    (message,) = facts(80, 1)
    assert "m-80" not in store.records.by_key[RECORD].record.facts, "it has moved away, too"
    item = translate(message, lambda _: 0)
    assert isinstance(item, HeardFact)
    courses = await store.courses.load(["acme/c-1"])
    stored, _, letters = await decide_and_store(
        store, {RECORD: [(message, item)]}, stale, courses, LATER, {}, facts_in_record=16
    )
    assert letters == []
    return [pending.change.sequence for pending in stored[RECORD].pending]


async def test_who_was_overtaken_announces_what_the_other_has_numbered() -> None:
    sequences = await overtaken()
    assert sequences == list(range(1, max(sequences) + 1))
    assert max(sequences) > 200


async def test_without_that_care_it_would_pass_them_over() -> None:
    """The test above can fail."""
    with trust_a_history_that_is_ahead():
        assert max(await overtaken()) < 100


@pytest.mark.parametrize("asked", [None, ["m-1"]], ids=["whole", "one fact"])
async def test_the_history_says_of_which_revision_it_is(asked: list[str] | None) -> None:
    store = MemoryStore()
    await prepared([definition(), *facts(0, 40)], store)
    await prepared(facts(40, 40), store)
    with patch.object(MemoryRecords, "load", side_effect=AssertionError):
        (history,) = (await store.records.history({RECORD: asked})).values()
    assert 0 < history.rev <= store.records.by_key[RECORD].rev


async def define_again(store: MemoryStore) -> None:
    """The second version, released."""
    await prepared([definition(version=2)], store)
    (course,) = (await store.courses.load(["acme/c-1"])).values()
    await store.courses.save(replace(course, released=2))


async def version_after_a_request_that_was_read_twice() -> int:
    """Once under the first version, once more, because its batch was not committed, when there is a second."""
    store = MemoryStore()
    await prepared([definition(), fact()], store)
    asked = request(RECORD, 1, 0)
    message = received(REEVALUATION_REQUESTED.name, asked.value)
    await prepared([message], store)
    await define_again(store)
    await prepared([message], store)
    return store.records.by_key[RECORD].record.definition_version


async def test_a_request_that_is_read_twice_counts_once() -> None:
    """Else its changes would have the place of a message that may be done, and never go out."""
    assert await version_after_a_request_that_was_read_twice() == 1


async def test_without_that_care_it_would_count_twice() -> None:
    """The test above can fail."""
    with count_requests_again():
        assert await version_after_a_request_that_was_read_twice() == 2


async def long_history() -> MemoryStore:
    """A record of eighty facts, most of which have moved away; none is about the event e2."""
    store = MemoryStore()
    events = [{"step_id": event, "kind": "event", "scheduled_minutes": 60} for event in ("e1", "e2")]
    await prepared([definition(steps=events), *facts(20, 40)], store)
    await prepared(facts(60, 40), store)
    return store


async def late_facts_counted(at_once: int) -> tuple[StoredRecord, list[int]]:
    """The record after twenty facts from before all others, and how many facts its whole history was counted with."""
    store, together = await long_history(), list[int]()

    def watch(stored: StoredRecord, heard: Sequence[Any], *rest: Any) -> Decided:
        decided = decide_record(stored, heard, *rest)
        together.append(len(heard))  # where that took the history, and it was not there, nothing was decided
        return decided

    with patch.object(deciding, "decide_record", watch), patch.object(deciding, "RECOUNTED_FACTS", at_once):
        result = await prepared(facts(0, 20, "e2"), store)
    assert not result.others, "neither a dead letter nor anything else"
    assert [pending.change.sequence for pending in result.changes[RECORD]] == sorted(
        pending.change.sequence for pending in result.changes[RECORD]
    )
    return (await whole_records(store, [RECORD]))[RECORD], together


async def test_a_long_history_is_counted_for_few_facts_at_once() -> None:
    """Or all lanes' heartbeats would wait, and others take them over, for ever."""
    stored, together = await late_facts_counted(at_once=500)
    assert together, "it was counted"
    assert max(together) <= 500 // 80
    assert stored.record.decided == 100


async def test_without_that_care_it_would_be_counted_for_all_of_them() -> None:
    """The test above can fail, and says the same of the record."""
    few, (stored, together) = await late_facts_counted(at_once=500), await late_facts_counted(at_once=10**9)
    assert together == [20]
    assert stored.record.standing == few[0].record.standing
    assert stored.record.facts == few[0].record.facts


async def test_what_is_not_to_be_stored_is_decided_whole() -> None:
    """A dry run has no halves: what it decides of a record is kept nowhere."""
    store = await long_history()
    records, courses = await store.records.load([RECORD]), await store.courses.load(["acme/c-1"])
    heard = sort_out((message, translate(message, lambda _: 0)) for message in facts(0, 20, "e2")).records
    with patch.object(deciding, "RECOUNTED_FACTS", 500):
        with pytest.raises(TooMuchAtOnce):
            await decide_records(store, heard, records, courses, LATER, {}, facts_in_record=16)
        decided = await decide_records(store, heard, records, courses, LATER, {})
    assert decided[RECORD].stored.record.decided == 100


async def requests_for_what_was_in_flight() -> list[bytes | None]:
    """Keys of records that are to be decided again: a second version is stored while a batch has loaded the first."""
    store = MemoryStore()
    await prepared([definition(), fact()], store)
    load = store.records.load

    async def while_another_lane_hears(keys: Iterable[str]) -> dict[str, StoredRecord]:
        stored = await load(keys)
        await define_again(store)
        return stored

    with patch.object(store.records, "load", while_another_lane_hears):
        result = await prepared([fact(message_id="m-2", attended=False)], store)
    assert store.records.by_key[RECORD].record.definition_version == 1
    return [other.key for other in result.others if other.topic == REEVALUATION_REQUESTED.name]


async def test_what_was_in_flight_while_a_definition_came_is_decided_again() -> None:
    assert await requests_for_what_was_in_flight() == [RECORD.encode()]


async def test_without_that_care_it_would_stay_as_it_was() -> None:
    """The test above can fail."""
    with forget_what_was_in_flight():
        assert await requests_for_what_was_in_flight() == []


async def place_of_a_state_that_no_change_tells() -> Place | None:
    """The fact after the definition gives the learner a record, the same once more changes nothing."""
    store = MemoryStore()
    await prepared([definition(), fact(attended=False), fact(attended=False)], store)
    return store.records.by_key[RECORD].restated


async def test_a_state_goes_out_with_the_message_that_changed_it() -> None:
    """The last one that was heard may be done already, and the state would not go out."""
    assert await place_of_a_state_that_no_change_tells() == Place(ATTENDANCE_CHANGED.name, 0, 1)


async def test_without_that_care_it_would_go_out_with_the_last() -> None:
    """The test above can fail."""
    with restate_with_the_last_message():
        assert await place_of_a_state_that_no_change_tells() == Place(ATTENDANCE_CHANGED.name, 0, 2)
