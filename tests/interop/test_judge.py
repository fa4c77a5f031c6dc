"""What must not be is found: the judge and the readers' comparison, on what they would be given."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from service.kafka.partitioner import partition_of
from tests.interop.judge import announced, rerouted, sent
from tests.interop.log import Logged
from tests.interop.messages import counted, headers_of, learners
from tests.interop.plan import USUAL, Cell
from tests.interop.readers import differences
from tests.kafka.test_unreadable import key_of
from tests.stack.wire import NAMES, Got

CELL = Cell("Java", "zstd", "commit")
TOPICS = ("step-completion-changed", "course-completion-changed")


def change(learner: str, topic: str, offset: int = 0, **headers: bytes) -> Got:
    value = {"learner_id": learner, "message_id": "m", "decided_at": "2026-01-01T00:00:00.123456Z"}
    return Got(topic, 0, offset, key_of(learner), json.dumps(value).encode(), tuple(headers.items()))


def all_changes() -> list[Got]:
    first, *others = counted(CELL)
    trace = dict(headers_of(CELL)[0])["traceparent"] or b""
    changes = [change(first, topic, traceparent=trace) for topic in TOPICS]
    return changes + [change(learner, topic) for learner in others for topic in TOPICS]


def test_missing_and_doubled_changes_are_found() -> None:
    changes = all_changes()
    assert announced(CELL, changes) == []
    assert announced(CELL, changes[:-1]) == [f"{learners(CELL)[-1]}: no course-completion-changed"]
    assert announced(CELL, [*changes, changes[2]]) == [f"{learners(CELL)[1]}: step-completion-changed, one too many"]
    assert len(announced(CELL, [change(learners(CELL)[0], topic) for topic in TOPICS] + changes[2:])) == 2, "no trace"


@pytest.mark.parametrize("mode", ["abort", "open"])
def test_what_was_not_committed_must_not_be_announced(mode: str) -> None:
    cell = CELL._replace(mode=mode)
    told = announced(cell, [change(learners(cell)[1], TOPICS[0])])
    assert f"{learners(cell)[1]}: step-completion-changed, one too many" in told


@pytest.mark.parametrize(
    "otherwise",
    [
        {"codec": "none"},
        {"is_numbered": False},
        {"is_transactional": False},
        {"is_log_append_time": True},
        {"headers": (("x", b""),)},
    ],
    ids=str,
)
def test_a_client_that_sends_otherwise_is_found(otherwise: Mapping[str, Any]) -> None:
    right = [Logged(0, "zstd", True, True, False, headers) for headers in headers_of(CELL)]
    keys = [key_of(learner) for learner in learners(CELL)]
    log = {key: [logged] for key, logged in zip(keys, right, strict=True)}
    assert sent(USUAL, CELL, log) == []
    assert len(sent(USUAL, CELL, {**log, keys[3]: [right[3]._replace(**otherwise)]})) == 1
    assert len(sent(USUAL, CELL, {**log, keys[3]: []})) == 1


def test_strays_that_are_not_forwarded_once_as_they_were_are_found() -> None:
    keys = [key_of(learner) for learner in learners(CELL)]
    headers = (("x", b"1"), ("y", b""))
    log = {
        key: [Logged((partition_of(key, 4) + (key == keys[0])) % 4, "zstd", True, True, False, headers)] for key in keys
    }
    right = change(learners(CELL)[0], "rerouted")._replace(headers=(*headers, ("ratchet-original-topic", b"t")))
    assert rerouted(CELL, log, [right], 4) == []
    wrong = right._replace(headers=headers[:1]), right._replace(key=keys[1])
    for forwarded in ([], [right, right], [wrong[0]], [right, wrong[1]]):
        assert len(rerouted(CELL, log, forwarded, 4)) == 1


def read(got: Got, **otherwise: Any) -> dict[str, Any]:
    """As a program tells it."""
    event = {"id": "m", "source": "/ratchet", "type": NAMES[got.topic], "specversion": "1.0"}
    event |= {
        "datacontenttype": "application/json",
        "time": got.json["decided_at"],
        "data": (got.value or b"").decode(),
    }
    headers = [(name, base64.b64encode(value).decode()) for name, value in got.headers]
    place = {"topic": f"w.{NAMES[got.topic]}", "partition": got.partition, "offset": got.offset}
    told = {"key": (got.key or b"").decode(), "value": (got.value or b"").decode(), "headers": headers}
    return {**place, **told, "invalid": None, "event": {**event, **otherwise.pop("event", {})}, **otherwise}


@pytest.mark.parametrize(
    "otherwise",
    [
        {"invalid": "no sequence"},
        {"key": "ghost"},
        {"value": "{}"},
        {"headers": []},
        {"offset": 9},
        *({"event": {name: "other"}} for name in ("id", "source", "type", "specversion", "datacontenttype")),
        {"event": {"time": "2026-01-01T00:00:00.124Z"}},
        {"event": {"data": "{}"}},
    ],
    ids=str,
)
def test_a_reader_who_reads_otherwise_is_found(otherwise: dict[str, Any]) -> None:
    published = [change("a", TOPICS[0], offset, traceparent=b"t") for offset in range(3)]
    same = [read(got) for got in published]
    assert differences("w.", same, published) == []
    assert len(differences("w.", [same[0], read(published[1], **otherwise), same[2]], published)) >= 1
    assert differences("w.", same[:2], published) == ["2 messages, not 3"]
    assert len(differences("w.", [same[1], same[0], same[2]], published)) == 1
