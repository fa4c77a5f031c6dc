"""Where everything is wired: settings, store, worker, HTTP. The one place that knows all parts."""

import asyncio
import ctypes
import gc
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from service.kafka import rights, topics
from service.kafka.consumer import Worker
from service.kafka.frames import Frames, worker_frames
from service.mongo.store import MongoStore, open_store
from service.settings import Settings
from service.traces import exporting
from service.web.health import serve_health

log = logging.getLogger(__name__)

M_ARENA_MAX = -8
SWITCH_SECONDS = 0.0005
"""A thread of the database's driver needs the interpreter for moments only; it would wait ten times as long for it."""


def _keep_one_heap() -> None:
    """Before there is any thread: glibc would give each of the driver's memory of its own, and never take it back."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def _until_stopped() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then let the batches in hand finish and leave the group.

    Raises FixConfiguration when it cannot start, RestartProcess when it cannot go on.
    """
    _keep_one_heap()
    stop = _until_stopped()
    try:
        async with AsyncExitStack() as opened:
            opened.enter_context(exporting(settings.traces_endpoint))
            starting = asyncio.create_task(_start(settings, opened))
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not starting.done():
                starting.cancel()
                await asyncio.wait([starting])
                return
            await _work(settings, opened, *starting.result(), stop)
    finally:
        log.info("stopped")


async def _start(settings: Settings, opened: AsyncExitStack) -> tuple[int, Frames, MongoStore]:
    """What must be there before anything else: the topics, their schemas, and a database with its indexes."""
    partitions = await topics.check(settings, rights.WORKER)
    frames = await worker_frames(settings)
    return partitions, frames, await opened.enter_async_context(open_store(settings, prepared=True))


async def _work(
    settings: Settings,
    opened: AsyncExitStack,
    partitions: int,
    frames: Frames,
    store: MongoStore,
    stop: asyncio.Event,
) -> None:
    worker = Worker(settings, store, partitions, frames)
    port = await opened.enter_async_context(serve_health(settings, worker.lanes.health))
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what is there by now stays; collecting need not look at it again
    log.info("serving", extra={"http_port": port, "partitions": partitions, "group": settings.group})
    await worker.run(stop)


async def serve_web(settings: Settings, say: Callable[[str], None]) -> None:
    """API and console until SIGTERM or SIGINT; `say` is told how to get in. Raises FixConfiguration."""
    # A worker starts in half the time without these.
    from service.admin.desk import Desk
    from service.admin.jobs import doing_jobs
    from service.admin.lag_history import sampling
    from service.kafka.sender import open_sender
    from service.web.site import serve_site

    stop = _until_stopped()
    async with AsyncExitStack() as opened:
        await topics.check(settings, rights.COMMANDS)
        store = await opened.enter_async_context(open_store(settings, prepared=True))
        desk = Desk(settings, store, await opened.enter_async_context(open_sender(settings)))
        lag = await opened.enter_async_context(sampling(settings))
        await opened.enter_async_context(doing_jobs(desk))
        port = await opened.enter_async_context(serve_site(desk, lag, say))
        log.info("serving", extra={"http_port": port})
        await stop.wait()
    log.info("stopped")
