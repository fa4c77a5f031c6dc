"""Whatever arrives on a topic: the worker goes on, the dead letter has the original bytes and names the field."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from service.kafka.partitioner import partition_of
from tests.stack.service import Serving, World
from tests.stack.wire import Got, Headers, Wire, key_of

PARTITIONS = 4
GOOD: dict[str, Any] = {
    "message_id": "good",
    "tenant_id": "acme",
    "learner_id": "l-1",
    "course_id": "c-1",
    "changed_at": "2026-01-02T09:00:00Z",
    "event_id": "e1",
    "attended": True,
}
DEFINITION = {
    "message_id": "d1",
    "tenant_id": "acme",
    "course_id": "c-1",
    "changed_at": "2026-01-01T09:00:00Z",
    "version": 1,
    "steps": [{"step_id": "e1", "kind": "event"}],
}
KEY = key_of(GOOD)


class Bad(NamedTuple):
    """A message that cannot be used: what it is, why it is refused, and what the explanation says."""

    value: bytes | None
    reason: str
    says: str
    key: bytes | None = KEY
    headers: Headers = ()
    topic: str = "attendance-changed"


def with_field(name: str, value: object) -> bytes:
    """The good message with one field changed."""
    return json.dumps({**GOOD, "message_id": f"bad-{name}", name: value}).encode()


def without(name: str) -> bytes:
    """The good message with one field missing."""
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


WRONG = {
    "message_id": 5,
    "tenant_id": "a/b",
    "learner_id": None,
    "course_id": ["c-1"],
    "changed_at": "yesterday",
    "event_id": {"id": "e1"},
    "attended": "yes",
    "session_id": "",
    "source": "rumour",
    "upload_id": "x" * 129,
}
BAD = {
    "not UTF-8": Bad(b"\xff\xfe{}", "invalid_json", "value"),
    "not JSON": Bad(b"attended!", "invalid_json", "value"),
    "cut off": Bad(json.dumps(GOOD).encode()[:-5], "invalid_json", "value"),
    "nothing": Bad(b"", "invalid_json", "value"),
    "deep": Bad(b"[" * 100_000, "invalid_json", "value"),
    "a list": Bad(b"[1, 2]", "invalid_message", "value: "),
    "a number": Bad(b"12", "invalid_message", "value: "),
    "JSON's null": Bad(b"null", "invalid_message", "value: "),
    "null value": Bad(None, "invalid_message", "value: is null"),
    "null key": Bad(json.dumps(GOOD).encode(), "invalid_message", "key: is null", key=None),
    "null key and value": Bad(None, "invalid_message", "value: is null", key=None),
    "another's key": Bad(json.dumps(GOOD).encode(), "invalid_message", "key: must be", key=b"acme/l-2/c-1"),
    "key that is not UTF-8": Bad(json.dumps(GOOD).encode(), "invalid_message", "key: must be", key=b"\xff\x00"),
    "headers that are not UTF-8": Bad(
        b"x", "invalid_json", "value", headers=(("ce_id", b"\xff\xfe"), ("", b""), ("twice", b"1"), ("twice", b"2"))
    ),
    "nearly 1 MB": Bad(b'{"x": "' + b"y" * 990_000 + b'"}', "invalid_message", "message_id: "),
    "null definition": Bad(None, "invalid_definition", "value: is null", b"acme/c-1", topic="course-defined"),
    "definition without steps": Bad(b"{}", "invalid_definition", "steps: ", b"acme/c-1", topic="course-defined"),
    "rerouted from nowhere": Bad(
        json.dumps(GOOD).encode(), "invalid_message", "header ratchet-original-topic", topic="rerouted"
    ),
    **{
        f"{name} missing": Bad(
            without(name), "invalid_message", "exactly one of" if name == "attended" else f"{name}: "
        )
        for name in GOOD
    },
    **{f"{name} wrong": Bad(with_field(name, value), "invalid_message", f"{name}: ") for name, value in WRONG.items()},
}


@pytest.fixture
def serving(world: World) -> Iterator[Serving]:
    """A worker in the test's world."""
    started = world.serve().wait_until_ready()
    yield started
    assert started.stop() == 0


