"""The example services beside `make run`: what they have made of the scenarios."""

import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.stack.servers import free_port
from tests.stack.service import Failed, World
from tests.stack.wire import Wire

SECONDS = 60.0
VIEW = "SELECT * FROM completions_by_course_and_month ORDER BY tenant, course, month"


async def expected(world: World) -> tuple[dict[str, bool], int]:
    """Which certificates were issued, whether they are revoked, and how many records there are, as the topics tell."""
    async with Wire(world) as wire:
        changes = [message.json for message in await wire.read("course-completion-changed")]
        told = [one["certificate"] for one in sorted(changes, key=lambda change: int(change["sequence"]))]
        revoked = {one["certificate_id"]: one["action"] == "revoke" for one in told if one["action"] != "none"}
        return revoked, len({message.key for message in await wire.read("record-state")})


class Examples:
    """Both services, while the context of `running` lasts."""

    def __init__(self, folder: Path, port: int) -> None:
        self._certificates = folder / "certificates" / "certificates.db"
        self._reporting = folder / "reporting.db"
        self._address = f"http://127.0.0.1:{port}"

    def show(self, console: Console, revoked: Mapping[str, bool], records: int) -> None:
        """What they say, once they have come to these certificates and to so many records. Raises Failed."""
        of_certificates = "SELECT certificate_id, revoked FROM certificates ORDER BY place"
        count = "SELECT count(*) FROM (SELECT DISTINCT learner_key, course_key FROM completion)"
        _until(lambda: dict(_ask(self._certificates, of_certificates)) == revoked, "certificates")
        _until(lambda: _ask(self._reporting, count)[0][0] >= records, "reporting")
        certificates = Table("Credential", "Name", "Revoked", title="Certificates: contracts/examples/certificates")
        for certificate_id, is_revoked in _ask(self._certificates, of_certificates):
            address = f"{self._address}/credentials/{certificate_id}"
            certificates.add_row(address, _fetched(address)["name"], "yes" if is_revoked else "no")
        console.print(certificates)
        console.print(f"Which are revoked, for who has to check one: {self._address}/status/0\n", soft_wrap=True)
        names, rows = _table(self._reporting, VIEW)
        reporting = Table(*names, title="Reporting: contracts/examples/reporting, its view by course and month")
        for row in rows:
            reporting.add_row(*map(str, row))
        console.print(reporting)
        console.print(f"For any BI tool, as long as this runs: {self._reporting}\n", soft_wrap=True)


@contextmanager
def running(world: World, folder: Path) -> Iterator[Examples]:
    """Start both, until they read, and end them. Raises Failed where one does not begin or end well."""
    port = free_port()
    certificates = {
        "CERTIFICATES_KAFKA_BOOTSTRAP_SERVERS": world.broker.address,
        "CERTIFICATES_TOPIC_PREFIX": world.prefix,
        "CERTIFICATES_FOLDER": str(folder / "certificates"),
        "CERTIFICATES_HTTP_PORT": str(port),
    }
    reporting = {
        "REPORTING_KAFKA_BOOTSTRAP_SERVERS": world.broker.address,
        "REPORTING_TOPIC_PREFIX": world.prefix,
        "REPORTING_DATABASE_URL": f"sqlite:///{folder / 'reporting.db'}",
    }
    started = []
    try:
        for name, settings in (("certificates", certificates), ("reporting", reporting)):
            with (folder / f"{name}.log").open("w") as log:
                command = [sys.executable, "-m", f"contracts.examples.{name}"]
                started.append(
                    subprocess.Popen(command, env={**os.environ, **settings}, stdout=log, stderr=subprocess.STDOUT)
                )
        _until(lambda: " reading" in (folder / "certificates.log").read_text(), "certificates")
        _until(lambda: _ask(folder / "reporting.db", VIEW) == [], "reporting")
        yield Examples(folder, port)
    finally:
        for process in started:
            process.terminate()
        ended = [process.wait(SECONDS) for process in started]
    if any(ended):
        raise Failed(f"certificates and reporting ended with {ended}: see {folder}")


def _until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if holds():
                return
        except sqlite3.OperationalError:
            pass  # it makes its tables still
        if time.monotonic() > deadline:
            raise Failed(f"the example service {what} has not come so far within {SECONDS:.0f} s")
        time.sleep(0.2)


def _ask(path: Path, query: str) -> list[Any]:
    return _table(path, query)[1]


def _table(path: Path, query: str) -> tuple[list[str], list[Any]]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = database.execute(query)
        return [column[0] for column in found.description], found.fetchall()
    finally:
        database.close()


def _fetched(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:
        return json.loads(answer.read())
