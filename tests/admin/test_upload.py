"""`ratchet upload attendance`: files as people make them, verdicts, impact, interruption."""

import asyncio
import csv
import json
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from pymongo import MongoClient

from contracts.fields import format_timestamp
from tests.commands.test_commands import DEFINITION
from tests.stack.service import RATCHET, World
from tests.stack.wire import Wire

EVENTS = {
    **DEFINITION,
    "steps": [
        {"step_id": "e1", "kind": "event", "scheduled_minutes": 60},
        {
            "step_id": "e2",
            "kind": "event",
            "required": False,
            "sessions": [{"session_id": "s1", "scheduled_minutes": 30}],
        },
        {"step_id": "job", "kind": "on_the_job_training", "required": False},
    ],
}
OUT = ("step-completion-changed", "course-completion-changed", "dead-letter")
MANY = 100_000
MEMORY_LIMIT_MB = 200


def verdicts(file: Path, delimiter: str = ",") -> list[tuple[str, str, str]]:
    """Line, verdict and reason of each row."""
    if file.suffix == ".xlsx":
        sheet = load_workbook(file.with_name(f"{file.name}.result.xlsx")).active
        assert sheet is not None
        rows = enumerate(([str(cell.value or "") for cell in row] for row in sheet.iter_rows()), 1)
        return [(str(line), row[-3], row[-2]) for line, row in rows][1:]
    with file.with_name(f"{file.name}.result.csv").open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        found, line = [], 0
        for row in reader:
            if any(row):
                found.append((str(line + 1), row[-3], row[-2]))
            line = reader.line_num
    assert found[0][1:] == ("Verdict", "Reason")
    return found[1:]


async def test_a_file_as_a_spreadsheet_program_writes_it(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    await wire.settled()
    file = tmp_path / "march 2026.csv"
    rows = (
        'User ID;COURSE;event_id;Session;Attended minutes;"Attended, percent";Attended;Changed at;Remarks',
        "l-1;c-1;e1;;60;;;2026-03-02T09:00:00Z;fine",
        'l-2;c-1;e1;;"30";;;2026-03-02T09:00:00Z;"two',
        'lines, and a "" quote"',
        "l-1;c-1;e1;;60;;;2026-03-02T09:00:00Z;again",
        "l-1;c-1;e1;;59;;;2026-03-02T09:00:00Z;otherwise",
        "",
        "l 3;c-1;e1;;60;;;;",
        "l-3;c-1;e1;;-5;;;;",
        "l-3;c-1;e1;;60;;yes;;",
        "l-3;c-1;e1;;;;;;",
        "l-3;c-1;e1;;;;maybe;;",
        "l-3;c-1;e1;;=30+30;;;;",
        "l-3;c-1;e1;;60;;;2026-03-02 09:00;",
        "l-3;c-9;e1;;60;;;;",
        "l-3;c-1;e9;;60;;;;",
        "l-3;c-1;job;;60;;;;",
        "l-3;c-1;e2;s9;30;;;;",
        f"l-3;c-1;e1;;{'9' * 1024 * 1024};;;;",
        "l-4;c-1;e2;s1;;;YES;;",
    )
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode() + b"\r\n")
    ran = world.run("upload", "attendance", str(file), "--tenant", "acme", "--json", check=False)
    assert ran.returncode == 1, ran.stderr
    assert json.loads(ran.stdout)["sent"] == 3
    assert json.loads(ran.stdout)["not_read"] == ["columns: 'Attended, percent', 'Remarks'"]
    got = verdicts(file, ";")
    assert [(line, verdict) for line, verdict, _ in got] == [
        ("2", "ambiguous"),
        ("3", "accepted"),
        ("5", "ambiguous"),
        ("6", "ambiguous"),
        ("8", "invalid"),
        ("9", "invalid"),
        ("10", "accepted"),
        ("11", "empty"),
        *((str(line), "invalid") for line in range(12, 15)),
        ("15", "unknown course"),
        ("16", "unknown event"),
        ("17", "unknown event"),
        ("18", "unknown event"),
        ("19", "invalid"),
        ("20", "accepted"),
    ]
    why = {int(line): reason for line, _, reason in got}
    written = file.with_name(f"{file.name}.result.csv").read_text("utf-8-sig").splitlines()
    yes_or_no = "must be yes or no, or 1 or 0"
    assert written[11] == f"l-3;c-1;e1;;;;maybe;;;invalid;Attended: 'maybe' {yes_or_no};"
    assert written[3] == 'lines, and a "" quote";accepted;;'
    assert why[2] == "lines 5, 6: another row about the same learner and event; add them up, or keep one"
    assert why[8].startswith("User ID: 'l 3'")
    assert why[9] == "Attended minutes: '-5' must not be negative"
    assert why[11] == "Attended minutes, Attended: nothing is filled in, so nothing changes"
    assert why[12] == f"Attended: 'maybe' {yes_or_no}"
    assert why[13] == "Attended minutes: '=30+30' is a formula without a value; paste values instead"
    assert "Changed at: '2026-03-02 09:00' must be an RFC 3339 time with an offset" in why[14]
    assert "(1,048,576 characters) is too long for minutes or a duration" in why[19]
    await everything_sent(wire)
    story = json.loads(world.run("explain", "acme", "l-3", "c-1", "--json").stdout)
    assert story["state"]["course"]["status"] == "completed"
    ends = sorted(await wire.read(*OUT))
    assert world.run("upload", "attendance", str(file), "--tenant", "acme", check=False).returncode == 1
    await everything_sent(wire)
    assert sorted(await wire.read(*OUT)) == ends, "the same file twice changes nothing"
    assert await asyncio.to_thread(serving.stop) == 0


