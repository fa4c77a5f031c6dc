"""Delimited text: CSV and its kin, in the encodings and dialects that programs write."""

import codecs
import csv
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from service.admin.files.cells import CHUNK_BYTES, HEAD_ROWS, Added, Content, Known, Row, Table, harmless
from service.errors import FixConfiguration

DELIMITERS = ",;\t|"
CELL_LIMIT = 2 * 1024 * 1024
"""Characters; beyond this a quote is missing somewhere."""
HEAD_CHARACTERS = 256 * 1024
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NOT_UTF_8 = "is not UTF-8, and was read as Windows-1252: check letters with accents, or save it as CSV UTF-8"
NUL_SHARE = 0.3
"""Of one half of the bytes: of a text in UTF-16 most are nothing but the upper half of a letter."""
csv.field_size_limit(CELL_LIMIT)


class Dialect(NamedTuple):
    """How a delimited file was written."""

    encoding: str
    delimiter: str
    is_quoted: bool
    skipped_lines: int
    """The line that tells Excel the delimiter."""

    @property
    def quoting(self) -> Literal[0, 3]:
        return csv.QUOTE_MINIMAL if self.is_quoted else csv.QUOTE_NONE


def read(path: Path, known: Known) -> Content:
    """Decide how it was written, over its whole head. Raises FixConfiguration."""
    dialect, remarks = dialect_of(path, known)
    return Content([Table("", partial(_rows, path, dialect), partial(_copy, path, dialect), ".csv")], remarks)


def dialect_of(path: Path, known: Known) -> tuple[Dialect, Sequence[str]]:
    """How it was written, and what is to be said of that."""
    encoding, remarks = encoding_of(path)
    return _dialect(path, encoding, known), remarks


def _rows(path: Path, dialect: Dialect) -> Iterator[Row]:
    line = dialect.skipped_lines
    try:
        with path.open(encoding=dialect.encoding, newline="") as file:
            for _ in range(dialect.skipped_lines):
                file.readline()
            reader = csv.reader(file, delimiter=dialect.delimiter, strict=dialect.is_quoted, quoting=dialect.quoting)
            for cells in reader:
                if any(map(str.strip, cells)):
                    yield Row(line + 1, [_text(cell) for cell in cells])
                line = dialect.skipped_lines + reader.line_num
    except UnicodeError:
        raise FixConfiguration(f"{path}: after line {line}: is not {dialect.encoding}; save it as CSV UTF-8") from None
    except csv.Error as error:
        raise FixConfiguration(f"{path}: the row from line {line + 1} on: {error}; is a quote missing?") from None


def _copy(path: Path, dialect: Dialect, target: Path, width: int, added: Added) -> None:
    """Record by record, in the same encoding and dialect."""
    with (
        path.open(encoding=dialect.encoding, newline="") as file,
        target.open("w", encoding=dialect.encoding, newline="", errors="replace") as copied,
    ):
        copied.writelines(file.readline() for _ in range(dialect.skipped_lines))
        reader = csv.reader(file, delimiter=dialect.delimiter, strict=dialect.is_quoted, quoting=dialect.quoting)
        writer = csv.writer(copied, delimiter=dialect.delimiter)
        line = dialect.skipped_lines
        for cells in reader:
            more = added(line + 1)
            whole = [*cells, *[""] * (width - len(cells)), *more] if more else cells
            writer.writerow([harmless(cell) for cell in whole])
            line = dialect.skipped_lines + reader.line_num


def _text(cell: str) -> str:
    """Programs write `="00123"` so that Excel takes it for a text: what is seen then is 00123."""
    text = cell.strip()
    if text.startswith('="') and text.endswith('"') and len(text) > len('=""'):
        return text[2:-1].replace('""', '"').strip()
    return text


def encoding_of(path: Path) -> tuple[str, Sequence[str]]:
    """And what is to be said of it."""
    with path.open("rb") as file:
        begin = file.read(CHUNK_BYTES)
    for mark, encoding in MARKS:
        if begin.startswith(mark):
            return encoding, ()
    for encoding, half in (("utf-16-le", begin[1::2]), ("utf-16-be", begin[::2])):
        if half and half.count(0) > NUL_SHARE * len(half):
            return encoding, ()
    if _can_be(path, "utf-8"):
        return "utf-8", ()
    if _can_be(path, "cp1252"):
        return "cp1252", [NOT_UTF_8]
    raise FixConfiguration(f"{path}: is neither UTF-8 nor Windows-1252; save it as CSV UTF-8")


def _can_be(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _dialect(path: Path, encoding: str, known: Known) -> Dialect:
    """The delimiter with which most headings are known; where none is, the one that makes most columns."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            head = file.read(HEAD_CHARACTERS)
    except UnicodeError:
        raise FixConfiguration(f"{path}: is not {encoding}, as its first bytes say; save it as CSV UTF-8") from None
    first, _, rest = head.partition("\n")
    told = first.strip().strip('"')
    if told.lower().startswith("sep=") and len(told) == len("sep=;"):
        return Dialect(encoding, told[-1], _is_quoted(rest, told[-1]), 1)
    delimiter = max(DELIMITERS, key=lambda one: _score(head, one, known))
    return Dialect(encoding, delimiter, _is_quoted(head, delimiter), 0)


def _score(head: str, delimiter: str, known: Known) -> tuple[int, int]:
    try:
        rows = list(islice(csv.reader(head.splitlines(), delimiter=delimiter), HEAD_ROWS))
    except csv.Error:
        return 0, 0
    return max((known(row) for row in rows), default=0), sum(len(row) - 1 for row in rows)


def _is_quoted(head: str, delimiter: str) -> bool:
    """Programs that separate by tabs often quote nothing: there, a quote may begin a name."""
    if delimiter != "\t":
        return True
    lines = head.splitlines(keepends=True)
    try:
        list(csv.reader(lines[:-1] if len(head) == HEAD_CHARACTERS else lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return True
