"""A way to get a server that is there but does not work gives way to the next one within seconds, and says why."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import choose, kafka, mongodb
from tests.stack.servers import NotAvailable, Server


class _NoRegistry(http.server.BaseHTTPRequestHandler):
    """A Docker daemon that answers, has no image, and can pull none."""

    def do_GET(self) -> None:
        if self.path.endswith("/_ping"):
            self._answer(200, b"OK")
        elif self.path.endswith("/version"):
            self._answer(200, json.dumps({"ApiVersion": "1.45", "Version": "28.2.2"}).encode())
        else:
            self._answer(404, b'{"message": "No such image"}')

    def do_HEAD(self) -> None:
        self._answer(200, b"")

    def do_POST(self) -> None:
        self._answer(200, b'{"error": "lookup registry: no such host"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Api-Version", "1.45")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def _docker_without_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """DOCKER_HOST names such a daemon."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NoRegistry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("_docker_without_registry")
def test_docker_that_can_pull_no_image_gives_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    begin = time.monotonic()
    ways = (kafka.from_docker, kafka.embedded)
    server = choose.broker(tmp_path, said.append, ways)
    server.stop()
    assert time.monotonic() - begin < 30
    assert "Docker cannot pull confluentinc/cp-kafka" in said[0]
    assert "no such host" in said[0]
    assert "embedded mock broker" in said[1]
    with pytest.raises(NotAvailable, match="Docker cannot pull mongo"):
        mongodb.from_docker(tmp_path)
    assert "Pulling the Docker image" in capsys.readouterr().out


def test_no_docker_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(NotAvailable, match="no Docker daemon answers"):
        kafka.from_docker(tmp_path)


def executable(path: Path, script: str) -> None:
    """A command of our own."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        ({}, "there is no java; install Java 17"),
        ({"java": "echo 'openjdk version \"11.0.2\"' >&2"}, "java is older than 17"),
        ({"java": "echo 'openjdk version \"21.0.2\"' >&2"}, "there is no mvn"),
        (
            {"java": "echo 'openjdk version \"17.0.2\"' >&2", "mvn": "echo '[ERROR] Network is unreachable'; exit 1"},
            "Maven cannot fetch Apache Kafka: .ERROR. Network is unreachable",
        ),
    ],
)
def test_what_java_or_maven_lack_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, commands: dict[str, str], says: str
) -> None:
    for name, script in commands.items():
        executable(tmp_path / name, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(NotAvailable, match=says):
        kafka.from_java(tmp_path)


def test_addresses_in_the_environment_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("RATCHET_KAFKA_BOOTSTRAP_SERVERS", address)
        assert choose.broker(tmp_path, said.append).address == address
    assert len(said) == 1


def test_addresses_at_which_nothing_answers_give_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for address in ("127.0.0.1:1", "", "nonsense"):
        monkeypatch.setenv("RATCHET_KAFKA_BOOTSTRAP_SERVERS", address)
        with pytest.raises(NotAvailable, match="nothing answers at RATCHET_KAFKA_BOOTSTRAP_SERVERS"):
            kafka.from_environment(tmp_path)
    for address in ("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100", "nonsense"):
        monkeypatch.setenv("RATCHET_MONGODB_URI", address)
        with pytest.raises(NotAvailable, match="nothing answers at RATCHET_MONGODB_URI"):
            mongodb.from_environment(tmp_path)


def test_when_nothing_works_every_reason_is_given(tmp_path: Path) -> None:
    def one(_: Path) -> Server:
        raise NotAvailable("install this")

    def other(_: Path) -> Server:
        raise NotAvailable("install that")

    with pytest.raises(choose.NothingWorks, match="no Kafka broker can be had: one: install this; other: install that"):
        choose.broker(tmp_path, print, (one, other))
