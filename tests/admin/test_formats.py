"""Exports of other programs: recognised, and each row is what it is. No server is needed.

The layouts are those that public parsers of such files are tested with.
"""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from service.admin.formats.catalogue import OWN, chosen, shipped
from service.admin.kinds import ATTENDANCE, COMPLETIONS, EQUIVALENCIES
from service.admin.uploads import Asked, arrived, open_file
from service.commands.main import app
from service.errors import FixConfiguration
from tests.admin.reading import HERE, judged, minutes, opened

RIGHT = {
    "zoom-participants": {"ada@x.org": 45, "ben@x.org": 60},
    "zoom-webinar": {"ada@x.org": 56, "linus@x.org": 0},
    "teams": {"ada@x.org": 59},
    "teams-2021": {"ada@x.org": 51},
    "webex": {"ada@x.org": 58},
    "goto-webinar": {"ada@x.org": 62, "ben@x.org": 0},
    "goto-meeting": {"ada@x.org": 50},
    "google-meet": {"ada@x.org": 58, "grace@x.org": 62},
    "collaborate": {"ada": 58},
    "schoox": {"1001": 60, "1002": 20},
    "moodle": {"ada@x.org": 90},
}
"""Minutes (of Moodle's, the percent) by learner, of each file in exports/."""


def export(name: str) -> str:
    """What a program has written."""
    return (Path(__file__).parent / "exports" / f"{name}.csv").read_text("utf-8")


@pytest.mark.parametrize("name", RIGHT)
def test_an_export_is_recognised_and_means_what_it_says(name: str, tmp_path: Path) -> None:
    file = opened(tmp_path / "export.csv", export(name))
    assert file.sheet.format.name == name
    assert minutes(judged(file, LONG)) == RIGHT[name]


LONG = {"course_id": "c-1", "steps": [{"step_id": "e1", "kind": "event", "scheduled_minutes": 300}]}


def test_every_format_is_tried() -> None:
    of_completions = {"totara"}  # in test_upload
    assert set(RIGHT) | of_completions | {OWN, "bigbluebutton"} == {form.name for form in shipped()}


@pytest.mark.parametrize(
    "name", ["export.csv", "../../etc/export.csv", "C:\\Users\\kim\\export.csv", "..", "", "a\0b.csv"]
)
def test_a_file_that_comes_as_bytes_is_read_with_a_mapping_that_was_corrected(name: str) -> None:
    """As a web page does it: what was understood is shown, corrected, and understood anew."""
    content = b"Badge,Course,Event,There for,Minutes\nl-1,c-1,e1,45,5\n"
    with arrived(name, content) as path:
        with pytest.raises(FixConfiguration, match="the heading Learner is missing; there are: 'Badge', 'Course'"):
            open_file(path, ATTENDANCE, Asked(given={"tenant_id": "T"}))
        first = Asked(given={"tenant_id": "T"}, chosen={"learner_id": "Badge"})
        understood = open_file(path, ATTENDANCE, first)
        assert understood.how.columns.heading("attended_minutes") == "Minutes"
        assert understood.unread == ["columns: 'There for'"]
        corrected = first._replace(chosen={**first.chosen, "attended_minutes": "There for"})
        assert minutes(judged(open_file(path, ATTENDANCE, corrected), LONG)) == {"l-1": 45}
        assert path.parent != Path(path.parent.anchor) and path.parent.name.startswith("ratchet-")
    assert not path.exists()


def test_what_is_no_attendance_or_stands_for_another_says_so(tmp_path: Path) -> None:
    file = opened(tmp_path / "export.csv", export("zoom-participants"))
    found = [(one.row.line, one.verdict, one.why) for one in judged(file, LONG)]
    assert found == [
        (5, "accepted", "45 minutes from 2 connections"),
        (6, "merged", "counts together with line 5"),
        (7, "left out", "In Waiting Room: Yes"),
        (8, "accepted", "60 minutes from 1 connection"),
    ]


def test_a_yes_that_only_says_somebody_came_is_not_a_hundred_percent(tmp_path: Path) -> None:
    file = opened(tmp_path / "export.csv", export("zoom-webinar"))
    found = {one.row.line: one for one in judged(file, LONG)}
    assert found[12].verdict == "invalid"
    assert found[12].why == "Attended, Time in Session (minutes): says that somebody came, but not how long they stayed"
    assert set(found) == {10, 11, 12}, "hosts and callers are no attendees"
    unreadable = export("zoom-webinar").replace("max@x.org,--,--,--", "max@x.org,noon,later,--")
    assert judged(opened(tmp_path / "export.csv", unreadable), LONG)[2].verdict == "invalid"


