"""Each command as somebody runs it: help, happy path, errors, exit status."""

import asyncio
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from typer.main import get_command

from contracts.topics import CONSUMED, LANE_PROGRESS
from rules.tables import SHIPPED
from service.admin import skips
from service.admin.simulate import READABLE
from service.commands.common import console, table
from service.commands.main import app
from service.errors import Unreadable
from tests.stack.servers import free_port
from tests.stack.service import RATCHET, World
from tests.stack.wire import Wire

DEFINITION = {
    "message_id": "d1",
    "tenant_id": "acme",
    "course_id": "c-1",
    "changed_at": "2026-01-01T09:00:00Z",
    "version": 1,
    "steps": [{"step_id": "e1", "kind": "event", "scheduled_minutes": 60}],
}
ATTENDED = {
    "message_id": "m1",
    "tenant_id": "acme",
    "learner_id": "l-1",
    "course_id": "c-1",
    "changed_at": "2026-01-02T09:00:00Z",
    "event_id": "e1",
    "attended": True,
    "source": "manual",
}
RESET = {**ATTENDED, "message_id": "m2", "changed_at": "2026-01-03T09:00:00Z", "attended": None, "attended_minutes": 0}


def commands(command: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Each as it is typed, and whether it does something by itself."""
    within = getattr(command, "commands", {})
    yield path, not within or command.invoke_without_command
    for name, one in within.items():
        yield from commands(one, f"{path} {name}".strip())


@pytest.mark.parametrize(("command", "does"), [*commands(get_command(app))])
def test_help(world: World, command: str, does: bool) -> None:
    told = world.run(*command.split(), "--help").stdout
    assert f"Usage: ratchet {command}".rstrip() in told
    listed = told.partition("Commands:")[2].splitlines()
    assert [line for line in listed if line.endswith("...")] == [], "what a command does is cut"
    assert not does or not command or f"ratchet {command}" in told.partition("Example")[2]


def test_simulate_names_the_topics_that_it_reads(world: World) -> None:
    told = " ".join(world.run("simulate", "--help").stdout.split())
    assert [topic for topic in READABLE if topic not in told] == []


async def test_explain_tells_facts_rules_reasons_and_announcements(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    for message in (("course-defined", DEFINITION), ("attendance-changed", ATTENDED), ("attendance-changed", RESET)):
        await wire.send([message])
        await wire.settled()
    assert serving.stop() == 0
    shown = world.run("explain", "acme", "l-1", "c-1").stdout
    for words in ("attended (source manual)", "0 minutes", "completion-preserved", "evidence withdrawn", "100 → 0 %"):
        assert words in shown, shown
    story = json.loads(world.run("explain", "acme", "l-1", "c-1", "--json").stdout)
    assert [told["message_id"] for told in story["timeline"]] == ["m1", "m2"]
    lost = story["timeline"][1]
    assert [rule["rule_id"] for rule in lost["rules"]] == ["fact-is-newest", "step-lost", "completion-preserved"]
    assert all(rule["because"] for rule in lost["rules"])
    assert lost["before"]["course"] == {
        "status": "completed",
        "completed_via": "steps",
        "evidence": "held",
        "expires_at": None,
    }
    assert lost["after"]["course"] == {
        "status": "completed",
        "completed_via": "steps",
        "evidence": "withdrawn",
        "expires_at": None,
    }
    assert [change["sequence"] for change in lost["announced"]] == [3]
    assert story["state"]["certificate"]["status"] == "issued"
    nobody = world.run("explain", "acme", "l-9", "c-1", check=False)
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "no record acme/l-9/c-1" in nobody.stderr


def test_explain_refuses_what_is_no_id(world: World) -> None:
    ran = world.run("explain", "a/b", "l", "c", check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "TENANT: 'a/b' is not an id" in ran.stderr


def test_topics_are_created_once_and_then_checked(world: World) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker knows no CreateTopics")
    states = json.loads(world.run("topics", "create", "--json").stdout)
    assert len(states) == 15
    assert all(state == {**state, "partitions": 4, "created": False} for state in states)
    created = json.loads(world.run("topics", "create", "--json", RATCHET_TOPIC_PREFIX=f"{world.prefix}x.").stdout)
    assert all(state["created"] and state["name"].startswith(f"{world.prefix}x.") for state in created)
    fewer = json.loads(
        world.run(
            "topics", "create", "--json", RATCHET_TOPIC_PREFIX=f"{world.prefix}y.", RATCHET_STATE_TOPIC="false"
        ).stdout
    )
    assert len(fewer) == 14 and not any("record-state" in state["name"] for state in fewer)
    shown = world.run("topics", "create", RATCHET_TOPIC_PREFIX=f"{world.prefix}x.").stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if "│" in line]
    assert rows == [[state["name"], str(state["partitions"]), "was there"] for state in created]


@pytest.mark.parametrize("passed", [True, False])
def test_what_is_skipped_is_told(world: World, monkeypatch: pytest.MonkeyPatch, passed: bool) -> None:
    async def skip(*_: Any) -> Unreadable:
        return Unreadable("lms.reassigned.v1", 3, 10, 13, "damaged")

    async def has_passed(*_: Any) -> bool:
        return passed

    monkeypatch.setattr(skips, "skip", skip)
    monkeypatch.setattr(skips, "has_passed", has_passed)
    asked = "skip", "lms.reassigned.v1", "3", "10", "--reason", "damaged"
    shown, told = world.run(*asked, check=False), world.run(*asked, "--json", check=False)
    assert shown.returncode == told.returncode == (0 if passed else 1)
    says = "were skipped" if passed else "may be skipped; no worker has gone past them yet"
    assert shown.stdout == f"lms.reassigned.v1 partition 3: offsets 10 to 12 {says}\n"
    where = {"topic": "lms.reassigned.v1", "partition": 3, "start": 10, "end": 13}
    assert json.loads(told.stdout) == {**where, "passed": passed}


async def test_unequal_partitions_are_refused(world: World) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker knows no CreatePartitions")
    from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

    admin = AIOKafkaAdminClient(bootstrap_servers=world.broker.address)
    await admin.start()
    await admin.create_partitions({f"{world.prefix}lms.reassigned.v1": NewPartitions(5)})
    await admin.close()
    for command in (["serve"], ["topics", "create"]):
        ran = world.run_process(*command, check=False)
        assert ran.returncode == 2
        assert "lms.reassigned.v1 has 5" in ran.stderr
        assert "Traceback" not in ran.stderr


@pytest.mark.full
async def test_partitions_that_are_added_while_it_runs_are_told_of_and_taken_up(world: World, wire: Wire) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker knows no CreatePartitions")
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    names = [world.prefix + topic.name for topic in CONSUMED]
    admin = AdminClient({"bootstrap.servers": world.broker.address})

    def raise_to_five(topics: list[str]) -> None:
        for raised in admin.create_partitions([NewPartitions(name, 5) for name in topics]).values():
            raised.result()

    raise_to_five(names[:1])
    async with asyncio.timeout(60):
        while (told := json.loads(serving.get("/readyz")[1])["topics"]) is None:
            await asyncio.sleep(0.2)
    assert told.startswith("the topics that are read need equally many partitions, but ")
    assert f"{names[0]} has 5" in told and f"{names[1]} has 4" in told
    assert serving.get("/readyz")[0] == 200, "the old ones are worked on"
    (line,) = [
        line for line in map(json.loads, serving.log.read_text().splitlines()) if "partitions were" in line["event"]
    ]
    assert (line["level"], line["problem"]) == ("error", told)
    await wire.send([("attendance-changed", ATTENDED)])
    await wire.settled()
    assert len(await wire.read("step-completion-changed")) == 1
    raise_to_five([*names[1:], world.prefix + LANE_PROGRESS.name])
    assert await asyncio.to_thread(serving.wait, 60) == 3
    assert "have 5 partitions now, not 4; start again with them" in serving.log.read_text()
    again = world.serve().wait_until_ready()
    assert len(json.loads(again.get("/readyz")[1])["lanes"]) == 5
    assert await asyncio.to_thread(again.stop) == 0


@pytest.mark.full
def test_start_up_errors_name_the_setting_and_end_in_time(world: World) -> None:
    quick = {"RATCHET_START_SECONDS": "3"}
    nowhere = f"127.0.0.1:{free_port()}"
    wrong = [
        ({"RATCHET_KAFKA_BOOTSTRAP_SERVERS": nowhere}, "RATCHET_KAFKA_BOOTSTRAP_SERVERS"),
        ({"RATCHET_MONGODB_URI": f"mongodb://{nowhere}/?replicaSet=rs0"}, "RATCHET_MONGODB_URI"),
        ({"RATCHET_MONGODB_URI": "nonsense"}, "RATCHET_MONGODB_URI"),
        ({"RATCHET_TOPIC_PREFIX": "other."}, "topics are missing: other.lms.course-defined.v1"),
        ({"RATCHET_HTTP_PORT": "99999"}, "RATCHET_HTTP_PORT"),
        ({"RATCHET_HTTP_HOST": "192.0.2.1"}, "RATCHET_HTTP_HOST"),
        ({"RATCHET_FAILPOINT": "somewhere"}, "RATCHET_FAILPOINT"),
    ]
    for settings, says in wrong:
        ran = world.run_process("serve", check=False, **quick, **settings)
        assert (ran.returncode, says in ran.stderr) == (2, True), (settings, ran.returncode, ran.stderr)
        assert "Traceback" not in ran.stderr


@pytest.mark.full
async def test_a_database_that_is_ahead_of_kafka_is_refused(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION), ("attendance-changed", ATTENDED)])
    await wire.settled()
    assert serving.stop() == 0
    elsewhere = World(world.broker, world.database, world.folder, prefix=f"{world.prefix}new.", name=world.name)
    elsewhere.create_topics()
    refused = elsewhere.serve()
    assert await asyncio.to_thread(refused.wait) == 2
    assert "RATCHET_MONGODB_DATABASE or RATCHET_MONGODB_URI belongs to another Kafka" in refused.log.read_text()


def test_a_signal_ends_the_start(world: World) -> None:
    """Also while nothing answers: at once, and with status 0."""
    silent = socket.create_server(("127.0.0.1", 0))
    uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?replicaSet=rs0"
    with silent:
        serving = world.serve(RATCHET_MONGODB_URI=uri)
        silent.accept()[0].close()
        assert serving.stop(signal.SIGTERM, seconds=10) == 0


def test_simulate_reads_standard_input_and_goes_on_after_bad_lines(world: World, tmp_path: Path) -> None:
    lines = [
        json.dumps({"topic": "course-defined", "value": DEFINITION}),
        "{broken",
        "[1]",
        '{"topic": "weather", "value": {}}',
        '{"topic": "reassigned"}',
        '{"topic": "reassigned", "value": null, "now": "noon"}',
        "",
        json.dumps({"topic": "attendance-changed", "now": "2026-01-02T08:54:59Z", "value": ATTENDED}),
        json.dumps({"topic": "attendance-changed", "now": "2026-01-02T08:55:00Z", "value": ATTENDED}),
    ]
    file = tmp_path / "messages.jsonl"
    file.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    said = [json.loads(line) for line in world.run("simulate", str(file), "--records").stdout.splitlines()]
    dead = [(line["line"], line["reason"]) for line in said if line.get("topic") == "dead-letter"]
    assert dead == [
        (2, "invalid_json"),
        (3, "invalid_message"),
        (4, "invalid_message"),
        (5, "invalid_message"),
        (6, "invalid_message"),
        (8, "changed_at_in_future"),
        (10, "invalid_json"),
    ]
    assert [line["topic"] for line in said[6:8]] == ["step-completion-changed", "course-completion-changed"]
    assert said[6]["value"]["decided_at"] == "2026-01-02T08:55:00Z"
    assert said[-1]["record"] == "acme/l-1/c-1"
    missing = world.run("simulate", str(tmp_path / "none"), check=False)
    assert (missing.returncode, "No such file" in missing.stderr) == (2, True)
    assert world.run("simulate", str(tmp_path), check=False).returncode == 2


@pytest.mark.parametrize("command", ["rules", "simulate {file}", "rules check {file}"])
def test_what_cannot_be_written_is_an_error(tmp_path: Path, command: str) -> None:
    file = tmp_path / "file"
    shipped = Path(__file__).parents[2] / "rules" / "course.yaml"
    file.write_text("{broken\n" * 5000 if "simulate" in command else shipped.read_text())
    ran = subprocess.run(
        f"{RATCHET} {command.format(file=file)} > /dev/full", shell=True, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (2, "ratchet: cannot write what it has to say: No space left on device\n")


def test_what_is_shown_is_text_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    said = "redo [see ticket 12] march[/2].csv urn:key:7"
    shown = table("said")
    shown.add_row(said)
    console().print(shown)
    assert said in capsys.readouterr().out


def columns(table: str) -> list[str]:
    """What the cells of each column say, one below the other and without blanks: a narrow table breaks its lines."""
    rows = [line.strip("│┃").replace("┃", "│").split("│") for line in table.splitlines() if line[:1] in ("│", "┃")]
    return ["".join("".join(cells).split()) for cells in zip_longest(*rows, fillvalue="")]


def test_rules_are_printed_and_checked(world: World, tmp_path: Path) -> None:
    shown, told = columns(world.run("rules").stdout), json.loads(world.run("rules", "--json").stdout)
    for one in SHIPPED:
        ids_and_reasons = [(row.rule_id, row.because) for row in one.rows]
        assert [(row["rule_id"], row["because"]) for row in told[one.name]] == ids_and_reasons
        for row in one.rows:
            for said in (f"{row.rule_id} ({', '.join(row.source)})", row.because):
                assert any("".join(said.split()) in column for column in shown), said
    assert list(told) == ["arrival", "step", "course", "evidence"]
    shipped = Path(__file__).parents[2] / "rules" / "course.yaml"
    assert "18 rows meet all 80 combinations" in world.run("rules", "check", str(shipped)).stdout
    candidate = tmp_path / "course.yaml"
    candidate.write_text(shipped.read_text().replace("trigger: equivalency", "trigger: whim", 1))
    refused = world.run("rules", "check", str(candidate), check=False)
    assert refused.returncode == 1
    assert "row 10 (completed-by-equivalency): trigger: unknown value 'whim'" in refused.stderr
    assert world.run("rules", "check", str(tmp_path / "none"), check=False).returncode == 2
    candidate.write_bytes(b"\xff\xfe")
    assert world.run("rules", "check", str(candidate), check=False).returncode == 2
