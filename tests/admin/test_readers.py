"""XLS, ODS and web pages, written by other libraries, come back as a person sees them. No server is needed."""

import datetime as dt
import html
import pyexpat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import xlwt
from hypothesis import given, settings
from hypothesis import strategies as st
from odf.opendocument import OpenDocumentSpreadsheet, load
from odf.table import CoveredTableCell, Table, TableCell, TableRow
from odf.text import P

from service.admin.files.cells import Doubtful
from service.admin.files.results import result_path, write_results
from service.admin.files.spreadsheet import Sheet, open_sheet
from service.admin.formats.catalogue import OWN, chosen
from service.errors import FixConfiguration

OURS = chosen(OWN)
HEADINGS = ["Learner", "Course", "Event", "Minutes"]
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=8)
ROWS = st.lists(st.lists(TEXTS, min_size=4, max_size=4), max_size=5)
Table_ = Sequence[Sequence[str]]


def as_xls(rows: Table_, path: Path) -> None:
    """By xlwt."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("March")
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            sheet.write(number, column, text)
    book.save(str(path))


def as_ods(rows: Table_, path: Path) -> None:
    """By odfpy."""
    book = OpenDocumentSpreadsheet()
    table = Table(name="March")
    for row in rows:
        made = TableRow()
        for text in row:
            cell = TableCell(valuetype="string")
            cell.addElement(P(text=text))
            made.addElement(cell)
        table.addElement(made)
    book.spreadsheet.addElement(table)
    book.save(str(path))


def as_page(rows: Table_, path: Path) -> None:
    """As learning systems do."""
    lines = ("".join(f"<td>{html.escape(text)}</td>" for text in row) for row in rows)
    table = "\n".join(f"<tr>{line}</tr>" for line in lines)
    head = '<html><head><meta charset="utf-8"><style>td {color: red}</style></head>'
    path.write_text(f"{head}<body><h1>Report</h1><table>{table}</table></body></html>", "utf-8")


WRITERS: dict[str, Callable[[Table_, Path], None]] = {"xls": as_xls, "ods": as_ods, "html": as_page}


def cells(sheet: Sheet) -> list[list[str]]:
    """Of all rows, as wide as the headings."""
    return [[*row.cells, *[""] * (4 - len(row.cells))] for row in sheet.rows()]


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_a_table_comes_back_as_it_was_written(form: str, rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "march.xls"
        WRITERS[form]([["Report of March"], HEADINGS, *rows], path)
        sheet = open_sheet(path, OURS)
        assert cells(sheet) == [row for row in rows if any(row) and row != HEADINGS]
        assert sheet.unread == ["lines before the headings: 1"]


def test_an_old_workbook_shows_numbers_dates_and_merged_cells_as_they_are_seen(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("March")
    for column, heading in enumerate(HEADINGS):
        sheet.write(0, column, heading)
    for number, (value, form) in enumerate(
        [
            (123, "00000"),
            (12345678901, "General"),
            (1234567890123456, "General"),
            (0.995, "0%"),
            (dt.datetime(2026, 3, 2, 10, 30), "YYYY-MM-DD HH:MM"),  # noqa: DTZ001  # spreadsheets have no zones
            (1.25, "[h]:mm:ss"),
            (True, "General"),
        ],
        1,
    ):
        sheet.write(number, 0, value, xlwt.easyxf(num_format_str=form))
    sheet.write_merge(1, 2, 1, 1, "c-1")
    sheet.row(3).hidden = True
    book.save(str(tmp_path / "march.xls"))
    rows = list(open_sheet(tmp_path / "march.xls", OURS).rows())
    first = ["00123", "12345678901", "1234567890123456", "99.5%", "2026-03-02T10:30:00", "30:00:00", "true"]
    assert [row.cells[0] for row in rows] == first
    assert [isinstance(row.cells[0], Doubtful) for row in rows] == [False, False, True, *[False] * 4]
    assert [row.cells[1] for row in rows[:2]] == ["c-1", "c-1"]
    assert [row.hidden for row in rows] == [False, False, True, *[False] * 4]


def ods(rows: Sequence[Sequence[Any]], path: Path) -> None:
    """Each cell with its attributes, and what is shown."""
    book = OpenDocumentSpreadsheet()
    table = Table(name="March")
    for row in rows:
        made = TableRow()
        for attributes, text in row:
            cell = CoveredTableCell() if attributes is None else TableCell(**attributes)
            if text:
                cell.addElement(P(text=text))
            made.addElement(cell)
        table.addElement(made)
    book.spreadsheet.addElement(table)
    book.save(str(path))


def test_an_open_document_shows_what_is_seen_and_percents_exactly(tmp_path: Path) -> None:
    text = {"valuetype": "string"}
    head: list[Any] = [(text, heading) for heading in HEADINGS]
    shown = [
        ({"valuetype": "float", "value": "123"}, "00123", "00123", True),
        ({"valuetype": "float", "value": "12345678901"}, "1.23E+10", "12345678901", False),
        ({"valuetype": "float", "value": "1234"}, "1.234", "1234", False),
        ({"valuetype": "float", "value": "12.5"}, "13", "12.5", True),
        ({"valuetype": "percentage", "value": "0.995"}, "100%", "99.5%", True),
        ({"valuetype": "boolean", "booleanvalue": "true"}, "WAHR", "true", True),
        ({"valuetype": "date", "datevalue": "2026-03-02T10:30:00"}, "02.03.26", "2026-03-02T10:30:00", True),
        ({"valuetype": "time", "timevalue": "PT01H30M00S"}, "01:30", "PT01H30M00S", True),
    ]
    ods([head, *([(attributes, seen), (text, "c-1")] for attributes, seen, _, _ in shown)], tmp_path / "march.ods")
    rows = list(open_sheet(tmp_path / "march.ods", OURS).rows())
    assert [row.cells[0] for row in rows] == [cell for _, _, cell, _ in shown]
    assert [not isinstance(row.cells[0], Doubtful) for row in rows] == [is_id for *_, is_id in shown]


def test_an_open_document_fills_merged_and_repeated_cells(tmp_path: Path) -> None:
    text: dict[str, Any] = {"valuetype": "string"}
    merged = {**text, "numberrowsspanned": 2, "numbercolumnsspanned": 1}
    rows: list[list[Any]] = [
        [(text, heading) for heading in HEADINGS],
        [(text, "l-1"), (merged, "c-1"), ({**text, "numbercolumnsrepeated": 2}, "e1")],
        [(text, "l-2"), (None, ""), (text, "e1")],
    ]
    ods(rows, tmp_path / "march.ods")
    assert cells(open_sheet(tmp_path / "march.ods", OURS)) == [["l-1", "c-1", "e1", "e1"], ["l-2", "c-1", "e1", ""]]


def test_a_web_page_with_spans_layout_tables_and_no_end_tags(tmp_path: Path) -> None:
    page = """<!DOCTYPE html><table><tr><td>Logo<table border=1>
    <tr><th>Learner<th>Course<th>Event<th>Minutes
    <tr><td>l-1<td rowspan=2>c-1<td>e1<td>60&nbsp;
    <tr style="display: none"><td>l-2<td>e1<td>30<br>min
    <script>var x = "<td>no</td>";</script></table></table>"""
    (tmp_path / "march.xls").write_text(page, "utf-8")
    sheet = open_sheet(tmp_path / "march.xls", OURS)
    assert cells(sheet) == [["l-1", "c-1", "e1", "60"], ["l-2", "c-1", "e1", "30 min"]]
    assert [row.hidden for row in sheet.rows()] == [False, True]
    assert sheet.remarks == ["is a web page, whatever its name says; its table was read"]


def laughs() -> bytes:
    """Entities that would unfold without end."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{entities}]><x>&l9;</x>'.encode()


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        (b"%PDF-1.7", "is a PDF; save the table as .xlsx or CSV"),
        (b"MIME-Version: 1.0\r\nContent-Type: multipart/related", "is a web archive"),
        (b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">', "is XML, whatever"),
        (b"<html><body>nothing</body></html>", "is a web page without a table"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "workbook"),
    ],
)
def test_other_files_are_named(begin: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "march.xls").write_bytes(begin)
    with pytest.raises(FixConfiguration, match=r"march\.xls") as raised:
        open_sheet(tmp_path / "march.xls", OURS)
    assert says in str(raised.value)