STARTS = {
    "course_id": "c-1",
    "steps": [
        {"step_id": "e1", "kind": "event", "scheduled_minutes": 60, "starts_at": "2026-10-05T18:00:00+02:00"},
    ],
}


def test_connections_are_cut_to_the_session_where_its_start_is_known(tmp_path: Path) -> None:
    content = export("zoom-participants").replace("06:00:00 PM", "05:45:00 PM")
    content = content.replace("PM,30,", "PM,45,").replace("PM,60,", "PM,75,")
    here = Asked(given=HERE, zone=ZoneInfo("Europe/Vienna"))
    assert minutes(judged(opened(tmp_path / "export.csv", content, here), STARTS)) == {"ada@x.org": 45, "ben@x.org": 60}
    unplaced = judged(opened(tmp_path / "export.csv", content), STARTS)
    assert unplaced[0].why == "60 minutes from 2 connections; --timezone would cut them to the session"
    away = Asked(given=HERE, zone=ZoneInfo("Asia/Tokyo"))
    outside = judged(opened(tmp_path / "export.csv", content, away), STARTS)[0]
    assert outside.verdict == "invalid"
    says = "its times are outside the event, which starts at 2026-10-05T16:00:00Z; see --timezone"
    assert outside.why == f"{says}, or write days as 2026-03-31"


def test_a_correction_by_hand_counts_beside_times(tmp_path: Path) -> None:
    head = "Learner,Course,Event,Minutes,Join time,Leave time\n"
    rows = "l-1,c-1,e1,0,2026-03-02 10:00,2026-03-02 11:00\nl-2,c-1,e1,40,2026-03-02 10:00,2026-03-02 11:00\n"
    assert minutes(judged(opened(tmp_path / "own.csv", head + rows))) == {"l-1": 0, "l-2": 40}


@pytest.mark.parametrize(
    ("rows", "verdicts"),
    [
        (["0.95", "1", "1.0", "1%", "100"], ["invalid", "invalid", "invalid", "accepted", "accepted"]),
        (["95", "1", "0"], ["accepted", "accepted", "accepted"]),
    ],
    ids=["shares", "percents"],
)
def test_a_1_among_shares_is_no_percent(tmp_path: Path, rows: list[str], verdicts: list[str]) -> None:
    content = "Learner,Percent\n" + "".join(f"l-{number},{said}\n" for number, said in enumerate(rows))
    assert [one.verdict for one in judged(opened(tmp_path / "own.csv", content))] == verdicts


def test_times_that_cannot_be_read_are_not_nothing(tmp_path: Path) -> None:
    times = "3. Tag 10 Uhr,3. Tag 11 Uhr"
    only = judged(opened(tmp_path / "own.csv", f"Learner,Join time,Leave time\nl-1,{times}\n"))[0]
    assert (only.verdict, only.why) == (
        "invalid",
        "Join time: '3. Tag 10 Uhr' is no date and time that can be read; write 2026-03-31 09:30",
    )
    content = export("zoom-participants").replace("10/05/2026 06:", "05-Oct-2026 06:")
    ada = judged(opened(tmp_path / "export.csv", content))[0]
    assert (
        ada.why == "55 minutes from 2 connections; what overlaps counts twice, as not all have times that can be read"
    )


def test_dates_of_completion_settle_their_order_together(tmp_path: Path) -> None:
    content = "Learner,Completed at\nl-1,31/01/2024\nl-2,02/03/2024\nl-3,02/2024\n"
    file = tmp_path / "history.csv"
    file.write_text(content)
    asked = Asked(given={"tenant_id": "T", "course_id": "c-1"}, zone=ZoneInfo("UTC"))
    found = judged(open_file(file, COMPLETIONS, asked))
    assert [one.said and one.said.message["changed_at"] for one in found] == [
        *("2024-01-31T00:00:00Z", "2024-03-02T00:00:00Z", None)
    ]
    assert found[2].why.startswith("Completed at: '02/2024' must be")


MINE = """\
title: Our door counter
rows: connections
recognised_by: [learner_id, joined_at, left_at]
headings: {learner_id: [Badge], joined_at: [In], left_at: [Out]}
left_out: {Gate: [staff]}
"""


