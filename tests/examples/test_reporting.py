"""The example service reporting: what it keeps, whatever becomes of it, its database, its messages and its learners."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from contracts.examples.reporting import reading
from contracts.examples.reporting.settings import database
from contracts.outbound import certificate_id
from contracts.topics import LEARNER_ERASED, RECORD_STATE
from service.kafka.partitioner import partition_of
from tests.admin.test_learner import SECOND_COURSE, about
from tests.commands.test_commands import DEFINITION, RESET
from tests.examples import postgres
from tests.stack.servers import NotAvailable, Server, free_port, start_process
from tests.stack.service import World
from tests.stack.wire import Wire, batched

Row = tuple[Any, ...]
State = dict[str, Any]
COMMAND = [sys.executable, "-m", "contracts.examples.reporting"]
TABLES = ("learner", "course", "month", "completion", "kafka_record", "kafka_position")
FACTS = """
SELECT learner.tenant_id, learner.learner_id, course.course_id, attempt, month.month, status, completed_via,
    completed_at, expires_at, evidence, certificate_id, certificate_status, completion.definition_version, sequence,
    updated_at, course.title
FROM completion JOIN learner USING (learner_key) JOIN course USING (course_key) LEFT JOIN month USING (month_key)
ORDER BY 1, 2, 3, 4
"""
VIEW = (
    "SELECT tenant, course, title, month, completed, evidence_withdrawn, attempts FROM completions_by_course_and_month"
)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    """Skips where there is none."""
    try:
        server = postgres.start()
    except NotAvailable as why:
        pytest.skip(str(why))
    yield server
    server.stop()


class Reporting:
    """The example, in its processes, and its database as a BI tool sees it."""

    def __init__(self, world: World, url: str, folder: Path) -> None:
        self.url = url
        self.log = folder / "reporting.log"
        self.environment = {
            "REPORTING_KAFKA_BOOTSTRAP_SERVERS": world.broker.address,
            "REPORTING_TOPIC_PREFIX": world.prefix,
            "REPORTING_DATABASE_URL": url,
        }

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """To its end."""
        environment = {**os.environ, **self.environment, **settings}
        return subprocess.run(
            [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    def read_all(self) -> Counter[str]:
        """What is there now; gives the numbers that it logged."""
        ran = self.run("--once")
        assert ran.returncode == 0, ran.stderr
        return counted(ran.stderr)

    def start(self) -> subprocess.Popen[bytes]:
        """Going on for ever."""
        return start_process(COMMAND, self.log, self.environment)

    def ask(self, query: str) -> list[Row]:
        """In a connection of its own."""
        engine = create_engine(self.url)
        with engine.begin() as connection:
            answer = connection.execute(text(query))
            rows = [tuple(row) for row in answer] if answer.returns_rows else []
        engine.dispose()
        return rows

    def facts(self) -> list[Row]:
        """Without surrogate keys, and with times as both databases give them."""
        return [tuple(plain(value) for value in row) for row in self.ask(FACTS)]

    def view(self) -> set[Row]:
        """With numbers as numbers."""
        return {tuple(row) for row in self.ask(VIEW)}

    def everything(self) -> str:
        """All that stands in its tables."""
        return "\n".join(str(self.ask(f"SELECT * FROM {table}")) for table in TABLES)


def plain(value: Any) -> Any:
    """A time as a text in UTC, without its fraction."""
    if isinstance(value, datetime):
        value = f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    is_time = isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d \d\d:", value)
    return value[:19].replace(" ", "T") if is_time else value


def counted(log: str) -> Counter[str]:
    """The sums over all batches."""
    told = Counter[str]()
    for line in re.findall(r"batch of \d+: .*", log):
        for number, name in re.findall(r"(\d+) (states|known|erasures|skipped)", line):
            told[name] += int(number)
    return told


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.full)])
def reporting(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Reporting:
    """On an empty database of each kind."""
    need_a_real_broker(world)
    if request.param == "sqlite":
        return Reporting(world, f"sqlite:///{tmp_path}/reporting.db", tmp_path)
    return Reporting(world, postgres.new_database(request.getfixturevalue("postgresql")), tmp_path)


@pytest.fixture
def on_sqlite(world: World, tmp_path: Path) -> Reporting:
    """For what does not differ between databases."""
    need_a_real_broker(world)
    return Reporting(world, f"sqlite:///{tmp_path}/reporting.db", tmp_path)


def need_a_real_broker(world: World) -> None:
    if not world.broker.real:
        pytest.skip("the mock broker knows no transactions")


def state(learner: str, course: str = "c-1", **said: Any) -> State:
    """As Ratchet tells it: by default of a completion by steps, in March."""
    attempt = said.get("attempt", 1)
    is_completed = said.get("status", "completed") == "completed"
    certificate = {"certificate_id": certificate_id(f"acme/{learner}/{course}", attempt), "status": "issued"}
    return {
        "tenant_id": "acme",
        "learner_id": learner,
        "course_id": course,
        "attempt": attempt,
        "sequence": 2,
        "definition_version": 1,
        "course_title": "Safety",
        "status": "completed",
        "completed_via": "steps" if is_completed else None,
        "completed_at": "2026-03-02T09:00:00Z" if is_completed else None,
        "expires_at": None,
        "evidence": "held" if is_completed else None,
        "due_at": None,
        "certificate": certificate if is_completed else None,
        "steps": [],
        "updated_at": "2026-03-02T09:00:01Z",
        **said,
    }


def key_of(told: Mapping[str, Any]) -> str:
    return f"{told['tenant_id']}/{told['learner_id']}/{told['course_id']}"


async def tell(wire: Wire, states: Iterable[State]) -> None:
    """In place of Ratchet."""
    messages = [(key_of(one).encode(), json.dumps(one).encode()) for one in states]
    await wire.send_all(
        ("record-state", key, value, partition_of(key, wire.world.partitions)) for key, value in messages
    )


async def bury(wire: Wire, learner: str, *courses: str) -> None:
    """Tombstones, in place of Ratchet."""
    for course in courses:
        key = f"acme/{learner}/{course}".encode()
        await wire.send_raw("record-state", None, key, partition=partition_of(key, wire.world.partitions))


async def until(what: Any, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(what):
            await asyncio.sleep(0.05)


async def test_a_life_as_it_is_told_by_the_real_service(world: World, wire: Wire, reporting: Reporting) -> None:
    """Completed, corrected to nothing, reassigned, the reassignment withdrawn; followed as it happens."""
    serving = world.serve().wait_until_ready()
    following = reporting.start()

    async def sent(short: str, message: Mapping[str, Any], sequence: int) -> None:
        await wire.send([(short, message)])
        await until(lambda: sequence in [row[13] for row in facts_there(reporting)])

    await wire.send([("course-defined", {**DEFINITION, "title": "Safety at work"})])
    await wire.settled()
    await sent(*about("l-1"), 2)
    first = certificate_id("acme/l-1/c-1", 1)
    (row,) = reporting.facts()
    assert row[:12] == (
        *("acme", "l-1", "c-1", 1, "2026-01", "completed", "steps", "2026-01-02T09:00:00", None, "held"),
        *(first, "issued"),
    )
    assert (row[12], row[15]) == (1, "Safety at work")
    assert reporting.view() == {("acme", "c-1", "Safety at work", "2026-01", 1, 0, 1)}

    await sent(*about("l-1", **RESET), 3)
    (row,) = reporting.facts()
    assert row[3:12] == (1, "2026-01", "completed", "steps", "2026-01-02T09:00:00", None, "withdrawn", first, "issued")
    assert reporting.view() == {("acme", "c-1", "Safety at work", "2026-01", 1, 1, 1)}

    again = {"message_id": "r1", "tenant_id": "acme", "learner_id": "l-1", "course_id": "c-1"}
    await sent("reassigned", {**again, "changed_at": "2026-02-01T00:00:00Z"}, 4)
    kept, new = reporting.facts()
    assert kept[3:10] == row[3:10] and kept[10:12] == (first, "revoked")
    assert new[3:12] == (2, None, "incomplete", None, None, None, None, None, None)
    months = {("2026-01", 1, 1, 1), (None, 0, 0, 1)}
    assert {row[3:] for row in reporting.view()} == months

    withdrawn = {**again, "message_id": "w1", "reassignment_message_id": "r1", "changed_at": "2026-02-02T00:00:00Z"}
    await sent("reassignment-withdrawn", withdrawn, 5)
    kept, _, back = reporting.facts()
    assert back[3:12] == (3, "2026-01", "completed", "steps", "2026-01-02T09:00:00", None, "withdrawn", first, "issued")
    assert kept[10:12] == (first, "issued"), "the same one"
    assert {row[3:] for row in reporting.view()} == {("2026-01", 1, 1, 2), (None, 0, 0, 1)}, "one completion"

    following.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(following.wait, 30) == 0
    assert await asyncio.to_thread(serving.stop) == 0
    log = reporting.log.read_text()
    assert counted(log)["states"] == 4 and "l-1" not in log and "acme" not in log


@pytest.mark.full
async def test_of_an_erased_learner_nothing_is_left(
    world: World, wire: Wire, reporting: Reporting, tmp_path: Path
) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION), ("course-defined", SECOND_COURSE)])
    await wire.settled()
    await wire.send(
        [about("l-1"), about("l-1", course_id="c-2"), about("l-erased"), about("l-erased", course_id="c-2")]
    )
    await wire.settled()
    reporting.read_all()
    others = [row for row in reporting.facts() if row[1] == "l-1"]
    assert len(others) == 2 and len(reporting.facts()) == 4
    world.run("learner", "erase", "acme", "l-erased", "--yes")
    await wire.settled()
    assert reporting.read_all()["erasures"] >= 3
    assert reporting.facts() == others
    assert "l-erased" not in reporting.everything()
    for file in tmp_path.glob("reporting.db*"):
        assert b"l-erased" not in file.read_bytes(), "deleted, and still in the file"
    reporting.ask("DELETE FROM kafka_position")
    reporting.read_all()
    assert reporting.facts() == others, "nor after a replay"
    assert await asyncio.to_thread(serving.stop) == 0


@pytest.mark.full
@pytest.mark.parametrize("told", ["tombstone", "learner-erased"])
async def test_each_word_of_an_erasure_is_enough(wire: Wire, on_sqlite: Reporting, told: str) -> None:
    await tell(wire, [state("anna"), state("anna", "c-2"), state("anna", attempt=2), state("ben")])
    assert on_sqlite.read_all()["states"] == 4
    if told == "tombstone":
        await bury(wire, "anna", "c-2")
    else:
        value = {"tenant_id": "acme", "learner_id": "anna", "erased_at": "2026-05-04T08:00:00Z"}
        await wire.send_raw("learner-erased", json.dumps(value).encode(), b"acme/anna")
    assert on_sqlite.read_all() == Counter(erasures=1)
    assert "anna" not in on_sqlite.everything()
    assert [row[1] for row in on_sqlite.facts()] == ["ben"]


def lives(count: int) -> list[State]:
    """States of records at random, each record's in order, with all that may become of a completion."""
    chance = random.Random(count)
    told = []
    for number in range(count):
        learner, course = f"l-{number // 3}", f"c-{number % 3}"
        sequence = 0
        for attempt in range(1, chance.randint(2, 4)):
            month = chance.randint(1, 12)
            for evidence in chance.sample(["none", "held", "withdrawn"], chance.randint(1, 3)):
                sequence += 1
                standing = {"status": "incomplete"} if evidence == "none" else {"evidence": evidence}
                if evidence != "none":
                    standing["completed_at"] = f"2026-{month:02}-0{attempt}T00:00:00Z"
                told.append(state(learner, course, attempt=attempt, sequence=sequence, **standing))
    return told


