"""The service: `python -m contracts.examples.certificates --help`."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.examples.certificates.badges import Issuer
from contracts.examples.certificates.reading import CHANGES, STARTED, Desk, follow, start_from_states
from contracts.examples.certificates.signing import load_signer
from contracts.examples.certificates.store import Store
from contracts.examples.certificates.web import make_site
from contracts.topics import LEARNER_ERASED, RECORD_STATE

log = logging.getLogger("certificates")
SETTINGS = """\
settings, from the environment:
  CERTIFICATES_KAFKA_BOOTSTRAP_SERVERS  addresses of brokers              localhost:9092
  CERTIFICATES_TOPIC_PREFIX             as Ratchet's RATCHET_TOPIC_PREFIX
  CERTIFICATES_FOLDER                   where key and database are        certificates
  CERTIFICATES_HTTP_PORT                on 127.0.0.1; 0: a free one       8091
  CERTIFICATES_BASE_URL                 how others reach it               http://127.0.0.1:PORT
  CERTIFICATES_ISSUER_NAME              who issues                        Example issuer

example: CERTIFICATES_FOLDER=/var/lib/certificates python -m contracts.examples.certificates
"""


class Settings(BaseSettings):
    """See SETTINGS."""

    model_config = SettingsConfigDict(env_prefix="CERTIFICATES_")

    kafka_bootstrap_servers: str = "localhost:9092"
    topic_prefix: str = ""
    folder: Path = Path("certificates")
    http_port: int = 8091
    base_url: str = ""
    issuer_name: str = "Example issuer"

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        """Reads what is committed, from the beginning unless it has noted another place."""
        return AIOKafkaConsumer(
            *(self.topic_prefix + topic for topic in topics),
            bootstrap_servers=self.kafka_bootstrap_servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **options,
        )


class _Server(uvicorn.Server):
    """The program itself ends it: signals are not its own."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def _serving(server: uvicorn.Server) -> AsyncIterator[None]:
    listening = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await listening


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises OSError, ValueError, KafkaError for what a person can mend."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    signer = load_signer(settings.folder / "issuer-key.pem")
    store = Store(settings.folder / "certificates.db")
    issuer = Issuer(signer.id, settings.issuer_name, settings.base_url or f"http://127.0.0.1:{settings.http_port}")
    desk, stop = Desk(store, issuer, signer), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    site = make_site(store, issuer, signer)
    async with _serving(_Server(uvicorn.Config(site, port=settings.http_port, log_config=None, lifespan="off"))):
        reading = asyncio.create_task(_read(settings, store, desk))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, stopping):
            task.cancel()
        await asyncio.wait([reading, stopping])
    store.close()
    if not reading.cancelled():
        reading.result()


async def _read(settings: Settings, store: Store, desk: Desk) -> None:
    if not store.fact(STARTED):
        await start_from_states(store, desk, settings.consumer(RECORD_STATE.name))
    consumer = settings.consumer(*CHANGES, LEARNER_ERASED.name, group_id=f"{settings.topic_prefix}certificates")
    await consumer.start()
    log.info("reading")
    try:
        await follow(store, desk, consumer, settings.topic_prefix)
    finally:
        await consumer.stop()


def main() -> int:
    """Exit status 2: something is to be mended first."""
    argparse.ArgumentParser(
        "python -m contracts.examples.certificates",
        description=str(sys.modules["contracts.examples.certificates"].__doc__),
        epilog=SETTINGS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    try:
        asyncio.run(serve(Settings()))
    except ValidationError as error:
        wrong = "; ".join(f"CERTIFICATES_{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors())
        sys.stderr.write(f"certificates: {wrong}\n")
        return 2
    except (OSError, ValueError, KafkaError) as error:
        sys.stderr.write(f"certificates: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
