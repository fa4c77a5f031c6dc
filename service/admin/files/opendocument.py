"""ODS, row by row: the file says of each cell what it holds and what a person sees in it."""

import zipfile
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, iterparse

from service.admin.files.cells import DIGITS, Content, Doubtful, Row, Table, number_shown, readable
from service.admin.files.merged import COLUMNS, Range, filled, merged
from service.admin.files.opendocument_copy import copy
from service.errors import FixConfiguration

ROWS = 1_048_576
"""No spreadsheet program takes more."""
UNPACKED_BYTES = 1024 * 1024 * 1024
"""A small file can hold a very large one."""
_OFFICE, _TABLE, _TEXT = (
    f"{{urn:oasis:names:tc:opendocument:xmlns:{name}:1.0}}" for name in ("office", "table", "text")
)
_CELLS = {f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"}


def read(path: Path) -> Content:
    """All its sheets. Raises FixConfiguration."""
    with readable(path, "OpenDocument spreadsheet"), _content(path) as file:
        names = []
        for event, element in _parsed(file):
            if event == "start" and element.tag == f"{_TABLE}table":
                names.append(element.get(f"{_TABLE}name", ""))
            elif event == "end" and element.tag == f"{_TABLE}table-row":
                element.clear()
    return Content(
        [
            Table(name, partial(_rows, path, number), partial(copy, path, number), ".ods")
            for number, name in enumerate(names)
        ]
    )


def _content(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    info = archive.getinfo("content.xml")
    if info.file_size > UNPACKED_BYTES:
        raise FixConfiguration(f"{path}: unpacks to more than {UNPACKED_BYTES:,} bytes; split it")
    return archive.open(info)


def _parsed(file: IO[bytes]) -> Iterator[tuple[str, Element]]:
    """Expat ends entities that unfold without end (from 2.4.1 on)."""
    return iterparse(file, ("start", "end"))  # noqa: S314


def _rows(path: Path, wanted: int) -> Iterator[Row]:
    begins: dict[int, list[Range]] = {}
    hidden: set[int] = set()
    for number, texts in filled(_texts(path, wanted, begins, hidden), begins):
        yield Row(number, texts, number in hidden)


def _texts(
    path: Path, wanted: int, begins: dict[int, list[Range]], hidden: set[int]
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a sheet; on the way it is noted which are hidden, and which merged cells begin in them."""
    number = 0
    for row in _elements(path, wanted):
        repeated = _count(row, "number-rows-repeated")
        texts, spans = _cells(row)
        if not any(texts):
            number += repeated
            continue
        if number + repeated > ROWS:
            raise FixConfiguration(f"{path}: has more than {ROWS:,} rows")
        for _ in range(repeated):
            number += 1
            begins[number] = [merged(number, number + rows - 1, column, columns) for column, columns, rows in spans]
            if row.get(f"{_TABLE}visibility", "visible") != "visible":
                hidden.add(number)
            yield number, list(texts)
            begins.pop(number, None)


def _elements(path: Path, wanted: int) -> Iterator[Element]:
    """The rows of the sheet with this number, one at a time."""
    with readable(path, "OpenDocument spreadsheet"), _content(path) as file:
        sheet, depth = -1, 0
        for event, element in _parsed(file):
            if element.tag == f"{_TABLE}table":
                depth += 1 if event == "start" else -1
                sheet += event == "start"
                if event == "end" and sheet == wanted and not depth:
                    return
            elif event == "end" and element.tag == f"{_TABLE}table-row":
                if sheet == wanted:
                    yield element
                element.clear()


def _cells(row: Element) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Their texts; and of each that is merged: its column, how many columns, how many rows."""
    texts: list[str] = []
    spans = []
    blank = 0
    for cell in row:
        if cell.tag not in _CELLS:
            continue
        repeated, text = _count(cell, "number-columns-repeated"), _shown(cell)
        if not text:
            blank += repeated
            continue
        texts += [""] * min(blank, COLUMNS)
        blank = 0
        columns, rows = _count(cell, "number-columns-spanned"), _count(cell, "number-rows-spanned")
        if columns > 1 or rows > 1:
            spans.append((len(texts), columns, rows))
        texts += [text] * min(repeated, COLUMNS)
    return texts, spans


def _count(element: Element, name: str) -> int:
    said = element.get(f"{_TABLE}{name}", "1")
    return max(1, int(said)) if said.isdecimal() else 1


def _shown(cell: Element) -> str:
    """As a person sees it; a percent and a fraction as exactly as they are."""
    kind = cell.get(f"{_OFFICE}value-type")
    text = "\n".join(_spoken(part) for part in cell if part.tag == f"{_TEXT}p").strip()
    if kind == "boolean":
        return cell.get(f"{_OFFICE}boolean-value", "")
    if kind in {"date", "time"}:
        return cell.get(f"{_OFFICE}{kind}-value", "")
    if kind not in {"float", "percentage", "currency"}:
        return text
    try:
        value = Decimal(cell.get(f"{_OFFICE}value", ""))
    except InvalidOperation:
        return text
    if kind == "percentage":
        return f"{(value * 100).normalize():f}%"
    return _number(value, text)


def _number(value: Decimal, text: str) -> str:
    exact = f"{value.normalize():f}"
    if value != value.to_integral_value() or text == exact:
        return number_shown(int(exact), "General") if text == exact and len(exact) > DIGITS else exact
    if text.isascii() and text.isdecimal() and int(text) == value:
        return text  # with leading zeros
    return Doubtful.because(exact, f"is shown in another way in the sheet ({text}); format the column as text")


def _spoken(part: Element) -> str:
    """Its text; spaces and line breaks are elements, remarks are no text."""
    spoken = part.text or ""
    for inner in part:
        if inner.tag == f"{_TEXT}s":
            spoken += " " * min(int(inner.get(f"{_TEXT}c", "1")), COLUMNS)
        elif inner.tag in {f"{_TEXT}tab", f"{_TEXT}line-break"}:
            spoken += " "
        elif inner.tag != f"{_OFFICE}annotation":
            spoken += _spoken(inner)
        spoken += inner.tail or ""
    return spoken
