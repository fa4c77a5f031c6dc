"""Ways to get a Kafka broker, best first."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.stack.docker import client_for, start
from tests.stack.maven import fetched
from tests.stack.servers import Daemon, NotAvailable, Server, free_port

VERSION = "4.1.1"
IMAGE = "confluentinc/cp-kafka:7.8.0"
POM = Path(__file__).with_name("kafka-pom.xml")
MAVEN_SECONDS = 240
JVM = ("-Xmx768m", "-Xms256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
"""For a short life on few cores: compiling well takes longer than it lives."""
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
CONFIGURATION = """\
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL_PLAINTEXT://127.0.0.1:{sasl},PROXIED://127.0.0.1:{proxied}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},PROXIED://127.0.0.1:{proxy}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,PROXIED:PLAINTEXT
listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_ratchet="right";
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=5
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.enable=false
log.flush.start.offset.checkpoint.interval.ms=1000
"""


def from_environment(_: Path) -> Server:
    """The broker that RATCHET_KAFKA_BOOTSTRAP_SERVERS names."""
    address = os.environ.get("RATCHET_KAFKA_BOOTSTRAP_SERVERS")
    if address is None:
        raise NotAvailable("RATCHET_KAFKA_BOOTSTRAP_SERVERS is not set")
    try:
        host, port = address.split(",")[0].rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise NotAvailable(f"nothing answers at RATCHET_KAFKA_BOOTSTRAP_SERVERS={address}: {error}") from None
    return Server(address, f"Kafka at {address}, from RATCHET_KAFKA_BOOTSTRAP_SERVERS", lambda: None, is_ours=False)


def from_docker(_: Path) -> Server:
    """A container, through testcontainers."""
    client_for(IMAGE)
    from testcontainers.kafka import KafkaContainer

    container = KafkaContainer(IMAGE).with_kraft()
    start(container)
    address = container.get_bootstrap_server()
    return Server(address, f"Kafka at {address}, Docker image {IMAGE}", container.stop)


def from_java(folder: Path) -> Server:
    """Apache Kafka on Java 17 or newer, its jars from Maven Central."""
    (node,) = start_nodes(folder, 1)
    how = f"Apache Kafka {VERSION} at {node.address}, on this machine's Java"
    return Server(node.address, how, node.daemon.stop, daemon=node.daemon, sasl_address=node.sasl_address)


class Node(NamedTuple):
    """One broker of a cluster, which is a controller too."""

    number: int
    folder: Path
    daemon: Daemon
    address: str
    sasl_address: str
    """Wants the user `ratchet` with the password `right`."""
    proxied_port: int
    """Tells its clients to come to `proxy_port`."""
    proxy_port: int


def start_nodes(folder: Path, count: int, more: Callable[["Ports"], str] = lambda _: "") -> list[Node]:
    """A cluster of so many nodes; everything is kept on all of them, and all but one must have it.

    `more`: configuration of a node that comes last and counts.
    """
    java, classpath = _java(), f"{_jars()}/*"
    ports = [Ports(*(free_port() for _ in Ports._fields)) for _ in range(count)]
    voters = ",".join(f"{number}@127.0.0.1:{port.controller}" for number, port in enumerate(ports, 1))
    run = [java, *JVM, "-cp", classpath]

    def start_node(number: int, port: Ports) -> Node:
        home = folder / f"kafka-{uuid.uuid4().hex[:8]}"
        home.mkdir(parents=True)
        configuration = home / "server.properties"
        copies = {"copies": count, "in_sync": max(1, count - 1)}
        configuration.write_text(
            CONFIGURATION.format(number=number, voters=voters, folder=home, **copies, **port._asdict()) + more(port)
        )
        format_storage = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(configuration)]
        formatted = subprocess.run([*run, *format_storage], capture_output=True, text=True, check=False)
        if formatted.returncode:
            raise NotAvailable(f"Kafka's storage cannot be formatted: {(formatted.stderr or formatted.stdout)[-300:]}")
        daemon = Daemon([*run, "kafka.Kafka", str(configuration)], port.port, home / "server.log")
        addresses = f"127.0.0.1:{port.port}", f"127.0.0.1:{port.sasl}"
        return Node(number, home, daemon, *addresses, port.proxied, port.proxy)

    with ThreadPoolExecutor(count) as threads:  # none is up before most are
        return list(threads.map(start_node, range(1, count + 1), ports))


class Ports(NamedTuple):
    """Of one node."""

    port: int
    controller: int
    sasl: int
    proxied: int
    proxy: int


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise NotAvailable("there is no java; install Java 17 or newer, e.g. apt-get install openjdk-17-jre-headless")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < 17:
        raise NotAvailable("java is older than 17; install a newer one, e.g. apt-get install openjdk-17-jre-headless")
    return java


def _jars() -> Path:
    """Kafka's own."""
    made_of = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]

    def goal(cache: Path) -> list[str]:
        return ["-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={cache}"]

    return fetched(f"kafka-{VERSION}-{made_of}", "Apache Kafka", MAVEN_SECONDS, goal)


def run_tool(name: str, *arguments: str) -> str:
    """One of the tools that come with Apache Kafka, by its class; what it prints. Raises NotAvailable."""
    command = [_java(), *JVM, "-cp", f"{_jars()}/*", f"org.apache.kafka.tools.{name}", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def embedded(_: Path) -> Server:
    """The mock broker inside confluent-kafka: for a first look, no proof of anything."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1})
    broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
    address = f"{broker.host}:{broker.port}"
    kept = [producer]  # the broker lives as long as its producer
    return Server(
        address,
        f"embedded mock broker of confluent-kafka at {address} (not a real Kafka)",
        kept.clear,
        {"RATCHET_KAFKA_CHECK_CRCS": "false"},
        real=False,
    )


WAYS = (from_environment, from_docker, from_java, embedded)