def view_of(states: Iterable[State]) -> set[Row]:
    """The view, counted in another way."""
    last = {(key_of(one), one["attempt"]): one for one in states}
    cells: dict[Row, list[int]] = {}
    for one in last.values():
        month = one["completed_at"] and one["completed_at"][:7]
        cell = cells.setdefault(("acme", one["course_id"], "Safety", month), [0, 0, 0])
        cell[0] += one["status"] == "completed"
        cell[1] += one["evidence"] == "withdrawn"
        cell[2] += 1
    return {(*place, *numbers) for place, numbers in cells.items()}


@pytest.mark.full
async def test_the_view_counts_right_live_late_and_again(wire: Wire, reporting: Reporting, tmp_path: Path) -> None:
    told = lives(60)
    half = len(told) // 2
    await tell(wire, told[:half])
    reporting.read_all()
    assert reporting.view() == view_of(told[:half])
    await tell(wire, told[half:])
    assert reporting.read_all() == Counter(states=len(told) - half)
    assert reporting.view() == view_of(told) and len(reporting.view()) > 12
    before = reporting.facts()
    reporting.ask("DELETE FROM kafka_position")
    assert reporting.read_all() == Counter(known=len(told)), "from the beginning"
    assert reporting.facts() == before
    assert reporting.read_all() == Counter(), "nothing is new"
    late = Reporting(wire.world, f"sqlite:///{tmp_path}/late.db", tmp_path)
    assert late.read_all() == Counter(states=len(told))
    assert late.facts() == before, "who joins late"


