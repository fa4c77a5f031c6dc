"""Who somebody in a file is. No server is needed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.admin.directory import Directory, Unfound, one_edit_away, open_directory
from service.admin.uploads import Asked
from service.errors import FixConfiguration
from tests.admin.reading import HERE, judged, minutes, opened
from tests.admin.test_formats import LONG, export

PEOPLE = """\
Learner,Email,External ID,First name,Last name,Department
l-1,Ada@X.org,A-17,Ada,Ek,Sales
l-2,ben@x.org,A-18,Ben,Ott,Sales
l-3,ben.ott@x.org,A-19,Ben,Ott,Sales
"""


def people(folder: Path, content: str = PEOPLE) -> Path:
    """A file that the LMS has exported."""
    path = folder / "people.csv"
    path.write_text(content)
    return path


def found(directory: Directory, name: str) -> str:
    """Whoever it is, or why nobody is."""
    try:
        return directory.find(name)
    except Unfound as unfound:
        return str(unfound)


def test_addresses_ids_and_names_find_a_learner(tmp_path: Path) -> None:
    with open_directory(people(tmp_path)) as directory:
        assert [found(directory, name) for name in ("ADA@x.org", "A-18", "Ek, Ada", " ada  EK ", "l-3")] == [
            *("l-1", "l-2", "l-1", "l-1", "l-3")
        ]
        assert found(directory, "Ben Ott") == "is called so by 2 learners: l-2, l-3"
        assert found(directory, "Ada Eks") == "is not in --learners; near: l-1 (ada ek)"
        assert found(directory, "bne@x.org") == "is not in --learners; near: l-2 (ben@x.org)"
        assert found(directory, "nobody at all") == "is not in --learners"


def test_columns_about_others_call_nobody_anything(tmp_path: Path) -> None:
    content = "Learner,E-mail,Name,Manager e-mail,Department\nl-1,ada@x.org,Ada Ek,boss@x.org,Sales\n"
    with open_directory(people(tmp_path, content)) as directory:
        assert (found(directory, "ada@x.org"), found(directory, "Ada Ek")) == ("l-1", "l-1")
        assert {found(directory, name) for name in ("boss@x.org", "Sales")} == {"is not in --learners"}
        assert directory.unread == ["Manager e-mail", "Department"]


def test_an_export_without_ids_is_read_by_them(tmp_path: Path) -> None:
    content = export("zoom-participants") + "Ben Ott,,10/05/2026 06:00:00 PM,10/05/2026 07:00:00 PM,60,Yes,No\n"
    with open_directory(people(tmp_path)) as directory:
        file = opened(tmp_path / "export.csv", content, Asked(given=HERE, directory=directory))
        rows = judged(file, LONG)
    assert minutes(rows) == {"l-1": 45, "l-2": 60}
    assert (rows[-1].verdict, rows[-1].why) == (
        "unknown learner",
        "Name (Original Name): 'Ben Ott' is called so by 2 learners: l-2, l-3",
    )
    assert file.unread[-2:] == ["columns: 'Guest'", "columns of the learners' file: 'Department'"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Email,Name\na@x.org,Ada\n", "line 1: one heading must be Learner; there are: 'Email', 'Name'"),
        ("Learner,Email\n1E+05,a@x.org\n", "line 2: '1E+05' is a number that a spreadsheet program has shortened"),
        ("", "is empty"),
    ],
)
def test_a_directory_that_is_none_says_why(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(FixConfiguration, match=r"people\.csv") as raised, open_directory(people(tmp_path, content)):
        pass
    assert says in str(raised.value)


@given(st.text("abc", min_size=1, max_size=6), st.text("abc", min_size=1, max_size=6))
def test_one_edit_is_one_edit(text: str, other: str) -> None:
    near = one_edit_away(text, "abc")
    assert text not in near and all(abs(len(one) - len(text)) <= 1 for one in near)
    assert (other in near) == (text in one_edit_away(other, "abc")), "it goes both ways"
