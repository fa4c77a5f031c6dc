"""A record and its history are read one after the other: what moves away in between must not pass for known."""

from unittest.mock import patch

import pytest

from service.lanes.batch import Clock
from service.lanes.deciding import decide_and_store
from service.lanes.ports import Received
from service.lanes.translate import HeardFact, translate
from tests.lanes.test_preparing import definition, fact, prepared
from tests.mongo.memory_store import MemoryRecords, MemoryStore
from tests.simulation.mutations import trust_a_history_that_is_ahead

RECORD = "acme/l-1/c-1"
LATER = Clock(1_800_000_000_000_000, 1_900_000_000_000_000)


def facts(first: int, count: int) -> list[Received]:
    """In order of time."""
    return [
        fact(message_id=f"m-{n}", changed_at=f"2026-01-02T{n // 60:02}:{n % 60:02}:00Z", attended=n % 2 == 0)
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