@pytest.mark.full
async def test_a_process_that_is_killed_goes_on_where_its_data_ends(wire: Wire, reporting: Reporting) -> None:
    """At random, amid reading; each time, what is in the tables is what is before the offsets."""
    told = [state(f"l-{number}", sequence=number) for number in range(3000)]
    await tell(wire, told)
    places = {(one.partition, one.offset): key_of(one.json).split("/")[1] for one in await wire.read("record-state")}
    chance = random.Random(3000)
    seen = 0
    for _ in range(2):
        process = await asyncio.to_thread(reporting.start)
        await until(lambda seen=seen: len(facts_there(reporting)) > seen)
        await asyncio.sleep(chance.random() / 5)
        process.kill()
        await asyncio.to_thread(process.wait)
        noted = "SELECT kafka_partition, next_offset FROM kafka_position WHERE topic LIKE '%record-state%'"
        positions = {row[0]: row[1] for row in reporting.ask(noted)}
        read = {learner for (partition, offset), learner in places.items() if offset < positions[partition]}
        assert {learner for (learner,) in reporting.ask("SELECT learner_id FROM learner")} == read
        assert len(reporting.facts()) == len(read)
        seen = len(read)
    assert seen < len(told), "it was not killed amid reading"
    assert reporting.read_all() == Counter(states=len(told) - seen)
    assert [(row[1], row[13]) for row in reporting.facts()] == sorted(
        (one["learner_id"], one["sequence"]) for one in told
    )


