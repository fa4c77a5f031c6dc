"""What `make run` shows: for each message, which rule decided and why, what became of the record, what came out."""

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from rules.tables import SHIPPED
from tests.commands.test_commands import columns
from tests.documents.blocks import steps_in
from tests.stack.servers import Server, start_process

ROOT = Path(__file__).parents[2]
BECAUSE = {row.rule_id: row.because for table in SHIPPED for row in table.rows}
LABEL_WIDTH = 13


class Shown(NamedTuple):
    """One message as it is shown."""

    message: str
    rules: tuple[str, ...]
    step: str
    course: str
    certificate: str
    published: tuple[str, ...]


FULL, NONE = "live-1: 100 %, complete", "live-1: 0 %, incomplete"
BY_STEPS = "completed via steps at 2026-03-02T09:00:00Z"
BY_EQUIVALENCY = "completed via equivalency at 2026-03-01T09:00:00Z"
UPLOADED = "attendance of live-1: attended (source mass_upload, upload_id upload-1)"
RESET = "attendance of live-1: 0 minutes"
RISES = "step-completion-changed #{}: step live-1 0 → 100 %, complete"
FALLS = "step-completion-changed #{}: step live-1 100 → 0 %, incomplete"
COMPLETES = "course-completion-changed #{}: incomplete → completed via steps, issue certificate"
EARNED, LOST = ("step-reached", "completed-by-steps"), ("step-lost", "completion-preserved")
SHORT = ("step-short", "not-yet-completed")
STORY = {
    "A. A mass upload marks a learner as attended; later the attended time is set to 0 minutes": [
        Shown(
            f"attendance-changed of anna: {UPLOADED}",
            EARNED,
            FULL,
            f"{BY_STEPS}, evidence held",
            "issued",
            (RISES.format(1), COMPLETES.format(2)),
        ),
        Shown(
            f"attendance-changed of anna: {RESET} (source platform)",
            LOST,
            NONE,
            f"{BY_STEPS}, evidence withdrawn",
            "issued",
            (FALLS.format(3),),
        ),
    ],
    "A, where the course was not complete. The event falls, the course stays incomplete": [
        Shown(
            "attendance-changed of ada: attendance of live-1: 60 minutes (source mass_upload, upload_id upload-1)",
            SHORT,
            "live-1: 66 %, incomplete",
            "incomplete",
            "none",
            ("step-completion-changed #1: step live-1 0 → 66 %",),
        ),
        Shown(
            f"attendance-changed of ada: {RESET} (source platform)",
            SHORT,
            NONE,
            "incomplete",
            "none",
            ("step-completion-changed #2: step live-1 66 → 0 %",),
        ),
    ],
    "B. Marked 100 % attended by hand, and so the course is earned; later attendance is set to 0 minutes": [
        Shown(
            "attendance-changed of ben: attendance of live-1: 100 % (source manual)",
            EARNED,
            FULL,
            f"{BY_STEPS}, evidence held",
            "issued",
            (RISES.format(1), COMPLETES.format(2)),
        ),
        Shown(
            f"attendance-changed of ben: {RESET} (source manual)",
            LOST,
            NONE,
            f"{BY_STEPS}, evidence withdrawn",
            "issued",
            (FALLS.format(3),),
        ),
    ],
    "C. Complete by equivalency; a mass upload marks attendance, later it is reset to 0 minutes": [
        Shown(
            "equivalency-granted of cleo: equivalency granted (equivalent_course_id safety-100)",
            ("completed-by-equivalency",),
            "none",
            BY_EQUIVALENCY,
            "none",
            ("course-completion-changed #1: incomplete → completed via equivalency",),
        ),
        Shown(
            f"attendance-changed of cleo: {UPLOADED}",
            ("step-reached", "completion-confirmed"),
            FULL,
            BY_EQUIVALENCY,
            "none",
            (RISES.format(2),),
        ),
        Shown(
            f"attendance-changed of cleo: {RESET} (source platform)",
            LOST,
            NONE,
            BY_EQUIVALENCY,
            "none",
            (FALLS.format(3),),
        ),
    ],
    "After B: a reassignment. That, and nothing else, removes the completion and the certificate": [
        Shown(
            "reassigned of ben: reassigned (reason Do it again)",
            ("reassignment-removes-completion",),
            NONE,
            "incomplete",
            "revoked",
            ("course-completion-changed #4: completed → incomplete, revoke certificate",),
        ),
    ],
}


def shown(block: str) -> Shown:
    """One message's block."""
    said: dict[str, list[str]] = {}
    label = ""
    for line in block.splitlines():
        label = line[:LABEL_WIDTH].strip() or label
        said.setdefault(label, []).append(line[LABEL_WIDTH:].strip())
    rules = tuple(rule.partition(": ")[0] for rule in said["rule"])
    assert said["rule"] == [f"{rule}: {BECAUSE[rule]}" for rule in rules]
    (message,), (step,), (course,), (certificate,) = (
        said[label] for label in ("message", "step", "course", "certificate")
    )
    return Shown(message, rules, step, course, certificate, tuple(said["published"]))


