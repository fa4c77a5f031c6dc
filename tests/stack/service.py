"""Runs the real command `ratchet` against real servers, in a world of its own: prefix, group, database."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path

from typer.testing import CliRunner

from tests.stack.servers import Server, free_port, start_process

RATCHET = str(Path(sys.executable).with_name("ratchet"))
READY_SECONDS = 60.0
SAYS = "The console: "


Ran = subprocess.CompletedProcess[str]
_ONE_AT_A_TIME = threading.Lock()


def _invoke(arguments: Sequence[str], settings: Mapping[str, str]) -> Ran:
    """Standard input is empty, and no terminal. An error that the command did not expect is raised."""
    from service.commands.main import app

    try:
        result = CliRunner().invoke(app, list(arguments), env=settings)
    finally:
        logging.disable(logging.NOTSET)  # commands silence logs in their process
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(arguments, result.exit_code, result.stdout, result.stderr)


def _checked(ran: Ran, check: bool) -> Ran:
    if check and ran.returncode:
        raise Failed(f"ratchet {' '.join(ran.args)} ended with status {ran.returncode}: {ran.stderr.strip()}")
    return ran


class Failed(Exception):
    """The command or the service did not do what it was started for; the message says what it said."""


class World:
    """A topic prefix, a consumer group and a database that nobody else uses, on shared servers."""

    def __init__(
        self,
        broker: Server,
        database: Server,
        folder: Path,
        prefix: str | None = None,
        name: str | None = None,
        partitions: int = 4,
        **settings: str,
    ) -> None:
        self.broker = broker
        self.database = database
        self.folder = folder
        self.partitions = partitions
        self.name = f"w{uuid.uuid4().hex[:8]}" if name is None else name
        self.prefix = f"{self.name}." if prefix is None else prefix
        self.settings = {
            "RATCHET_KAFKA_BOOTSTRAP_SERVERS": broker.address,
            "RATCHET_MONGODB_URI": database.address,
            "RATCHET_MONGODB_DATABASE": self.name,
            "RATCHET_GROUP": self.name,
            "RATCHET_TOPIC_PREFIX": self.prefix,
            "RATCHET_PARTITIONS": str(partitions),
            **broker.settings,
            **settings,
        }

    def run(self, *arguments: str, check: bool = True, folder: str = ".", **settings: str) -> Ran:
        """Run a command to its end, in this process: starting one takes longer than most commands. `folder`: where."""
        with _ONE_AT_A_TIME, chdir(folder), ThreadPoolExecutor(1) as thread:  # its event loop is not the test's
            ran = thread.submit(_invoke, arguments, {**self.settings, **settings}).result()
        return _checked(ran, check)

    def run_process(self, *arguments: str, check: bool = True, **settings: str) -> Ran:
        """Run a command to its end, in a process of its own."""
        ran = subprocess.run(
            [RATCHET, *arguments],
            env={**os.environ, **self.settings, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        return _checked(ran, check)

    def create_topics(self) -> None:
        """What `ratchet topics create` does; the embedded broker creates topics as they are asked for."""
        if self.broker.real:
            self.run("topics", "create")
            return
        from confluent_kafka.admin import AdminClient

        from contracts.topics import TOPICS

        client = AdminClient({"bootstrap.servers": self.broker.address})
        for topic in TOPICS:
            client.list_topics(self.prefix + topic.name, timeout=10)

    def serve(self, **settings: str) -> "Serving":
        """Start `ratchet serve`."""
        return Serving(self, settings)

    def web(self, **settings: str) -> "Web":
        """Start `ratchet web`."""
        return Web(self, settings)


class Serving:
    """A running `ratchet serve`."""

    def __init__(self, world: World, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log = world.folder / f"{world.name}-{self.port}.log"
        environment = {**world.settings, "RATCHET_HTTP_PORT": str(self.port), **settings}
        self.process = start_process([RATCHET, "serve"], self.log, environment)

    def get(self, path: str, accept: str = "*/*") -> tuple[int, str]:
        """Status and body."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_until_ready(self) -> "Serving":
        """Until /readyz says so and there is a lane."""
        deadline = time.monotonic() + READY_SECONDS
        status, body = 0, ""
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failed(f"ratchet serve ended: {self.log.read_text()[-2000:].strip()}")
            try:
                status, body = self.get("/readyz")
            except OSError:
                status, body = 0, ""
            if status == 200 and json.loads(body)["lanes"]:
                return self
            time.sleep(0.05)
        raise Failed(f"ratchet serve is not ready: {status} {body}\n{self.log.read_text()[-2000:]}")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Signal it, and give its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def wait(self, seconds: float = 30.0) -> int:
        """Until it ends by itself; gives its exit status."""
        return self.process.wait(seconds)


class Web:
    """A running `ratchet web`."""

    def __init__(self, world: World, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = world.folder / f"{world.name}-web-{self.port}.log"
        environment = {**world.settings, "RATCHET_WEB_PORT": str(self.port), **settings}
        self.process = start_process([RATCHET, "web"], self.log, environment)

    def link(self) -> str:
        """The newest address that it printed: where there is no identity provider, it opens the console, once."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            printed = [line for line in self.log.read_text().splitlines() if line.startswith(SAYS)]
            if printed:
                return printed[-1].removeprefix(SAYS)
            time.sleep(0.05)
        raise Failed(f"ratchet web does not listen: {self.log.read_text()[-2000:].strip()}")

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, and give its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(seconds)
