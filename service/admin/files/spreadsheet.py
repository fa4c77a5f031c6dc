"""Opens a file that a person made or a program exported: finds its table and the headings, tells what is not read.

Never the whole file is in memory, but for the old Excel format, whose sheets end at 65,536 rows.
"""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from service.admin.files.cells import CHUNK_BYTES, HEAD_ROWS, Content, Row, Table
from service.admin.formats.catalogue import Fit, Format, choose
from service.errors import FixConfiguration

MAGIC = (
    (b"%PDF", "is a PDF; save the table as .xlsx or CSV"),
    (
        b"MIME-Version:",
        "is a web archive, whatever its name says; open it in a spreadsheet program and save it as .xlsx",
    ),
)
"""Other files by how they begin, and the way out."""
XML = "is XML, whatever its name says; open it in a spreadsheet program and save it as .xlsx"
OLD_EXCEL = b"\xd0\xcf\x11\xe0"
WEB_PAGE = ("<html", "<!doctype html", "<table", "<meta", "<head", "<style", "<!--", "<?xml")
OPEN_DOCUMENT = b"application/vnd.oasis.opendocument.spreadsheet"


class Sheet(NamedTuple):
    """A file that can be read: what identifies its content, the table in it, its headings and format, its rows.

    `unread`: what of the file is not read; `remarks`: how it was read, where that is not certain.
    """

    path: Path
    digest: str
    table: Table
    format: Format
    headings: Sequence[str]
    heading_line: int
    last_line: int
    row_count: int
    width: int
    """Cells of the longest row."""
    unread: Sequence[str]
    remarks: Sequence[str]

    def rows(self) -> Iterator[Row]:
        """All rows of the table that are not empty. Headings that come again are no rows."""
        for row in self.table.rows():
            if row.line > self.last_line:
                return
            if row.line > self.heading_line and row.cells != self.headings:
                yield row


def open_sheet(path: Path, formats: Sequence[Format], name: str | None = None) -> Sheet:
    """Read it once from end to end. Raises FixConfiguration that says what is wrong with the file, and where.

    `formats`: those that it may be in; `name`: of the sheet to read, where there are several.
    """
    try:
        digest, begin = _looked_at(path)
        content = _content(path, begin, formats)
        return _sheet(path, digest, content, formats, name)
    except OSError as error:
        raise FixConfiguration(f"{path}: {error.strerror or error}") from None


def _looked_at(path: Path) -> tuple[str, bytes]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        begin = file.read(CHUNK_BYTES)
        digest.update(begin)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest(), begin


def _content(path: Path, begin: bytes, formats: Sequence[Format]) -> Content:
    """By what it is, whatever its name says."""
    from service.admin.files import delimited, old_workbook, opendocument, web_page, workbook

    for magic, says in MAGIC:
        if begin.startswith(magic):
            raise FixConfiguration(f"{path}: {says}")
    if begin.startswith(OLD_EXCEL):
        return old_workbook.read(path)
    if zipfile.is_zipfile(path):
        return opendocument.read(path) if OPEN_DOCUMENT in begin[:200] else workbook.read(path)
    text = _text_of(begin)
    if text.startswith("<?xml") and "<html" not in text[:2000]:
        raise FixConfiguration(f"{path}: {XML}")
    if text.startswith(WEB_PAGE):
        return web_page.read(path)
    return delimited.read(path, partial(_known, formats))


def _text_of(begin: bytes) -> str:
    """Enough of it to know a web page by, in whichever encoding."""
    text = begin[:4000].replace(b"\0", b"").decode("latin-1")
    return text.removeprefix("\xef\xbb\xbf").removeprefix("\xff\xfe").lstrip().lower()


def _known(formats: Sequence[Format], cells: Sequence[str]) -> int:
    return max(len(form.fields_of(cells)) for form in formats)


class _Found(NamedTuple):
    table: Table
    head: Sequence[Row]
    fit: Fit | None


def _sheet(path: Path, digest: str, content: Content, formats: Sequence[Format], name: str | None) -> Sheet:
    found = [_look(path, table, formats) for table in content.tables]
    filled = [one for one in found if one.head]
    chosen = _chosen(path, filled, [table.name for table in content.tables], name)
    fit = chosen.fit
    assert fit is not None, "it was chosen for its headings"
    others = [f"the sheet {one.table.name!r}" for one in filled if one is not chosen]
    last_line, count, hidden, width, after = _counted(chosen.table, fit)
    unread = [
        *others,
        *_lines("before the headings", [row.line for row in chosen.head if row.line < fit.row.line]),
        *([f"from line {after} on, after the table"] if after else []),
        *([f"{hidden:,} hidden rows"] if hidden else []),
    ]
    headings = list(fit.row.cells)
    where = (fit.row.line, last_line, count, max(width, len(headings)))
    return Sheet(path, digest, chosen.table, fit.format, headings, *where, unread, content.remarks)


def _look(path: Path, table: Table, formats: Sequence[Format]) -> _Found:
    head = list(islice(table.rows(), HEAD_ROWS))
    try:
        return _Found(table, head, choose(head, formats))
    except ValueError as error:
        raise FixConfiguration(f"{path}: {error}") from None


def _chosen(path: Path, filled: Sequence[_Found], names: Sequence[str], name: str | None) -> _Found:
    if name is not None:
        if name not in names or names == [""]:
            has = ", ".join(names) if names != [""] else "one table only"
            raise FixConfiguration(f"--sheet: {path} has no sheet {name!r}; it has: {has or 'none'}")
        filled = [one for one in filled if one.table.name == name]
    if not filled:
        raise FixConfiguration(f"{path}: is empty; --template prints what belongs in it")
    best = max(_weight(one.fit) for one in filled)
    found = [one for one in filled if _weight(one.fit) == best] if best > (False, 0) else list(filled[:1])
    if len(found) > 1:
        several = ", ".join(one.table.name for one in found)
        raise FixConfiguration(f"{path}: several sheets have these headings: {several}; say with --sheet which to read")
    if found[0].fit is None:
        raise FixConfiguration(f"{path}: has no table in this format; {_section(found[0])}")
    return found[0]


def _section(found: _Found) -> str:
    first = " ".join(filter(None, found.head[0].cells))[:40]
    return f"it begins with {first!r}"


def _weight(fit: Fit | None) -> tuple[bool, int]:
    return (False, 0) if fit is None else (fit.is_certain, fit.field_count)


def _counted(table: Table, fit: Fit) -> tuple[int, int, int, int, int | None]:
    """Of the table: its last line, how many rows, how many hidden, cells of the longest; which line comes after it."""
    last_line, count, hidden, width = fit.row.line, 0, 0, 0
    for row in table.rows():
        if row.line <= fit.row.line:
            continue
        if fit.format.ends_table(row.cells):
            return last_line, count, hidden, width, row.line
        last_line, width = row.line, max(width, len(row.cells))
        if row.cells != fit.row.cells:
            count += 1
            hidden += row.hidden
    return last_line, count, hidden, width, None


def _lines(what: str, lines: Sequence[int]) -> list[str]:
    if not lines:
        return []
    return [f"lines {what}: {lines[0]}" if len(lines) == 1 else f"lines {what}: {lines[0]} to {lines[-1]}"]
