"""Tables are read as they are meant, however they were written, or refused with the reason. No server is needed."""

import csv
import io
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from service.admin.files import delimited, words
from service.admin.files.cells import Doubtful, number_shown
from service.admin.files.spreadsheet import Sheet, open_sheet
from service.admin.formats.catalogue import OWN, chosen
from service.errors import FixConfiguration

OURS = chosen(OWN)
HEADINGS = ["Learner", "Course", "Event", "Minutes"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=8)


def opened(folder: Path, content: bytes, name: str = "file.csv", sheet: str | None = None) -> Sheet:
    """A file with this content, read."""
    file = folder / name
    file.write_bytes(content)
    return open_sheet(file, OURS, sheet)


def cells(sheet: Sheet) -> list[list[str]]:
    """Of all rows."""
    return [list(row.cells) for row in sheet.rows()]


def written(rows: Sequence[Sequence[str]], delimiter: str, quoting: Any, end: str) -> str:
    """As a program writes it."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    return text.getvalue()


@given(
    st.lists(st.lists(TEXTS, min_size=4, max_size=4), max_size=6),
    st.sampled_from(ENCODINGS),
    st.sampled_from(delimited.DELIMITERS),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\r\n", "\n"]),
    st.lists(st.sampled_from(["Report of March", "Made by A, B; C", ""]), max_size=3),
    st.booleans(),
)
def test_a_table_comes_back_as_it_was_written(
    rows: list[list[str]], encoding: str, delimiter: str, quoting: Any, end: str, title: list[str], says_how: bool
) -> None:
    text = "".join(f"{line}{end}" for line in title) + written([HEADINGS, *rows], delimiter, quoting, end)
    if says_how:
        text = f"sep={delimiter}{end}{text}"
    with tempfile.TemporaryDirectory() as folder:
        sheet = opened(Path(folder), text.encode(encoding))
        filled = [row for row in rows if any(row) and row != HEADINGS]
        assert [[delimited._text(cell) for cell in row] for row in filled] == cells(sheet)
        assert sheet.row_count == len(filled)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.from_regex(r"[A-Za-z0-9._:@+-]{1,20}", fullmatch=True), st.integers(0, 10**15 - 1)),
            st.one_of(st.integers(0, 10**6), st.sampled_from([12.5, time(1, 30), timedelta(hours=30, minutes=5)])),
        ),
        max_size=5,
    )
)
def test_a_workbook_comes_back_as_a_person_sees_it(rows: list[tuple[Any, Any]]) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADINGS)
    for learner, minutes in rows:
        sheet.append([learner, "c-1", "e1", minutes])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.xlsx"
        book.save(path)
        read = cells(open_sheet(path, OURS))
    seen_as = {12.5: "12.5", time(1, 30): "01:30:00", timedelta(hours=30, minutes=5): "30:05:00"}
    assert read == [[str(learner), "c-1", "e1", seen_as.get(minutes, str(minutes))] for learner, minutes in rows]


@pytest.mark.parametrize(
    ("value", "form", "shown", "is_id"),
    [
        (123, "00000", "00123", True),
        (20260001234567, "General", "20260001234567", True),
        (1234567890123456, "General", "1234567890123456", False),
        (1234, "#,##0", "1234", False),
        (123456789, "000-00-0000", "123456789", False),
        (0.995, "0%", "99.5%", True),
        (0.07, "0.00%", "7%", True),
        (1e21, "General", "1000000000000000000000", False),
        (True, "General", "true", True),
    ],
)
def test_a_number_is_what_a_person_sees_or_no_id(
    tmp_path: Path, value: float, form: str, shown: str, is_id: bool
) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADINGS)
    sheet.append([value, "c-1", "e1", 60])
    sheet["A2"].number_format = form
    book.save(tmp_path / "file.xlsx")
    ((cell, *_),) = cells(open_sheet(tmp_path / "file.xlsx", OURS))
    assert (cell, isinstance(cell, Doubtful)) == (shown, not is_id)


def test_formulas_hidden_rows_and_other_sheets(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "March"
    for row in (["Attendance in March"], [], HEADINGS, ["l-1", "c-1", "e1", "=30+30"], ["l-2", "c-1", "e1", 60]):
        sheet.append(row)
    sheet.row_dimensions[5].hidden = True
    book.create_sheet("Notes").append(["Ask Kim"])
    book.create_sheet("Empty")
    book.save(tmp_path / "file.xlsx")
    read = open_sheet(tmp_path / "file.xlsx", OURS)
    assert read.unread == ["the sheet 'Notes'", "lines before the headings: 1", "1 hidden rows"]
    assert [(row.line, row.cells[3], row.hidden) for row in read.rows()] == [(4, "=30+30", False), (5, "60", True)]
    with pytest.raises(FixConfiguration, match="has no sheet 'April'; it has: March, Notes, Empty"):
        open_sheet(tmp_path / "file.xlsx", OURS, "April")


def test_a_formula_counts_as_the_value_that_was_saved_with_it(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADINGS)
    sheet.append(["l-1", "c-1", "e1", "=30+30"])
    book.save(tmp_path / "file.xlsx")
    with zipfile.ZipFile(tmp_path / "file.xlsx") as made, zipfile.ZipFile(tmp_path / "cached.xlsx", "w") as cached:
        for part in made.namelist():
            cached.writestr(part, made.read(part).replace(b"<v></v>", b"<v>60</v>").replace(b"<v />", b"<v>60</v>"))
    assert cells(open_sheet(tmp_path / "cached.xlsx", OURS)) == [["l-1", "c-1", "e1", "60"]]


def test_a_workbook_that_is_wrong_about_its_size_is_read_whole(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADINGS)
    sheet.append(["l-1", "c-1", "e1", 60])
    sheet.append(["l-2"])
    sheet.merge_cells("B2:D3")
    book.save(tmp_path / "file.xlsx")
    with zipfile.ZipFile(tmp_path / "file.xlsx") as made, zipfile.ZipFile(tmp_path / "wrong.xlsx", "w") as wrong:
        for part in made.namelist():
            wrong.writestr(part, made.read(part).replace(b'<dimension ref="A1:D3" />', b'<dimension ref="A1"/>'))
    assert cells(open_sheet(tmp_path / "wrong.xlsx", OURS)) == [
        ["l-1", "c-1", "c-1", "c-1"],
        ["l-2", "c-1", "c-1", "c-1"],
    ]


def test_windows_1252_is_read_and_told(tmp_path: Path) -> None:
    read = opened(tmp_path, "Learner;Course;Event;Minutes;Name\nl-1;c-1;e1;60;Jürgen Öz\n".encode("cp1252"))
    assert cells(read) == [["l-1", "c-1", "e1", "60", "Jürgen Öz"]]
    assert read.remarks == [delimited.NOT_UTF_8]


@pytest.mark.parametrize(
    ("cell", "minutes"),
    [
        *[("90", 90), ("90.0", 90), ("90,5", 90), ("1h 1m 13s", 61), ("00:58:12", 58), ("58 mins", 58)],
        *[
            ("1 hr 2 min", 62),
            ("PT1H2M", 62),
            ("PT5400S", 90),
            ("PT1H59.9S", 60),
            ("1 Std. 5 Min.", 65),
            ("2 heures", 120),
            ("59 s", 0),
            ("30:05:00", 1805),
        ],
    ],
)
def test_durations(cell: str, minutes: int) -> None:
    assert words.minutes(cell) == minutes


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        *[
            (59.99999999650754, "0", "60"),
            (0.7 + 0.1, "0%", "80%"),
            (sum([0.1] * 10), "0%", "100%"),
            (59.6, "0", "59.6"),
        ],
        *[(1, '0"%"', "1%"), (1.5, '0.0 "h"', "1.5h"), (7, '"No. "0', "No.7"), (0.95, r"0\ %", "95%")],
    ],
)
def test_a_number_is_what_a_person_sees(value: float, form: str, shown: str) -> None:
    assert number_shown(value, form) == shown


@pytest.mark.parametrize("cell", ["", "58:12", "1,234", "-5", "sixty", "1h 1h", "5 m 1 h", "1e3", "٣", "PT", "P"])
def test_what_is_no_duration(cell: str) -> None:
    with pytest.raises(ValueError, match=r"must|could"):
        words.minutes(cell)
