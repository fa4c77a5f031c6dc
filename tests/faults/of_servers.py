"""Faults of brokers and database servers: killed, restarted, away, without space."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from pymongo import MongoClient

from contracts.topics import ATTENDANCE_CHANGED
from tests.faults.situation import MIB, SESSION_SECONDS, WORKERS, Situation, wait_for
from tests.stack.mongodb import Member
from tests.stack.servers import Daemon

AWAY_SECONDS = 30.0
DOWN_SECONDS = 10.0
OUT_OF_DISK_SPACE = 14031

# -- broker -----------------------------------------------------------------------------------------------------


async def kill_leader(s: Situation) -> None:
    """The broker that leads the first partition of attendances."""
    node = s.cluster.leader(s.world.prefix + ATTENDANCE_CHANGED.name)
    await _down_for_a_while(node.daemon)


async def kill_controller(s: Situation) -> None:
    """The node that leads the metadata."""
    node = s.cluster.controller()
    await _down_for_a_while(node.daemon)


async def rolling_restart(s: Situation) -> None:
    """One after the other, each once the one before is in sync again."""
    for node in s.cluster.nodes:
        await asyncio.to_thread(node.daemon.stop)
        await asyncio.to_thread(node.daemon.start)
        await wait_for(lambda: s.cluster.in_sync(s.world.prefix), "the brokers to be in sync")


async def all_brokers_away(s: Situation) -> None:
    """By kill -9, all at once."""
    for node in s.cluster.nodes:
        node.daemon.kill()
    await asyncio.sleep(AWAY_SECONDS)
    await _all_at_once(node.daemon.start for node in s.cluster.nodes)


async def _down_for_a_while(daemon: Daemon) -> None:
    """By kill -9."""
    daemon.kill()
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(daemon.start)


async def _all_at_once(acts: Iterable[Callable[[], None]]) -> None:
    await asyncio.gather(*map(asyncio.to_thread, acts))


# -- database ---------------------------------------------------------------------------------------------------


async def step_down(s: Situation) -> None:
    """The primary hands over."""
    _command(s.cluster.primary(), "replSetStepDown", 10, secondaryCatchUpPeriodSecs=5)
    await asyncio.to_thread(s.cluster.primary)


async def kill_primary(s: Situation) -> None:
    """By kill -9; it comes back as a secondary."""
    await _down_for_a_while(s.cluster.primary().daemon)
    await asyncio.to_thread(s.cluster.primary)


async def whole_set_away(s: Situation) -> None:
    """By kill -9, all at once."""
    await _without_database(s, asyncio.sleep(AWAY_SECONDS))


async def _without_database(s: Situation, meanwhile: Awaitable[None]) -> None:
    for member in s.cluster.members:
        member.daemon.kill()
    await meanwhile
    await _all_at_once(member.daemon.start for member in s.cluster.members)
    await asyncio.to_thread(s.cluster.primary)


async def disk_full(s: Situation) -> None:
    """Every write is refused as if there were no space left."""
    failing = {"failCommands": ["insert", "update", "findAndModify"], "errorCode": OUT_OF_DISK_SPACE}
    for member in s.cluster.members:
        _command(member, "configureFailPoint", "failCommand", mode="alwaysOn", data=failing)
    await asyncio.sleep(AWAY_SECONDS / 2)
    for member in s.cluster.members:
        _command(member, "configureFailPoint", "failCommand", mode="off")


def _command(member: Member, *command: Any, **options: Any) -> None:
    with MongoClient[dict[str, Any]](member.direct_address) as client:
        client.admin.command(*command, **options)


async def backlog_without_database(s: Situation) -> None:
    """What half an hour brings at 200 messages a second waits for one worker that has all the lanes."""
    for worker in s.workers[1:]:
        await s.stop(worker)
    await asyncio.sleep(SESSION_SECONDS)
    before = s.watch.peak_memory_bytes

    async def meanwhile() -> None:
        await s.feed(0.9)
        await asyncio.sleep(DOWN_SECONDS)
        s.notes.append(
            f"one worker: {before // MIB} MB before, {s.watch.peak_memory_bytes // MIB} MB at most while it waited"
        )

    await _without_database(s, meanwhile())
    s.start(WORKERS - 1)
