"""A worker's backlog with `ratchet web` at rest beside it, and with readers who ask for timelines at a steady rate."""

import asyncio
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import NamedTuple

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tests.benchmarks import workloads
from tests.benchmarks.backlog import Backlog
from tests.benchmarks.history import save
from tests.benchmarks.results import CPU_REQUESTS, MEDIAN, P99, Results
from tests.benchmarks.servers import Servers
from tests.benchmarks.standing import make_standing
from tests.benchmarks.subjects import RATCHET
from tests.benchmarks.usage import cpu_seconds
from tests.stack.service import Web, World

ISSUER, AUDIENCE = "https://issuer.test", "ratchet"
RATE = 200
"""Requests a second, whether or not the earlier ones are answered."""
RECORDS, FACTS = 200, 20
"""So many records are asked for, each with so many facts."""
AT_REST, ASKED = "mass upload, ratchet web at rest", f"mass upload, {RATE} timelines/s asked of ratchet web"
READERS = "ratchet web"


class BesideWeb:
    """Rounds of both, the other one first every time."""

    name = "beside web"

    def __init__(self, servers: Servers, scale: float) -> None:
        self._servers = servers
        self._backlog = Backlog(
            servers, workloads.mass_upload(max(100, round(200_000 * scale)), max(100, round(20_000 * scale)))
        )
        self._called = [AT_REST, ASKED]

    def measure(self, results: Results) -> None:
        """One round."""
        for called in self._called:
            self._measure(called, results)
        self._called.reverse()

    def _measure(self, called: str, results: Results) -> None:
        database = self._servers.world().name
        world = self._servers.world(self._backlog.prefix, database)
        keys = [workloads.record_key(number) for number in range(RECORDS)]
        asyncio.run(save(world, keys, make_standing(FACTS)))
        web, token = _web(world)
        try:
            readers = Readers(web, token, keys) if called == ASKED else None
            self._backlog.measure(RATCHET, results, called, database)
            if readers is not None:
                readers.stop(called, results)
        finally:
            web.stop()
            self._servers.drop(database)


def _web(world: World) -> tuple[Web, str]:
    """Listening, with a token that sees everything."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    jwks = world.folder / f"{world.name}-jwks.json"
    jwks.write_text(json.dumps({"keys": [{**public, "kid": "k", "alg": "ES256"}]}))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "bench", "exp": int(time.time()) + 36_000}
    token = jwt.encode({**claims, "roles": ["viewer"], "tenants": ["*"]}, key, "ES256", headers={"kid": "k"})
    settings = {"JWKS": str(jwks), "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    web = world.web(**{f"RATCHET_WEB_{name}": value for name, value in settings.items()})
    web.link()
    return web, token


class Told(NamedTuple):
    """By the readers: how long each answer took, and how many were none."""

    milliseconds: list[float]
    failed: int


class Readers:
    """In a process of their own, until they are stopped."""

    def __init__(self, web: Web, token: str, keys: list[str]) -> None:
        self._web = web
        self._before = cpu_seconds([web.process.pid])
        self._ours, theirs = multiprocessing.Pipe()
        paths = [f"/v1/records/{key}/timeline" for key in keys]
        spawning = multiprocessing.get_context("spawn")
        self._process = spawning.Process(target=_read, args=(web.address, token, paths, theirs))
        self._process.start()

    def stop(self, called: str, results: Results) -> None:
        """Note what they saw."""
        self._ours.send(None)
        told: Told = self._ours.recv()
        self._process.join()
        used = cpu_seconds([self._web.process.pid]) - self._before
        results.add(called, READERS, MEDIAN, median(told.milliseconds))
        results.add(called, READERS, P99, quantiles(told.milliseconds, n=100)[98])
        results.add(called, READERS, CPU_REQUESTS, 1000 * used / len(told.milliseconds))
        if told.failed:
            results.wrong.append(f"{called}: {told.failed:,} of {len(told.milliseconds):,} requests failed")


def _read(address: str, token: str, paths: list[str], theirs: Connection) -> None:
    theirs.send(asyncio.run(_ask(address, token, paths, theirs)))


async def _ask(address: str, token: str, paths: list[str], theirs: Connection) -> Told:
    milliseconds: list[float] = []
    failed = 0
    asking: set[asyncio.Task[None]] = set()

    async def ask(path: str) -> None:
        nonlocal failed
        begin = time.monotonic()
        try:
            failed += (await client.get(path)).status_code != httpx2.codes.OK
        except httpx2.HTTPError:
            failed += 1
        milliseconds.append(1000 * (time.monotonic() - begin))

    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
        begin, number = time.monotonic(), 0
        while not theirs.poll():
            task = asyncio.create_task(ask(paths[number % len(paths)]))
            asking.add(task)
            task.add_done_callback(asking.discard)
            number += 1
            await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
        await asyncio.gather(*asking)
    return Told(milliseconds, failed)
