"""Reads tables that people made, row by row, never the whole file: CSV of any kind (`delimited`), XLSX (`workbook`).

Finds the table between title lines and totals, and tells of all that is not read.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from service.errors import FixConfiguration

HEAD_ROWS = 50
"""The headings stand among the first so many rows."""
CHUNK_BYTES = 1024 * 1024
KINDS = (
    (b"\xd0\xcf\x11\xe0", "is an Excel 97-2003 workbook (.xls), or protected by a password; save it as .xlsx"),
    (b"%PDF", "is a PDF; save the table as .xlsx or CSV"),
)
"""Other files by how they begin, and the way out."""
WEB_PAGE = "is a web page, whatever its name says; open it in a spreadsheet program and save it as .xlsx"
OPEN_DOCUMENT = "is an OpenDocument spreadsheet (.ods); save it as .xlsx or CSV"
AS_TEXT = "format the column as text and enter it anew"
Known = Callable[[Sequence[str]], int]
"""How many of a row's cells are headings that are known."""


class Row(NamedTuple):
    """A row with the number that a spreadsheet program shows; `hidden`: by a filter, or by hand.

    Its cells are texts as a person sees them, without spaces around.
    """

    line: int
    cells: Sequence[str]
    hidden: bool = False


class Doubtful(str):
    """What a cell holds, where that is not what a person sees in it: no id. `why` tells, and the way out."""

    __slots__ = ("why",)
    why: str

    @classmethod
    def because(cls, text: str, why: str) -> "Doubtful":
        """Such a text."""
        made = cls(text)
        made.why = why
        return made


class Read(NamedTuple):
    """How a file is read: the rows of its table, the headings first, and what of the file is not among them."""

    rows: Callable[[], Iterator[Row]]
    notes: Sequence[str]


class Sheet(NamedTuple):
    """A file that can be read: what identifies its content, its headings, how many rows it has, what is not read."""

    path: Path
    digest: str
    headings: Sequence[str]
    heading_line: int
    row_count: int
    notes: Sequence[str]
    read: Read

    def rows(self) -> Iterator[Row]:
        """All rows below the headings that are not empty. Headings that come again are no rows."""
        return (row for row in self.read.rows() if row.line > self.heading_line and row.cells != self.headings)


def open_sheet(path: Path, known: Known, name: str | None = None) -> Sheet:
    """Read it once from end to end. Raises FixConfiguration that says what is wrong with the file, and where.

    `name`: of the sheet to read, where there are several.
    """
    try:
        return _open(path, known, name)
    except OSError as error:
        raise FixConfiguration(f"{path}: {error.strerror or error}") from None


def _open(path: Path, known: Known, name: str | None) -> Sheet:
    from service.admin import delimited, workbook

    digest = hashlib.sha256()
    with path.open("rb") as file:
        begin = file.read(CHUNK_BYTES)
        digest.update(begin)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    _check_kind(path, begin)
    read = workbook.read(path, known, name) if zipfile.is_zipfile(path) else delimited.read(path, known, name)
    found = _headings(read, known)
    if found is None:
        raise FixConfiguration(f"{path}: is empty; --template prints what belongs in it")
    before = [] if found.before is None else [f"lines before the headings: {found.before}"]
    sheet = Sheet(path, digest.hexdigest(), found.row.cells, found.row.line, 0, [*read.notes, *before], read)
    hidden = count = 0
    for row in sheet.rows():
        count += 1
        hidden += row.hidden
    notes = [*sheet.notes, *([f"{hidden:,} hidden rows"] if hidden else [])]
    return sheet._replace(row_count=count, notes=notes)


def _check_kind(path: Path, begin: bytes) -> None:
    for magic, says in KINDS:
        if begin.startswith(magic):
            raise FixConfiguration(f"{path}: {says}")
    if (
        begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:200]
        .lower()
        .startswith((b"<html", b"<!doctype html", b"<table", b"<?xml"))
    ):
        raise FixConfiguration(f"{path}: {WEB_PAGE}")
    if begin.startswith(b"PK") and b"mimetypeapplication/vnd.oasis.opendocument" in begin[:200]:
        raise FixConfiguration(f"{path}: {OPEN_DOCUMENT}")


class _Headings(NamedTuple):
    row: Row
    before: str | None
    """Which lines stand before them."""


def _headings(read: Read, known: Known) -> _Headings | None:
    """The row of the head that has most headings; the first of such."""
    head = list(islice(read.rows(), HEAD_ROWS))
    if not head:
        return None
    row = max(head, key=lambda row: known(row.cells))
    earlier = [one.line for one in head if one.line < row.line]
    if not earlier:
        return _Headings(row, None)
    return _Headings(row, str(earlier[0]) if len(earlier) == 1 else f"{earlier[0]} to {earlier[-1]}")
