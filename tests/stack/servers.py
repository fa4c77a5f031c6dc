"""What every server has in common: an address, a way to stop it, a reason why it cannot be had."""

import atexit
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

START_SECONDS = 60.0


STARTED: list[subprocess.Popen[bytes]] = []


class NotAvailable(Exception):
    """This way of getting a server does not work here; the message says why, and what to install."""


class Daemon:
    """A server process on this machine that can die and come back, on the same port and data."""

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self._command = command
        self._port = port
        self._log = log
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens. Raises NotAvailable."""
        self._process = start_process(self._command, self._log)
        wait_for_port(self._port, self._process, self._log)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        stop_process(self._process)

    def kill(self) -> None:
        """As a power cut does."""
        self._process.kill()
        self._process.wait()


class Server(NamedTuple):
    """A running server. `how`: one line for people. `settings`: what the service needs besides the address."""

    address: str
    how: str
    stop: Callable[[], None]
    settings: Mapping[str, str] = {}
    real: bool = True
    daemon: Daemon | None = None
    """Where it was started as a process here."""
    sasl_address: str | None = None
    """Where it wants user and password."""
    is_ours: bool = True
    """Started here, for us alone."""


_GIVEN: set[int] = set()


def free_port() -> int:
    """A port that was free a moment ago, and that was not given to anybody here before."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = int(listening.getsockname()[1])
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port


def start_process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, so that Ctrl-C reaches it only through `stop_process`.

    Whatever still runs when this process ends is stopped then.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    STARTED.append(process)
    return process


def stop_all() -> None:
    """Stop whatever was started here and still runs."""
    while STARTED:
        stop_process(STARTED.pop())


atexit.register(stop_all)


def stop_process(process: subprocess.Popen[bytes], grace_seconds: float = 10.0) -> None:
    """SIGTERM, then SIGKILL after the grace; only this process."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until something listens. Raises NotAvailable with the end of the log when the process ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    stop_process(process)
    raise NotAvailable(f"the server did not start: {log.read_text(errors='replace')[-500:]}")
