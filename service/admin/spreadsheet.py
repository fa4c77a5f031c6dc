"""Reads tables that people made: CSV as any program writes it, and XLSX. Row by row, never the whole file."""

import codecs
import csv
import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from service.errors import FixConfiguration

DELIMITERS = ",;\t|"
CELL_LIMIT = 2 * 1024 * 1024
"""Characters; beyond this a quote is missing somewhere."""
XLSX_LIMIT_BYTES = 1024 * 1024 * 1024
"""Unpacked; a small file can hold a very large one."""
CHUNK_BYTES = 1024 * 1024
FORMULA = "="
csv.field_size_limit(CELL_LIMIT)


class Row(NamedTuple):
    """A row with the number that a spreadsheet program shows, its cells as text without spaces around."""

    line: int
    cells: Sequence[str]


class Sheet(NamedTuple):
    """A file that can be read: what identifies its content, its headings, how many rows it has."""

    path: Path
    digest: str
    headings: Sequence[str]
    row_count: int

    def rows(self) -> Iterator[Row]:
        """All rows below the headings that are not empty."""
        rows = _rows(self.path)
        next(rows)
        return rows


def open_sheet(path: Path) -> Sheet:
    """Read it once from end to end. Raises FixConfiguration that says what is wrong with the file, and where."""
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        rows = _rows(path)
        headings = next(rows, None)
        if headings is None:
            raise FixConfiguration(f"{path}: is empty; --template prints what belongs in it")
        return Sheet(path, digest.hexdigest(), headings.cells, sum(1 for _ in rows))
    except OSError as error:
        raise FixConfiguration(f"{path}: {error.strerror or error}") from None


def _rows(path: Path) -> Iterator[Row]:
    """The headings first; rows without any content are left out."""
    rows = _xlsx_rows(path) if zipfile.is_zipfile(path) else _csv_rows(path)
    return (row for row in rows if any(row.cells))


def _csv_rows(path: Path) -> Iterator[Row]:
    encoding = _encoding(path)
    line = 0
    try:
        with path.open(encoding=encoding, newline="") as file:
            delimiter = _delimiter(file.readline(CELL_LIMIT))
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                yield Row(line + 1, [cell.strip() for cell in cells])
                line = reader.line_num
    except UnicodeError:
        raise FixConfiguration(f"{path}: after line {line}: is not UTF-8; save it as CSV UTF-8") from None
    except csv.Error as error:
        raise FixConfiguration(f"{path}: the row from line {line + 1} on: {error}; is a quote missing?") from None


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(4)
    return "utf-16" if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _delimiter(headings: str) -> str:
    """The one that is most often between the headings."""
    return max(DELIMITERS, key=headings.count)


def _xlsx_rows(path: Path) -> Iterator[Row]:
    """The first sheet."""
    from openpyxl import load_workbook  # takes longer to import than a CSV file to read
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > XLSX_LIMIT_BYTES:
                raise FixConfiguration(f"{path}: unpacks to more than {XLSX_LIMIT_BYTES:,} bytes; split it")
        book = load_workbook(path, read_only=True)
        try:
            for number, cells in enumerate(book.worksheets[0].iter_rows(), 1):
                yield Row(number, [_text(cell) for cell in cells])
        finally:
            book.close()
    except (zipfile.BadZipFile, InvalidFileException, KeyError, IndexError, SyntaxError, ValueError) as error:
        raise FixConfiguration(f"{path}: is no XLSX that can be read: {error}") from None


def _text(cell: Any) -> str:
    """As a person sees it; a formula as it is written, with its equals sign."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        shown = value * 100 if "%" in (cell.number_format or "") else value
        return f"{shown:.10g}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value).strip()
