"""Ways to get a Kafka broker, best first."""

import os
import re
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

from tests.stack.docker import client_for, start
from tests.stack.servers import Daemon, NotAvailable, Server, free_port

VERSION = "4.1.1"
IMAGE = "confluentinc/cp-kafka:7.8.0"
POM = Path(__file__).with_name("kafka-pom.xml")
MAVEN_SECONDS = 240
CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.enable=false
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
    java = _java()
    classpath = f"{_jars()}/*"
    folder = folder / f"kafka-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    port, controller = free_port(), free_port()
    configuration = folder / "server.properties"
    configuration.write_text(CONFIGURATION.format(port=port, controller=controller, folder=folder))
    run = [java, "-Xmx768m", "-Xms256m", "-cp", classpath]
    storage = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(configuration)]
    formatted = subprocess.run([*run, *storage, "--standalone"], capture_output=True, text=True, check=False)
    if formatted.returncode and "standalone" in formatted.stderr + formatted.stdout:
        formatted = subprocess.run([*run, *storage], capture_output=True, text=True, check=False)
    if formatted.returncode:
        raise NotAvailable(f"Kafka's storage cannot be formatted: {(formatted.stderr or formatted.stdout)[-300:]}")
    log = folder / "server.log"
    daemon = Daemon([*run, "kafka.Kafka", str(configuration)], port, log)
    address = f"127.0.0.1:{port}"
    return Server(address, f"Apache Kafka {VERSION} at {address}, on this machine's Java", daemon.stop, daemon=daemon)


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
    """Kafka's jars, fetched once per machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ratchet" / f"kafka-{VERSION}"
    if (cache / "complete").exists():
        return cache
    maven = shutil.which("mvn")
    if maven is None:
        raise NotAvailable("there is no mvn to fetch Apache Kafka with; install Maven, e.g. apt-get install maven")
    print("Fetching Apache Kafka with Maven, once ...", flush=True)
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={cache}"]
    try:
        fetched = subprocess.run(
            [maven, "-q", "-B", "-f", str(POM), *copy],
            capture_output=True,
            text=True,
            check=False,
            timeout=MAVEN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NotAvailable(f"Maven did not fetch Apache Kafka within {MAVEN_SECONDS} s") from None
    if fetched.returncode:
        problem = next((line for line in fetched.stdout.splitlines() if "ERROR" in line), "no reason given")
        raise NotAvailable(f"Maven cannot fetch Apache Kafka: {problem[:200]}")
    (cache / "complete").touch()
    return cache


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