def test_a_format_of_ones_own(tmp_path: Path) -> None:
    form = tmp_path / "door.yaml"
    form.write_text(MINE)
    content = (
        "Badge,In,Out,Gate\nb-1,2026-03-02 10:00,2026-03-02 10:30,1\nb-2,2026-03-02 10:00,2026-03-02 11:00,staff\n"
    )
    found = judged(opened(tmp_path / "door.csv", content, Asked(chosen(str(form)), given=HERE)))
    assert (minutes(found), [one.verdict for one in found]) == ({"b-1": 30}, ["accepted", "left out"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title: x\n", "headings: Field required"),
        ("[1, 2]", "headings: Field required"),
        (MINE.replace("rows: connections", "rows: cows"), "rows: Input should be 'people', 'connections' or"),
        (
            MINE.replace("joined_at: [In]", "joined_at: [Badge]"),
            "headings: 'Badge' stands for learner_id and joined_at",
        ),
        (MINE.replace("left_at: [Out]", "exit: [Out]"), "headings.exit.[key]: Input should be 'tenant_id'"),
        (MINE.replace("[learner_id, joined_at, left_at]", "[event_id]"), "recognised_by: event_id has no headings"),
        ("a: [", "while parsing a flow"),
        ("title: 5\nheadings: {}\n", "title: Input should be a valid string"),
    ],
)
def test_a_format_that_is_wrong_says_where(text: str, says: str, tmp_path: Path) -> None:
    form = tmp_path / "mine.yaml"
    form.write_text(text)
    with pytest.raises(FixConfiguration, match=r"mine\.yaml") as raised:
        chosen(str(form))
    assert says in str(raised.value)


def test_a_format_that_is_none() -> None:
    with pytest.raises(FixConfiguration, match="--format: 'zoom' is none of ratchet, bigbluebutton, collaborate"):
        chosen("zoom")
    with pytest.raises(FixConfiguration, match=r"--format: none\.yaml: No such file"):
        chosen("none.yaml")


def test_a_named_format_that_the_file_is_not_in(tmp_path: Path) -> None:
    with pytest.raises(FixConfiguration, match="has no table in this format; it begins with 'Badge In'"):
        opened(tmp_path / "door.csv", "Badge,In\n1,2\n", Asked(chosen("teams"), given=HERE))
    with pytest.raises(
        FixConfiguration, match=r"line 1: the heading User Email, .* is missing; there are: 'Badge', 'In'"
    ):
        opened(tmp_path / "door.csv", "Badge,In\n1,2\n", Asked(chosen("zoom-participants"), given=HERE))


def test_the_columns_can_be_chosen(tmp_path: Path) -> None:
    content = "Learner,Course,Event,Planned minutes,Minutes there,Minutes\nl-1,c-1,e1,60,20,60\n"
    file = opened(tmp_path / "own.csv", content, Asked(given=HERE, chosen={"attended_minutes": "minutes there"}))
    assert minutes(judged(file)) == {"l-1": 20}
    assert file.unread == ["columns: 'Planned minutes', 'Minutes'"]
    with pytest.raises(FixConfiguration, match="--column: 'Hours' is no heading; there are: 'Learner'"):
        opened(tmp_path / "own.csv", content, Asked(given=HERE, chosen={"attended_minutes": "Hours"}))


def test_dates_are_read_in_a_zone_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "recognised.csv"
    path.write_text(
        "Learner,Course,Changed at\nl-1,c-1,02.03.2026 09:00\nl-2,c-1,3/2/2026\nl-3,c-1,2026-03-02T09:00:00Z\n"
    )
    given = {"tenant_id": "T"}
    found = judged(open_file(path, EQUIVALENCIES, Asked(given=given, zone=ZoneInfo("Europe/Vienna"))))
    said = [one.said.message["changed_at"] if one.said else one.why for one in found]
    assert said == [
        "2026-03-02T08:00:00Z",
        "Changed at: '3/2/2026' could be day/month or month/day; write 2026-03-31",
        "2026-03-02T09:00:00Z",
    ]
    without = judged(open_file(path, EQUIVALENCIES, Asked(given=given)))
    assert "or give --timezone" in without[0].why


def test_the_list_explains_every_format() -> None:
    listed = CliRunner().invoke(app, ["upload", "formats"], env={"COLUMNS": "200"}).stdout
    for form in shipped():
        assert form.name in listed and form.title in listed
        assert form.about
    one = CliRunner().invoke(app, ["upload", "formats", "zoom-webinar"]).stdout
    assert "Attendee Details" in one and "User Name (Original Name)" in one
    told = json.loads(CliRunner().invoke(app, ["upload", "formats", "--json"]).stdout)
    assert [form["name"] for form in told] == [form.name for form in shipped()]
    wrong = CliRunner().invoke(app, ["upload", "formats", "zoom"])
    assert (wrong.exit_code, "--format: 'zoom' is none of" in wrong.stderr) == (2, True)


def test_kinds_read_their_own_columns_only(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Learner,Course,Event,Minutes,Progress\nl-1,c-1,e1,60,5\n")
    assert open_file(path, ATTENDANCE, Asked(given={"tenant_id": "T"})).unread == ["columns: 'Progress'"]