def facts_there(reporting: Reporting) -> list[Row]:
    """Nothing while there is no table yet."""
    try:
        return reporting.facts()
    except DBAPIError:
        return []


@pytest.mark.full
async def test_what_is_no_state_is_skipped_and_harms_nothing(wire: Wire, reporting: Reporting) -> None:
    good, key = state("anna"), b"acme/anna/c-1"
    await tell(wire, [good])
    reporting.read_all()
    before = reporting.facts()
    strange = [
        (b"", key),
        (b"{broken", key),
        (b"\xff\xfe", key),
        (b"[1]", key),
        (b"null", key),
        (b"[" * 100_000, key),
        (json.dumps(good).encode(), b"acme/ben/c-1"),
        (json.dumps(good).encode(), b"\xff"),
        (None, b"acme/anna"),
        (None, b"acme/anna/c-1/x"),
        (None, b"acme/an\0na/c-1"),
        (None, b"acme/anna'; DROP TABLE learner; --/c-1"),
        *(
            (json.dumps({**good, **wrong}).encode(), key)
            for wrong in (
                {"attempt": 0},
                {"attempt": 2**63},
                {"sequence": 10**300},
                {"sequence": "5"},
                {"definition_version": 2**64},
                {"status": "failed"},
                {"updated_at": "10000-01-01T00:00:00Z"},
                {"completed_at": 1},
                {"course_title": 5},
            )
        ),
    ]
    for value, strange_key in strange:
        await wire.send_raw("record-state", value, strange_key, partition=partition_of(key, wire.world.partitions))
    erasures = [(None, b"acme/anna"), (b"{}", b"acme/anna"), (key, key), (erased("anna"), b"acme/ben")]
    for value, strange_key in erasures:
        await wire.send_raw("learner-erased", value, strange_key)
    odd = state(
        "zoe",
        course_title="nul \0, '\"; DROP TABLE learner; -- 🦆",
        definition_version=2,
        updated_at="9999-12-31T23:59:59Z",
    )
    largest = {"attempt": 2**63 - 1, "sequence": 2**63 - 1, "definition_version": 2**63 - 1, "course_title": None}
    await tell(wire, [odd, state("yan", "c-2", **largest)])
    assert reporting.read_all() == Counter(skipped=len(strange) + len(erasures), states=2)
    anna, yan, zoe = reporting.facts()
    assert [anna[:15]] == [row[:15] for row in before]
    assert (yan[3], yan[12], yan[13]) == (2**63 - 1, 2**63 - 1, 2**63 - 1)
    assert (zoe[14], zoe[15]) == ("9999-12-31T23:59:59", "nul , '\"; DROP TABLE learner; -- 🦆")


