"""Brokers, database servers, and proxies before them: what faults are done to."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka.admin import AdminClient
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.faults.damage import Damage
from tests.faults.proxy import Proxy
from tests.stack import kafka, mongodb
from tests.stack.kafka import Node
from tests.stack.mongodb import Member
from tests.stack.servers import Server, free_port

COUNT = 3
LEADER_SECONDS = 60.0


class Cluster(NamedTuple):
    """As many brokers as database servers; everything is kept on each of them."""

    nodes: list[Node]
    members: list[Member]

    @property
    def broker(self) -> Server:
        """The brokers as one."""
        address = ",".join(node.address for node in self.nodes)
        return Server(address, f"{len(self.nodes)} nodes of Apache Kafka {kafka.VERSION}", lambda: None)

    @property
    def database(self) -> Server:
        """The replica set as one."""
        how = f"a MongoDB replica set of {len(self.members)}, {mongodb.WHEEL}"
        return Server(mongodb.address_of(self.members), how, lambda: None)

    def stop(self) -> None:
        """End every server, all at once."""
        daemons = [*(node.daemon for node in self.nodes), *(member.daemon for member in self.members)]
        with ThreadPoolExecutor(len(daemons)) as threads:
            list(threads.map(lambda daemon: daemon.stop(), daemons))

    def leader(self, topic: str) -> Node:
        """The broker that leads the topic's first partition."""
        number: int = self.admin().list_topics(topic, timeout=10).topics[topic].partitions[0].leader
        return self.nodes[number - 1]

    def in_sync(self, prefix: str) -> bool:
        """Whether every copy of these topics is complete."""
        topics = self.admin().list_topics(timeout=10).topics
        return all(
            len(partition.isrs) == len(self.nodes)
            for name, topic in topics.items()
            if name.startswith(prefix)
            for partition in topic.partitions.values()
        )

    def controller(self) -> Node:
        """The node that leads the cluster's metadata, as the nodes have it on their disks."""
        states = [
            json.loads((node.folder / "data/__cluster_metadata-0/quorum-state").read_text()) for node in self.nodes
        ]
        number: int = max(states, key=lambda state: int(state["leaderEpoch"]))["leaderId"]
        return self.nodes[number - 1]

    def admin(self) -> AdminClient:
        """Kafka's administration."""
        return AdminClient({"bootstrap.servers": self.broker.address, "log_level": 0})

    def primary(self) -> Member:
        """The member that takes the writes; waits until there is one."""
        deadline = time.monotonic() + LEADER_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                try:
                    with MongoClient[dict[str, Any]](member.direct_address, serverSelectionTimeoutMS=1000) as client:
                        if client.admin.command("hello")["isWritablePrimary"]:
                            return member
                except PyMongoError:
                    continue
            time.sleep(0.2)
        raise AssertionError("the replica set has no primary")


class Proxies(NamedTuple):
    """Between workers and servers; the database is reached through its primary alone."""

    brokers: list[Proxy]
    database: Proxy
    damage: Damage
    """Of what comes from the brokers."""
    settings: dict[str, str]

    @property
    def all(self) -> list[Proxy]:
        """Every one."""
        return [*self.brokers, self.database]


def start_cluster(folder: Path, count: int = COUNT) -> Cluster:
    """Raises NotAvailable where there is no Java, or no mongod."""
    nodes = kafka.start_nodes(folder, count)
    return Cluster(nodes, mongodb.start_members(folder, count, "--setParameter", "enableTestCommands=1"))


def start_proxies(cluster: Cluster) -> Proxies:
    """Brokers tell their clients of the proxies themselves."""
    port, damage = free_port(), Damage()
    addresses = ",".join(f"127.0.0.1:{node.proxy_port}" for node in cluster.nodes)
    return Proxies(
        [Proxy(node.proxy_port, node.proxied_port, damage) for node in cluster.nodes],
        Proxy(port, cluster.primary().port),
        damage,
        {
            "RATCHET_KAFKA_BOOTSTRAP_SERVERS": addresses,
            "RATCHET_MONGODB_URI": f"mongodb://127.0.0.1:{port}/?directConnection=true",
        },
    )
