"""Thirty thousand rows in each kind of file, read within what a hundred thousand may take. No server is needed."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xlwt
from openpyxl import Workbook

MANY = 30_000
IDLE_MB, LIMIT_MB, LIMIT_ROWS = 60, 200, 100_000
"""What the reading process has before the first row, at least, and what it may have after so many."""
READ = """
import sys
from pathlib import Path
from service.admin.kinds import ATTENDANCE
from service.admin.uploads import Asked, open_file
from service.admin.reading import Said, understand
file = open_file(Path(sys.argv[1]), ATTENDANCE, Asked())
how = file.at("2026-05-01T00:00:00Z")
said = sum(isinstance(understand(row, how), Said) for row in file.sheet.rows())
status = Path("/proc/self/status").read_text().splitlines()
print(said, next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024)
"""
HEADINGS = ["Tenant", "Learner", "Course", "Event", "Minutes"]
OPEN_DOCUMENT = (
    '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    ' xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
    ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0">'
    '<office:body><office:spreadsheet><table:table table:name="March">'
)


def rows(count: int) -> Iterator[list[str]]:
    """Headings first."""
    yield HEADINGS
    for number in range(count):
        yield ["acme", f"l-{number}", "c-1", "e1", "60"]


def as_csv(path: Path) -> int:
    """In UTF-16, as spreadsheet programs write Unicode text."""
    path.write_text("".join("\t".join(row) + "\r\n" for row in rows(MANY)), "utf-16")
    return MANY


def as_xlsx(path: Path) -> int:
    """By openpyxl."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("March")
    for row in rows(MANY):
        sheet.append(row)
    book.save(path)
    return MANY


def as_xls(path: Path) -> int:
    """By xlwt."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("March")
    for number, row in enumerate(rows(MANY)):
        for column, text in enumerate(row):
            sheet.write(number, column, text)
    book.save(str(path))
    return MANY


def as_ods(path: Path) -> int:
    """Row by row: odfpy would hold all of it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        with archive.open("content.xml", "w") as content:
            content.write(OPEN_DOCUMENT.encode())
            for row in rows(MANY):
                cells = (
                    f'<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>'
                    for text in row
                )
                content.write(f"<table:table-row>{''.join(cells)}</table:table-row>".encode())
            content.write(b"</table:table></office:spreadsheet></office:body></office:document-content>")
    return MANY


def as_page(path: Path) -> int:
    """As learning systems do."""
    with path.open("w") as file:
        file.write("<html><table>")
        for row in rows(MANY):
            file.write(f"<tr>{''.join(f'<td>{text}</td>' for text in row)}</tr>")
        file.write("</table></html>")
    return MANY


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("write", [as_csv, as_xlsx, as_xls, as_ods, as_page], ids=lambda write: str(write.__name__))
def test_memory_stays_within_bounds(write: Callable[[Path], int], tmp_path: Path) -> None:
    path = tmp_path / "march.xls"
    count = write(path)
    as_installed = {**os.environ, "OPENPYXL_DEFUSEDXML": "False"}  # it comes with a library of the tests only
    ran = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True, env=as_installed
    )
    said, megabytes = map(int, ran.stdout.split())
    print(f"{write.__name__}: {count:,} rows, {megabytes} MB")
    assert said == count
    assert megabytes < IDLE_MB + (LIMIT_MB - IDLE_MB) * MANY / LIMIT_ROWS
