"""What a long history costs: messages to records of 10,000 facts, and the same messages to records of 10."""

import asyncio
import itertools
from collections.abc import Iterable

from msgspec.structs import replace

from tests.benchmarks.backlog import Backlog, define, store_of
from tests.benchmarks.results import Results
from tests.benchmarks.servers import Servers
from tests.benchmarks.standing import Standing, make_standing, new_messages
from tests.benchmarks.subjects import RATCHET
from tests.benchmarks.workloads import record_key
from tests.stack.service import World

SAVED_TOGETHER = 20
"""Records of thousands of facts."""


class History:
    """Records of 10,000 facts, and records of 10."""

    name = "history"
    long_facts, short_facts = 10_000, 10

    def __init__(self, servers: Servers, scale: float) -> None:
        self._servers = servers
        self._messages = max(1000, round(40_000 * scale))
        self._records = range(max(20, round(200 * scale)))
        self._times = itertools.count()
        self._long = servers.world().name
        self._store(self._long, make_standing(self.long_facts))
        self._short_record = make_standing(self.short_facts)
        # the first write after the history was put there may order it otherwise
        new = new_messages(self.name, self._records, 5 * len(self._records), next(self._times))
        Backlog(servers, new).measure(RATCHET, Results(), database=self._long)
        asyncio.run(forget_topics(servers.world(database=self._long), map(record_key, self._records)))

    def _store(self, database: str, record: Standing) -> None:
        keys = [record_key(number) for number in self._records]
        asyncio.run(save(self._servers.world(database=database), keys, record))

    def measure(self, results: Results) -> None:
        """One round, the other one first every time."""
        short, time = self._servers.world().name, next(self._times)
        self._store(short, self._short_record)
        backlog = Backlog(self._servers, new_messages(self.name, self._records, self._messages, time))
        in_turn = [(self.long_facts, self._long), (self.short_facts, short)]
        for facts, database in in_turn if time % 2 else reversed(in_turn):
            backlog.measure(RATCHET, results, _history(facts), database)
            asyncio.run(forget_topics(self._servers.world(database=database), map(record_key, self._records)))
        self._servers.drop(short)


async def forget_topics(world: World, keys: Iterable[str]) -> None:
    """Records as if all had been announced long ago: the next worker reads other topics than those it came from."""
    async with store_of(world) as store:
        remaining = iter(keys)
        while some := list(itertools.islice(remaining, SAVED_TOGETHER)):
            known = await store.records.load(some)
            settled = [replace(one, pending=(), asked={}, restated=None) for one in known.values()]
            assert await store.records.save(settled), "nobody else writes here"


async def save(world: World, keys: list[str], record: Standing) -> None:
    """The course definitions, and the same record under each key."""
    await define(world)
    async with store_of(world) as store:
        for first in range(0, len(keys), SAVED_TOGETHER):
            some = [record.under(key) for key in keys[first : first + SAVED_TOGETHER]]
            for one in some:
                await store.records.save_history(one.pages)
            assert await store.records.save([one.stored for one in some]), "nobody else writes here"


def _history(facts: int) -> str:
    return f"history of {facts:,} facts"
