"""Credentials, their statuses, and how far each record was read: in one SQLite file, what belongs together at once.

A credential of a learner who was erased is gone; its place in the status list stays, revoked.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts.reader import Cursor

Json = dict[str, Any]
SCHEMA = """
CREATE TABLE IF NOT EXISTS cursors (record TEXT PRIMARY KEY, cursor TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS certificates (
    place INTEGER PRIMARY KEY,
    certificate_id TEXT NOT NULL UNIQUE,
    record TEXT,
    credential TEXT,
    revoked INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_record ON certificates (record);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Store:
    """`with store.transaction():` around what belongs together; after a crash all of it is there, or nothing."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(SCHEMA)

    def close(self) -> None:
        """Nothing more is asked."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        with self._database:
            yield

    def cursor(self, record: str) -> Cursor:
        """How far a record was read."""
        found = self._one("SELECT cursor FROM cursors WHERE record = ?", record)
        return Cursor.read(found[0] if found else "")

    def keep(self, record: str, cursor: Cursor) -> None:
        """A record was read so far."""
        self._database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (record, cursor.text()))

    def issue(self, record: str, certificate_id: str, make: Callable[[int], Json]) -> None:
        """A new credential, made for its place in the status lists; one that is there stays, valid from now on."""
        if self._one("SELECT 1 FROM certificates WHERE certificate_id = ?", certificate_id):
            self.mark(certificate_id, revoked=False)
            return
        place = self.issued()
        row = place, certificate_id, record, json.dumps(make(place))
        self._database.execute(
            "INSERT INTO certificates (place, certificate_id, record, credential) VALUES (?, ?, ?, ?)", row
        )

    def mark(self, certificate_id: str, *, revoked: bool) -> None:
        """Revoked, or valid again; nothing where there is no such credential."""
        self._database.execute(
            "UPDATE certificates SET revoked = ? WHERE certificate_id = ? AND credential IS NOT NULL",
            (revoked, certificate_id),
        )

    def revoke_all(self, record: str) -> None:
        """All that a record has."""
        self._database.execute("UPDATE certificates SET revoked = 1 WHERE record = ?", (record,))

    def forget(self, learner: str) -> None:
        """All of an erased learner, by tenant and id with a slash between."""
        within = f"{learner}/", f"{learner}0"  # what follows a slash is a zero
        self._database.execute(
            "UPDATE certificates SET revoked = 1, credential = NULL, record = NULL WHERE record > ? AND record < ?",
            within,
        )
        self._database.execute("DELETE FROM cursors WHERE record > ? AND record < ?", within)

    def credential(self, certificate_id: str) -> Json | None:
        """A credential; None where there is none. Raises KeyError where it is gone."""
        found = self._one("SELECT credential FROM certificates WHERE certificate_id = ?", certificate_id)
        if found is None:
            return None
        if found[0] is None:
            raise KeyError(certificate_id)
        said: Json = json.loads(found[0])
        return said

    def revoked(self, first: int, end: int) -> list[int]:
        """Places of those that are revoked, from `first` on, before `end`."""
        query = "SELECT place FROM certificates WHERE revoked = 1 AND place >= ? AND place < ?"
        return [place for (place,) in self._database.execute(query, (first, end))]

    def issued(self) -> int:
        """How many places there are."""
        (count,) = self._one("SELECT coalesce(max(place) + 1, 0) FROM certificates") or (0,)
        return int(count)

    def fact(self, name: str) -> str | None:
        """What was noted under a name."""
        found = self._one("SELECT value FROM facts WHERE name = ?", name)
        return None if found is None else str(found[0])

    def note(self, name: str, value: str) -> None:
        """Note it."""
        self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._database.execute(query, values).fetchone()
        return found
