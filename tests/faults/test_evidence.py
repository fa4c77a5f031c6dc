"""What a broken promise leaves behind to look at."""

import asyncio
import json
import shutil

import pytest

from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.faults.evidence import ISOLATIONS, keep
from tests.promise import Findings
from tests.stack.service import World
from tests.stack.wire import Wire


@pytest.mark.full
async def test_all_that_there_is_to_look_at_is_kept(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION), ("attendance-changed", ATTENDED)])
    await wire.settled()
    assert await asyncio.to_thread(serving.stop) == 0
    folder = await asyncio.to_thread(keep, world, Findings(["acme/l-1/c-1: change 2"], [], [], [], []))
    try:
        assert json.loads((folder / "findings.json").read_text())["lost"] == ["acme/l-1/c-1: change 2"]
        for isolation in ISOLATIONS:
            read = [json.loads(line) for line in (folder / f"{isolation}.jsonl").read_text().splitlines()]
            assert [one["key"] for one in read if "course-completion-changed" in one["topic"]] == ["acme/l-1/c-1"]
            assert any("lane-progress" in one["topic"] for one in read)
        assert "acme/l-1/c-1" in (folder / "records.txt").read_text()
        (log,) = folder.glob("*.log")
        assert "lanes assigned" in log.read_text()
    finally:
        shutil.rmtree(folder)
