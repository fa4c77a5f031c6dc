"""Faults of workers: killed, paused, deaf, coming and going; and what they forget of how far they had come."""

import asyncio
import random
import signal
from contextlib import suppress
from typing import get_args

from service.lanes.failpoint import Place
from tests.faults.situation import SESSION_SECONDS, WORKERS, Situation, restore, snapshot, wait_for
from tests.stack.service import Failed

DOWN_SECONDS = 10.0


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
        for worker in s.start(WORKERS - 1):
            await wait_for(worker.log.read_text, "a worker that can be asked kindly")
        await asyncio.sleep(5)


async def all_stopped_at_once(s: Situation) -> None:
    """Amid their work, as by a deployment that knows no rolling; while some still end, the group goes to the others."""
    for _ in range(4):
        await s.feed(0.15)
        await asyncio.sleep(3)
        await s.stop_all()
        s.start(WORKERS)
        await s.ready()


async def group_deleted(s: Situation) -> None:
    """Between two runs, in a backlog."""
    await s.stop_all()
    s.delete_group()
    s.start(WORKERS)
    await s.ready()


async def offsets_of_long_ago(s: Situation) -> None:
    """The group tells offsets that it has passed, as a coordinator does that has forgotten the rest."""
    early = await s.group_offsets()
    await s.feed(0.3)
    await asyncio.sleep(DOWN_SECONDS)
    await s.stop_all()
    s.tell_offsets(early)
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
