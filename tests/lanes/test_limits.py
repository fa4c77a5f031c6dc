"""How far a sender can make something grow. What goes beyond is a dead letter that names the field and the limit."""

import json
from collections import Counter
from collections.abc import Sequence
from unittest.mock import patch

import pytest

from contracts import headers
from contracts.topics import COURSE_DEFINED
from service.admin.dead_letters import NotReplayable, again
from service.errors import RecordTooLarge
from service.kafka import partitioner
from service.kafka.dead_letters import DeadLetter
from service.lanes import batch, definitions, progress
from service.lanes.bounds import DEFINITION_PLACES, HEADERS, KEY_BYTES, MESSAGE_BYTES
from service.lanes.ports import Received, StoredDefinition, StoredRecord
from service.lanes.preparing import Prepared
from tests.lanes.test_preparing import definition, fact, prepared, received
from tests.mongo import memory_store
from tests.mongo.memory_store import MemoryStore


def explanations(result: Prepared) -> list[str]:
    """Of the dead letters, which are all beyond a limit."""
    letters = [headers.read_dead_letter(other.headers) for other in result.others]
    assert all(letter is not None and letter[1] == "record_limit" for letter in letters), letters
    return [letter[2] for letter in letters if letter is not None]


async def test_a_record_has_so_many_steps_and_sessions_over_all_definitions() -> None:
    store = MemoryStore()
    steps = [{"step_id": f"old-{number}", "kind": "event", "scheduled_minutes": 60} for number in range(4)]
    new = [{"step_id": f"new-{number}", "kind": "event", "scheduled_minutes": 60} for number in range(4)]
    with patch.object(batch, "RECORD_PLACES", 6):
        await prepared([definition(steps=steps)], store)
        first = await prepared([fact(message_id=f"a{n}", event_id=f"old-{n}") for n in range(4)], store)
        await prepared([definition(steps=new, version=2, message_id="d2")], store)
        second = await prepared([fact(message_id=f"b{n}", event_id=f"new-{n}") for n in range(4)], store)
        known = await prepared([fact(message_id="again", event_id="new-0", attended=False)], store)
    assert (explanations(first), explanations(known)) == ([], [])
    assert explanations(second) == ["step_id: the record has 6 steps and sessions already, over all definitions"] * 2
    assert len(store.records.by_key["acme/l-1/c-1"].record.standing.steps) == 6


async def test_so_many_facts_wait_for_a_definition() -> None:
    store = MemoryStore()
    with patch.object(batch, "WAITING_FACTS", 3):
        result = await prepared([fact(message_id=f"m{n}", event_id=f"e{n}") for n in range(5)], store)
        assert explanations(result) == ["course_id: 3 facts wait for the course's definition already"] * 2
        assert explanations(await prepared([fact(message_id="m0", event_id="e0")], store)) == []
        defined = await prepared([definition(), fact(message_id="m9")], store)
    assert explanations(defined) == []


async def test_what_a_record_has_no_room_for_is_found_and_the_rest_counts() -> None:
    """It is one document of the database, whatever counts its parts."""
    store = MemoryStore()
    save = store.records.save
    says = "the record would have 17 bytes with what it has to announce, at most 16"

    async def bounded(records: Sequence[StoredRecord]) -> bool:
        if any(len(one.record.facts) > 3 for one in records):
            raise RecordTooLarge(says)
        return await save(records)

    with patch.object(store.records, "save", bounded):
        facts = [fact(message_id=f"m{n}") for n in range(5)]
        result = await prepared([definition(), *facts, fact("l-2", message_id="other")], store)
    assert explanations(result) == [says] * 2
    assert set(store.records.by_key["acme/l-1/c-1"].record.facts) == {"m0", "m1", "m2"}
    assert "acme/l-2/c-1" in store.records.by_key


def test_keys_that_are_none_are_not_kept() -> None:
    """Anything may be a key, a megabyte long."""
    partitioner._kept.cache_clear()
    progress._kept.cache_clear()
    for length in (KEY_BYTES, KEY_BYTES + 1):
        assert partitioner.partition_of(b"k" * length, 3) in range(3) and progress.digest(b"k" * length)
    assert (partitioner._kept.cache_info().currsize, progress._kept.cache_info().currsize) == (1, 1)


def test_courses_that_are_kept_at_hand_count_by_their_length_too() -> None:
    said = {"steps": [], "awards_certificate": True, "certificate_on_equivalency": True, "title": "x" * 100_000}
    assert definitions._kept((StoredDefinition(1, "d", 0, json.dumps(said)),))[1] > 500


async def test_steps_of_groups_count_as_places() -> None:
    steps = [{"step_id": f"s{number}", "kind": "event", "required": False} for number in range(100)]
    of_group = [step["step_id"] for step in steps]
    groups = [{"group_id": f"g{number}", "step_ids": of_group, "at_least": 1} for number in range(50)]
    result = await prepared([definition(steps=steps, groups=groups)], MemoryStore())
    assert explanations(result) == ["steps: 5100 with sessions and groups, at most 5000"]


async def test_so_many_decisions_are_made_about_a_record_but_a_reassignment_still_takes_effect() -> None:
    store = MemoryStore()
    with patch.object(batch, "RECORD_DECISIONS", 5):
        result = await prepared([definition(), *(fact(message_id=f"m{n}") for n in range(7))], store)
        assert (
            explanations(result)
            == ["message_id: 5 facts and definitions have decided this record already, and no more may"] * 2
        )
        assert explanations(await prepared([fact(message_id="m0")], store)) == [], "what is known is no more"
        away = {
            name: json.loads(fact().value or b"")[name]
            for name in ("tenant_id", "learner_id", "course_id", "changed_at")
        }
        reassigned = received("lms.reassigned.v1", json.dumps({**away, "message_id": "r"}).encode())
        assert explanations(await prepared([reassigned], store)) == []
    assert store.records.by_key["acme/l-1/c-1"].record.attempt == 2


