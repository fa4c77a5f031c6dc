"""Files as programs and people really write them, and damaged ones. No server is needed."""

import json
import random
from pathlib import Path
from typing import get_args

import pytest

from service.admin.kinds import ATTENDANCE
from service.admin.rows import Verdict
from service.admin.uploads import Asked, open_file
from service.errors import FixConfiguration
from tests.admin.reading import HERE, judged, percents

FILES = Path(__file__).parent / "files"
CASES = sorted(path.name.removesuffix(".right.json") for path in FILES.glob("F*.right.json"))
MUTATIONS = 400
"""Of each file."""


@pytest.mark.parametrize("name", CASES)
def test_they_mean_what_they_mean_or_are_refused(name: str) -> None:
    right = json.loads((FILES / f"{name}.right.json").read_text("utf-8"))
    said = right["right"]["percent_of_e1_by_learner"]
    try:
        file = open_file(FILES / name, ATTENDANCE, Asked(given={"tenant_id": "T"}))
    except FixConfiguration:
        assert right["refusing_is_acceptable"] in ("file", "either")
        return
    found = percents(judged(file, right["definition"]))
    assert found.items() <= said.items()
    assert found == said or right["refusing_is_acceptable"] in ("rows", "either"), found


@pytest.mark.parametrize(
    ("name", "form", "shares"),
    [
        ("F01-zoom-participants-raw.csv", "zoom-participants", {"anna@example.org": 96}),
        ("F07-zoom-webinar-raw.csv", "zoom-webinar", {"dora@example.org": 66}),
        ("F08-teams-raw-en.csv", "teams", {"anna@example.org": 100, "ben@example.org": 50}),
        ("F58-teams-quote-in-name.csv", "teams", {"anna@example.org": 100, "ben@example.org": 50}),
        ("F18-schoox-raw.xlsx", "schoox", {"1001": 100, "1002": 33}),
    ],
)
def test_raw_exports_are_recognised_and_read_as_they_are(name: str, form: str, shares: dict[str, int]) -> None:
    file = open_file(FILES / name, ATTENDANCE, Asked(given=HERE))
    assert (file.sheet.format.name, percents(judged(file))) == (form, shares)


@pytest.mark.parametrize(
    ("name", "shares"),
    [("F05-zoom-two-devices-overlap.csv", {"cleo@example.org": 100}), ("F33-old-excel.xls", {"l-1": 100})],
)
def test_what_could_be_refused_is_read(name: str, shares: dict[str, int]) -> None:
    assert percents(judged(open_file(FILES / name, ATTENDANCE, Asked(given={"tenant_id": "T"})))) == shares


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A few bytes of it other, gone, or more; or a piece of it cut out or doubled."""
    data = bytearray(whole)
    for _ in range(chance.choice((1, 3, 30))):
        at = chance.randrange(len(data) or 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + 1]
            case 2:
                data[at:at] = bytes(chance.choices(range(256), k=chance.randrange(5)))
            case 3:
                del data[at : at + chance.randrange(100)]
            case _:
                data[at:at] = data[at : at + chance.randrange(100)]
    return bytes(data)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(path.name for path in FILES.glob("F*") if not path.name.endswith(".json")))
def test_damaged_files_are_read_or_refused_and_nothing_else(name: str, tmp_path: Path) -> None:
    """No traceback; as many rows when read again; and no learner whose id is nowhere in the file."""
    chance, whole = random.Random(name), (FILES / name).read_bytes()
    is_text = name.endswith(".csv")
    file = tmp_path / name
    for _ in range(MUTATIONS):
        data = damaged(whole, chance)
        file.write_bytes(data)
        try:
            read = open_file(file, ATTENDANCE, Asked(given=HERE))
            found = list(read.sheet.rows())
        except FixConfiguration:
            continue
        assert len(found) == read.row_count
        if is_text:
            there = data.replace(b"\0", b"")
            learners = [one.said.heard.key.split("/")[1] for one in judged(read) if one.said is not None]
            assert all(learner.encode() in there for learner in learners)


def test_the_page_explains_every_verdict() -> None:
    page = (Path(__file__).parents[2] / "service" / "admin" / "README.md").read_text("utf-8")
    explained = {
        name.strip() for line in page.splitlines() if line.startswith("| ") for name in line.split("|")[1].split(",")
    }
    assert set(get_args(Verdict)) <= explained
