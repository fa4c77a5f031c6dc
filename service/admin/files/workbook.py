"""XLSX: each cell as a person sees it, merged cells filled, hidden rows marked."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from service.admin.files.cells import CHUNK_BYTES, Added, Content, Row, Table, duration_shown, number_shown, readable
from service.admin.files.merged import Range, by_first_row, filled, merged
from service.errors import FixConfiguration

UNPACKED_BYTES = 1024 * 1024 * 1024
"""A small file can hold a very large one."""
PART_BYTES = 8 * 1024 * 1024
"""Of a part that is read into memory whole, as styles are."""
TEXTS_BYTES = 64 * 1024 * 1024
"""Of the texts that cells share, which are in memory too."""
RANGES = 100_000
"""Merged cells of a sheet."""
ROWS = 1_048_576
"""No spreadsheet program takes more."""
TYPES, TEXTS = "[Content_Types].xml", b"sharedStrings+xml"
_HIDDEN = re.compile(rb'<(?:\w+:)?row\s(?=[^>]*\bhidden="(?:1|true)")[^>]*?\br="(\d+)"')
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?\bref="([A-Z]+)(\d+):([A-Z]+)(\d+)"')
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s>/]")
_ROW = re.compile(rb"<(?:\w+:)?row[\s>/]")
_END_OF_ROWS = re.compile(rb"<(?:/(?:\w+:)?sheetData\s*>|(?:\w+:)?sheetData\s*/>)")
_TYPE = re.compile(rb"<(?:\w+:)?Override\s[^>]*>")
_NAME = re.compile(rb'PartName="/?([^"]*)"')
_TAG_BYTES = 4096
"""No tag that is looked for is longer."""


class _Layout(NamedTuple):
    """What openpyxl does not tell while it reads row by row."""

    hidden: frozenset[int]
    merged: Mapping[int, list[Range]]
    has_formulas: bool


def read(path: Path) -> Content:
    """All sheets with cells. Raises FixConfiguration."""
    with readable(path, "XLSX"), zipfile.ZipFile(path) as archive:
        _check(path, archive)
        looked = {part: _layout(path, archive, part) for part in _sheets(archive)}  # openpyxl may trust what is checked
    with opened(path) as book:
        sheets = [sheet for sheet in book.worksheets if hasattr(sheet, "iter_rows")]
        names = {sheet.title: sheet._worksheet_path for sheet in sheets}  # noqa: SLF001  # what openpyxl passes over
    if not names:
        raise FixConfiguration(f"{path}: has no sheet with cells")
    with readable(path, "XLSX"), zipfile.ZipFile(path) as archive:
        parts = {name: part.lstrip("/") for name, part in names.items()}
        layouts = {name: looked.get(part) or _layout(path, archive, part) for name, part in parts.items()}
    return Content(
        [
            Table(name, partial(_rows, path, name, layout), partial(_copy, path, name, layout))
            for name, layout in layouts.items()
        ]
    )


def _all_rows(path: Path, sheet: Any) -> Iterator[Sequence[Any]]:
    """Whatever the file says of its own size: some programs write that wrongly."""
    sheet.reset_dimensions()
    for number, cells in enumerate(sheet.iter_rows(), 1):
        if number > ROWS:
            raise FixConfiguration(f"{path}: has more than {ROWS:,} rows")
        yield cells


@contextmanager
def opened(path: Path, *, formulas: bool = False) -> Iterator[Any]:
    """The workbook, row by row, with the values of its formulas, or with the formulas."""
    from openpyxl import load_workbook  # takes longer to import than a CSV file to read

    with readable(path, "XLSX"), path.open("rb") as file:  # whatever its name ends in
        book = load_workbook(file, read_only=True, data_only=not formulas, keep_links=False)
        try:
            yield book
        finally:
            book.close()


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    if "xl/workbook.bin" in archive.namelist():
        raise FixConfiguration(f"{path}: is an Excel binary workbook (.xlsb); save it as .xlsx")
    if sum(part.file_size for part in archive.infolist()) > UNPACKED_BYTES:
        raise FixConfiguration(f"{path}: unpacks to more than {UNPACKED_BYTES:,} bytes; split it")
    _check_part(path, archive, TYPES, PART_BYTES)
    for part in set(archive.namelist()) - _sheets(archive):
        if part.endswith((".xml", ".rels")):
            _check_part(path, archive, part, TEXTS_BYTES if part in _parts(archive, TEXTS) else PART_BYTES)


def _check_part(path: Path, archive: zipfile.ZipFile, part: str, limit: int) -> None:
    if archive.getinfo(part).file_size > limit:
        raise FixConfiguration(f"{path}: {part} in it unpacks to more than {limit:,} bytes; split it")


def _sheets(archive: zipfile.ZipFile) -> set[str]:
    """They are read row by row, so they may be of any size. What is anything besides is none."""
    others = {part for kind in (TEXTS, b"styles+xml", b"main+xml") for part in _parts(archive, kind)}
    return (_parts(archive, b"worksheet+xml") & set(archive.namelist())) - others


def _parts(archive: zipfile.ZipFile, kind: bytes) -> set[str]:
    """Those of which the package says that they are of this kind."""
    said = [one for one in _TYPE.findall(archive.read(TYPES)) if kind in one]
    return {name.decode(errors="replace") for one in said for name in _NAME.findall(one)}


def _layout(path: Path, archive: zipfile.ZipFile, part: str) -> _Layout:
    hidden: set[int] = set()
    ranges: list[Range] = []
    has_formulas = has_ended = False
    with archive.open(part) as file:
        left = b""
        while chunk := file.read(CHUNK_BYTES):
            data = left + chunk
            has_ended = has_ended or _END_OF_ROWS.search(data) is not None
            if b"<!" in data or not (has_ended or len(chunk) < CHUNK_BYTES or _ROW.search(data)):
                raise FixConfiguration(f"{path}: holds what no spreadsheet program writes; save it anew in one")
            hidden.update(int(found) for found in _HIDDEN.findall(data))
            ranges += [_range(*found) for found in _MERGED.findall(data)]
            has_formulas = has_formulas or _FORMULA.search(data) is not None
            if len(ranges) > RANGES or len(hidden) > ROWS:
                raise FixConfiguration(f"{path}: has more than {RANGES:,} merged cells, or {ROWS:,} rows")
            left = data[-_TAG_BYTES:]
    return _Layout(frozenset(hidden), by_first_row(dict.fromkeys(ranges)), has_formulas)


def _range(first_column: bytes, first_row: bytes, last_column: bytes, last_row: bytes) -> Range:
    from openpyxl.utils import column_index_from_string

    first, last = (column_index_from_string(name.decode()) for name in (first_column, last_column))
    return merged(int(first_row), int(last_row), first - 1, last - first + 1)


def _rows(path: Path, name: str, layout: _Layout) -> Iterator[Row]:
    for number, texts in filled(enumerate(_texts(path, name, layout), 1), layout.merged):
        yield Row(number, texts, number in layout.hidden)


def _texts(path: Path, name: str, layout: _Layout) -> Iterator[list[str]]:
    with opened(path) as values:
        if not layout.has_formulas:
            for cells in _all_rows(path, values[name]):
                yield [_shown(cell) for cell in cells]
            return
        with opened(path, formulas=True) as formulas:
            for cells, written in zip(_all_rows(path, values[name]), _all_rows(path, formulas[name]), strict=True):
                yield [_cached(cell, formula) for cell, formula in zip(cells, written, strict=True)]


def _copy(path: Path, name: str, layout: _Layout, target: Path, width: int, added: Added) -> None:
    """The sheet with the values of its formulas, each cell in its format, hidden rows hidden."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet(name)
    with opened(path) as values:
        for line, cells in enumerate(_all_rows(path, values[name]), 1):
            if line in layout.hidden:
                sheet.row_dimensions[line].hidden = True
            more = added(line)
            blank = [None] * (width - len(cells)) if more else []
            sheet.append([*(_written(sheet, cell) for cell in cells), *blank, *(as_text(sheet, text) for text in more)])
    book.save(target)


def _written(sheet: Any, cell: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell

    if cell.value is None:
        return None
    if isinstance(cell.value, str):
        return as_text(sheet, cell.value)
    copied = WriteOnlyCell(sheet, cell.value)
    copied.number_format = cell.number_format
    return copied


def as_text(sheet: Any, text: str) -> Any:
    """A cell of a sheet under way that holds this text and no formula, whatever it looks like."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", text))
    cell.data_type = "s"
    return cell


def _cached(cell: Any, written: Any) -> str:
    """A formula as its value, as it was when the file was saved."""
    if cell.value is None and written.value is not None:
        return str(written.value)
    return _shown(cell)


def _shown(cell: Any) -> str:
    """As a person sees it; where that is another text than what the cell holds, it is Doubtful."""
    value, form = cell.value, str(cell.number_format or "") if cell.value is not None else ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return number_shown(value, form.split(";")[0])
    if isinstance(value, timedelta):
        return duration_shown(round(value.total_seconds()))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value).strip()
