"""Web pages: many systems export a table in one and call the file .xls."""

import re
from collections import deque
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from service.admin.files.cells import CHUNK_BYTES, Content, Row, Table
from service.admin.files.delimited import CELL_LIMIT, encoding_of
from service.admin.files.merged import Range, filled, merged
from service.errors import FixConfiguration

REMARK = "is a web page, whatever its name says; its table was read"
SPAN = 1000
_CHARSET = re.compile(rb"charset=[\"']?([A-Za-z0-9_-]{1,40})", re.IGNORECASE)
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_MUTE = {"script", "style", "title"}


class _Part:
    """A table that is open: its number, its row and cell under way."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.row = 0
        self.is_hidden = False
        self.texts: list[str] | None = None
        self.cell: list[str] | None = None
        self.spans: list[Range] = []
        self.span = (1, 1)
        self.taken: dict[int, int] = {}
        """Columns that cells of earlier rows reach down into, through which row."""


class _Page(HTMLParser):
    """Collects finished rows: (table, row's number, texts, merged cells that begin in it, is it hidden)."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.finished: deque[tuple[int, int, list[str], list[Range], bool]] = deque()
        self.table_count = 0
        self._open: list[_Part] = []
        self._mute = 0
        self._characters = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag in _MUTE:
            self._mute += 1
        elif tag == "table":
            self._open.append(_Part(self.table_count))
            self.table_count += 1
        elif not self._open:
            return
        elif tag == "tr":
            self._end_row()
            part = self._open[-1]
            part.row += 1
            part.texts, part.is_hidden = [], _HIDDEN.search(said.get("style", "")) is not None
        elif tag in {"td", "th"}:
            self._end_cell()
            part = self._open[-1]
            if part.texts is None:
                part.row, part.texts = part.row + 1, []
            part.cell, part.span = [], (_span(said.get("colspan")), _span(said.get("rowspan")))
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _MUTE:
            self._mute = max(0, self._mute - 1)
        elif not self._open:
            return
        elif tag in {"td", "th"}:
            self._end_cell()
        elif tag == "tr":
            self._end_row()
        elif tag == "table":
            self._end_row()
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._mute or not self._open or self._open[-1].cell is None:
            return
        self._characters += len(data)
        if self._characters > CELL_LIMIT:
            raise ValueError(f"a row has more than {CELL_LIMIT:,} characters")
        self._open[-1].cell.append(data)

    def close(self) -> None:
        super().close()
        while self._open:
            self.handle_endtag("table")

    def _end_cell(self) -> None:
        part = self._open[-1]
        if part.cell is None or part.texts is None:
            return
        while part.taken.get(len(part.texts), 0) >= part.row:
            part.texts.append("")
        columns, rows = part.span
        if columns > 1 or rows > 1:
            part.spans.append(merged(part.row, part.row + rows - 1, len(part.texts), columns))
            part.taken.update(dict.fromkeys(part.spans[-1].columns, part.row + rows - 1))
        part.texts += [" ".join("".join(part.cell).split()), *[""] * (columns - 1)]
        part.cell = None

    def _end_row(self) -> None:
        self._end_cell()
        part = self._open[-1]
        if part.texts is not None:
            self.finished.append((part.number, part.row, part.texts, part.spans, part.is_hidden))
        part.texts, part.spans, self._characters = None, [], 0


def _span(said: str | None) -> int:
    return max(1, min(int(said), SPAN)) if said and said.isascii() and said.isdecimal() and len(said) < 6 else 1  # noqa: PLR2004


def read(path: Path) -> Content:
    """All its tables. Raises FixConfiguration."""
    encoding = _encoding(path)
    count = 0
    for page in _pages(path, encoding):
        page.finished.clear()
        count = page.table_count
    if not count:
        raise FixConfiguration(f"{path}: is a web page without a table; save the table as .xlsx or CSV")
    names = [""] if count == 1 else [f"table {number + 1}" for number in range(count)]
    return Content([Table(name, partial(_rows, path, encoding, number)) for number, name in enumerate(names)], [REMARK])


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        said = _CHARSET.search(file.read(4096))
    if said is not None:
        try:
            "".encode(said[1].decode())
        except LookupError:
            pass
        else:
            return said[1].decode()
    return encoding_of(path)[0]


def _pages(path: Path, encoding: str) -> Iterator[_Page]:
    """The page as far as it is read, again and again."""
    page = _Page()
    try:
        with path.open(encoding=encoding, newline="") as file:
            while chunk := file.read(CHUNK_BYTES // 4):
                page.feed(chunk)
                yield page
            page.close()
            yield page
    except UnicodeError:
        raise FixConfiguration(f"{path}: is not {encoding}, as it says; save its table as .xlsx") from None
    except (ValueError, AssertionError, RecursionError) as error:  # html.parser asserts what a broken page breaks
        raise FixConfiguration(f"{path}: {error}") from None


def _rows(path: Path, encoding: str, wanted: int) -> Iterator[Row]:
    begins: dict[int, list[Range]] = {}
    hidden: set[int] = set()

    def texts() -> Iterator[tuple[int, list[str]]]:
        for page in _pages(path, encoding):
            while page.finished:
                number, row, cells, spans, is_hidden = page.finished.popleft()
                if number == wanted:
                    begins.clear()
                    begins[row] = spans
                    hidden.clear()
                    hidden.update({row} if is_hidden else ())
                    yield row, cells

    for row, cells in filled(texts(), begins):
        yield Row(row, cells, row in hidden)
