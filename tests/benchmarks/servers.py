"""The servers that are measured on: real ones, started for this alone."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pymongo import MongoClient

from tests.stack import kafka, mongodb
from tests.stack.servers import Server
from tests.stack.service import World

CACHE = "2G"
"""MongoDB takes half of the machine's memory by itself; the tests' servers take less, too little for a million
records."""
PACKAGES = ("aiokafka", "faststream", "motor", "pymongo", "uvloop", "zen-engine")


class Servers(NamedTuple):
    """A broker, a database, and a folder for logs."""

    broker: Server
    database: Server
    folder: Path

    @property
    def processes(self) -> list[int]:
        """Their process ids, of those that were started as processes here."""
        daemons = (self.broker.daemon, self.database.daemon)
        return [daemon._process.pid for daemon in daemons if daemon is not None]

    def world(self, prefix: str | None = None, database: str | None = None) -> World:
        """A fresh group, and a fresh database and fresh topics where none are given."""
        world = World(self.broker, self.database, self.folder, prefix)
        if database is not None:
            world.settings["RATCHET_MONGODB_DATABASE"] = database
        return world

    def drop(self, database: str) -> None:
        """Forget a database."""
        with MongoClient[dict[str, Any]](self.database.address) as client:
            client.drop_database(database)


def start_servers(folder: Path) -> Servers:
    """Raises NotAvailable where there is no Java, or no mongod."""
    database = mongodb.from_wheel(folder)
    with MongoClient[dict[str, Any]](database.address) as client:
        client.admin.command({"setParameter": 1, "wiredTigerEngineRuntimeConfig": f"cache_size={CACHE}"})
    return Servers(kafka.from_java(folder), database, folder)


def machine(servers: Servers) -> dict[str, str]:
    """Date, versions, size."""
    with MongoClient[dict[str, Any]](servers.database.address) as client:
        mongodb_version = client.server_info()["version"]
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "Apache Kafka": kafka.VERSION,
        "MongoDB": f"{mongodb_version} (cache {CACHE})",
        "Python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "machine": f"{os.cpu_count()} cores, {memory_gib:.0f} GiB",
    }
