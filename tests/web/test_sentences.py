"""What rows, dead letters and replays are told stands in every catalogue, as the service makes it."""

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel, ValidationError

from contracts import fields, inbound
from service.admin import columns, connections, dead_letters, directory, job_work, reading, rows
from service.admin.files import (
    cells,
    delimited,
    moments,
    old_workbook,
    opendocument,
    spreadsheet,
    web_page,
    words,
    workbook,
)
from service.lanes import batch, envelope, preparing, translate
from service.web.console.catalogue import LANGUAGES, texts
from service.web.console.sentences import GROUP, translated

TELLING: tuple[ModuleType, ...] = (
    *(rows, reading, connections, directory, words, moments, cells),
    *(batch, envelope, preparing, translate, dead_letters, fields, inbound),
)
FAILING: tuple[ModuleType, ...] = (
    *(columns, directory, job_work),
    *(cells, delimited, old_workbook, opendocument, spreadsheet, web_page, workbook),
)
"""What is wrong with a file as a whole ends a job."""
REMARKS = {delimited.NOT_UTF_8, web_page.REMARK, spreadsheet.XML, *(says for _, says in spreadsheet.MAGIC)}
RAISES = {"_Wrong", "Invalid", "Judged", "ValueError", "Unfound", "Unusable", "NoEnvelope", "NotReplayable", "Doubtful"}
OTHERS = [language for language in LANGUAGES if language != "en"]


NOT_TOLD = {"no hour of a half day"}
"""It is caught."""
BEHIND_ANOTHER = re.compile("^('1' ?)+; ")
SEVERAL = {"wanted": ("event", "step"), "also": ("line", "lines"), "other": ("an event", "no event but other")}
"""Words that the service puts in front."""


def _spelled(node: ast.expr, module: ModuleType) -> Iterator[str]:
    """A text in all ways in which it can be made, with '1' for what varies."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield from map("".join, product(*([*_spelled(part, module)] for part in parts)))
        case ast.FormattedValue(value=ast.Name(id=name), conversion=-1) if name in SEVERAL:
            yield from SEVERAL[name]
        case ast.FormattedValue(value=ast.Name(id=name)):
            yield str(getattr(module, name, "'1'"))
        case ast.FormattedValue(value=ast.IfExp() as choice):
            yield from _spelled(choice, module)
        case ast.FormattedValue():
            yield "'1'"
        case ast.IfExp(body=one, orelse=other):
            yield from _spelled(one, module)
            yield from _spelled(other, module)


def made() -> set[str]:
    """All sentences of these modules: what is raised, and what is returned as a text."""
    found: set[str] = set()
    for module in TELLING:
        for node in ast.walk(ast.parse(Path(module.__file__ or "").read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name), args=args) if name in RAISES:
                    found.update(text for arg in args for text in _spelled(arg, module))
                case ast.Return(value=ast.expr() as value):
                    found.update(_spelled(value, module))
                case ast.Assign(targets=[ast.Name(id="why" | "says" | "problem")], value=value):
                    found.update(_spelled(value, module))
    said = {BEHIND_ANOTHER.sub("", text) for text in found}
    return {text for text in said if _is_sentence(text)} - NOT_TOLD


def failures() -> set[str]:
    """All that these modules say of a file, over HTTP, where options are fields."""
    found = set(REMARKS)
    for module in FAILING:
        for node in ast.walk(ast.parse(Path(module.__file__ or "").read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="FixConfiguration"), args=[text]):
                    found.update(said.replace("--", "").removesuffix("; '1'") for said in _spelled(text, module))
    return {text for text in found if _is_sentence(text)}


def _is_sentence(text: str) -> bool:
    return len(re.findall(" [a-z]{2,}", text)) > 1


def test_what_is_told_is_found() -> None:
    assert len(made()) > 50
    assert len(failures()) > 25


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("english", sorted(made() | failures()))
def test_what_is_told_is_in_every_language(english: str, language: str) -> None:
    assert translated(language, english) is not None


@pytest.mark.parametrize("language", OTHERS)
def test_sentences_name_what_varies_likewise(language: str) -> None:
    for name, text in texts(language).items():
        if name.startswith(GROUP):
            assert sorted(re.findall(r"\{\w+\}", name)) == sorted(re.findall(r"\{\w+\}", text)), name


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("Minuten: '1.5 h; x' must not be negative", "Minuten: '1.5 h; x' darf nicht negativ sein"),
        (
            "learner_id: not filled in; course_id: not filled in",
            "learner_id: nicht ausgefüllt; course_id: nicht ausgefüllt",
        ),
        (
            "90 minutes from 2 connections; --timezone would cut them to the session; not filled in",
            "90 Minuten aus 2 Verbindungen; mit einer Zeitzone würden sie auf den Termin gekürzt; nicht ausgefüllt",
        ),
        (
            "Date: '3/2/26' must be a text like 2026-03-01T09:30:00Z; or give --timezone",
            "Date: '3/2/26' muss ein Text wie 2026-03-01T09:30:00Z sein; oder die Zeitzone angeben",
        ),
        (
            "'Ann' is not in --learners; near: Anna, Anne",
            "'Ann' steht nicht in der Liste der Lernenden; ähnlich: Anna, Anne",
        ),
        (
            "a.csv: has no table in this format; it begins with 'Report'",
            "a.csv: enthält keine Tabelle in diesem Format; sie beginnt mit 'Report'",
        ),
        (
            "a.csv: after line 3: is not utf-8; save it as CSV UTF-8",
            "a.csv: nach Zeile 3: ist kein utf-8; als CSV UTF-8 speichern",
        ),
        (
            "column: 'Wer' is no heading; there are: 'A', 'B'",
            "column: 'Wer' ist keine Überschrift; vorhanden sind: 'A', 'B'",
        ),
        (
            "a.xlsx: is empty; template prints what belongs in it",
            "a.xlsx: ist leer; die Vorlage zeigt, was hineingehört",
        ),
        ("timezone: 'Mars' is none; one is Europe/Vienna", "timezone: 'Mars' gibt es nicht; eine ist Europe/Vienna"),
        ("is none of a; " * 200, None),
        ("something new", None),
        ("must not be negative; something new", None),
        ("; " * 10_000, None),
        ("a: " * 10_000, None),
        ("is not , the  of this upload" * 21, None),
        ("'1' is not , the " * 30 + " of this uploads; " * 8, None),
    ],
    ids=lambda text: str(text)[:20],
)
def test_a_text_is_told_in_german(english: str, german: str | None) -> None:
    assert translated("de", english) == german


MESSAGES = [
    (inbound.AttendanceChanged, '{"message_id": 5, "attended": "x", "attended_minutes": -1, "attended_percent": 101}'),
    (inbound.AttendanceChanged, "[]"),
    (inbound.AttendanceChanged, '{"a'),
    (inbound.CourseDefined, '{"steps": [{"kind": "x", "required": 3}, 5], "groups": 3, "version": 99999999999}'),
]


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize(("model", "value"), MESSAGES)
def test_what_pydantic_finds_is_in_every_language(model: type[BaseModel], value: str, language: str) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate_json(value)
    for _, what in translate.by_field(raised.value):
        assert translated(language, what) is not None, what
