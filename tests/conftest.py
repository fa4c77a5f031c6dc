"""Servers for all tests, started once, and a line at the end that says which they were."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import hypothesis
import pytest

from tests.stack import choose, kafka, mongodb
from tests.stack.servers import Server, stop_all
from tests.stack.service import World
from tests.stack.wire import Wire

EXAMPLES, FEW_EXAMPLES = 200, 40
"""Of a property: where all is tried, and where one of each kind is (`-m 'not full'`)."""


def pytest_configure(config: pytest.Config) -> None:
    """Whoever ends the tests early leaves no server behind; no example is timed: how long it takes is no property."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it, and so would commands
    examples = FEW_EXAMPLES if "not full" in config.option.markexpr else EXAMPLES
    hypothesis.settings.register_profile("ours", deadline=None, max_examples=examples)
    hypothesis.settings.load_profile("ours")


def _end(number: int, _: object) -> None:
    stop_all()
    os._exit(128 + number)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a broker or a database, whose start takes longer than most tests; begin with what takes long.

    A file is run as a whole by one process, and the last one is waited for by all.
    """
    for item in items:
        if {"broker", "database"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")
    slow = {item.path for item in items if item.get_closest_marker("full")}
    items.sort(key=lambda item: item.path not in slow)


REAL_KAFKA = "RATCHET_TEST_REAL_KAFKA"
USED: list[str] = []


def _loopback_only(address: str | None) -> bool:
    """A test contacts nothing outside this machine, whatever the environment names."""
    return address is not None and all(
        part.rsplit("@", 1)[-1].startswith(("127.", "localhost", "[::1]"))
        for part in address.removeprefix("mongodb://").split("/")[0].split(",")
    )


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Kafka broker: a real one where it can be had, and nothing else with RATCHET_TEST_REAL_KAFKA=1."""
    ways = [kafka.from_docker, kafka.from_java]
    if _loopback_only(os.environ.get("RATCHET_KAFKA_BOOTSTRAP_SERVERS")):
        ways.insert(0, kafka.from_environment)
    if not os.environ.get(REAL_KAFKA):
        ways.append(kafka.embedded)
    yield from _started(choose.broker(tmp_path_factory.mktemp("kafka"), USED.append, ways))


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A MongoDB replica set."""
    ways = [mongodb.from_docker, mongodb.from_wheel]
    if _loopback_only(os.environ.get("RATCHET_MONGODB_URI")):
        ways.insert(0, mongodb.from_environment)
    yield from _started(choose.database(tmp_path_factory.mktemp("mongodb"), USED.append, ways))


def _started(server: Server) -> Iterator[Server]:
    yield server
    server.stop()


@pytest.fixture(scope="session")
def make_world(broker: Server, database: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., World]:
    """Makes worlds on the shared servers, their topics created."""

    def make(**settings: Any) -> World:
        world = World(broker, database, tmp_path_factory.mktemp("world"), **settings)
        world.create_topics()
        return world

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A fresh world."""
    return make_world()


@pytest.fixture
async def wire(world: World) -> AsyncIterator[Wire]:
    """Kafka as seen from outside, in the test's world."""
    async with Wire(world) as opened:
        yield opened


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of several tells the one that sums up what it ran on."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["used"] = USED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of several processes has ended."""
    USED.extend(line for line in getattr(node, "workeroutput", {}).get("used", ()) if line not in USED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the integration tests ran on."""
    for line in USED:
        terminalreporter.write_line(line)
    if any("embedded mock broker" in line for line in USED):
        terminalreporter.write_line("NOTE: no real Kafka could be had, so the integration tests ran on a mock broker.")
