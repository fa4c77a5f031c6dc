"""No message stops its lane, however it is combined with others: it counts, waits, or becomes a dead letter."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts import headers
from contracts.topics import ATTENDANCE_CHANGED, COURSE_DEFINED, DEAD_LETTER, FACTS, REEVALUATION_REQUESTED, REROUTED
from service.errors import WaitAndRetry
from service.kafka.partitioner import partition_of
from service.lanes import deciding, preparing
from service.lanes.batch import decide_record
from service.lanes.bounds import WAITING_PLACES, Bounds
from service.lanes.flood import Flood
from service.lanes.parts import ByKey, in_parts, translate_all
from service.lanes.ports import Outbound, Received
from service.lanes.preparing import Prepared, Preparer, Shared
from service.lanes.turns import Turns
from service.settings import Settings
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.mongo.memory_store import MemoryStore

NOW = 1_800_000_000.0
FUTURE = "2099-01-01T00:00:00Z"
KEY = b"acme/l-1/c-1"
READ = (COURSE_DEFINED, *FACTS, REEVALUATION_REQUESTED, REROUTED)


def received(topic: str, value: bytes | None, key: bytes | None = KEY, offset: int = 0, **more: Any) -> Received:
    """A message of the only lane."""
    return Received(topic, 0, offset, 0, key, value, more.get("headers", ()))


def fact(learner: str = "l-1", **fields: Any) -> Received:
    """Attendance."""
    value = {**ATTENDED, "learner_id": learner, "message_id": f"m-{learner}", **fields}
    return received(ATTENDANCE_CHANGED.name, json.dumps(value).encode(), f"acme/{learner}/c-1".encode())


def definition(**fields: Any) -> Received:
    """A course."""
    return received(COURSE_DEFINED.name, json.dumps({**DEFINITION, **fields}).encode(), b"acme/c-1")


async def prepared(messages: Sequence[Received], store: MemoryStore) -> Prepared:
    """By a lane of one partition."""
    bounds = Bounds(**Settings().model_dump(include=set(Bounds._fields)))
    turns = Turns.of_a_worker()
    shared = Shared(bounds, partial(partition_of, partitions=1), "", Flood(100, 10**9), turns, lambda: NOW)
    numbered = [replace(one, partition=0, offset=offset) for offset, one in enumerate(messages)]
    return await Preparer(0, store, shared, lambda: None).prepare(numbered, {}, {})


def reasons(result: Prepared) -> Counter[str]:
    """Of the dead letters."""
    letters = (headers.read_dead_letter(other.headers) for other in result.others if other.topic == DEAD_LETTER.name)
    return Counter("?" if told is None else told[1] for told in letters)


@pytest.mark.parametrize("beside", [[], [fact()], [fact(), fact("l-2")]], ids=["alone", "a fact", "two"])
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
async def test_a_first_definition_from_the_future_stops_nobody(beside: list[Received], first: bool) -> None:
    store, ahead = MemoryStore(), definition(changed_at=FUTURE)
    result = await prepared([ahead, *beside] if first else [*beside, ahead], store)
    assert reasons(result) == {"changed_at_in_future": 1}
    assert len(store.records.by_key) == len(beside), "the facts wait for the course"
    assert store.courses.by_key == {}


def failing_at(learner: str, error: BaseException) -> Callable[..., Any]:
    """Deciding, with a fault that this learner's messages meet."""
    decide = decide_record

    def faulty(stored: Any, heard: Any, *rest: Any) -> Any:
        if f"/{learner}/" in stored.key:
            raise error
        return decide(stored, heard, *rest)

    return faulty


