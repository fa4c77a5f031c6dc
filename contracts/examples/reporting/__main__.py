"""The command. Exit status: 0 done or stopped, 2 mend something first."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence

from confluent_kafka import KafkaException
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from contracts.examples.reporting import schema, settings
from contracts.examples.reporting.errors import Mend
from contracts.examples.reporting.reading import Reader
from contracts.examples.reporting.store import Store

MEND = 2
_log = logging.getLogger("reporting")


class Stop:
    """Whether somebody has asked it to end, by SIGTERM or SIGINT; it does between two batches."""

    def __init__(self) -> None:
        self.is_asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.is_asked = True


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status."""
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = Stop()
    try:
        _run(stop, once=asked.once)
    except Mend as error:
        said = str(error)
    except KafkaException as error:
        said = f"REPORTING_KAFKA_BOOTSTRAP_SERVERS: {_first_line(error.args[0].str())}"
    except DBAPIError as error:
        said = f"REPORTING_DATABASE_URL: {_first_line(error.orig)}"
    except SQLAlchemyError as error:
        said = f"REPORTING_DATABASE_URL: {_first_line(error)}"
    else:
        return 0
    if stop.is_asked:
        return 0
    print(f"reporting: {said}", file=sys.stderr)  # noqa: T201
    return MEND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m contracts.examples.reporting",
        description="Keeps a star schema of who completed what, from Ratchet's topics, for BI tools.",
        epilog="Example: REPORTING_DATABASE_URL=sqlite:///reporting.db python -m contracts.examples.reporting --once",
    )
    parser.add_argument("--once", action="store_true", help="read to the present ends of the topics, and end")
    return parser


def _run(stop: Stop, *, once: bool) -> None:
    said = settings.load()
    store = Store(schema.opened(said.url))
    reader = Reader(said.kafka_bootstrap_servers, said.topic_prefix, store.positions)
    try:
        reader.start()
        _log.info("reading")
        while not stop.is_asked and not (once and reader.is_at_end):
            batch = reader.batch()
            if batch:
                _log.info("batch of %d: %s", len(batch), store.take(batch))
    finally:
        reader.close()


def _first_line(error: object) -> str:
    """What follows it may quote values."""
    return (str(error).splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    sys.exit(main())
