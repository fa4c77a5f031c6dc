"""Rows and cells, as whoever looks at the sheet sees them."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from service.errors import FixConfiguration

HEAD_ROWS = 200
"""The headings stand among the first so many rows."""
CHUNK_BYTES = 1024 * 1024
DIGITS = 15
"""So many a spreadsheet program keeps of a number."""
PLAIN = {"General", "0", "@", "#", "general", ""}
"""Formats that show a number as it is."""
AS_TEXT = "format the column as text and enter it anew"
_LITERAL = re.compile(r'"([^"]*)"|\\(.)')
"""Words that a format adds to a number."""
NEARLY = Decimal("1e-6")
_HARMLESS = re.compile(r'[+-]?\d+([.,]\d+)?%?|-+|="[^"]*"', re.ASCII)
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are the first four as they are typed in East Asia."""
Known = Callable[[Sequence[str]], int]
"""How many of a row's cells are headings that are known."""


class Row(NamedTuple):
    """A row with the number that a spreadsheet program shows; `hidden`: by a filter, or by hand.

    Its cells are texts as a person sees them, without spaces around.
    """

    line: int
    cells: Sequence[str]
    hidden: bool = False


Added = Callable[[int], Sequence[str]]
"""What is added at the end of the row with this number; nothing for others."""


class Table(NamedTuple):
    """One of the tables of a file: a sheet, or the whole file. `rows` may be asked for again and again.

    `copy` writes it again, as it was, with cells added; None where this format is only read.
    """

    name: str
    rows: Callable[[], Iterator[Row]]
    copy: Callable[[Path, int, Added], None] | None = None
    suffix: str = ".xlsx"
    """Of a copy."""


class Content(NamedTuple):
    """The tables of a file, and what is to be said of how they were read."""

    tables: Sequence[Table]
    remarks: Sequence[str] = ()


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


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """What libraries raise at a damaged file is whatever it leads them to; what the system says is its own."""
    try:
        yield
    except (FixConfiguration, OSError):
        raise
    except Exception as error:  # noqa: BLE001
        raise FixConfiguration(f"{path}: is no {what} that can be read: {type(error).__name__}: {error}") from None


def number_shown(value: float, form: str) -> str:
    """A number as a person sees it in this format; where that is another text, it is Doubtful."""
    exact, words = _settled(Decimal(repr(value))), "".join(map("".join, _LITERAL.findall(form))).strip()
    if words:
        parts = f"{exact.normalize():f}", words
        whole = "".join(reversed(parts) if form.startswith(('"', "\\")) else parts)
        return Doubtful.because(whole, f"is shown in another way in the sheet ({form}); {AS_TEXT}")
    if "%" in form:
        return f"{_settled(exact * 100).normalize():f}%"
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


def _settled(number: Decimal) -> Decimal:
    """What computing has missed a whole number by is not meant."""
    whole = number.to_integral_value()
    return whole if abs(number - whole) < NEARLY else number


def harmless(cell: str) -> str:
    """Never anything that a spreadsheet program would take for a formula; a number or a text in one is none."""
    return f"'{cell}" if cell.startswith(FORMULA_BEGINS) and not _HARMLESS.fullmatch(cell) else cell


def duration_shown(seconds: int) -> str:
    """Hours may be more than a day's."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
