"""What a page is made of: languages and times of its reader, pictures, banners."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from rules.decide import decide
from rules.values import CourseDefinition, Fact, Record, StepDefinition, Value, timeline
from service.admin.lag_history import WINDOW, LagHistory
from service.kafka.lag import LaneSample, Sample
from service.web.access import Caller
from service.web.console.picture import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Picture, picture, stair
from service.web.console.reassign import is_number
from service.web.console.render import Reader, banners, reader_of
from service.web.console.words import Words

COURSE = timeline([CourseDefinition(1, "d", 0, {"e": StepDefinition("e", "event", scheduled_minutes=100)})])
OPERATOR = Caller("olga", frozenset({"operator"}), frozenset(), "session")


def asked(headers: dict[str, str], lag: Any = None) -> Request:
    """A request of a browser."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    app = SimpleNamespace(state=SimpleNamespace(lag=lag))
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw, "app": app})


@pytest.mark.parametrize(
    ("headers", "reader"),
    [
        ({}, ("en", "UTC")),
        ({"Accept-Language": "de-AT,de;q=0.9,en;q=0.8"}, ("de", "UTC")),
        ({"Accept-Language": "fr-FR,fr;q=0.9"}, ("en", "UTC")),
        ({"Accept-Language": "fr,de;q=0.5"}, ("de", "UTC")),
        ({"Accept-Language": "DE"}, ("de", "UTC")),
        ({"Accept-Language": ";;,,*;q=x\xe9"}, ("en", "UTC")),
        ({"Accept-Language": "de", "Cookie": "language=en; zone=Europe/Vienna"}, ("en", "Europe/Vienna")),
        ({"Cookie": "zone=Europe%2FVienna"}, ("en", "Europe/Vienna")),
        ({"Cookie": "language=xx; zone=Mars/Olympus"}, ("en", "UTC")),
        ({"Cookie": "language=../../x; zone=../../etc/passwd"}, ("en", "UTC")),
    ],
)
def test_who_reads(headers: dict[str, str], reader: tuple[str, str]) -> None:
    assert reader_of(asked(headers)) == Reader(*reader)


@pytest.mark.parametrize(
    ("reader", "shown"),
    [
        (Reader("en", "UTC"), "5 Jul 2026, 12:30:00 UTC"),
        (Reader("en", "Europe/Vienna"), "5 Jul 2026, 14:30:00 CEST"),
        (Reader("de", "Europe/Vienna"), "05.07.2026, 14:30:00 CEST"),
        (Reader("de", "America/Sao_Paulo"), "05.07.2026, 09:30:00 UTC-03"),
        (Reader("en", "Asia/Kolkata"), "5 Jul 2026, 18:00:00 IST"),
        (Reader("en", "Asia/Kathmandu"), "5 Jul 2026, 18:15:00 UTC+0545"),
    ],
)
def test_a_time_is_that_of_the_reader_and_names_its_zone(reader: Reader, shown: str) -> None:
    assert reader.time_text("2026-07-05T12:30:00Z") == shown
    assert str(reader.time("2026-07-05T12:30:00Z")) == f'<time datetime="2026-07-05T12:30:00Z">{shown}</time>'


def test_numbers_are_written_as_people_of_the_language_do() -> None:
    assert Reader("en", "UTC").t("courses.behind", count=1234567) == "records not yet decided under it: 1,234,567"
    assert "1.234.567" in Reader("de", "UTC").t("courses.behind", count=1234567)


def lived(*facts: Fact) -> Record:
    """A record after these facts, in order of arrival."""
    record = Record()
    for number, fact in enumerate(facts):
        record, _ = decide(record, fact, COURSE, 1000 + number)
    return record


def attended(at: int, minutes: int) -> Fact:
    return Fact(f"a-{at}", at, "attendance", "e", None, Value("minutes", minutes))


def drawn(record: Record) -> Picture:
    found = picture(record)
    assert found is not None
    return found


def test_nothing_is_drawn_where_nothing_was_announced() -> None:
    assert picture(Record()) is None


