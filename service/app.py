"""Where everything is wired: settings, store, worker, HTTP. The one place that knows all parts."""

import asyncio
import ctypes
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

from service import topics
from service.errors import FixConfiguration, WaitAndRetry
from service.http import serve_http
from service.settings import Settings
from service.store_mongo import MongoStore, connect
from service.worker import Worker

log = logging.getLogger(__name__)

GARBAGE_THRESHOLDS = 20_000, 20, 20
"""A batch makes many objects and no cycles: Python's own thresholds would look for some all the time."""

M_ARENA_MAX = -8
SWITCH_SECONDS = 0.0005
"""A thread of the database's driver needs the interpreter for moments only; it would wait ten times as long for it."""


async def checked_store(settings: Settings, work: Callable[[MongoStore], Awaitable[None]]) -> MongoStore:
    """The store, once `work` on it has succeeded. Raises FixConfiguration when the database does not answer in time."""
    uri = settings.mongodb_uri.get_secret_value()
    store = connect(uri, settings.mongodb_database, settings.group, settings.mongodb_options())
    try:
        async with asyncio.timeout(settings.start_seconds):
            await work(store)
    except (WaitAndRetry, TimeoutError) as error:
        await store.close()
        reason = str(error) or f"nothing within {settings.start_seconds} s"
        raise FixConfiguration(f"RATCHET_MONGODB_URI: no MongoDB answers there: {reason}") from None
    except BaseException:
        await store.close()
        raise
    return store


def _tune_interpreter() -> None:
    gc.freeze()  # what is there by now stays; collecting need not look at it again
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    sys.setswitchinterval(SWITCH_SECONDS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc would give each thread of the driver memory of its own, and never take it back
        mallopt(M_ARENA_MAX, 1)


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then let the batches in hand finish and leave the group.

    Raises FixConfiguration when it cannot start, RestartProcess when it cannot go on.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    starting = asyncio.create_task(_start(settings))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting])
        return
    partitions, store = starting.result()
    try:
        worker = Worker(settings, store, partitions)
        async with serve_http(settings, worker.lanes) as port:
            _tune_interpreter()
            log.info("serving", extra={"http_port": port, "partitions": partitions, "group": settings.group})
            await worker.run(stop)
    except KafkaError as error:
        raise FixConfiguration(f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: Kafka refuses: {error!r}") from None
    finally:
        await store.close()
        log.info("stopped")


async def _start(settings: Settings) -> tuple[int, MongoStore]:
    """What must be there before anything else: the topics, and a database with its indexes."""
    partitions = await topics.check(settings)
    return partitions, await checked_store(settings, MongoStore.prepare)
