"""XLSX: each cell as a person sees it, merged cells filled, hidden rows marked, the sheet with the table found."""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from service.admin.spreadsheet import AS_TEXT, CHUNK_BYTES, HEAD_ROWS, Doubtful, Known, Read, Row
from service.errors import FixConfiguration

UNPACKED_BYTES = 1024 * 1024 * 1024
"""A small file can hold a very large one."""
DIGITS = 15
"""So many a spreadsheet program keeps of a number."""
PLAIN = {"General", "0", "@", "#", "general", ""}
_HIDDEN = re.compile(rb'<(?:\w+:)?row\s(?=[^>]*\bhidden="(?:1|true)")[^>]*?\br="(\d+)"')
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?\bref="([A-Z]+)(\d+):([A-Z]+)(\d+)"')
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s>/]")
MERGED_COLUMNS = 100
"""No table has more that are read."""
_TAG_BYTES = 4096
"""No tag that is looked for is longer."""


class _Range(NamedTuple):
    """Merged cells. Columns from 0, rows from 1, both ends included."""

    columns: range
    first_row: int
    last_row: int


class _Layout(NamedTuple):
    """What openpyxl does not tell while it reads row by row."""

    hidden: frozenset[int]
    merged: Sequence[_Range]
    has_formulas: bool


def read(path: Path, known: Known, name: str | None) -> Read:
    """Find the sheet. Raises FixConfiguration."""
    with _opened(path) as book:
        names = book.sheetnames
        heads = {sheet: _heads(book[sheet], known) for sheet in names if hasattr(book[sheet], "iter_rows")}
        chosen = _choose(path, heads, name)
        layout = _layout(path, book[chosen]._worksheet_path)  # noqa: SLF001  # what openpyxl passes over
    others = [f"the sheet {sheet!r}" for sheet in names if sheet != chosen and heads.get(sheet) != (0, 0)]
    return Read(lambda: _rows(path, chosen, layout), others)


def _heads(sheet: Any, known: Known) -> tuple[int, int]:
    """How many headings are known in its best row, and how many cells its head has."""
    rows = [[_shown(cell) for cell in cells] for cells in islice(_all_rows(sheet), HEAD_ROWS)]
    return max((known(row) for row in rows), default=0), sum(bool(cell) for row in rows for cell in row)


def _all_rows(sheet: Any) -> Iterator[Sequence[Any]]:
    """Whatever the file says of its own size: some programs write that wrongly."""
    sheet.reset_dimensions()
    return iter(sheet.iter_rows())


def _choose(path: Path, heads: Mapping[str, tuple[int, int]], name: str | None) -> str:
    if name is not None:
        if name not in heads:
            raise FixConfiguration(f"--sheet: {path} has no sheet {name!r}; it has: {', '.join(heads) or 'none'}")
        return name
    if not heads:
        raise FixConfiguration(f"{path}: has no sheet with cells")
    best = max(count for count, _ in heads.values())
    found = [sheet for sheet, (count, _) in heads.items() if count == best] if best else [next(iter(heads))]
    if len(found) > 1:
        raise FixConfiguration(
            f"{path}: several sheets have these headings: {', '.join(found)}; say with --sheet which to read"
        )
    return found[0]


@contextmanager
def _opened(path: Path, *, formulas: bool = False) -> Iterator[Any]:
    from openpyxl import load_workbook  # takes longer to import than a CSV file to read

    with _readable(path):
        _check_size(path)
        book = load_workbook(path, read_only=True, data_only=not formulas)
        try:
            yield book
        finally:
            book.close()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What openpyxl and zipfile raise at a damaged file is whatever it leads them to."""
    try:
        yield
    except FixConfiguration:
        raise
    except Exception as error:  # noqa: BLE001
        raise FixConfiguration(f"{path}: is no XLSX that can be read: {type(error).__name__}: {error}") from None


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > UNPACKED_BYTES:
            raise FixConfiguration(f"{path}: unpacks to more than {UNPACKED_BYTES:,} bytes; split it")


def _layout(path: Path, part: str) -> _Layout:
    hidden: set[int] = set()
    merged: list[_Range] = []
    has_formulas = False
    with _readable(path), zipfile.ZipFile(path) as archive, archive.open(part.lstrip("/")) as file:
        left = b""
        while chunk := file.read(CHUNK_BYTES):
            data = left + chunk
            hidden.update(int(found) for found in _HIDDEN.findall(data))
            merged += [_range(*found) for found in _MERGED.findall(data)]
            has_formulas = has_formulas or _FORMULA.search(data) is not None
            left = data[-_TAG_BYTES:]
    return _Layout(frozenset(hidden), list(dict.fromkeys(merged)), has_formulas)


def _range(first_column: bytes, first_row: bytes, last_column: bytes, last_row: bytes) -> _Range:
    from openpyxl.utils import column_index_from_string

    first, last = (column_index_from_string(name.decode()) for name in (first_column, last_column))
    return _Range(range(first - 1, min(last, first + MERGED_COLUMNS)), int(first_row), int(last_row))


def _rows(path: Path, name: str, layout: _Layout) -> Iterator[Row]:
    begins: dict[int, list[_Range]] = {}
    for merged in layout.merged:
        begins.setdefault(merged.first_row, []).append(merged)
    filled: list[tuple[_Range, str]] = []
    for number, texts in enumerate(_texts(path, name, layout), 1):
        for merged in begins.get(number, ()):
            first = merged.columns[0]
            filled.append((merged, texts[first] if first < len(texts) else ""))
        filled = [(merged, text) for merged, text in filled if merged.last_row >= number]
        is_empty = not any(texts)
        for merged, text in filled:
            texts.extend([""] * (merged.columns[-1] + 1 - len(texts)))
            for column in merged.columns:
                texts[column] = text
        if not is_empty:
            yield Row(number, texts, number in layout.hidden)


def _texts(path: Path, name: str, layout: _Layout) -> Iterator[list[str]]:
    with _opened(path) as values:
        if not layout.has_formulas:
            for cells in _all_rows(values[name]):
                yield [_shown(cell) for cell in cells]
            return
        with _opened(path, formulas=True) as formulas:
            for cells, written in zip(_all_rows(values[name]), _all_rows(formulas[name]), strict=True):
                yield [_cached(cell, formula) for cell, formula in zip(cells, written, strict=True)]


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
        return _number(value, form.split(";")[0])
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return str(value).strip()


def _number(value: float, form: str) -> str:
    exact = Decimal(repr(value))
    if "%" in form:
        return f"{(exact * 100).normalize():f}%"
    text = f"{exact.normalize():f}"
    if exact != exact.to_integral_value():
        return text
    if len(text.lstrip("-")) > DIGITS:
        return Doubtful.because(text, f"has more digits than a spreadsheet program keeps ({DIGITS}); {AS_TEXT}")
    if re.fullmatch(r"0+", form):
        return text.zfill(len(form))
    return (
        text if form in PLAIN else Doubtful.because(text, f"is shown in another way in the sheet ({form}); {AS_TEXT}")
    )
