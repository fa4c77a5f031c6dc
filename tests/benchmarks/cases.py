"""What is measured, by whom. `CASES` in the order in which they take their turns within a round."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer

from contracts.topics import CONSUMED
from tests.benchmarks import rules, trickle, workloads
from tests.benchmarks.backlog import Backlog
from tests.benchmarks.beside_web import BesideWeb
from tests.benchmarks.collection import Collection
from tests.benchmarks.history import History
from tests.benchmarks.results import Results
from tests.benchmarks.servers import Servers
from tests.benchmarks.subjects import (
    BATCH_HANDLER,
    FLOOR,
    QUIX,
    RATCHET,
    STREAMS,
    TUTORIAL,
    TWO_WORKERS,
    WITHOUT_STATES,
    Subject,
)
from tests.benchmarks.workloads import Workload

MESSAGES, RECORDS = 200_000, 20_000
TRICKLE_MESSAGES = 3_000
MEMORY_MESSAGES, MEMORY_RECORDS = 1_000_000, 100_000
MEMORY_LIMIT_SECONDS = 900.0
MEMORY = "backlog of 1,000,000"
JOIN = "group join s"


class Measured(Protocol):
    """Something prepared to be measured, round after round."""

    def measure(self, results: Results) -> None:
        """One round."""


class Case(NamedTuple):
    """What can be asked for by name."""

    name: str
    prepare: Callable[[Servers, float], Measured]
    """On these servers, at this scale."""
    once: bool = False
    """It takes long, and one round tells enough."""


class _Backlogs:
    """A backlog that several work off, one after the other, another one first in every round."""

    def __init__(self, servers: Servers, workload: Workload, subjects: Sequence[Subject]) -> None:
        self._backlog = Backlog(servers, workload)
        self._subjects = list(subjects)

    def measure(self, results: Results) -> None:
        for subject in self._subjects:
            self._backlog.measure(subject, results)
        self._subjects.append(self._subjects.pop(0))


class _Join:
    """How long a bare aiokafka consumer takes to join a new group."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._prefix = servers.world().prefix
        servers.world(self._prefix).create_topics()

    def measure(self, results: Results) -> None:
        results.add("start", "bare consumer", JOIN, asyncio.run(self._join()))

    async def _join(self) -> float:
        world = self._servers.world(self._prefix)
        begin = time.monotonic()
        consumer = AIOKafkaConsumer(
            *(self._prefix + topic.name for topic in CONSUMED),
            bootstrap_servers=world.broker.address,
            group_id=world.name,
        )
        async with consumer:
            while not consumer.assignment():
                await asyncio.sleep(0.01)
            return time.monotonic() - begin


class _Trickle:
    def __init__(self, servers: Servers, messages: int, subjects: Sequence[Subject], hot_messages: int = 0) -> None:
        self._servers = servers
        self._messages = messages
        self._subjects = list(subjects)
        self._hot_messages = hot_messages

    def measure(self, results: Results) -> None:
        for subject in self._subjects:
            trickle.measure(self._servers, subject, self._messages, results, self._hot_messages)
        self._subjects.append(self._subjects.pop(0))


class _Memory:
    def __init__(self, servers: Servers, scale: float) -> None:
        self._servers = servers
        self._workload = workloads.mass_upload(_scaled(MEMORY_MESSAGES, scale), _scaled(MEMORY_RECORDS, scale))

    def measure(self, results: Results) -> None:
        Backlog(self._servers, self._workload).measure(RATCHET, results, MEMORY, limit_seconds=MEMORY_LIMIT_SECONDS)


def _scaled(number: int, scale: float) -> int:
    return max(100, round(number * scale))


def _backlog(name: str, make: Callable[[int, int], Workload], *subjects: Subject) -> Case:
    def prepare(servers: Servers, scale: float) -> Measured:
        return _Backlogs(servers, make(_scaled(MESSAGES, scale), _scaled(RECORDS, scale)), subjects)

    return Case(name, prepare)


CASES: Sequence[Case] = (
    Case(rules.NAME, lambda _, scale: rules.Rules(scale)),
    Case("start", lambda servers, _: _Join(servers)),
    _backlog(
        "mass upload",
        workloads.mass_upload,
        *(FLOOR, RATCHET, TWO_WORKERS, WITHOUT_STATES, BATCH_HANDLER, QUIX, STREAMS, TUTORIAL),
    ),
    _backlog("hot record", workloads.hot_record, FLOOR, RATCHET),
    _backlog("redelivery", workloads.redelivery, RATCHET),
    _backlog("all late", workloads.all_late, RATCHET),
    _backlog("reassignment storm", workloads.reassignment_storm, RATCHET),
    Case(trickle.NAME, lambda servers, scale: _Trickle(servers, _scaled(TRICKLE_MESSAGES, scale), (FLOOR, RATCHET))),
    Case(
        trickle.BESIDE_HOT,
        lambda servers, scale: _Trickle(
            servers, _scaled(TRICKLE_MESSAGES, scale), [RATCHET], _scaled(trickle.HOT_MESSAGES, scale)
        ),
    ),
    Case(History.name, History),
    Case(Collection.name, Collection),
    Case(BesideWeb.name, BesideWeb),
    Case("memory", _Memory, once=True),
)
BY_NAME: Mapping[str, Case] = {case.name: case for case in CASES}