async def test_a_fault_of_ours_takes_its_own_message_alone(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    messages = [definition(), *(fact(f"l-{number}") for number in range(20))]
    with patch.object(deciding, "decide_record", failing_at("l-7", KeyError("l-7 attended"))):
        result = await prepared(messages, store)
    assert reasons(result) == {"internal_error": 1}
    (letter,) = [other for other in result.others if other.topic == DEAD_LETTER.name]
    assert letter.key == b"acme/l-7/c-1"
    told = headers.read_dead_letter(letter.headers)
    assert told is not None and told[2].startswith("KeyError at test_preparing.py:"), told
    assert set(store.records.by_key) == {f"acme/l-{number}/c-1" for number in range(20) if number != 7}
    assert {key for key, pendings in result.changes.items() if pendings} == set(store.records.by_key)
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (line.error, line.offset) == ("KeyError", 8)  # type: ignore[attr-defined]
    assert "attended" not in str(vars(line)), "the error may quote the message"
    again = await prepared([fact("l-7")], store)
    assert [change.change.sequence for change in again.changes["acme/l-7/c-1"]] == [1, 2], "it can be replayed"


async def test_what_the_world_fails_at_is_waited_for() -> None:
    with (
        patch.object(deciding, "decide_record", failing_at("l-1", WaitAndRetry("MongoDB is away"))),
        pytest.raises(WaitAndRetry),
    ):
        await prepared([definition(), fact()], MemoryStore())


async def test_a_fault_in_translating_is_isolated_too() -> None:
    translate = translate_all

    async def faulty(messages: Sequence[Received], *rest: Any) -> Any:
        if any(b"l-3" in (message.key or b"") for message in messages):
            raise RecursionError
        return await translate(messages, *rest)

    store = MemoryStore()
    with patch.object(preparing, "translate_all", faulty):
        result = await prepared([definition(), *(fact(f"l-{number}") for number in range(5))], store)
    assert reasons(result) == {"internal_error": 1}
    assert len(store.records.by_key) == 4


@pytest.mark.parametrize("place", ["event_id", "session_id"])
async def test_so_many_steps_and_sessions_wait_for_a_definition_and_no_more(place: str) -> None:
    store = MemoryStore()
    await prepared([definition(), fact("l-2")], store)
    sent = [fact(message_id=f"m-{number}", **{place: f"p-{number}"}) for number in range(600)]
    letters = []
    for first in range(0, len(sent), 200):
        result = await prepared(sent[first : first + 200], store)
        letters += [headers.read_dead_letter(other.headers) for other in result.others]
    assert Counter(told and told[1] for told in letters) == {"record_limit": 600 - WAITING_PLACES}
    name = place.replace("event", "step")
    assert all(told and told[2].startswith(f"{name}: 500 steps and sessions that are not defined") for told in letters)
    assert reasons(await prepared([sent[0]], store)) == {}, "what is known already is no more"
    assert (
        reasons(await prepared([fact(message_id="defined"), fact("l-2", message_id="other", event_id="e9")], store))
        == {}
    )


async def test_facts_that_wait_for_their_course_are_not_counted() -> None:
    """They move away from the record."""
    store = MemoryStore()
    for first in range(0, 3000, 500):
        result = await prepared([fact(message_id=f"m-{first + number}") for number in range(500)], store)
        assert result.others == []
    assert len(store.records.by_key["acme/l-1/c-1"].record.facts) < 600


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" + b"x" * 900_000, False),
        (b"x" * 900_000, False),
        (b"", False),
        (None, False),
    ],
    ids=["a trace", "with a tail", "nonsense", "empty", "null"],
)
async def test_of_a_traceparent_only_a_trace_is_kept(said: bytes | None, kept: bool) -> None:
    store, message = MemoryStore(), fact()
    traced = received(message.topic, message.value, message.key, headers=(("traceparent", said),))
    result = await prepared([definition(), traced], store)
    assert {pending.traceparent for pending in result.changes["acme/l-1/c-1"]} == {said if kept else None}


TIMES = st.sampled_from(
    ["2026-01-01T09:00:00Z", "2026-01-02T09:00:00+02:00", "0001-01-01T00:00:00+14:00", FUTURE, "", "noon"]
)
IDS = st.sampled_from(["l-1", "l-2", "c-1", "c-2", "e1", "e2", "acme", "a/b", "", "x" * 129])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 2**70), st.floats(allow_nan=False), st.text(max_size=5), IDS, TIMES
)
STEPS = st.lists(
    st.fixed_dictionaries(
        {"step_id": IDS, "kind": st.sampled_from(["event", "other", "on_the_job_training", "?"])},
        optional={
            "scheduled_minutes": VALUES,
            "threshold_percent": VALUES,
            "required": VALUES,
            "sessions": st.lists(st.fixed_dictionaries({"session_id": IDS, "scheduled_minutes": VALUES}), max_size=2),
        },
    ),
    max_size=3,
)
GOOD = [
    (ATTENDANCE_CHANGED.name, ATTENDED),
    (COURSE_DEFINED.name, DEFINITION),
    ("lms.reassigned.v1", {name: ATTENDED[name] for name in ("tenant_id", "learner_id", "course_id", "changed_at")}),
    (
        REEVALUATION_REQUESTED.name,
        {
            **{name: ATTENDED[name] for name in ("tenant_id", "learner_id", "course_id", "changed_at")},
            "definition_version": 1,
        },
    ),
]


