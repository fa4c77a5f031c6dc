"""What the quick way reads, the model reads alike; and what is usually sent is read the quick way."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.topics import ATTENDANCE_CHANGED
from service.lanes import translate
from service.lanes.usual import usual_attendance
from tests.benchmarks.workloads import attendance
from tests.commands.test_commands import ATTENDED

SAID = {key: value for key, value in ATTENDED.items() if not key.startswith("attended")}
WAYS: list[dict[str, Any]] = [{"attended_minutes": 45}, {"attended_percent": 100}, {"attended": False}]
NUMBERS = ["0", "-0", "5", "-1", "100", "101", "5.0", "5.5", "1e2", "1E400", "1" + "0" * 30, "NaN", "05", "+5", "true"]
TEXTS = [
    *('""', '"e1"', '"e\\u0031"', '"e1\\n"', '"\\ud800"', '"\\ud83d\\ude00"', '"a/b"', '"\u00e9"', '"\u0661"', '"-"'),
    *('"' + "x" * 128 + '"', '"' + "x" * 129 + '"', '"' + "x" * 1000 + '"', '"' + "x" * 1001 + '"', '"\\u0000"'),
    *('"manual"', '"mass_upload"', '"rumour"', "null", "[]", "{}", "'e1'", '"2026-03-01T09:30:00Z"'),
    *('"2026-03-01 09:30:00.1234567+14:00"', '"2026-02-30T09:30:00Z"', '"0001-01-01T00:00:00+01:00"', '"\\t"'),
]
FIELDS = [*ATTENDED, "session_id", "attended_minutes", "attended_percent", "attended", "excused", "source"]
RAW = st.sampled_from(NUMBERS + TEXTS) | st.text(max_size=5).map(json.dumps) | st.integers().map(str)
NAMES = st.sampled_from([*FIELDS, "upload_id", "actor", "reason", "progress", "due_at", "anything", "Event_id", ""])


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """JSON, or nearly: the fields of an attendance, some replaced, said twice or left out."""
    said = {key: json.dumps(value) for key, value in {**SAID, **draw(st.sampled_from(WAYS))}.items()}
    pairs = list(said.items()) + draw(st.lists(st.tuples(NAMES, RAW), max_size=3))
    pairs = draw(st.permutations(pairs)) if draw(st.booleans()) else pairs
    left_out = draw(st.sampled_from(["", "", "", *FIELDS]))
    blank = draw(st.sampled_from(["", " ", "\n", "\t", "\f"]))
    body = f",{blank}".join(f"{json.dumps(name)}:{blank}{raw}" for name, raw in pairs if name != left_out)
    whole = f"{{{body}}}" + draw(st.sampled_from(["", "", " ", "x", "\0", "{}"]))
    return whole.encode("utf-8", "surrogatepass")


def by_the_model(value: bytes) -> object:
    """What is read where there is no quick way."""
    with patch.object(translate, "usual_attendance", lambda _: None):
        return translate.read(ATTENDANCE_CHANGED, value, None)


@settings(max_examples=6 * settings().max_examples)
@given(values() | st.binary(max_size=40))
@example(json.dumps({**SAID, "attended": True, "event_id": "e1\n"}).encode())
@example(json.dumps({**SAID, "attended": True, "reason": "\ud800"}).encode())
def test_the_model_reads_alike_what_the_quick_way_reads(value: bytes) -> None:
    quick = usual_attendance(value)
    if quick is not None:
        assert translate.HeardFact(*quick, None) == by_the_model(value)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: next(iter(way)))
@pytest.mark.parametrize(
    "more", [{}, {"session_id": "s1", "upload_id": "u-1", "source": "mass_upload"}, {"actor": "x", "reason": "é"}]
)
def test_what_is_usual_is_read_the_quick_way(way: dict[str, Any], more: dict[str, Any]) -> None:
    value = json.dumps({**SAID, **way, **more}).encode()
    quick = usual_attendance(value)
    assert quick is not None
    assert translate.HeardFact(*quick, None) == by_the_model(value)


def test_the_benchmark_measures_the_quick_way() -> None:
    assert usual_attendance(attendance(1, 1).value) is not None
