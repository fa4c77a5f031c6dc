"""Where everything is wired: settings, store, worker, HTTP. The one place that knows all parts."""

import asyncio
import gc
import logging
import signal

from aiokafka.errors import KafkaError

from service import topics
from service.errors import FixConfiguration, WaitAndRetry
from service.http import serve_http
from service.settings import Settings
from service.store_mongo import MongoStore, connect
from service.worker import Worker

log = logging.getLogger(__name__)


def open_store(settings: Settings) -> MongoStore:
    """The store that the settings name. Nothing is contacted yet."""
    uri = settings.mongodb_uri.get_secret_value()
    return connect(uri, settings.mongodb_database, settings.group, settings.mongodb_options())


async def prepared_store(settings: Settings) -> MongoStore:
    """The store, once the database has answered. Raises FixConfiguration when it does not in time."""
    store = open_store(settings)
    try:
        async with asyncio.timeout(settings.start_seconds):
            await store.prepare()
    except (WaitAndRetry, TimeoutError) as error:
        await store.close()
        raise FixConfiguration(f"RATCHET_MONGODB_URI: no MongoDB answers in time ({error or 'time-out'})") from None
    except FixConfiguration:
        await store.close()
        raise
    return store


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT, then let the batches in hand finish and leave the group.

    Raises FixConfiguration when it cannot start, RestartProcess when it cannot go on.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    partitions = await topics.check(settings)
    store = await prepared_store(settings)
    try:
        worker = Worker(settings, store, partitions)
        async with serve_http(settings, worker.lanes) as port:
            gc.freeze()  # what is there by now stays; collecting need not look at it again
            log.info("serving", extra={"http_port": port, "partitions": partitions, "group": settings.group})
            await worker.run(stop)
    except KafkaError as error:
        raise FixConfiguration(f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: Kafka refuses: {error!r}") from None
    finally:
        await store.close()
        log.info("stopped")