def erased(learner: str) -> bytes:
    return json.dumps({"tenant_id": "acme", "learner_id": learner, "erased_at": "2026-05-04T08:00:00Z"}).encode()


async def test_the_title_is_the_newest_definitions(wire: Wire, on_sqlite: Reporting) -> None:
    """Whichever record tells of it, and in whichever order."""
    titles = [("anna", 2, "new"), ("ben", 1, "old"), ("carl", 2, "new")]
    await tell(wire, [state(who, definition_version=version, course_title=title) for who, version, title in titles])
    on_sqlite.read_all()
    assert on_sqlite.ask("SELECT title, definition_version FROM course") == [("new", 2)]


def test_what_was_aborted_is_not_read(world: World, on_sqlite: Reporting) -> None:
    producer = Producer({"bootstrap.servers": world.broker.address, "transactional.id": f"{world.prefix}aborts"})
    producer.init_transactions()
    for learner, end in (("anna", producer.commit_transaction), ("ben", producer.abort_transaction)):
        producer.begin_transaction()
        told = state(learner)
        producer.produce(world.prefix + RECORD_STATE.name, json.dumps(told), key_of(told), partition=0)
        producer.flush()
        end()
    assert on_sqlite.read_all() == Counter(states=1)
    assert [row[1] for row in on_sqlite.facts()] == ["anna"]


@pytest.mark.full
async def test_a_record_goes_on_in_another_partition(world: World, wire: Wire, on_sqlite: Reporting) -> None:
    """Where partitions were added: there offsets begin anew, and the old ones may still be read again."""
    old = [state("anna", sequence=number) for number in (1, 2, 3)]
    for one in old:
        await wire.send_raw("record-state", json.dumps(one).encode(), key_of(one).encode(), partition=0)
    on_sqlite.read_all()
    admin = AdminClient({"bootstrap.servers": world.broker.address})
    for raised in admin.create_partitions([NewPartitions(world.prefix + RECORD_STATE.name, 5)]).values():
        raised.result()
    producer = Producer({"bootstrap.servers": world.broker.address})
    moved = state("anna", sequence=4, evidence="withdrawn")
    producer.produce(world.prefix + RECORD_STATE.name, json.dumps(moved), key_of(moved), partition=4)
    producer.flush()
    assert on_sqlite.read_all() == Counter(states=1)
    on_sqlite.ask("DELETE FROM kafka_position")
    assert on_sqlite.read_all() == Counter(known=4)
    assert [(row[9], row[13]) for row in on_sqlite.facts()] == [("withdrawn", 4)]


@pytest.mark.full
async def test_partitions_that_are_added_while_it_runs_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    need_a_real_broker(world)
    monkeypatch.setattr(reading, "LOOK_AGAIN_SECONDS", 0.2)
    asked = []

    def resume(places: Any) -> Mapping[Any, int]:
        asked.append(len(places))
        return dict.fromkeys(places, 0)

    reader = reading.Reader(world.broker.address, world.prefix, resume)
    await asyncio.to_thread(reader.start)
    admin = AdminClient({"bootstrap.servers": world.broker.address})
    for raised in admin.create_partitions([NewPartitions(world.prefix + LEARNER_ERASED.name, 5)]).values():
        raised.result()
    async with asyncio.timeout(60):
        while len(asked) < 2:
            await asyncio.to_thread(reader.batch)
    reader.close()
    assert asked == [8, 9]


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly(wire: Wire, on_sqlite: Reporting, number: signal.Signals) -> None:
    await tell(wire, [state("anna")])
    process = on_sqlite.start()
    await until(lambda: len(facts_there(on_sqlite)) == 1)
    process.send_signal(number)
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert "Traceback" not in on_sqlite.log.read_text()


