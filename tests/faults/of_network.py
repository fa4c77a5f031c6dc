"""Faults of the network between workers and servers."""

import asyncio

from tests.faults.cluster import Proxies
from tests.faults.situation import Situation

AWAY_SECONDS = 30.0
DEAF_SECONDS = 40.0
"""Longer than any call is waited for."""
DAMAGED_ONE_IN = 3
"""Answers with messages."""


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


async def failed_polls(s: Situation) -> None:
    """Messages arrive with a byte flipped, in every third answer; Kafka has them whole. All lanes have a backlog."""
    damage = _proxies(s).damage
    before, slices = damage.done, 8
    damage.one_in = DAMAGED_ONE_IN
    for _ in range(slices):
        await s.feed(0.4 / slices)
        await asyncio.sleep(s.profile.trouble_seconds / slices)
    damage.one_in = 0
    done = damage.done - before
    assert done >= slices, f"only {done} answers were damaged"
    s.notes.append(f"{done} answers arrived damaged")