async def everything_sent(wire: Wire) -> None:
    """Until what the command has sent is dealt with."""
    for message in await wire.read("attendance-changed"):
        wire.expect(message)
    await wire.settled()


async def test_a_dry_run_tells_what_would_become_of_whom(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    first = tmp_path / "first.csv"
    first.write_text("tenant,learner,course,event,minutes\nacme,l-1,c-1,e1,60\nacme,l-2,c-1,e1,30\n")
    await wire.settled()
    world.run("upload", "attendance", str(first))
    await everything_sent(wire)
    second = tmp_path / "second.csv"
    second.write_text(
        "tenant,learner,course,event,minutes\nacme,l-1,c-1,e1,0\nacme,l-2,c-1,e1,60\nacme,l-3,c-1,e1,60\nacme,l-4,c-1,e1,5\n"
    )
    before = sorted(await wire.read("attendance-changed"))
    told = json.loads(world.run("upload", "attendance", str(second), "--dry-run", "--json").stdout)
    assert told == {
        "format": "ratchet",
        "verdicts": {"accepted": 4},
        "warnings": 0,
        "sent": 0,
        "refused": None,
        "learners": {"known": 2, "new": 2, "near": {"l-3": "l-1", "l-4": "l-1"}},
        "not_read": [],
        "uploaded_before_at": None,
        "effects": {
            "records": 4,
            "loses the step": 1,
            "keeps the course, its evidence withdrawn": 1,
            "gains the step": 2,
            "gains the course": 2,
            "gets a certificate": 2,
        },
    }
    shown = world.run("upload", "attendance", str(second), "--dry-run").stdout
    assert "keeps the course, its evidence withdrawn" in shown and "acme/l-1/c-1" in shown
    assert "Learners: 2 known, 2 new to the service." in shown
    assert "l-3 is new, and one letter away from l-1, who is known" in shown
    result = csv.reader((tmp_path / "second.csv.result.csv").read_text().splitlines())
    assert [row[-3:] for row in result] == [
        ["Verdict", "Reason", "Effect"],
        ["accepted", "", "loses the step; keeps the course, its evidence withdrawn"],
        ["accepted", "", "gains the step; gains the course; gets a certificate"],
        ["accepted", "", "gains the step; gains the course; gets a certificate"],
        ["accepted", "", "nothing changes"],
    ]
    impact = list(csv.reader((tmp_path / "second.csv.impact.csv").read_text("utf-8-sig").splitlines()))
    assert impact[1] == ["acme", "l-1", "c-1", "2", "loses the step; keeps the course, its evidence withdrawn"]
    assert impact[4] == ["acme", "l-4", "c-1", "5", "nothing"]
    assert sorted(await wire.read("attendance-changed")) == before, "nothing is sent"
    assert await asyncio.to_thread(serving.stop) == 0


async def test_a_dry_run_tells_which_rows_will_not_count(world: World, wire: Wire, tmp_path: Path) -> None:
    """As it comes to be once they are sent: of an erased learner, from the future, and only a little ahead."""
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    await wire.settled()
    file = tmp_path / "march.csv"
    file.write_text("tenant,learner,course,event,minutes\nacme,l-1,c-1,e1,60\n")
    world.run("upload", "attendance", str(file), "--wait")
    world.run("learner", "erase", "acme", "l-1", "--yes")
    soon = format_timestamp(int((time.time() + 120) * 1_000_000))
    file.write_text(
        "tenant,learner,course,event,minutes,changed at\nacme,l-1,c-1,e1,60,2026-03-01T00:00:00Z\n"
        f"acme,l-2,c-1,e1,60,2199-01-01T00:00:00Z\nacme,l-3,c-1,e1,60,{soon}\n"
    )
    effects = {"records": 3, "gains the step": 1, "gains the course": 1, "gets a certificate": 1}
    told = json.loads(world.run("upload", "attendance", str(file), "--dry-run", "--json").stdout)
    assert (told["verdicts"], told["effects"]) == ({"accepted": 3}, effects)
    expected = file.with_name("march.csv.result.csv").read_text()
    refused = ["accepted", "", "does not count: it is a dead letter, or the learner was erased"]
    gains = ["accepted", "", "gains the step; gains the course; gets a certificate"]
    assert [row[-3:] for row in csv.reader(expected.splitlines()[1:])] == [refused, refused, gains]
    told = json.loads(world.run("upload", "attendance", str(file), "--wait", "--json", check=False).stdout)
    assert (told["refused"], told["effects"]) == (2, effects)
    assert file.with_name("march.csv.result.csv").read_text() == expected
    assert await asyncio.to_thread(serving.stop) == 0


async def test_a_workbook(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    await wire.settled()
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Learner ID", "Course ID", "Event", "Percent", "Attended minutes"])
    sheet.append(["l-1", "c-1", "e1", 1, None])
    sheet["D2"].number_format = "0%"
    sheet.append(["l-2", "c-1", "e1", None, 45.0])
    sheet.append(["l-3", "c-1", "e1", None, "=40+5"])
    sheet.append(["l-4", "c-1", "e1", None, 12.5])
    file = tmp_path / "march.xlsx"
    book.save(file)
    ran = world.run("upload", "attendance", str(file), "--tenant", "acme", check=False)
    assert ran.returncode == 1 and "3 rows were sent" in ran.stdout
    assert [verdict for _, verdict, _ in verdicts(file)] == ["accepted", "accepted", "invalid", "accepted"]
    await everything_sent(wire)
    percents = sorted(message.json["percent"] for message in await wire.read("step-completion-changed"))
    assert percents == [20, 75, 100], "what is less than a minute does not count"
    assert await asyncio.to_thread(serving.stop) == 0


HEAD = b"tenant,learner,course,event,minutes\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n,,\n", "is empty"),
        (
            b"learner,course\n1,2\n",
            "the heading Tenant, Event, 'Attended minutes' or 'Attended percent' or 'Attended' or 'Excused' is",
        ),
        (b"tenant,Learner,User ID,course,event,minutes\n", "'Learner' and 'User ID' both mean learner_id"),
        (HEAD + b"acme,J\xfcrgen\x81,c-1,e1,60\n", "is neither UTF-8 nor Windows-1252"),
        (HEAD + b'acme,"l-1,c-1,e1,60\n', "is a quote missing?"),
        (HEAD + b'acme,"' + b"l" * 3_000_000 + b'",c-1,e1,60\n', "field larger than field limit"),
        (b"PK\x05\x06" + b"\0" * 18, "is no XLSX that can be read"),
    ],
    ids=["empty", "blank", "missing", "ambiguous", "no encoding", "quote", "huge cell", "no workbook"],
)
def test_a_file_that_cannot_be_read_says_why(world: World, tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "file.csv"
    file.write_bytes(content)
    ran = world.run("upload", "attendance", str(file), check=False)
    assert (ran.returncode, says in ran.stderr, "Traceback" in ran.stderr) == (2, True, False), ran.stderr[:500]
    assert not file.with_name("file.csv.result.csv").exists()


def test_utf_16_from_excel_and_a_missing_file(world: World, tmp_path: Path) -> None:
    file = tmp_path / "unicode.txt"
    file.write_text("tenant\tlearner\tcourse\tevent\tminutes\nacme\tl-1\tc-1\te1\t60\n", encoding="utf-16")
    assert world.run("upload", "attendance", str(file), check=False).returncode == 1
    result = file.with_name("unicode.txt.result.csv").read_text("utf-16").splitlines()
    assert result[1].split("\t")[5:] == ["unknown course", "course acme/c-1 has no definition", ""]
    missing = world.run("upload", "attendance", str(tmp_path / "none.csv"), check=False)
    assert missing.returncode == 2 and "No such file" in missing.stderr
    assert world.run("upload", "attendance", check=False).returncode == 2
    template = tmp_path / "template.csv"
    template.write_text(world.run("upload", "attendance", "--template").stdout)
    assert world.run("upload", "attendance", str(template), "--dry-run", check=False).returncode == 1


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_rows_interrupted_and_resumed(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    await wire.settled()
    assert await asyncio.to_thread(serving.stop) == 0
    file = tmp_path / "many.csv"
    with file.open("w") as lines:
        lines.write("tenant,learner,course,event,minutes\n")
        lines.writelines(f"acme,l-{number},c-1,e1,60\n" for number in range(MANY))
    uploading = start(world, file)
    await asyncio.to_thread(wait_until_some_are_sent, world, uploading)
    uploading.send_signal(signal.SIGINT)
    _, errors = uploading.communicate(timeout=30)
    assert (uploading.returncode, errors) == (130, b"ratchet: stopped; the same command goes on where it stopped\n")
    resumed = start(world, file)
    peak_mb = await asyncio.to_thread(peak_memory_mb, resumed)
    said, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert peak_mb < MEMORY_LIMIT_MB
    report: dict[str, Any] = json.loads(said)
    assert report["verdicts"] == {"accepted": MANY}
    assert 0 < report["sent"] < MANY, "only what was not sent before"
    sent = Counter(message.json["message_id"] for message in await wire.read("attendance-changed"))
    assert len(sent) == MANY, "none lost"
    assert sent.total() < MANY + 2000, "at most the batch in hand twice"


def start(world: World, file: Path) -> "subprocess.Popen[bytes]":
    """The upload, beside the test."""
    command = [RATCHET, "upload", "attendance", str(file), "--json"]
    return subprocess.Popen(command, env=world.settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def peak_memory_mb(process: "subprocess.Popen[bytes]") -> float:
    """The most that was resident until the process ends."""
    peak_kb = 0
    while process.poll() is None:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peak_kb = max([peak_kb, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        time.sleep(0.05)
    print(f"{MANY:,} rows: {peak_kb / 1024:.0f} MB")
    return peak_kb / 1024


def wait_until_some_are_sent(world: World, uploading: "subprocess.Popen[bytes]") -> None:
    """Until the first batches are noted."""
    with MongoClient[dict[str, Any]](world.database.address) as client:
        while not client[world.name]["uploads"].find_one({"through": {"$gt": 2000}}):
            assert uploading.poll() is None
            time.sleep(0.02)


async def test_waiting_tells_what_became_of_each_row(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    await wire.settled()
    file = tmp_path / "march.csv"
    file.write_text("tenant,learner,course,event,minutes\nacme,l-1,c-1,e1,60\nacme,l-2,c-1,e1,30\nacme,l-3,c-9,e1,5\n")
    told = json.loads(world.run("upload", "attendance", str(file), "--wait", "--json", check=False).stdout)
    assert (told["sent"], told["refused"], told["verdicts"]) == (2, 0, {"accepted": 2, "unknown course": 1})
    assert told["effects"] == {"records": 2, "gains the step": 1, "gains the course": 1, "gets a certificate": 1}
    assert file.with_name("march.csv.result.csv").read_text() == (
        "tenant,learner,course,event,minutes,Verdict,Reason,Effect\n"
        "acme,l-1,c-1,e1,60,accepted,,gains the step; gains the course; gets a certificate\n"
        "acme,l-2,c-1,e1,30,accepted,,nothing changes\n"
        "acme,l-3,c-9,e1,5,unknown course,course acme/c-9 has no definition,\n"
    )
    both = tmp_path / "both.csv"
    both.write_text("tenant,learner,course,event,minutes\nacme,l-4,c-1,e1,60\nacme,l-4,c-1,e2,60\n")
    told = json.loads(world.run("upload", "attendance", str(both), "--wait", "--json").stdout)
    assert (told["sent"], told["effects"]["records"], told["effects"]["gains the step"]) == (2, 1, 1)
    future = tmp_path / "future.csv"
    future.write_text("learner,minutes\nl-2,60\n")
    options = ("--tenant", "acme", "--course", "c-1", "--event", "e1", "--changed-at", "2199-01-01T00:00:00Z")
    ran = world.run("upload", "attendance", str(future), *options, "--wait", check=False)
    assert ran.returncode == 1
    assert (
        "1 row was sent, and all are decided, 1 does not count: dead letters (ratchet dead-letters list), or of "
        in ran.stdout
    )
    assert "does not count: it is a dead letter" in future.with_name("future.csv.result.csv").read_text()
    assert await asyncio.to_thread(serving.stop) == 0


async def test_progress_and_equivalencies(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    await wire.settled()
    practice = tmp_path / "practice.csv"
    practice.write_text("Learner;Course;Step;Progress (%)\nl-1;c-1;job;80,5\nl-2;c-1;e1;5\nl-3;c-1;job;\n")
    ran = world.run("upload", "progress", str(practice), "--tenant", "acme", "--wait", "--json", check=False)
    assert json.loads(ran.stdout)["verdicts"] == {"accepted": 1, "unknown step": 1, "empty": 1}
    told = json.loads(world.run("explain", "acme", "l-1", "c-1", "--json").stdout)
    assert told["state"]["steps"]["job"]["percent"] == 80
    granted = tmp_path / "recognised.csv"
    granted.write_text("Learner,Course,Equivalent course,Granted by,Changed at\nl-1,c-1,old-1,kim,02.03.2026\n")
    options = ("--tenant", "acme", "--timezone", "Europe/Vienna", "--wait")
    ran = world.run("upload", "equivalencies", str(granted), *options)
    assert "1 row was sent, and all are decided." in ran.stdout
    told = json.loads(world.run("explain", "acme", "l-1", "c-1", "--json").stdout)
    course = told["state"]["course"]
    assert (course["completed_via"], course["completed_at"]) == ("equivalency", "2026-03-01T23:00:00Z")
    granted.write_text("Learner,Course,Step,Comment\nl-4,c-1,job,prior learning\n")
    assert "1 row was sent" in world.run("upload", "equivalencies", str(granted), *options).stdout
    told = json.loads(world.run("explain", "acme", "l-4", "c-1", "--json").stdout)
    assert told["state"]["steps"]["job"] == {"percent": 100, "complete": True}
    assert "equivalency granted for job (reason prior learning)" in told["timeline"][-1]["what"]
    template = tmp_path / "template.csv"
    for kind in ("progress", "equivalencies", "completions"):
        template.write_text(world.run("upload", kind, "--template").stdout)
        ran = world.run("upload", kind, str(template), "--dry-run", "--json", check=False)
        assert json.loads(ran.stdout)["verdicts"] == {"unknown course": 2}
    assert await asyncio.to_thread(serving.stop) == 0


async def test_completions_of_an_older_system(world: World, wire: Wire, tmp_path: Path) -> None:
    """Each with its own date, and a certificate only where the row says so; Totara's file is recognised."""
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    await wire.settled()
    history = tmp_path / "history.csv"
    history.write_text(
        "Learner;Course;Completion date;Certificate;Certificate ID\n"
        "l-1;c-1;2019-06-30;;OLD-1\nl-2;c-1;2020-01-31;issue;\nl-3;c-1;;none;\nl-4;c-1;2020-01-31;issue;OLD-4\n"
    )
    options = ("--tenant", "acme", "--timezone", "Europe/Vienna", "--wait", "--json")
    ran = world.run("upload", "completions", str(history), *options, check=False)
    assert json.loads(ran.stdout)["verdicts"] == {"accepted": 2, "invalid": 2}, ran.stderr
    result = (tmp_path / "history.csv.result.csv").read_text("utf-8-sig")
    assert "not filled in; a completion needs its date, or give --changed-at for all rows" in result
    assert "certificate_id is that of the older system: only with certificate: none" in result
    states = {who: json.loads(world.run("explain", "acme", who, "c-1", "--json").stdout) for who in ("l-1", "l-2")}
    courses = [state["state"]["course"] for state in states.values()]
    assert [course["completed_via"] for course in courses] == ["granted", "granted"]
    assert [course["completed_at"] for course in courses] == ["2019-06-29T22:00:00Z", "2020-01-30T23:00:00Z"]
    assert states["l-1"]["state"]["certificate"] is None
    assert states["l-2"]["state"]["certificate"]["status"] == "issued"
    assert "certificate_id OLD-1" in states["l-1"]["timeline"][0]["what"]
    exported = json.loads(world.run("learner", "export", "acme", "l-1").stdout)
    assert exported["records"][0]["facts"][0]["details"]["certificate_id"] == "OLD-1"

    totara = tmp_path / "totara.csv"
    totara.write_text("username,courseshortname,courseidnumber,completiondate,grade\nl-5,C1,c-1,2018-05-01,97\n")
    ran = world.run("upload", "completions", str(totara), *options)
    told = json.loads(ran.stdout)
    assert (told["format"], told["verdicts"], told["not_read"]) == (
        "totara",
        {"accepted": 1},
        ["columns: 'courseshortname', 'grade'"],
    )
    assert await asyncio.to_thread(serving.stop) == 0


async def test_an_excuse_is_uploaded(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", EVENTS)])
    await wire.settled()
    file = tmp_path / "excused.csv"
    file.write_text(
        "Learner,Course,Event,Attended minutes,Excused\nl-1,c-1,e1,,yes\nl-2,c-1,e1,30,no\n"
        "l-3,c-1,e1,30,yes\nl-4,c-1,e1,0,yes\n"
    )
    ran = world.run("upload", "attendance", str(file), "--tenant", "acme", "--wait", "--json", check=False)
    assert json.loads(ran.stdout)["verdicts"] == {"accepted": 3, "invalid": 1}, ran.stderr
    assert "somebody is excused or has attended: only one" in (tmp_path / "excused.csv.result.csv").read_text(
        "utf-8-sig"
    )
    for learner, says in (("l-1", "attendance of e1: excused"), ("l-2", "30 minutes"), ("l-4", "excused")):
        assert says in " ".join(world.run("explain", "acme", learner, "c-1").stdout.split())
    assert await asyncio.to_thread(serving.stop) == 0


async def test_attendance_that_would_count_in_a_later_attempt_is_told(world: World, wire: Wire, tmp_path: Path) -> None:
    serving = world.serve().wait_until_ready()
    step = {"step_id": "e1", "kind": "event", "scheduled_minutes": 60, "starts_at": "2026-03-02T09:00:00Z"}
    await wire.send([("course-defined", {**EVENTS, "steps": [step]})])
    again = {"tenant_id": "acme", "learner_id": "l-1", "course_id": "c-1", "changed_at": "2026-04-01T00:00:00Z"}
    await wire.send([("reassigned", {**again, "message_id": "r-1"})])
    await wire.settled()
    file = tmp_path / "march.csv"
    file.write_text("learner,course,event,minutes\nl-1,c-1,e1,60\nl-2,c-1,e1,60\n")
    options = ("--tenant", "acme", "--dry-run")
    shown = world.run("upload", "attendance", str(file), *options).stdout
    assert "1 row counts in an attempt that began after the event took place; see the reasons." in shown
    written = file.with_name("march.csv.result.csv").read_text()
    assert "counts in attempt 2, which began at 2026-04-01T00:00:00Z, after the event took place; see --ch" in written
    told = world.run("upload", "attendance", str(file), *options, "--changed-at", "2026-03-02T10:00:00Z", "--json")
    assert json.loads(told.stdout)["warnings"] == 0
    assert await asyncio.to_thread(serving.stop) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--timezone", "Mars/Base"), "--timezone: 'Mars/Base' is none; one is Europe/Vienna"),
        (("--changed-at", "yesterday"), "--changed-at: 'yesterday' must be an RFC 3339 time with an offset"),
        (("--column", "minutes=5"), "--column: 'minutes=5' must be FIELD=HEADING; fields: tenant_id, learner_id"),
        (("--course", "a/b"), "--course: 'a/b' is not an id"),
        (("--format", "zoom"), "--format: 'zoom' is none of ratchet"),
        (("--learners", "none.csv"), "none.csv: No such file"),
        (("--sheet", "April"), "has no sheet 'April'; it has: one table only"),
    ],
)
def test_an_option_that_is_wrong_says_why(world: World, tmp_path: Path, options: tuple[str, str], says: str) -> None:
    file = tmp_path / "march.csv"
    file.write_text("tenant,learner,course,event,minutes\nacme,l-1,c-1,e1,60\n")
    ran = world.run("upload", "attendance", str(file), *options, check=False)
    assert (ran.returncode, says in ran.stderr, "Traceback" in ran.stderr) == (2, True, False), ran.stderr[:500]
