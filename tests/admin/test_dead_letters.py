"""`ratchet dead-letters`: look, mend, send again, once."""

import asyncio
import json
from typing import Any

from contracts.topics import DEAD_LETTER
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.stack.service import World
from tests.stack.wire import Wire

AHEAD = "2099-01-01T00:00:00Z"


async def test_a_dead_letter_from_its_death_to_its_second_life(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    for number, minutes in enumerate((60, 30)):
        late = {**ATTENDED, "attended": None, "attended_minutes": minutes, "message_id": f"f{number}"}
        await wire.send([("attendance-changed", {**late, "changed_at": AHEAD})])
    await wire.send_raw("attendance-changed", b"{broken", b"acme/l-1/c-1", [("note", b"\xff")])
    await wire.send_raw("attendance-changed", b"[" * 5000, b"acme/l-1/c-1")
    await wire.send_raw("reassigned", None, None)
    await wire.settled()

    listed = lines(world.run("dead-letters", "list", "--json").stdout)
    assert sorted(letter["reason"] for letter in listed) == [
        "changed_at_in_future",
        "changed_at_in_future",
        "invalid_json",
        "invalid_json",
        "invalid_message",
    ]
    shown = world.run("dead-letters", "list", "--reason", "invalid_json").stdout
    assert "2 dead letters: 2 invalid_json" in shown and "lms.attendance-changed.v1" in shown
    assert world.run("dead-letters", "list", "--since", AHEAD).stdout.endswith("0 dead letters\n")
    broken = next(letter for letter in listed if letter["value"] == "{broken")
    assert broken["headers"] == {"note": "\\xff"}
    assert json.loads(world.run("dead-letters", "show", broken["id"], "--json").stdout) == broken
    assert "{broken" in world.run("dead-letters", "show", broken["id"]).stdout

    fix = ["dead-letters", "replay", "--reason", "changed_at_in_future", "--set", "changed_at=2026-01-05T00:00:00Z"]
    assert world.run(*fix).stdout == "2 sent again, 0 had been sent again before, 0 not\n"
    assert world.run(*fix).stdout == "0 sent again, 2 had been sent again before, 0 not\n"
    read = [message for message in await wire.read("attendance-changed") if (message.value or b"").endswith(b"}")]
    again = read[2:]
    assert [message.json["message_id"] for message in again] == ["f0", "f1"], "in their order"
    names = {letter["id"] for letter in listed if letter["reason"] == "changed_at_in_future"}
    assert {message.header("ratchet-replayed-from") for message in again} == {
        f"{world.prefix}{DEAD_LETTER.name}/{name}" for name in names
    }
    for message in again:
        wire.expect(message)
    await wire.settled()
    story = json.loads(world.run("explain", "acme", "l-1", "c-1", "--json").stdout)
    assert [told["message_id"] for told in story["timeline"]] == ["f0", "f1"]
    assert story["state"]["course"]["status"] == "completed"

    refused = world.run("dead-letters", "replay", "--reason", "invalid_json", "--set", "attended=true", check=False)
    assert refused.returncode == 1
    assert refused.stdout.count("is no JSON object") == 2 and f"{broken['id']}: is no JSON object" in refused.stdout
    everything = world.run("dead-letters", "replay", "--all", "--json")
    assert json.loads(everything.stdout) == {"replayed": 3, "before": 2, "skipped": 0, "why": []}
    for message in (await wire.read("attendance-changed", "reassigned"))[-3:]:
        wire.expect(message)
    await wire.settled()
    assert "8 dead letters" in world.run("dead-letters", "list").stdout, "what is still broken dies again"
    assert await asyncio.to_thread(serving.stop) == 0


def lines(text: str) -> list[dict[str, Any]]:
    """JSON Lines."""
    return [json.loads(line) for line in text.splitlines()]


def test_what_is_asked_wrongly_is_said(world: World) -> None:
    for command, status, says in (
        (["replay"], 2, "say which"),
        (["replay", "3-1", "--all"], 2, "say which"),
        (["replay", "--all", "--set", "nonsense"], 2, "--set: 'nonsense' is not FIELD=VALUE"),
        (["replay", "nonsense"], 2, "nonsense: is no dead letter's id"),
        (["replay", "--all"], 1, ""),
        (["list", "--since", "yesterday"], 2, "--since"),
        (["show", "0-7"], 1, "there is no dead letter 0-7"),
    ):
        ran = world.run("dead-letters", *command, check=False)
        assert (ran.returncode, says in ran.stderr, "Traceback" in ran.stderr) == (status, True, False), ran