async def test_bad_messages_become_dead_letters_and_the_next_good_one_counts(serving: Serving, wire: Wire) -> None:
    partition = partition_of(KEY, PARTITIONS)
    sent = {
        name: await wire.send_raw(bad.topic, bad.value, bad.key, bad.headers, partition) for name, bad in BAD.items()
    }
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    await wire.send([("attendance-changed", GOOD)])
    await wire.settled()
    letters = await wire.read("dead-letter")
    assert len(letters) == len(BAD)
    for name, bad in BAD.items():
        topic = wire.full_name(bad.topic)
        assert sent[name].topic == topic
        assert any(_is_letter_of(bad, topic, letter) for letter in letters), (name, bad.says, _told(letters))
    changes = await wire.read("step-completion-changed", "course-completion-changed")
    assert [change.json["caused_by"] for change in changes] == ["good", "good"]
    log = serving.log.read_text()
    assert "l-1" not in log and "attended" not in log, "no learner's data in the log"
    assert all(json.loads(line) for line in log.splitlines()), "one JSON object a line"


def _is_letter_of(bad: Bad, topic: str, letter: Got) -> bool:
    return (
        (letter.key, letter.value) == (bad.key, bad.value)
        and tuple(letter.headers[: len(bad.headers)]) == tuple(bad.headers)
        and len(letter.headers) == len(bad.headers) + 6
        and letter.header("kafka_dlt-original-topic") == topic
        and letter.header("kafka_dlt-exception-fqcn") == bad.reason
        and bad.says in letter.header("kafka_dlt-exception-message")
    )


def _told(letters: list[Got]) -> list[str]:
    return [letter.header("kafka_dlt-exception-message")[:200] for letter in letters]


class _Undecodable(str):
    """A header name whose bytes are not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfename"


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("compression", [0, 1], ids=["plain", "gzip"])
async def test_a_header_name_that_is_not_utf_8_stops_nothing(wire: Wire, compression: int) -> None:
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    records: list[dict[str, Any]] = [
        {"key": KEY, "value": b"bad", "headers": [(_Undecodable("x"), b"1"), ("y", b"2")]},
        {"key": KEY, "value": json.dumps(GOOD).encode(), "headers": [(_Undecodable("x"), None)]},
    ]
    await wire.send_slowly_built("attendance-changed", records, partition_of(KEY, PARTITIONS), compression)
    await wire.settled()
    (letter,) = await wire.read("dead-letter")
    assert (letter.key, letter.value) == (KEY, b"bad")
    assert tuple(letter.headers[:2]) == (("\\xff\\xfename", b"1"), ("y", b"2"))
    assert len(await wire.read("step-completion-changed")) == 1


async def test_a_message_in_another_partition_than_its_keys_is_forwarded_and_counts(
    serving: Serving, wire: Wire
) -> None:
    right = partition_of(KEY, PARTITIONS)
    wrong = (right + 1) % PARTITIONS
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    value = json.dumps(GOOD).encode()
    await wire.send_raw("attendance-changed", value, KEY, (("traceparent", trace),), wrong)
    later = json.dumps({**GOOD, "message_id": "later", "changed_at": "2026-01-03T09:00:00Z", "attended": False})
    await wire.send_raw("attendance-changed", later.encode(), KEY, (("x", b"y"),), wrong)
    future = with_field("changed_at", "2999-01-01T00:00:00Z")
    await wire.send_raw("attendance-changed", future, KEY, (("x", b"y"),), wrong)
    await wire.settled()
    forwarded = [message for message in await wire.read("rerouted") if message.value == value]
    assert [(message.partition, message.key) for message in forwarded] == [(right, KEY)]
    assert forwarded[0].header("ratchet-original-partition") == str(wrong)
    changes = await wire.read("step-completion-changed", "course-completion-changed")
    assert sorted(change.json["sequence"] for change in changes) == [1, 2, 3]
    from_good = [change for change in changes if change.json["caused_by"] == "good"]
    assert {change.header("traceparent") for change in from_good} == {trace.decode()}
    assert {change.header("ce_id") for change in changes} == {change.json["message_id"] for change in changes}
    assert {change.header("ce_type") for change in changes} == {
        "completion.step-completion-changed.v1",
        "completion.course-completion-changed.v1",
    }
    (letter,) = await wire.read("dead-letter")
    assert letter.headers[0] == ("x", b"y") and len(letter.headers) == 7
    assert letter.header("kafka_dlt-original-topic") == wire.full_name("attendance-changed")
    assert letter.header("kafka_dlt-original-partition") == str(wrong)
    assert letter.header("kafka_dlt-exception-fqcn") == "changed_at_in_future"
    status, metrics = serving.get("/metrics")
    assert status == 200 and "ratchet_rerouted_total 3.0" in metrics
