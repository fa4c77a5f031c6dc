"""What goes wrong, each with its name. A fault returns when it is over; what follows is recovery."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple, get_args

from pymongo import MongoClient

from contracts.topics import ATTENDANCE_CHANGED
from service.lanes.failpoint import Place
from tests.faults.cluster import Proxies
from tests.faults.situation import SESSION_SECONDS, WORKERS, Situation, restore, snapshot, wait_for
from tests.stack.mongodb import Member
from tests.stack.service import Failed

AWAY_SECONDS = 30.0
DEAF_SECONDS = 40.0
"""Longer than any call is waited for."""
DOWN_SECONDS = 10.0
OUT_OF_DISK_SPACE = 14031
MIB = 1024 * 1024


class Case(NamedTuple):
    """A line of the matrix."""

    name: str
    act: Callable[[Situation], Awaitable[None]]
    in_short: bool = False
    proxied: bool = False
    """The workers reach broker and database through proxies."""
    restores: bool = False
    """The database goes back in time: changes may come again."""
    scale: float = 1.0
    """So many times the profile's inputs and records."""


async def nothing(_: Situation) -> None:
    """The baseline."""


# -- workers ----------------------------------------------------------------------------------------------------


async def kill_at_failpoints(s: Situation) -> None:
    """Three workers at a time, each doomed to die at another place."""
    places = get_args(Place)
    await s.stop_all()
    for three in (places[:WORKERS], places[WORKERS:]):
        doomed = [s.start_doomed(RATCHET_FAILPOINT=f"{place}:2") for place in three]
        with suppress(Failed):  # some may die before they are ready
            await asyncio.gather(*(asyncio.to_thread(worker.wait_until_ready) for worker in doomed))
        await s.feed(0.2)
        for place, worker in zip(three, doomed, strict=True):
            assert await asyncio.to_thread(worker.wait, 120) == -signal.SIGKILL, place
    s.start(WORKERS)
    s.notes.append(f"died at {', '.join(places)}")


async def kill_at_random(s: Situation) -> None:
    """Every 2 to 5 seconds, and more comes in."""
    chance = random.Random(s.profile.seed)
    kills = max(4, round(s.profile.trouble_seconds / 3.5))
    for _ in range(kills):
        await s.feed(0.5 / kills)
        await asyncio.sleep(chance.uniform(2, 5))
        await s.stop(chance.choice(s.workers), signal.SIGKILL)
        s.start()
    s.notes.append(f"{kills} kills")


async def zombie(s: Situation) -> None:
    """Paused past its session with a batch in hand; wakes when others have its lanes."""
    for worker in s.workers[: 1 if s.profile.is_short else 2]:
        await s.feed(0.2)
        worker.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(SESSION_SECONDS + 4)
        worker.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(2)


async def blocked_event_loop(s: Situation) -> None:
    """Alive, but deaf for twice its session."""
    await s.stop(s.workers[0])
    (worker,) = s.start(RATCHET_FAILPOINT=f"after_store:3:{2 * SESSION_SECONDS}")
    await asyncio.to_thread(worker.wait_until_ready)
    await s.feed(0.3)
    await asyncio.sleep(2 * SESSION_SECONDS + 3)


async def join_leave_storm(s: Situation) -> None:
    """3 → 1 → 3 → 1 → 3 workers, asked kindly and not."""
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        await s.feed(0.1)
        for worker in s.workers[1:]:
            await s.stop(worker, number)
        await asyncio.sleep(2)
        s.start(WORKERS - 1)
        await asyncio.sleep(5)


# -- broker -----------------------------------------------------------------------------------------------------


async def kill_leader(s: Situation) -> None:
    """The broker that leads the first partition of attendances."""
    node = s.cluster.leader(s.world.prefix + ATTENDANCE_CHANGED.name)
    node.daemon.kill()
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(node.daemon.start)


async def kill_controller(s: Situation) -> None:
    """The node that leads the metadata."""
    node = s.cluster.controller()
    node.daemon.kill()
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(node.daemon.start)


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


