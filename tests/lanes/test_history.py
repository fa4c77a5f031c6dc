"""Facts beyond those kept in a record, on real servers: known, counted when they come late, told when asked."""

import json
from typing import Any

from pymongo import MongoClient

from tests.lanes.test_hostile_input import DEFINITION, GOOD
from tests.stack.service import World
from tests.stack.wire import Wire

KEPT = 4


def attendance(number: int, day: int, **fields: Any) -> tuple[str, dict[str, Any]]:
    """A fact of its own day."""
    fact = {**GOOD, "message_id": f"m{number}", "changed_at": f"2026-01-{day:02d}T09:00:00Z", **fields}
    return "attendance-changed", fact


async def test_facts_that_have_moved_away_still_count(world: World, wire: Wire) -> None:
    serving = world.serve(RATCHET_FACTS_IN_RECORD=str(KEPT)).wait_until_ready()
    await wire.send(
        [("course-defined", {**DEFINITION, "steps": [{"step_id": e, "kind": "event"} for e in ("e1", "e2")]})]
    )
    await wire.settled()
    for number in range(2, 14):
        await wire.send([attendance(number, number, attended=False)])
        await wire.settled()
    known, reused = attendance(2, 2, attended=False), attendance(3, 20, attended=True)
    late_beyond = attendance(20, 2, event_id="e2", attended=True)
    about = {name: GOOD[name] for name in ("tenant_id", "learner_id", "course_id")}
    reassigned = ("reassigned", {**about, "message_id": "r1", "changed_at": "2026-01-03T10:00:00Z"})
    await wire.send([known, reused, late_beyond, reassigned, attendance(21, 14)])
    await wire.settled()
    assert serving.stop() == 0

    (letter,) = await wire.read("dead-letter")
    assert letter.header("kafka_dlt-exception-fqcn") == "message_id_reused"
    story = json.loads(world.run("explain", "acme", "l-1", "c-1", "--json").stdout)
    told = [one["message_id"] for one in story["timeline"]]
    assert told == ["m2", "m20", "m3", "r1", *(f"m{number}" for number in range(4, 14)), "m21"]
    assert all(one["rules"] for one in story["timeline"]), "every decision is kept"
    assert story["state"]["attempt"] == 2
    assert story["state"]["steps"]["e2"] == {"percent": 0, "complete": False}, "it was reached before the reassignment"
    with MongoClient[dict[str, Any]](world.database.address) as client:
        moved = {fact for page in client[world.name]["record_history"].find() for fact in page["facts"]}
    assert {f"acme/l-1/c-1/m{number}" for number in range(2, 7)} <= moved
    changes = [c.json for c in await wire.read("step-completion-changed", "course-completion-changed")]
    changes.sort(key=lambda change: change["sequence"])
    assert [change["sequence"] for change in changes] == list(range(1, len(changes) + 1))
    of_steps = {change["step_id"]: change["percent"] for change in changes if "step_id" in change}
    assert of_steps == {"e1": 100, "e2": 0}
