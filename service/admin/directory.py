"""Who somebody in a file is: e-mail, external id or name → learner id, from a file that the LMS exports."""

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import ascii_letters, digits

from service.admin.files.cells import Row
from service.admin.files.spreadsheet import open_sheet
from service.admin.files.words import id_problem
from service.admin.formats.catalogue import OWN, FieldName, plain, shipped
from service.errors import FixConfiguration

NEAR = 3
"""So many near misses are named."""
NEAR_LENGTH = 64
"""Characters; of longer names none is looked for."""
NEAR_LOOKS = 100
"""For so many that are not found."""
ID_LETTERS = ascii_letters + digits + "._:@+-"


CALLING: set[FieldName] = {"other_id", "name", "last_name"}


class Unfound(Exception):
    """Nobody, or more than one; the message says so."""


class Directory:
    """Made by `open_directory`. On disk, so that its size does not matter."""

    def __init__(self, database: sqlite3.Connection, unread: Sequence[str] = ()) -> None:
        self.unread = [heading for heading in unread if heading]
        """Headings of columns that call nobody anything."""
        self._database = database
        database.execute("create table names (name text, learner text, primary key (name, learner)) without rowid")
        self._letters = ""
        self._looked: dict[str, list[tuple[str, str]]] = {}

    def add(self, name: str, learner_id: str) -> None:
        """Somebody who is called that."""
        self._database.execute("insert or ignore into names values (?, ?)", (spelled(name), learner_id))

    def find(self, name: str) -> str:
        """The learner who is called that. Raises Unfound."""
        found = self._of(spelled(name))
        if len(found) == 1:
            return found[0]
        if found:
            raise Unfound(f"is called so by {len(found)} learners: {', '.join(found[:NEAR])}")
        near = [f"{learner} ({called})" for called, learner in self._near(spelled(name))]
        raise Unfound("is not in --learners" + (f"; near: {', '.join(near)}" if near else ""))

    def _of(self, name: str) -> list[str]:
        found = self._database.execute("select learner from names where name = ? order by learner", (name,))
        return [learner for (learner,) in found]

    def _near(self, name: str) -> list[tuple[str, str]]:
        if name not in self._looked and len(name) <= NEAR_LENGTH and len(self._looked) < NEAR_LOOKS:
            self._looked[name] = self._look(name)
        return self._looked.get(name, [])

    def _look(self, name: str) -> list[tuple[str, str]]:
        if not self._letters:
            found = self._database.execute("select name from names limit 10000")
            self._letters = "".join(sorted({letter for (called,) in found for letter in called}))
        near: list[tuple[str, str]] = []
        for other in sorted(one_edit_away(name, self._letters)):
            near += [(other, learner) for learner in self._of(other)]
            if len(near) >= NEAR:
                break
        return near[:NEAR]


def spelled(name: str) -> str:
    """What of a name or an address matters: `Beck, Anna` is `anna beck`."""
    last, comma, first = name.partition(",")
    whole = f"{first} {last}" if comma and "," not in first else name
    return " ".join(whole.split()).casefold()


def one_edit_away(text: str, letters: str) -> set[str]:
    """All texts with one letter more, less, other, or two neighbours changed."""
    parts = [(text[:at], text[at:]) for at in range(len(text) + 1)]
    less = {left + right[1:] for left, right in parts if right}
    swapped = {left + right[1] + right[0] + right[2:] for left, right in parts if len(right) > 1}
    other = {left + letter + right[1:] for left, right in parts if right for letter in letters}
    more = {left + letter + right for left, right in parts for letter in letters}
    return (less | swapped | other | more) - {text, ""}


@contextmanager
def open_directory(path: Path) -> Iterator[Directory]:
    """Read the file: a column Learner, and any of e-mail, external id and name. Raises FixConfiguration."""
    sheet = open_sheet(path, [form for form in shipped() if form.name == OWN])
    fields = {number: _field(heading) for number, heading in enumerate(sheet.headings)}
    whose = [number for number, field in fields.items() if field == "learner_id"]
    if len(whose) != 1:
        there = ", ".join(map(repr, filter(None, sheet.headings)))
        raise FixConfiguration(
            f"--learners: {path}: line {sheet.heading_line}: one heading must be Learner; there are: {there}"
        )
    with tempfile.NamedTemporaryFile(prefix="ratchet-") as file:
        database = sqlite3.connect(file.name)
        database.execute("pragma synchronous = off")
        try:
            directory = Directory(database, [sheet.headings[number] for number, field in fields.items() if not field])
            for row in sheet.rows():
                _note(path, directory, row, whose[0], fields)
            yield directory
        finally:
            database.close()


def _field(heading: str) -> FieldName | None:
    """What a column is: by our own headings; what calls somebody something, also by those of other programs."""
    known = [form.by_heading.get(plain(heading)) for form in sorted(shipped(), key=lambda form: form.name != OWN)]
    own, calling = known[0], [field for field in known if field in CALLING]
    return own if own in {"learner_id", *CALLING} else next(iter(calling), None)


def _note(path: Path, directory: Directory, row: Row, whose: int, fields: Mapping[int, FieldName | None]) -> None:
    """What the columns call the learner: an address, an id of another system, a name."""
    read = [number for number, field in fields.items() if field is not None and number < len(row.cells)]
    cells = {number: row.cells[number] for number in read if row.cells[number]}
    learner_id = cells.pop(whose, "")
    if not learner_id:
        return
    problem = id_problem(learner_id)
    if problem is not None:
        raise FixConfiguration(f"--learners: {path}: line {row.line}: {problem}")
    directory.add(learner_id, learner_id)
    names = {field: number for number, field in fields.items() if field in {"name", "last_name"}}
    if len(names) > 1:
        parts = [cells.pop(names[field], "") for field in ("name", "last_name")]
        if all(parts):
            directory.add(" ".join(parts), learner_id)
    for cell in cells.values():
        directory.add(cell, learner_id)