@pytest.fixture(scope="module")
def environment(broker: Server, database: Server) -> dict[str, str]:
    """Names servers that are there already; nobody else can use the mock."""
    addresses = {"RATCHET_KAFKA_BOOTSTRAP_SERVERS": broker.address, "RATCHET_MONGODB_URI": database.address}
    return {**os.environ, **(addresses if broker.real else {})}


@pytest.fixture(scope="module")
def told(broker: Server, environment: dict[str, str]) -> str:
    """All that `make run` prints with everything."""
    ran = subprocess.run(
        ["make", "--silent", "run", "ONCE=1", *(["EXAMPLES=1"] if broker.real else [])],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_make_run_shows_what_was_decided_why_and_what_was_published(told: str) -> None:
    addresses, _, all_of_it = told.partition("\n\n")
    story, end, _ = all_of_it.partition("Every scenario ended as it should.\n")
    assert "/readyz and /metrics" in addresses
    assert re.search(r"the console, signed in by this link: http://127.0.0.1:\d+/sign-in/link\?key=", addresses)
    blocks = story.strip().split("\n\n")
    acts: dict[str, list[Shown]] = {}
    for block in blocks:
        title, _, first = ("", "", block) if block.startswith(" ") else block.partition("\n")
        if title:
            act = acts.setdefault(title, [])
        act.append(shown(first))
    assert acts == STORY
    assert end, "and says so"


def test_the_services_downstream_show_what_they_made_of_it(told: str, broker: Server) -> None:
    if not broker.real:
        pytest.skip("the mock broker has no transactions that the example services could read")
    shown = told.partition("Every scenario ended as it should.\n")[2]
    published = [line for acts in STORY.values() for act in acts for line in act.published]
    issued = sum(line.endswith(", issue certificate") for line in published)
    revoked = sum(line.endswith(", revoke certificate") for line in published)
    certificates, reporting = shown.split("Reporting: contracts/examples/reporting")
    assert "Certificates: contracts/examples/certificates" in certificates
    rows = re.findall(r"│ http://127\.0\.0\.1:\d+/credentials/[0-9a-f-]{36} │ ([^│]+?) +│ (yes|no) +│", certificates)
    assert sorted(rows) == sorted(
        [("Safety at work", "no")] * (issued - revoked) + [("Safety at work", "yes")] * revoked
    )
    assert revoked and "Which are revoked, for who has to check one: http://127.0.0.1:" in certificates
    names = re.findall(r"(\w+) +[┃│]", reporting.partition("\n┡")[0])
    assert {"tenant", "course", "month", "completed", "evidence_withdrawn", "attempts"} <= set(names)
    assert re.search(r"│ safety-101 +│ Safety at work +│ 2026-03 +│ 3 +│ 2 +│ 3 +│", reporting), reporting


@pytest.mark.full
def test_it_stays_up_for_messages_of_ones_own(broker: Server, environment: dict[str, str], tmp_path: Path) -> None:
    """The commands that it prints, run as they stand there: what goes out is shown, until Ctrl-C."""
    if not broker.real:
        pytest.skip("the mock broker belongs to the process that `make run` starts")
    log = tmp_path / "log"
    running = start_process(["make", "--silent", "run"], log, environment, ROOT)

    def shown_with(what: str) -> str:
        deadline = time.monotonic() + 120
        while what not in (shown := log.read_text("utf-8")):
            assert running.poll() is None and time.monotonic() < deadline, shown
            time.sleep(0.1)
        return shown

    before = shown_with("Ctrl-C stops everything that was started here.\n")
    commands = [line.strip() for line in before.splitlines() if ".venv/bin/" in line]
    said = [
        subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for command in commands[:2]
    ]
    assert [re.sub(r"to \S*(lms\.)", r"to \1", one) for one in said] == [
        "sent to lms.course-defined.v1 under the key mine/c-1\n",
        "sent to lms.attendance-changed.v1 under the key mine/l-1/c-1\n",
    ]
    shown = shown_with('"status":"completed"').removeprefix(before)
    assert re.search(r"completion\.step-completion-changed\.v1 mine/l-1/c-1\n\{.*\"percent\":100,", shown)
    assert "completion.course-completion-changed.v1 mine/l-1/c-1\n{" in shown
    explained = subprocess.run(["bash", "-c", commands[2]], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "mine/l-1/c-1" in explained
    assert any("".join(BECAUSE["completed-by-steps"].split()) in column for column in columns(explained))
    os.killpg(running.pid, signal.SIGINT)
    running.wait(60)
    assert "stopping ..." in log.read_text("utf-8")
    (port,) = re.findall(r"127\.0\.0\.1:(\d+)/readyz", before)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)), timeout=1)


def test_the_readme_shows_some_of_it(told: str) -> None:
    (step,) = steps_in((ROOT / "README.md").read_text("utf-8"))
    assert step.command == "make run"
    left_out, *excerpt, left_out_too = step.printed.strip().splitlines()
    assert left_out == left_out_too == "…"
    assert len(excerpt) > 10
    assert "\n".join(excerpt) in "\n".join(line.rstrip() for line in told.splitlines())
