"""The pages' console blocks show what the commands print. With WRITE_DOCUMENTS=1 (`make docs`) they are written."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from contracts.topics import TOPICS
from tests.documents.blocks import masked, rewritten, steps_in
from tests.documents.scene import BEFORE, ROOT, Scene
from tests.stack.service import RATCHET, World
from tests.stack.wire import Wire

PAGES = (
    pytest.param("service/admin/README.md", marks=pytest.mark.full),
    "deploy/README.md",
    "contracts/README.md",
)
INBOUND = [topic.short for topic in TOPICS if topic.direction == "in"]
WRITE = os.environ.get("WRITE_DOCUMENTS")


def typed(world: World, folder: Path, command: str) -> str:
    """What somebody sees who types a command, in a terminal that is wide enough."""
    settings = {**world.settings, "RATCHET_MAX_NEW_COMPLETIONS": "2"}
    path = f"{Path(RATCHET).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, **settings, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    return ran.stdout.replace(world.prefix, "")


async def everything_dealt_with(wire: Wire) -> None:
    """What commands have sent, too."""
    for message in await wire.read(*INBOUND):
        wire.expect(message)
    await wire.settled()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PAGES)
async def test_the_page_shows_what_the_commands_print(world: World, wire: Wire, tmp_path: Path, name: str) -> None:
    serving = world.serve(RATCHET_MAX_NEW_COMPLETIONS="2").wait_until_ready()
    page = (ROOT / name).read_text("utf-8")
    steps, printed, heading = steps_in(page), [], ""
    for step in steps:
        if step.heading != heading and step.heading in BEFORE:
            await BEFORE[step.heading](Scene(wire, tmp_path))
        heading = step.heading
        await everything_dealt_with(wire)
        printed.append(await asyncio.to_thread(typed, world, tmp_path, step.command))
    assert serving.stop() == 0
    if WRITE:
        (ROOT / name).write_text(rewritten(page, iter(printed)), "utf-8")
    else:
        assert steps, "a page without console blocks need not be here"
        for step, now in zip(steps, printed, strict=True):
            assert masked(now) == masked(step.printed), f"{name}: {step.command}: run `make docs`, and read what it did"
