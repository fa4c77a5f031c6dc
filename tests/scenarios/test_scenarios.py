"""The golden cases, run three ways: the pure fold, `ratchet simulate`, and end to end on real servers."""

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import pytest

from contracts.fields import course_key_of
from contracts.outbound import RecordState
from contracts.topics import RECORD_STATE, TOPICS
from rules.decide import MessageIdReused, decide, redecide
from rules.tables import SHIPPED, Table, Tables
from rules.values import Fact, Record
from service.admin.simulate import state
from service.lanes.batch import Clock, accept_definitions
from service.lanes.definitions import course_timeline
from service.lanes.outgoing import outbound
from service.lanes.ports import Received, StoredCourse
from service.lanes.translate import HeardDefinition, HeardFact, Unusable, read
from service.mongo.store import connect
from tests.contracts.pacts import broken
from tests.scenarios import SCENARIOS, Happened, Scenario, compare, split_lines
from tests.stack.service import RATCHET, World
from tests.stack.wire import Wire

BY_SHORT = {topic.short: topic for topic in TOPICS}
NAMES = {topic.name: topic.short for topic in TOPICS}


def fold(scenario: Scenario, tables: Tables = SHIPPED) -> Happened:
    """The scenario through `decide` and `redecide` alone, one message at a time."""
    records: dict[str, Record] = {}
    courses: dict[str, StoredCourse] = {}
    changes: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    dead: list[tuple[str, str]] = []
    now = int(time.time() * 1_000_000)
    for short, value in scenario.given:
        item = read(BY_SHORT[short], json.dumps(value).encode(), None)
        if isinstance(item, Unusable):
            dead.append((item.reason, item.explanation))
            continue
        work: dict[str, Fact | None] = {}
        if isinstance(item, HeardDefinition):
            message = Received("lms.course-defined.v1", 0, 0, 0, None, None, ())
            course = courses.get(item.key, StoredCourse(item.key, 0, 0))
            courses[item.key], letters = accept_definitions(course, [(message, item)], Clock(now, now))
            dead += [(why.reason, why.explanation) for _, why in letters]
            work.update(dict.fromkeys(records))
        else:
            assert isinstance(item, HeardFact)
            work[item.key] = item.fact
        for key, fact in work.items():
            record = records.get(key, Record())
            timeline = course_timeline(courses.get(course_key_of(key)))
            if fact is not None and fact.changed_at > now and fact.message_id not in record.facts:
                dead.append(("changed_at_in_future", "changed_at"))
                continue
            try:
                decided = (
                    redecide(record, timeline, now, tables)
                    if fact is None
                    else decide(record, fact, timeline, now, tables)
                )
            except MessageIdReused:
                dead.append(("message_id_reused", f"message_id: {value['message_id']}"))
                continue
            records[key] = decided[0]
            for change in decided[1]:
                out = outbound(key, change, None)
                changes[key].append((NAMES[out.topic], json.loads(out.value or b"")))
    return Happened(changes, dead, {key: state(key, record) for key, record in records.items()})


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_fold(scenario: Scenario) -> None:
    compare(scenario, fold(scenario))


class _Asked(dict[Any, Any]):
    """A table's lookup that notes which rows answered."""

    def __init__(self, table: Table, rows: set[str]) -> None:
        super().__init__(table.lookup)
        self.rows = rows

    def __getitem__(self, combination: Any) -> Any:
        row = super().__getitem__(combination)
        self.rows.add(row.rule_id)
        return row


def test_every_row_of_every_table_has_a_scenario() -> None:
    answered: set[str] = set()
    asked = Tables(*(Table(table.name, table.rows, _Asked(table, answered)) for table in SHIPPED))
    for scenario in SCENARIOS:
        fold(scenario, asked)
    assert {row.rule_id for table in SHIPPED for row in table.rows} - answered == set()


def test_simulate() -> None:
    lines = [json.dumps({"topic": short, "value": value}) for scenario in SCENARIOS for short, value in scenario.given]
    ran = subprocess.run(
        [RATCHET, "simulate", "-", "--records"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    found = split_lines(map(json.loads, ran.stdout.splitlines()))
    dead = found[""].dead_letters
    for scenario in SCENARIOS:
        letters = [message for message in scenario.sent if message["topic"] == "dead-letter"]
        own, dead = dead[: len(letters)], dead[len(letters) :]
        happened = found.get(scenario.name, Happened({}, [], {}))
        compare(scenario, Happened(happened.changes, own, happened.records))
    assert not dead


async def test_end_to_end(make_world: Callable[..., World]) -> None:
    world = make_world()
    serving = world.serve().wait_until_ready()
    try:
        async with Wire(world) as wire:
            for messages in zip_longest(*(scenario.given for scenario in SCENARIOS)):
                await wire.send(message for message in messages if message is not None)
                await wire.settled()
            found = await _read(wire, world)
            states = await wire.read("record-state")
    finally:
        assert serving.stop() == 0
    for scenario in SCENARIOS:
        compare(scenario, found.get(scenario.name, Happened({}, [], {})))
    assert {(message.key or b"").decode() for message in states} == {key for one in SCENARIOS for key in one.records}
    for message in states:
        assert broken(RECORD_STATE.name, message.json) == [], "what services downstream rely on"
        RecordState.model_validate_json(message.value or b"")


async def _read(wire: Wire, world: World) -> dict[str, Happened]:
    changes: dict[str, dict[str, list[tuple[str, dict[str, Any]]]]] = defaultdict(lambda: defaultdict(list))
    for message in await wire.read("step-completion-changed", "course-completion-changed"):
        key = (message.key or b"").decode()
        changes[key.split("/")[0]][key].append((message.topic, message.json))
    for by_key in changes.values():
        for sent in by_key.values():
            sent.sort(key=lambda message: message[1]["sequence"])
            assert [value["sequence"] for _, value in sent] == list(range(1, len(sent) + 1))
    dead: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for message in await wire.read("dead-letter"):
        reason = message.header("kafka_dlt-exception-fqcn")
        dead[message.json["tenant_id"]].append((reason, message.header("kafka_dlt-exception-message")))
    records: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    store = connect(world.database.address, world.name, world.name, {})
    keys = [key for scenario in SCENARIOS for key in scenario.records]
    for key, stored in (await store.records.load(keys)).items():
        records[key.split("/")[0]][key] = state(key, stored.record)
    await store.close()
    return {name: Happened(changes[name], dead[name], records[name]) for name in {*changes, *dead, *records}}
