"""A schema registry with Confluent's protocol: Apicurio Registry from Maven Central, all in memory."""

import time
import urllib.request
from pathlib import Path

from tests.stack import kafka
from tests.stack.maven import fetched
from tests.stack.servers import Daemon, NotAvailable, Server, free_port

VERSION = "3.0.9"
"""The last one for Java 17."""
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
PATH = "/apis/ccompat/v7"
MAVEN_SECONDS = 400
START_SECONDS = 240.0
"""It is slow, the first time above all."""
QUIET = ("-Dquarkus.log.level=WARN", "-Dquarkus.http.access-log.enabled=false", "-Dquarkus.http.host=127.0.0.1")


def from_java(folder: Path) -> Server:
    """On Java 17 or newer. Raises NotAvailable."""
    jar, port = _unpacked() / f"apicurio-registry-app-{VERSION}-runner.jar", free_port()
    command = [kafka._java(), *kafka.JVM, *QUIET, f"-Dquarkus.http.port={port}", "-jar", str(jar)]
    daemon = Daemon(command, port, folder / "registry.log")
    address = f"http://127.0.0.1:{port}{PATH}"
    _wait(f"{address}/subjects")
    return Server(address, f"Apicurio Registry {VERSION} at {address}, on this machine's Java", daemon.stop)


def _wait(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=START_SECONDS).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise NotAvailable(f"the schema registry does not answer: {error}") from None
            time.sleep(0.1)
        else:
            return


def _unpacked() -> Path:
    def goal(cache: Path) -> list[str]:
        return ["dependency:unpack", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={cache}"]

    return fetched(f"apicurio-{VERSION}", "Apicurio Registry", MAVEN_SECONDS, goal)