@pytest.mark.full
async def test_of_two_on_one_database_one_ends(wire: Wire, reporting: Reporting) -> None:
    """And nothing is written twice, or not at all."""
    processes = [reporting.start()]
    await until(lambda: reporting.log.read_text().count(" reading\n") == 1)
    processes.append(reporting.start())
    await until(lambda: reporting.log.read_text().count(" reading\n") == 2)
    told = [state(f"l-{number}") for number in range(300)]
    for some in batched(told, 50):
        await tell(wire, some)
        await asyncio.sleep(0.5)
    await until(lambda: any(process.poll() is not None for process in processes))
    await until(lambda: len(reporting.facts()) == len(told))
    for process in processes:
        process.terminate()
    statuses = [await asyncio.to_thread(process.wait, 20) for process in processes]
    assert sorted(statuses) == [0, 2]
    (line,) = [line for line in reporting.log.read_text().splitlines() if line.startswith("reporting: ")]
    assert "somebody else has changed kafka_position" in line or "locked" in line


@pytest.mark.full
async def test_a_database_that_is_ahead_of_kafka_is_refused(wire: Wire, on_sqlite: Reporting) -> None:
    await tell(wire, [state("anna")])
    on_sqlite.read_all()
    on_sqlite.ask("UPDATE kafka_position SET next_offset = 7 WHERE next_offset = 1")
    ran = on_sqlite.run("--once")
    assert ran.returncode == 2
    assert "ends at 1, but REPORTING_DATABASE_URL has read it to 7 already" in said(ran)
    assert [row[1] for row in on_sqlite.facts()] == ["anna"]


def said(ran: subprocess.CompletedProcess[str]) -> str:
    """The one line."""
    (line,) = ran.stderr.splitlines()
    return line


@pytest.mark.full
def test_errors_are_one_line_that_names_the_setting(on_sqlite: Reporting) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    wrong = [
        ({"REPORTING_KAFKA_BOOTSTRAP_SERVERS": nowhere}, "REPORTING_KAFKA_BOOTSTRAP_SERVERS: "),
        ({"REPORTING_KAFKA_BOOTSTRAP_SERVERS": ""}, "REPORTING_KAFKA_BOOTSTRAP_SERVERS: "),
        ({"REPORTING_TOPIC_PREFIX": "other."}, f"topic other.{RECORD_STATE.name}: "),
        ({"REPORTING_TOPIC_PREFIX": "a b"}, "REPORTING_TOPIC_PREFIX: "),
        ({"REPORTING_DATABASE_URL": "nonsense"}, "REPORTING_DATABASE_URL: is no SQLAlchemy URL"),
        ({"REPORTING_DATABASE_URL": "mysql://u:secret@h/d"}, "REPORTING_DATABASE_URL: mysql is neither"),
        ({"REPORTING_DATABASE_URL": f"postgresql://u:secret@{nowhere}/d"}, "REPORTING_DATABASE_URL: connection failed"),
        ({"REPORTING_DATABASE_URL": "sqlite:////proc/none/x.db"}, "REPORTING_DATABASE_URL: unable to open"),
    ]
    for settings, words in wrong:
        ran = on_sqlite.run("--once", **settings)
        assert (ran.returncode, said(ran).startswith(f"reporting: {words}")) == (2, True), (settings, ran.stderr)
        assert "secret" not in ran.stderr


def test_help_has_an_example() -> None:
    ran = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=False)
    assert (ran.returncode, "Example: REPORTING_DATABASE_URL=" in ran.stdout) == (0, True)


def test_postgresql_without_a_driver_named_is_psycopg() -> None:
    assert database("postgresql://u:p@h/d") == make_url("postgresql+psycopg://u:p@h/d")