def test_a_picture_tells_the_story_of_a_record() -> None:
    found = drawn(lived(attended(10, 50), attended(20, 100), attended(30, 0), Fact("r", 40, "reassigned")))
    assert (found.begin, found.end) == (10, 40)
    assert [mark.kind for mark in found.marks] == ["completed", "reassigned", "removed"]
    (line,) = found.lines
    points = list(line.points)
    assert points[0] == (LEFT, HEIGHT - BOTTOM) and points[-1] == (WIDTH - RIGHT, HEIGHT - BOTTOM)
    assert min(y for _, y in points) == TOP


def test_what_came_late_is_drawn_where_it_began_to_count() -> None:
    found = drawn(lived(attended(20, 0), attended(40, 30), Fact("late", 10, "granted", certificate="issue")))
    assert found.end == 40
    xs = [x for line in found.lines for x, _ in line.points]
    assert xs == sorted(xs)


def test_no_mark_covers_another_and_all_are_inside() -> None:
    facts = itertools.chain.from_iterable((attended(n, 100), Fact(f"r-{n}", n, "reassigned")) for n in range(1, 30))
    marks = drawn(lived(*facts)).marks
    assert len(marks) == 29 * 3
    assert all(LEFT <= mark.x <= WIDTH - RIGHT for mark in marks)
    few = drawn(lived(attended(1, 100), Fact("r", 1, "reassigned"))).marks
    assert len({mark.x for mark in few}) == len(few) == 3


@pytest.mark.parametrize("values", [[], [0.0], [3.0], [1.0, 2.0], [0.0] * 360])
def test_a_line_stays_in_its_frame(values: list[float]) -> None:
    for point in stair(values).split():
        x, y = map(float, point.split(","))
        assert LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM


def stalled(samples: int) -> LagHistory:
    """A lane with messages that nobody works on."""
    history = LagHistory()
    for number in range(samples):
        history.add(Sample(10.0 * number, False, {0: LaneSample(5, 9, 60.0), 1: LaneSample(5, 0, 0.0)}))
    return history


def test_operators_are_told_of_outages_lanes_and_floods() -> None:
    history = stalled(WINDOW)
    history.flood, history.away = 12, "no broker"
    request = asked({}, history)
    told = [("banner.away", {}), ("banner.stopped", {"lane": 0}), ("banner.flood", {"letters": 12})]
    assert banners(request, OPERATOR) == told
    assert banners(request, OPERATOR._replace(roles=frozenset({"administrator", "viewer", "privacy"}))) == []
    assert banners(request, None) == []


def test_a_lane_is_not_called_stopped_after_one_look() -> None:
    assert banners(asked({}, stalled(WINDOW - 1)), OPERATOR) == []


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_fact_has_words(language: str) -> None:
    words = Words(Reader(language, "UTC"))
    facts = [
        None,
        attended(1, 90),
        Fact("m", 1, "attendance", "e", "s", Value("attended", 0)),
        Fact("m", 1, "attendance", "e", "s", Value("attended", 100)),
        Fact("m", 1, "attendance", "e", None, Value("excused", 0)),
        Fact("m", 1, "attendance", "e", None, Value("percent", 50)),
        Fact("m", 1, "progress", "o", None, Value("percent", 50)),
        Fact("m", 1, "equivalency"),
        Fact("m", 1, "equivalency", "o", None, Value("granted", 100)),
        Fact("m", 1, "granted", certificate="issue"),
        Fact("m", 1, "granted", certificate="none"),
        Fact("m", 1, "granted", certificate="as_awarded"),
        Fact("m", 1, "reassigned"),
        Fact("m", 1, "reassigned", keeps=True, due_at=5),
        Fact("m", 1, "withdrawn", withdraws="r-1"),
    ]
    said = [words.what(fact) for fact in facts]
    assert all(said) and len(set(said)) == len(said)


@pytest.mark.parametrize("typed", ["1234", "1,234", "1.234", "1 234", "1\u202f234", " 1\u00a0234 "])
def test_a_number_is_typed_as_it_is_shown(typed: str) -> None:
    assert is_number(typed, 1234) and not is_number(typed, 234) and not is_number(typed, None)