def test_entities_in_spreadsheets_are_refused(tmp_path: Path) -> None:
    assert pyexpat.version_info >= (2, 4, 1)
    with zipfile.ZipFile(tmp_path / "march.ods", "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", laughs())
    with pytest.raises(FixConfiguration, match="limit on input amplification factor"):
        open_sheet(tmp_path / "march.ods", OURS)


# -- the result ---------------------------------------------------------------------------------------------------


def results(sheet: Sheet) -> Iterator[tuple[int, Sequence[str]]]:
    """Of every row."""
    return ((row.line, ["accepted", f"=line {row.line}", ""]) for row in sheet.rows())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_the_result_is_the_file_with_columns_added(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "march.csv"
    text = (
        "sep=;\r\nReport of März\r\n\r\nLearner;Course;Event;Minutes;Remarks\r\n"
        'l-1;c-1;e1;60;"a; b"\r\n\r\nl-2;c-1;e1;-5\r\n=SUM(A1);c-1;e1;60;="007"\r\n'
    )
    path.write_bytes(text.encode(encoding))
    sheet = open_sheet(path, OURS)
    write_results(sheet, ["Verdict", "Reason", "Effect"], results(sheet))
    assert result_path(sheet) == tmp_path / "march.csv.result.csv"
    assert result_path(sheet).read_bytes().decode(encoding) == (
        "sep=;\r\nReport of März\r\n\r\nLearner;Course;Event;Minutes;Remarks;Verdict;Reason;Effect\r\n"
        "l-1;c-1;e1;60;\"a; b\";accepted;'=line 5;\r\n\r\nl-2;c-1;e1;-5;;accepted;'=line 7;\r\n"
        '\'=SUM(A1);c-1;e1;60;"=""007""";accepted;\'=line 8;\r\n'
    )


def test_the_result_of_a_workbook_is_a_workbook(tmp_path: Path) -> None:
    from openpyxl import Workbook, load_workbook

    book = Workbook()
    made = book.active
    assert made is not None
    for row in (["March"], HEADINGS, [123, "c-1", "e1", 0.5], [], ["=1+1", "c-1", "e1", 60]):
        made.append(row)
    made["A3"].number_format, made["D3"].number_format = "00000", "0%"
    made["A5"].data_type = "s"
    made.row_dimensions[5].hidden = True
    book.save(tmp_path / "march.xlsx")
    sheet = open_sheet(tmp_path / "march.xlsx", OURS)
    write_results(sheet, ["Verdict", "Reason", "Effect"], results(sheet))
    copied = load_workbook(result_path(sheet)).active
    assert copied is not None and copied.title == made.title
    assert [[cell.value for cell in row] for row in copied.iter_rows()] == [
        ["March", None, None, None, None, None, None],
        [*HEADINGS, "Verdict", "Reason", "Effect"],
        [123, "c-1", "e1", 0.5, "accepted", "=line 3", None],
        [None] * 7,
        ["=1+1", "c-1", "e1", 60, "accepted", "=line 5", None],
    ]
    assert (copied["A3"].number_format, copied["D3"].number_format) == ("00000", "0%")
    assert {copied[place].data_type for place in ("F3", "A5", "F5")} == {"s"}, "no formula came into being"
    assert copied.row_dimensions[5].hidden


def test_the_result_of_an_open_document_is_one(tmp_path: Path) -> None:
    """As another reader has it: formats, other sheets, hidden rows and repeated ones stay; nothing is a formula."""
    path = tmp_path / "march.ods"
    book = OpenDocumentSpreadsheet()
    rows = [["Report"], HEADINGS, ["00123", "c-1", "e1", "60"], [], ["=x", "c-1", "e1", "60"]]
    for name in ("Other", "March"):
        sheet = Table(name=name)
        for number, texts in enumerate(rows):
            row = TableRow(visibility="collapse") if number == 4 else TableRow()
            for text in texts:
                cell = TableCell(valuetype="string")
                cell.addElement(P(text=text))
                row.addElement(cell)
            row.addElement(TableCell(numbercolumnsrepeated=16000))
            sheet.addElement(row)
        last = TableRow(numberrowsrepeated=2)
        for text in ("l-9", "c-1", "e1"):
            cell = TableCell(valuetype="string")
            cell.addElement(P(text=text))
            last.addElement(cell)
        sheet.addElement(last)
        sheet.addElement(TableRow(numberrowsrepeated=1000000))
        book.spreadsheet.addElement(sheet)
    book.save(path)
    sheet = open_sheet(path, OURS, "March")
    write_results(sheet, ["Verdict", "Reason", "Effect"], results(sheet))
    assert result_path(sheet).name == "march.ods.result.ods"
    other, made = load(result_path(sheet)).getElementsByType(Table)

    def texts_of(table: Any) -> list[list[str]]:
        return [[str(cell) for cell in row.getElementsByType(TableCell)] for row in table.getElementsByType(TableRow)]

    assert texts_of(other) == texts_of(load(path).getElementsByType(Table)[0]), "other sheets are as they were"
    assert texts_of(made) == [
        ["Report"],
        [*HEADINGS, "Verdict", "Reason", "Effect"],
        ["00123", "c-1", "e1", "60", "accepted", "=line 3", ""],
        [""],
        ["=x", "c-1", "e1", "60", "accepted", "=line 5", ""],
        ["l-9", "c-1", "e1", "", "accepted", "=line 6", ""],
        ["l-9", "c-1", "e1", "", "accepted", "=line 7", ""],
        [],
    ]
    assert all(cell.getAttribute("formula") is None for cell in made.getElementsByType(TableCell))
    assert made.getElementsByType(TableRow)[4].getAttribute("visibility") == "collapse"
    assert cells(open_sheet(result_path(sheet), OURS, "March"))[-1][:3] == ["l-9", "c-1", "e1"]


@pytest.mark.parametrize("form", ["xls", "html"])
def test_the_result_of_what_is_only_read_is_a_workbook(form: str, tmp_path: Path) -> None:
    from openpyxl import load_workbook

    path = tmp_path / "march.xls"
    WRITERS[form]([["Report"], HEADINGS, ["00123", "c-1", "e1", "60"], ["=x", "c-1", "e1", "60"]], path)
    sheet = open_sheet(path, OURS)
    write_results(sheet, ["Verdict", "Reason", "Effect"], results(sheet))
    assert result_path(sheet).name == "march.xls.result.xlsx"
    copied = load_workbook(result_path(sheet)).active
    assert copied is not None
    assert [[cell.value or "" for cell in row][:6] for row in copied.iter_rows()][1:] == [
        [*HEADINGS, "Verdict", "Reason"],
        ["00123", "c-1", "e1", "60", "accepted", "=line 3"],
        ["=x", "c-1", "e1", "60", "accepted", "=line 4"],
    ]