async def test_a_record_is_reassigned_so_many_times_and_withdrawals_count_too() -> None:
    store, about = MemoryStore(), json.loads(fact().value or b"")
    away = {name: about[name] for name in ("tenant_id", "learner_id", "course_id", "changed_at")}

    def reassigned(name: str) -> Received:
        return received("lms.reassigned.v1", json.dumps({**away, "message_id": name}).encode())

    def withdrawn(name: str) -> Received:
        said = {**away, "message_id": f"w-{name}", "reassignment_message_id": name}
        return received("lms.reassignment-withdrawn.v1", json.dumps(said).encode())

    with patch.object(batch, "RECORD_TURNS", 4):
        turns = [
            reassigned("r1"),
            withdrawn("r1"),
            reassigned("r2"),
            withdrawn("r2"),
            reassigned("r3"),
            withdrawn("r3"),
        ]
        result = await prepared([definition(), *turns], store)
    says = "message_id: 4 reassignments and withdrawals are known already, and no more may be"
    assert explanations(result) == [says] * 2
    assert store.records.by_key["acme/l-1/c-1"].record.attempt == 5


async def test_a_definition_has_so_many_steps_and_sessions() -> None:
    def sessions(count: int) -> list[dict[str, object]]:
        return [{"session_id": f"s{number}", "scheduled_minutes": 1} for number in range(count)]

    def steps(of_last: int) -> list[dict[str, object]]:
        whole: list[dict[str, object]] = [
            {"step_id": f"e{number}", "kind": "event", "sessions": sessions(999)} for number in range(4)
        ]
        return [*whole, {"step_id": "last", "kind": "event", "sessions": sessions(of_last)}]

    store = MemoryStore()
    most = DEFINITION_PLACES - 4 * 1000 - 1
    assert explanations(await prepared([definition(steps=steps(most))], store)) == []
    too_many = await prepared([definition(steps=steps(1000), version=2, message_id="d2")], store)
    assert explanations(too_many) == ["steps: 5001 with sessions and groups, at most 5000"]
    assert len(store.courses.by_key["acme/c-1"].versions) == 1


async def test_the_versions_of_a_course_have_so_many_bytes() -> None:
    store = MemoryStore()
    with patch.object(batch, "COURSE_BYTES", 700):
        result = await prepared([definition(version=n, message_id=f"d{n}") for n in range(1, 9)], store)
    kept = len(store.courses.by_key["acme/c-1"].versions)
    assert 1 < kept < 8
    says = "steps: with this version the course's definitions have more than 700 bytes together"
    assert explanations(result) == [says] * (8 - kept)


async def test_a_batch_about_large_courses_is_prepared_in_parts() -> None:
    store, courses = MemoryStore(), [f"c-{number}" for number in range(8)]

    def of(course: str, message: Received) -> Received:
        value = {**json.loads(message.value or b""), "course_id": course}
        key = f"acme/{course}" if message.topic == COURSE_DEFINED.name else f"acme/l-1/{course}"
        return Received(message.topic, 0, 0, 0, key.encode(), json.dumps(value).encode(), ())

    await prepared([of(course, definition()) for course in courses], store)
    size = store.courses.by_key["acme/c-0"].size_bytes
    loaded: Counter[int] = Counter()
    load = store.courses.load

    async def counted(keys: list[str]) -> object:
        found = await load(keys)
        loaded[len(found)] += 1
        return found

    with (
        patch.object(memory_store, "COURSES_BYTES", 3 * size),
        patch.object(store.courses, "load", counted),
    ):
        result = await prepared([of(course, fact()) for course in courses], store)
    assert result.others == []
    assert set(store.records.by_key) == {f"acme/l-1/{course}" for course in courses}
    assert 2 <= max(loaded) <= 3


@pytest.mark.parametrize("where", ["value", "headers", "many headers", "not read"])
async def test_a_long_message_is_a_dead_letter_without_what_is_long(where: str) -> None:
    short = fact()
    value, headers_, unread = short.value or b"", short.headers, 0
    match where:
        case "value":
            value += b" " * MESSAGE_BYTES
        case "headers":
            headers_ = (("padding", b"x" * MESSAGE_BYTES),)
        case "many headers":
            headers_ = (("", None),) * (HEADERS + 1)
        case _:
            value, unread = b"", 2**30
    long = Received(short.topic, 0, 0, 0, short.key, value or None, headers_, unread)
    store = MemoryStore()
    result = await prepared([definition(), long, fact("l-2")], store)
    (letter,) = result.others
    assert (letter.key, letter.value, len(letter.headers)) == (short.key, None, 6)
    what = "headers" if where == "many headers" else "value"
    assert explanations(result)[0].startswith(f"{what}: the message has ")
    assert set(store.records.by_key) == {"acme/l-2/c-1"}


def test_a_letter_without_its_value_is_not_replayed() -> None:
    for reason in ("record_limit", "skipped"):
        letter = DeadLetter("0-1", 0, reason, "", "lms.reassigned.v1", "0", "7", 0, b"k", None, ())
        with pytest.raises(NotReplayable, match="send the message anew"):
            again(letter, (), "")
