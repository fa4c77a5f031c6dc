"""What all rows of a file say, before the first is judged, and what came of each: on disk, of any size."""

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from service.admin.connections import Connection
from service.admin.files.cells import Row
from service.admin.reading import Said

TABLES = (
    "create table targets (target text, line int, says blob, primary key (target, line)) without rowid",
    "create table connections (target text, line int, joined int, left int, minutes int, placed int)",
    "create index by_target on connections (target, line)",
    "create table sent (line int primary key, key text, message_id text, value blob)",
    "create table results (line int primary key, verdict text, why text, effect text)",
    "create index by_key on sent (key, line)",
)


class Noted:
    """Made by `noting`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        for table in TABLES:
            database.execute(table)

    def note(self, row: Row, said: Said) -> None:
        """Every row, before the first is judged.

        Rows that say when it was say the same if their values are; others only if all their cells are.
        """
        says = repr(said.heard.fact.value) if said.is_dated else "\0".join(row.cells)
        digest = hashlib.sha256(says.encode()).digest()
        self._database.execute("insert into targets values (?, ?, ?)", (said.target, row.line, digest))
        if said.connection is not None:
            line, *about = said.connection
            self._database.execute("insert into connections values (?, ?, ?, ?, ?, ?)", (said.target, line, *about))

    def others(self, line: int, said: Said) -> tuple[list[int], bool, list[Connection]]:
        """The other lines with the same target; whether all say the same; if all are connections, these."""
        asked = "select line, says from targets where target = ? order by line"
        found = self._database.execute(asked, (said.target,)).fetchall()
        connections = self._connections(said.target) if said.connection is not None else []
        lines = [other for other, _ in found if other != line]
        return lines, len({says for _, says in found}) == 1, connections if len(connections) == len(found) else []

    def _connections(self, target: str) -> list[Connection]:
        asked = "select line, joined, left, minutes, placed from connections where target = ? order by line"
        found = self._database.execute(asked, (target,))
        return [Connection(line, joined, left, minutes, bool(placed)) for line, joined, left, minutes, placed in found]

    def keep(self, line: int, said: Said) -> None:
        """What is to be sent because of this line."""
        heard = said.heard
        self._database.execute(
            "insert into sent values (?, ?, ?, ?)", (line, heard.key, heard.fact.message_id, said.value)
        )

    def to_send(self, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Line, record's key and message of what comes after a line."""
        asked = "select line, key, value from sent where line > ? order by line limit ?"
        return self._database.execute(asked, (after, limit)).fetchall()

    def by_record(self) -> Iterator[tuple[str, int, bytes]]:
        """All that is to be sent, record by record."""
        return iter(self._database.execute("select key, line, value from sent order by key, line"))

    def sent(self) -> Iterator[tuple[int, str, str]]:
        """Line, record's key and message id of all that is to be sent, record by record."""
        return iter(self._database.execute("select line, key, message_id from sent order by key, line"))

    def result(self, line: int, verdict: str, why: str) -> None:
        """What a row is told."""
        self._database.execute("insert into results values (?, ?, ?, '')", (line, verdict, why))

    def effect(self, lines: Iterable[int], effect: str) -> None:
        """What becomes of the record because of these lines."""
        self._database.executemany("update results set effect = ? where line = ?", [(effect, line) for line in lines])

    def results(self) -> Iterator[tuple[int, str, str, str]]:
        """Line, verdict, reason and effect, in the order of the lines."""
        return iter(self._database.execute("select line, verdict, why, effect from results order by line"))


@contextmanager
def noting() -> Iterator[Noted]:
    """For one file."""
    with tempfile.NamedTemporaryFile(prefix="ratchet-") as file:
        database = sqlite3.connect(file.name)
        database.execute("pragma synchronous = off")
        try:
            yield Noted(database)
        finally:
            database.close()