async def _all_at_once(acts: Iterable[Callable[[], None]]) -> None:
    await asyncio.gather(*map(asyncio.to_thread, acts))


# -- database ---------------------------------------------------------------------------------------------------


async def step_down(s: Situation) -> None:
    """The primary hands over."""
    _command(s.cluster.primary(), "replSetStepDown", 10, secondaryCatchUpPeriodSecs=5)
    await asyncio.to_thread(s.cluster.primary)


async def kill_primary(s: Situation) -> None:
    """By kill -9; it comes back as a secondary."""
    primary = s.cluster.primary()
    primary.daemon.kill()
    await asyncio.sleep(DOWN_SECONDS)
    await asyncio.to_thread(primary.daemon.start)
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


# -- network ----------------------------------------------------------------------------------------------------


def _proxies(s: Situation) -> Proxies:
    assert s.proxies is not None, "the case is marked as proxied"
    return s.proxies


async def latency(s: Situation) -> None:
    """200 ms there and back."""
    for proxy in _proxies(s).all:
        proxy.be_slow(0.1)
    await s.feed(0.1)
    await asyncio.sleep(AWAY_SECONDS)
    _heal(s)


async def cut(s: Situation) -> None:
    """Connections are closed and refused."""
    for proxy in _proxies(s).all:
        proxy.cut()
    await asyncio.sleep(AWAY_SECONDS / 2)
    _heal(s)


async def half_open(s: Situation) -> None:
    """Connections stay, and nothing comes through."""
    await _swallow(s, requests=True, answers=True)


async def requests_only(s: Situation) -> None:
    """What is asked arrives and is done, but no answer comes back."""
    await _swallow(s, requests=False, answers=True)


async def answers_only(s: Situation) -> None:
    """Nothing that is asked arrives."""
    await _swallow(s, requests=True, answers=False)


async def _swallow(s: Situation, *, requests: bool, answers: bool) -> None:
    for proxy in _proxies(s).all:
        proxy.swallow(requests=requests, answers=answers)
    await asyncio.sleep(DEAF_SECONDS)
    _heal(s)


def _heal(s: Situation) -> None:
    for proxy in _proxies(s).all:
        proxy.heal()


# -- offsets gone -----------------------------------------------------------------------------------------------


async def group_deleted(s: Situation) -> None:
    """Between two runs, in a backlog."""
    await s.stop_all()
    s.delete_group()
    s.start(WORKERS)
    await s.ready()


async def database_restored(s: Situation) -> None:
    """To a snapshot taken in a backlog; the group is deleted, so that the lanes start where the snapshot stands."""
    saved = await asyncio.to_thread(snapshot, s.world)
    await s.feed(0.2)
    await asyncio.sleep(DOWN_SECONDS)
    await s.stop_all()
    await asyncio.to_thread(restore, s.world, saved)
    s.delete_group()
    s.start(WORKERS)
    await s.ready()


CASES = (
    Case("none", nothing),
    Case("kill -9 at each failpoint", kill_at_failpoints, in_short=True),
    Case("random kill -9", kill_at_random, in_short=True),
    Case("zombie", zombie, in_short=True),
    Case("blocked event loop", blocked_event_loop),
    Case("join/leave storm", join_leave_storm),
    Case("broker: leader killed", kill_leader),
    Case("broker: controller killed", kill_controller),
    Case("broker: rolling restart", rolling_restart),
    Case("broker: all away 30 s", all_brokers_away),
    Case("database: step-down", step_down),
    Case("database: primary killed", kill_primary),
    Case("database: all away 30 s", whole_set_away),
    Case("database: writes refused, disk full", disk_full),
    Case("database: away, half an hour's backlog", backlog_without_database, scale=3.6),
    Case("network: latency 200 ms", latency, proxied=True),
    Case("network: cut", cut, proxied=True),
    Case("network: half-open", half_open, proxied=True),
    Case("network: requests pass, answers do not", requests_only, proxied=True),
    Case("network: answers pass, requests do not", answers_only, proxied=True),
    Case("offsets: group deleted", group_deleted),
    Case("offsets: database restored, group deleted", database_restored, restores=True),
)
