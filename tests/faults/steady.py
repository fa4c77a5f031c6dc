"""A situation that goes on for hours: inputs at a steady rate, in episodes, each judged and then forgotten.

An episode has a tenant of its own, so that what belongs to it can be told from what comes again of earlier ones. Once
it is judged, its messages are deleted from the topics and its records from the database: memory and disk stay bounded,
and whatever is said or stored of it later is found with the next one.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any

from confluent_kafka import TopicPartition
from pymongo import MongoClient

from contracts.topics import CONSUMED, TOPICS
from tests.faults.cluster import Cluster, Proxies
from tests.faults.situation import Profile, Situation
from tests.faults.vitals import Vitals
from tests.faults.workload import Workload
from tests.stack.service import World
from tests.stack.wire import Wire

POUR_SECONDS = 0.5
REDEFINE_EVERY = 250
"""Messages."""
LOOK_SECONDS = 1.0
FORGOTTEN = ("records", "record_history")
KEPT = {topic.name for topic in TOPICS if topic.settings.get("cleanup.policy") == "compact"}
"""Of what is compacted nothing can be deleted; records of another episode have other keys."""


class Steady(Situation):
    """What a fault has at hand, while inputs come all the time. What a fault feeds comes in addition."""

    def __init__(
        self,
        cluster: Cluster,
        world: World,
        wire: Wire,
        profile: Profile,
        proxies: Proxies | None,
        messages_per_second: float,
    ) -> None:
        super().__init__(cluster, world, wire, profile, proxies)
        self.vitals = Vitals(lambda: self.workers)
        self._messages_per_second = messages_per_second
        self._seed = profile.seed
        self._episode = 0
        self._pouring = asyncio.Lock()
        """Whoever holds it, nothing is poured meanwhile."""
        self._begin_episode()

    def beside(self) -> list[Coroutine[Any, Any, None]]:
        return [*super().beside(), self.vitals.run(), self._pour(), self._follow_primary()]

    def _begin_episode(self) -> None:
        self._episode += 1
        self.profile = self.profile._replace(seed=self._seed + self._episode)
        tenant = f"acme-{self._episode}"
        self.workload = Workload(
            self.profile.seed, self.profile.records, self.profile.partitions, REDEFINE_EVERY, tenant
        )
        self.watch.forget()
        self.notes.clear()
        self.fresh.clear()
        self.restarts = 0

    async def feed(self, share: float) -> None:
        """Send this share of the profile's inputs at once."""
        await self.send(self.workload.take(round(share * self.profile.inputs)))

    async def _pour(self) -> None:
        """What could not be sent in time, because brokers were away, is not made up for."""
        while True:
            due = time.monotonic() + POUR_SECONDS
            async with self._pouring:
                await self.send(self.workload.take(round(self._messages_per_second * POUR_SECONDS)))
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _follow_primary(self) -> None:
        """The database's proxy leads to whoever takes the writes, as a driver would find it."""
        while True:
            if self.proxies is not None:
                try:
                    primary = await asyncio.to_thread(self.cluster.primary)
                except AssertionError:
                    continue  # a fault has taken it away for long
                self.proxies.database.aim(primary.port)
            await asyncio.sleep(LOOK_SECONDS)

    def rest(self) -> asyncio.Lock:
        """While it is held, nothing new is sent."""
        return self._pouring

    def strangers(self) -> list[str]:
        """Records that do not belong to this episode, and were written after theirs was forgotten."""
        with MongoClient[dict[str, Any]](self.world.database.address) as client:
            others = {"_id": {"$not": {"$regex": f"^acme-{self._episode}/"}}}
            found = client[self.world.name]["records"].find(others, {"_id": 1}).limit(100)
            return [f"{document['_id']}: there again after it was forgotten" for document in found]

    async def forget(self) -> None:
        """Delete all that this episode has left, and begin the next. Everything must have been dealt with."""
        committed = await self._wire.committed()
        await asyncio.to_thread(self._delete, {(place.topic, place.partition): at for place, at in committed.items()})
        self._begin_episode()

    def _delete(self, committed: Mapping[tuple[str, int], int]) -> None:
        consumed = {topic.name for topic in CONSUMED}
        admin = self.cluster.admin()
        ends: list[TopicPartition] = []
        for topic in TOPICS:
            name = self.world.prefix + topic.name
            if topic.name not in KEPT:
                ends += [
                    TopicPartition(name, number, committed[name, number] if topic.name in consumed else -1)
                    for number in range(self.profile.partitions)
                ]
        for deleted in admin.delete_records([end for end in ends if end.offset]).values():
            deleted.result()
        with MongoClient[dict[str, Any]](self.world.database.address) as client:
            for name in FORGOTTEN:
                client[self.world.name][name].delete_many({})
