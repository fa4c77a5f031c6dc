"""The file that was handed in, row for row, with columns added at its end, in the format that it came in."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from service.admin.files.cells import Added
from service.admin.files.spreadsheet import Sheet
from service.admin.files.workbook import as_text

Results = Iterator[tuple[int, Sequence[str]]]
"""Of each row, in order of their lines: its line, what is added."""


def result_path(sheet: Sheet) -> Path:
    """Beside the file. What is only read here (.xls, web pages) becomes XLSX."""
    return sheet.path.with_name(f"{sheet.path.name}.result{sheet.table.suffix}")


def write_results(sheet: Sheet, headings: Sequence[str], results: Results) -> None:
    """Write it. Raises OSError."""
    copy = sheet.table.copy or (lambda target, width, added: _as_workbook(sheet, target, width, added))
    copy(result_path(sheet), sheet.width, _in_order(sheet.heading_line, headings, results))


def _in_order(heading_line: int, headings: Sequence[str], results: Results) -> Added:
    """The lines are asked for in their order."""
    waiting = chain([(heading_line, headings)], results)
    upcoming = next(waiting, None)

    def added(line: int) -> Sequence[str]:
        nonlocal upcoming
        while upcoming is not None and upcoming[0] < line:
            upcoming = next(waiting, None)
        return upcoming[1] if upcoming is not None and upcoming[0] == line else ()

    return added


def _as_workbook(sheet: Sheet, target: Path, width: int, added: Added) -> None:
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    written = book.create_sheet()
    through = 0
    for row in sheet.table.rows():
        for _ in range(row.line - through - 1):
            written.append([])
        more = added(row.line)
        blank = [""] * (width - len(row.cells)) if more else []
        written.append([as_text(written, text) for text in (*row.cells, *blank, *more)])
        through = row.line
    book.save(target)