@st.composite
def messages(draw: st.DrawFn) -> Received:
    """Valid, nearly valid, or anything."""
    topic, good = draw(st.sampled_from(GOOD))
    value: dict[str, Any] = {"message_id": draw(st.sampled_from(["a", "b", "c", "d"])), **good}
    names = draw(st.lists(st.sampled_from([*value, "steps", "version", "attended_minutes", "session_id"]), max_size=3))
    for name in names:
        value[name] = draw(STEPS if name == "steps" else TIMES if name == "changed_at" else VALUES)
    if draw(st.booleans()):
        value |= {"version": draw(st.integers(1, 4)), "learner_id": draw(st.sampled_from(["l-1", "l-2"]))}
    if topic == COURSE_DEFINED.name:
        value.pop("learner_id", None)
    key = "/".join(str(value.get(name)) for name in ("tenant_id", "learner_id", "course_id") if name in value).encode()
    raw: bytes | None = json.dumps(value).encode()
    strange = draw(st.integers(0, 9))
    if strange == 0:
        raw, key = draw(st.sampled_from([None, b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 5000])), b"acme/l-1/c-1"
    elif strange == 1:
        topic = draw(st.sampled_from([one.name for one in READ]))
    return received(topic, raw, draw(st.sampled_from([key, key, key, None, b"", b"elsewhere"])))


@pytest.mark.full
@settings(max_examples=400)
@given(st.lists(st.lists(messages(), max_size=12), max_size=3))
def test_random_batches_of_anything_find_no_other_way(batches: list[list[Received]]) -> None:
    """Each message is one of: a dead letter that names the field, forwarded, or dealt with. None is a fault of ours."""

    async def live() -> None:
        store = MemoryStore()
        for batch in batches:
            result = await prepared(batch, store)
            assert reasons(result)["internal_error"] == 0, told(result.others)
            for pendings in result.changes.values():
                sequences = [pending.change.sequence for pending in pendings]
                assert sequences == sorted(sequences)

    asyncio.run(live())


def told(others: Sequence[Outbound]) -> list[str]:
    """What is wrong with what."""
    letters = [(other.value, headers.read_dead_letter(other.headers)) for other in others]
    return [f"{letter[2]}: {value!r}" for value, letter in letters if letter and letter[1] == "internal_error"]


async def test_the_clock_is_read_once_for_a_batch_however_long_it_takes() -> None:
    """A worker that was paused must not let pass later what its successor has refused as from the future."""
    store, ahead = MemoryStore(), fact(changed_at="2027-01-15T08:06:00Z")  # six minutes after NOW
    clock = iter([NOW, NOW + 3600])
    with patch.object(Shared, "clock", property(lambda _: lambda: next(clock))):
        assert reasons(await prepared([definition(), ahead], store)) == {"changed_at_in_future": 1}
    assert store.records.by_key == {}


async def test_a_part_that_fails_ends_the_others_and_leaves_no_cancellation_behind() -> None:
    """Before Python 3.11.4 the next timeout of the lane would take it for its own, and the lane would be gone."""
    ended: list[bytes | None] = []

    async def prepare(part: ByKey, ready: asyncio.Task[None]) -> None:
        await ready
        if b"fails" in part:
            raise WaitAndRetry("the database did not answer")
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(*part)

    async def get_ready() -> None:
        await asyncio.sleep(0)

    with pytest.raises(WaitAndRetry):
        await in_parts(dict.fromkeys([b"first", b"fails", b"third"], ()), 1, get_ready(), prepare)
    task = asyncio.current_task()
    assert task is not None
    assert (ended, task.cancelling()) == ([b"first", b"third"], 0)
