"""Certificates: issued once and revoked, whatever comes again; verified by a library that nobody here wrote."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.admin.test_learner import about
from tests.commands.test_commands import DEFINITION, RESET
from tests.stack.build import built
from tests.stack.servers import NotAvailable, free_port
from tests.stack.service import World
from tests.stack.wire import Wire

Json = dict[str, Any]
SECONDS = 60.0


class Certificates:
    """The service, as a process of its own."""

    def __init__(self, world: World, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._environment = {
            "CERTIFICATES_KAFKA_BOOTSTRAP_SERVERS": world.broker.address,
            "CERTIFICATES_TOPIC_PREFIX": world.prefix,
            "CERTIFICATES_FOLDER": str(folder),
            "CERTIFICATES_HTTP_PORT": str(self.port),
        }

    def start(self, **settings: str) -> "subprocess.Popen[str]":
        """Start it."""
        environment = {**os.environ, **self._environment, **settings}
        command = [sys.executable, "-m", "contracts.examples.certificates"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[str]"]:
        """While the context lasts, once it reads; asked kindly, it ends well."""
        process = self.start()
        try:
            assert process.stdout is not None and any(line.endswith(" reading\n") for line in process.stdout)
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                said, _ = process.communicate(timeout=SECONDS)
                assert process.returncode == 0, said
        finally:
            process.kill()
            process.communicate()

    def get(self, path: str) -> Json:
        """What it serves. Raises HTTPError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=SECONDS) as answer:
            said: Json = json.loads(answer.read())
            return said

    def rows(self) -> list[tuple[str, int]]:
        """Certificates that are there, in order of their places, and whether each is revoked."""
        if not (self.folder / "certificates.db").exists():
            return []
        with sqlite3.connect(self.folder / "certificates.db") as database:
            return list(database.execute("SELECT certificate_id, revoked FROM certificates ORDER BY place"))

    async def come_to(self, valid: set[str], revoked: set[str] | None = None) -> None:
        """Wait until these certificates are valid, and these, where they are given, are the others."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = dict(self.rows())
            others = {one for one in found if found[one]}
            if found.keys() - others == valid and revoked in (None, others):
                return
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.1)


def reassigned(learner: str) -> tuple[str, Json]:
    """It is to be done again."""
    about = {"tenant_id": "acme", "learner_id": learner, "course_id": "c-1"}
    return "reassigned", {"message_id": f"{learner}-r", **about, "changed_at": "2026-02-01T00:00:00Z"}


async def certificate_ids(wire: Wire, action: str = "issue") -> dict[str, str]:
    """By learner, what Ratchet has told."""
    told = [change.json for change in await wire.read("course-completion-changed")]
    said = [one for one in told if one.get("certificate", {}).get("action") == action]
    return {one["learner_id"]: one["certificate"]["certificate_id"] for one in said}


async def some_certificates(wire: Wire) -> tuple[str, str]:
    """Of l-1, corrected to nothing since, and of l-2, reassigned since."""
    await wire.send([("course-defined", {**DEFINITION, "title": "Safety at work"})])
    await wire.settled()
    await wire.send([about("l-1"), about("l-2")])
    await wire.settled()
    await wire.send([about("l-1", **RESET), reassigned("l-2")])
    await wire.settled()
    ids = await certificate_ids(wire)
    assert await certificate_ids(wire, "revoke") == {"l-2": ids["l-2"]}
    return ids["l-1"], ids["l-2"]


async def test_certificates_are_issued_once_and_revoked(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    service = Certificates(world, tmp_path)
    with service.running():
        await wire.send([("course-defined", {**DEFINITION, "title": "Safety at work"})])
        await wire.settled()
        await wire.send([about("l-1"), about("l-2")])
        await wire.settled()
        ids = await certificate_ids(wire)
        await service.come_to(set(ids.values()), set())
        issued = service.get(f"/credentials/{ids['l-2']}")
        await wire.send([about("l-1", **RESET), reassigned("l-2")])
        await wire.settled()
        await service.come_to({ids["l-1"]}, {ids["l-2"]})
        assert service.get(f"/credentials/{ids['l-2']}") == issued, "what was signed stays"
        assert issued["name"] == "Safety at work" and issued["validFrom"] == "2026-01-02T09:00:00Z"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            service.get("/credentials/another")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            service.get("/status/1")
        credentials = [service.get(f"/credentials/{one}") for one in (ids["l-1"], ids["l-2"])]
        verified = verify(tmp_path, [*credentials, {**issued, "name": "Another"}], service.get("/status/0"))
    assert [(one["verified"], one.get("revoked")) for one in verified] == [
        (True, False),
        (True, True),
        (False, True),
        (True, None),
    ], verified
    assert (tmp_path / "issuer-key.pem").stat().st_mode & 0o777 == 0o600
    assert await asyncio.to_thread(serving.stop) == 0


def verify(folder: Path, credentials: Sequence[Json], status_list: Json) -> list[Json]:
    """What Digital Bazaar's libraries say: of each credential, and of the list."""
    try:
        (folder / "credentials").write_text("\n".join(map(json.dumps, credentials)))
        (folder / "list").write_text(json.dumps(status_list))
        program = built("interop/badges", str(folder / "credentials"), str(folder / "list"))
    except NotAvailable as why:
        pytest.skip(str(why))
    ran = subprocess.run(program.command, cwd=program.folder, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.full
async def test_nothing_is_issued_twice_whatever_comes_again(world: World, wire: Wire, tmp_path: Path) -> None:
    """Killed amid its work, again and again; read from the beginning again; and what is no change harms nothing."""
    serving = world.serve().wait_until_ready()
    service = Certificates(world, tmp_path)
    with service.running():
        pass  # so that it knows of all that comes
    first, second = await some_certificates(wire)
    for after_seconds in (1.0, 1.6, 2.2):
        process = service.start()
        await asyncio.sleep(after_seconds)
        process.kill()
        process.communicate()
    producer = Producer({"bootstrap.servers": world.broker.address})
    producer.produce(wire.full_name("course-completion-changed"), b"{}", b"acme/l-1/c-1")
    producer.flush()
    with service.running():
        await service.come_to({first}, {second})
    signed = sqlite3.connect(tmp_path / "certificates.db").execute("SELECT credential FROM certificates").fetchall()
    forget_offsets(world)
    with service.running():
        await wire.send([about("l-3")])
        await wire.settled()
        third = (await certificate_ids(wire))["l-3"]
        await service.come_to({first, third}, {second})
    again = sqlite3.connect(tmp_path / "certificates.db").execute("SELECT credential FROM certificates").fetchall()
    assert again[:2] == signed and len(again) == 3
    assert await asyncio.to_thread(serving.stop) == 0


def forget_offsets(world: World) -> None:
    """So that all is read from the beginning again."""
    admin, group = AdminClient({"bootstrap.servers": world.broker.address}), f"{world.prefix}certificates"
    deadline = time.monotonic() + SECONDS
    while admin.describe_consumer_groups([group])[group].result().members:  # those that were killed, for their session
        assert time.monotonic() < deadline
        time.sleep(0.2)
    admin.delete_consumer_groups([group])[group].result()


@pytest.mark.full
async def test_who_joins_late_begins_with_where_records_stand(world: World, wire: Wire, tmp_path: Path) -> None:
    """No change of the time before is needed: what was revoked before is not valid here, if it is here at all."""
    serving = world.serve().wait_until_ready()
    first, second = await some_certificates(wire)
    service = Certificates(world, tmp_path)
    with service.running():
        await service.come_to({first})
        await wire.send([about("l-2", changed_at="2026-03-01T00:00:00Z", message_id="again")])
        await wire.settled()
        new = (await certificate_ids(wire))["l-2"]
        assert new != second
        await service.come_to({first, new})
    assert await asyncio.to_thread(serving.stop) == 0


@pytest.mark.full
async def test_of_an_erased_learner_no_credential_is_left(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    service = Certificates(world, tmp_path)
    first, _ = await some_certificates(wire)
    with service.running():
        await service.come_to({first})
        world.run("learner", "erase", "acme", "l-1", "--yes")
        await service.come_to(set())
        with pytest.raises(urllib.error.HTTPError, match="410"):
            service.get(f"/credentials/{first}")
        assert service.get("/status/0")["type"] == ["VerifiableCredential", "BitstringStatusListCredential"]
    assert b"l-1" not in (tmp_path / "certificates.db").read_bytes().replace(b"l-10", b"")
    assert await asyncio.to_thread(serving.stop) == 0


@pytest.mark.full
def test_what_a_person_can_mend_is_one_line(world: World, tmp_path: Path) -> None:
    service = Certificates(world, tmp_path)
    for settings, told in (
        ({"CERTIFICATES_HTTP_PORT": "many"}, "certificates: CERTIFICATES_HTTP_PORT: Input should be a valid integer"),
        ({"CERTIFICATES_FOLDER": "/proc/none"}, "certificates: [Errno 2] No such file or directory: '/proc/none'"),
    ):
        process = service.start(**settings)
        said, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 2 and said.startswith(told) and len(said.splitlines()) == 1, said
    helped = subprocess.run(
        [sys.executable, "-m", "contracts.examples.certificates", "--help"], capture_output=True, text=True, check=True
    )
    assert "CERTIFICATES_FOLDER" in helped.stdout and "example:" in helped.stdout
