"""Takes the best way that works here, and says of each that does not why not."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.stack import kafka, mongodb
from tests.stack.servers import NotAvailable, Server

Way = Callable[[Path], Server]
Say = Callable[[str], None]


class NothingWorks(Exception):
    """No way worked; the message names each with what to install."""


def broker(folder: Path, say: Say = print, ways: Sequence[Way] = kafka.WAYS) -> Server:
    """A Kafka broker."""
    return _first("Kafka broker", folder, say, ways)


def database(folder: Path, say: Say = print, ways: Sequence[Way] = mongodb.WAYS) -> Server:
    """A MongoDB replica set."""
    return _first("MongoDB", folder, say, ways)


def _first(what: str, folder: Path, say: Say, ways: Sequence[Way]) -> Server:
    reasons = []
    for way in ways:
        try:
            server = way(folder)
        except NotAvailable as error:
            reasons.append(f"{way.__name__.replace('_', ' ')}: {error}")
            say(f"{what} {reasons[-1]}")
        else:
            say(f"{what}: {server.how}")
            return server
    raise NothingWorks(f"no {what} can be had: {'; '.join(reasons)}")
