"""XLS, the Excel of 97 to 2003: each cell as a person sees it, merged cells filled, hidden rows marked."""

import os
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from service.admin.files.cells import Content, Row, Table, duration_shown, number_shown, readable
from service.admin.files.merged import by_first_row, filled, merged
from service.errors import FixConfiguration

FILE_BYTES = 100 * 1024 * 1024
"""A sheet ends at 65,536 rows; it is read into memory."""
DAY_SECONDS = 86_400


def read(path: Path) -> Content:
    """All its sheets. Raises FixConfiguration."""
    if path.stat().st_size > FILE_BYTES:
        raise FixConfiguration(f"{path}: has more than {FILE_BYTES:,} bytes; save it as .xlsx")
    book = _opened(path)
    return Content([Table(sheet.name, partial(_rows, path, book, sheet)) for sheet in book.sheets()])


def _opened(path: Path) -> Any:
    import xlrd  # few files need it

    try:
        with readable(path, "Excel 97-2003 workbook (.xls)"), Path(os.devnull).open("w") as nowhere:
            return xlrd.open_workbook(path, formatting_info=True, ragged_rows=True, logfile=nowhere)
    except FixConfiguration as error:
        if "encrypted" in str(error) or "OLE2" in str(error):
            raise FixConfiguration(
                f"{path}: is protected by a password, or no workbook; save it as .xlsx without one"
            ) from None
        raise


def _rows(path: Path, book: Any, sheet: Any) -> Iterator[Row]:
    begins = by_first_row(
        merged(first + 1, last, column, end - column) for first, last, column, end in sheet.merged_cells
    )
    with readable(path, "Excel 97-2003 workbook (.xls)"):
        hidden = {number + 1 for number, info in sheet.rowinfo_map.items() if info.hidden}
        texts = [[_shown(book, cell) for cell in sheet.row(number)] for number in range(sheet.nrows)]
    for number, cells in filled(enumerate(texts, 1), begins):
        yield Row(number, cells, number in hidden)


def _shown(book: Any, cell: Any) -> str:
    import xlrd

    if cell.ctype == xlrd.XL_CELL_TEXT:
        return str(cell.value).strip()
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return "true" if cell.value else "false"
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return str(xlrd.error_text_from_code.get(cell.value, "#ERROR"))
    if cell.ctype not in {xlrd.XL_CELL_NUMBER, xlrd.XL_CELL_DATE}:
        return ""
    form = book.format_map[book.xf_list[cell.xf_index].format_key].format_str
    if cell.ctype == xlrd.XL_CELL_NUMBER:
        return number_shown(cell.value, form.split(";")[0])
    if "[h" in form.lower() or 0 <= cell.value < 1:
        return duration_shown(round(cell.value * DAY_SECONDS))
    made: datetime = xlrd.xldate_as_datetime(cell.value, book.datemode)
    return made.isoformat()
