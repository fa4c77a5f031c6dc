"""A worker that is asked to stop leaves nothing undone; and what the tests of outages share."""

import signal
from collections import defaultdict
from typing import Any

import pytest

from tests.stack.servers import Server
from tests.stack.service import World
from tests.stack.wire import Wire

LEARNERS = 40
FACTS = 6


def definition() -> tuple[str, dict[str, Any]]:
    """A course of one event."""
    return (
        "course-defined",
        {
            "message_id": "d1",
            "tenant_id": "acme",
            "course_id": "c-1",
            "changed_at": "2026-01-01T00:00:00Z",
            "version": 1,
            "steps": [{"step_id": "e1", "kind": "event", "scheduled_minutes": 60}],
        },
    )


def attendance(learner: int, number: int) -> tuple[str, dict[str, Any]]:
    """Facts of which each changes the step's percent."""
    return (
        "attendance-changed",
        {
            "message_id": f"m-{learner}-{number}",
            "tenant_id": "acme",
            "learner_id": f"l-{learner}",
            "course_id": "c-1",
            "changed_at": f"2026-01-02T00:00:{number:02d}Z",
            "event_id": "e1",
            "attended_minutes": (60, 0, 30, 60, 12, 54)[number],
        },
    )


@pytest.fixture(autouse=True)
def _offsets_that_last(broker: Server) -> None:
    if not broker.real:
        pytest.skip("the mock broker never tells the offsets of transactions, so no worker can take up where one died")


async def assert_each_change_once(wire: Wire) -> None:
    """As a `read_committed` reader sees it."""
    by_key: dict[bytes | None, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for message in await wire.read("step-completion-changed", "course-completion-changed"):
        by_key[message.key][message.topic].append(message.json)
    assert len(by_key) == LEARNERS, "none lost"
    for topics in by_key.values():
        for messages in topics.values():
            sequences = [message["sequence"] for message in messages]
            assert sequences == sorted(sequences), "in order within a topic"
        changes = sorted((message for sent in topics.values() for message in sent), key=lambda m: m["sequence"])
        assert [change["sequence"] for change in changes] == list(range(1, FACTS + 2)), "none lost, none doubled"
        assert [change.get("percent", "course") for change in changes] == [100, "course", 0, 50, 100, 20, 90]


async def test_a_drained_worker_leaves_nothing_to_repeat(world: World, wire: Wire) -> None:
    """SIGTERM in the middle of a backlog: the batch in hand is finished, the group is left, the next goes on."""
    await wire.send([definition()])
    await wire.send(attendance(learner, number) for number in range(FACTS) for learner in range(LEARNERS))
    first = world.serve(RATCHET_BATCH_MESSAGES="10").wait_until_ready()
    assert first.stop(signal.SIGTERM) == 0
    second = world.serve()
    await wire.settled()
    assert second.stop(signal.SIGINT) == 0
    records = await wire.read("step-completion-changed")
    sequences = defaultdict(list)
    for record in records:
        sequences[record.key].append(record.json["sequence"])
    assert len(sequences) == LEARNERS
    assert all(numbers == sorted(set(numbers)) for numbers in sequences.values())
