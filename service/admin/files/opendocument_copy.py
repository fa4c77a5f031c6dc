"""An ODS written again with cells added to the rows of one sheet; everything else stays as it was. Row by row."""

import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias
from xml.sax import make_parser
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from service.admin.files.cells import Added

_NAMES = {f"urn:oasis:names:tc:opendocument:xmlns:{name}:1.0": name for name in ("office", "table", "text")}
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SIGNATURES = "META-INF/documentsignatures.xml"
"""They were of the file as it was."""
Attributes: TypeAlias = "AttributesImpl[str]"
Event = tuple[str, str, Attributes]
"""start, end or characters; the name or the text; the attributes."""
NONE: Attributes = AttributesImpl({})


class _Cell(NamedTuple):
    """What is in a row: a cell with all that is in it, or an element that is none."""

    events: Sequence[Event]
    columns: int
    is_blank: bool


def copy(path: Path, wanted: int, target: Path, width: int, added: Added) -> None:
    """`wanted`: the number of the sheet, from 0 on. Raises OSError."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:
        for info in source.infolist():
            if info.filename == _SIGNATURES:
                continue
            kept = zipfile.ZipInfo(info.filename, info.date_time)
            kept.compress_type = info.compress_type
            with source.open(info) as content, made.open(kept, "w", force_zip64=True) as written:
                if info.filename == "content.xml":
                    _rewrite(content, written, wanted, width, added)
                else:
                    shutil.copyfileobj(content, written)


def _rewrite(content: IO[bytes], written: IO[bytes], wanted: int, width: int, added: Added) -> None:
    parser = make_parser()  # noqa: S317  # expat ends entities that unfold without end (from 2.4.1 on)
    parser.setContentHandler(_Adding(written, wanted, width, added))
    parser.parse(content)


def _count(said: str) -> int:
    return max(1, int(said)) if said.isdecimal() else 1


class _Adding(XMLGenerator):
    """Writes what it is told, but for the rows of the sheet, which are held back until they end."""

    def __init__(self, written: IO[bytes], wanted: int, width: int, added: Added) -> None:
        super().__init__(written, "utf-8", short_empty_elements=True)
        self._wanted, self._width, self._added = wanted, width, added
        self._prefixes: dict[str, str] = {}
        self._sheet, self._tables, self._line = -1, 0, 0
        self._row: list[Event] = []

    def startElement(self, name: str, attrs: Attributes) -> None:  # noqa: N802  # as SAX calls it
        for attribute, value in attrs.items():
            if attribute.startswith("xmlns:") and value in _NAMES:
                self._prefixes[_NAMES[value]] = attribute.removeprefix("xmlns:")
        if name == self._name("table", "table"):
            self._tables += 1
            self._sheet += 1
        if self._row or (name == self._name("table", "table-row") and self._is_wanted()):
            self._row.append(("start", name, AttributesImpl(dict(attrs))))
        else:
            super().startElement(name, attrs)

    def characters(self, content: str) -> None:
        if self._row:
            self._row.append(("characters", content, NONE))
        else:
            super().characters(content)

    def endElement(self, name: str) -> None:  # noqa: N802
        if self._row:
            self._row.append(("end", name, NONE))
            if name == self._name("table", "table-row"):
                row, self._row = self._row, []
                self._write_rows(row)
            return
        if name == self._name("table", "table"):
            self._tables -= 1
        super().endElement(name)

    def _is_wanted(self) -> bool:
        return self._sheet == self._wanted and self._tables == 1

    def _name(self, space: str, name: str) -> str:
        return f"{self._prefixes.get(space, space)}:{name}"

    def _write_rows(self, row: Sequence[Event]) -> None:
        """A row that stands for several, and gets something added, is written as often as it stands for."""
        attributes = dict(row[0][2])
        count = _count(attributes.pop(self._name("table", "number-rows-repeated"), "1"))
        cells = list(self._cells(row[1:-1]))
        while cells and cells[-1].is_blank:
            cells.pop()
        if not cells:
            self._line += count
            self._tell(row)
            return
        for _ in range(count):
            self._line += 1
            more = self._added(self._line)
            super().startElement(row[0][1], AttributesImpl(attributes))
            self._tell(event for cell in cells for event in cell.events)
            if more:
                self._write_added(self._width - sum(cell.columns for cell in cells), more)
            super().endElement(row[0][1])

    def _write_added(self, blank: int, texts: Sequence[str]) -> None:
        cell = self._name("table", "table-cell")
        if blank > 0:
            super().startElement(cell, AttributesImpl({self._name("table", "number-columns-repeated"): str(blank)}))
            super().endElement(cell)
        for text in texts:
            super().startElement(cell, AttributesImpl({self._name("office", "value-type"): "string"}))
            super().startElement(self._name("text", "p"), NONE)
            super().characters(_NO_XML.sub("\ufffd", text))
            super().endElement(self._name("text", "p"))
            super().endElement(cell)

    def _tell(self, events: Iterable[Event]) -> None:
        for event, said, attributes in events:
            if event == "start":
                super().startElement(said, attributes)
            elif event == "end":
                super().endElement(said)
            else:
                super().characters(said)

    def _cells(self, events: Sequence[Event]) -> Iterator[_Cell]:
        """The elements of a row, one after the other."""
        depth, begin = 0, 0
        for number, (event, _, _) in enumerate(events):
            if not depth:
                begin = number
            depth += {"start": 1, "end": -1}.get(event, 0)
            if not depth:
                whole = events[begin : number + 1]
                attributes = whole[0][2]
                columns = _count(attributes.get(self._name("table", "number-columns-repeated"), "1"))
                is_blank = whole[1:-1] == [] and self._name("office", "value-type") not in attributes
                yield _Cell(whole, columns if event == "end" else 0, is_blank)
