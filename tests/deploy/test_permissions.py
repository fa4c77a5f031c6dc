"""deploy/permissions.yaml is enough for all that Ratchet does; each part of it is needed, and missed by its name."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from contracts.topics import TOPICS
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.stack.secured import Secured, start_secured
from tests.stack.servers import NotAvailable, Server
from tests.stack.service import World
from tests.stack.wire import Wire

FULL = {topic.short: topic.name for topic in TOPICS}
PERMISSIONS: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "deploy" / "permissions.yaml").read_text("utf-8")
)
WAYS = ("scram", "certificate")
pytestmark = pytest.mark.servers
PARTITIONS = 4


class Right(NamedTuple):
    """One operation on one thing."""

    kind: str
    name: str
    operation: str


def rights(part: str) -> list[Right]:
    """All of a part, one by one; names with {group} and short topics."""
    found = []
    for entry in PERMISSIONS[part]["kafka"]:
        for operation in entry["operations"]:
            found += [Right("topic", short, operation) for short in entry.get("topics", ())]
            found += [Right(kind, entry[kind], operation) for kind in ("group", "transactional_id") if kind in entry]
    return found


class Site(NamedTuple):
    """The secured servers, and one installation on them."""

    secured: Secured
    group: str
    folder: Path

    @property
    def prefix(self) -> str:
        return f"{self.group}."

    def world(self, part: str, by: str) -> World:
        """Commands and workers of somebody who has what a part needs."""
        broker = Server(self.secured.scram_kafka, "secured", lambda: None)
        database = Server(self.secured.own_mongodb, "secured", lambda: None)
        settings = {**self.secured.settings(f"{self.group}-{part}", by), "RATCHET_MONGODB_DATABASE": self.group}
        return World(broker, database, self.folder, self.prefix, self.group, PARTITIONS, **settings)

    def binding(self, part: str, right: Right) -> AclBinding:
        """As Kafka has it."""
        kinds = {
            "topic": (ResourceType.TOPIC, self.prefix + FULL.get(right.name, ""), ResourcePatternType.LITERAL),
            "group": (ResourceType.GROUP, right.name.format(group=self.group), ResourcePatternType.LITERAL),
            "transactional_id": (
                ResourceType.TRANSACTIONAL_ID,
                right.name.format(group=self.group),
                ResourcePatternType.PREFIXED,
            ),
        }
        who, operation = f"User:{self.group}-{part}", AclOperation[right.operation]
        return AclBinding(*kinds[right.kind], who, "*", operation, AclPermissionType.ALLOW)

    def allow(self, part: str, *given: Right) -> None:
        admin = AdminClient({"bootstrap.servers": self.secured.own_kafka})
        for made in admin.create_acls([self.binding(part, right) for right in given]).values():
            made.result()

    def forbid(self, part: str, right: Right) -> None:
        one = self.binding(part, right)
        wanted = AclBindingFilter(
            one.restype, one.name, one.resource_pattern_type, one.principal, "*", one.operation, one.permission_type
        )
        admin = AdminClient({"bootstrap.servers": self.secured.own_kafka})
        for gone in admin.delete_acls([wanted]).values():
            assert len(gone.result()) == 1, right


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """With its users, and its topics, which the part `topics` creates."""
    folder = tmp_path_factory.mktemp("secured")
    try:
        secured = start_secured(folder)
    except NotAvailable as why:
        pytest.skip(f"no Kafka or MongoDB can be started here: {why}")
    made = Site(secured, f"w{uuid.uuid4().hex[:8]}", folder)
    for part, needs in PERMISSIONS.items():
        secured.add_user(f"{made.group}-{part}", needs.get("mongodb", "read"), made.group)
        made.allow(part, *rights(part))
    try:
        assert "created" in made.world("topics", "scram").run("topics", "create").stdout
        yield made
    finally:
        secured.stop()


def own_world(site: Site) -> World:
    """Who may do everything: the tests' own eyes."""
    broker = Server(site.secured.own_kafka, "secured", lambda: None)
    database = Server(site.secured.own_mongodb, "secured", lambda: None)
    return World(broker, database, site.folder, site.prefix, site.group, PARTITIONS)


@pytest.mark.parametrize("by", WAYS)
async def test_a_worker_needs_no_more(site: Site, by: str) -> None:
    learner = f"l-{by}"
    serving = site.world("worker", by).serve().wait_until_ready()
    async with Wire(own_world(site)) as wire:
        await wire.send([("course-defined", DEFINITION)])
        await wire.settled()
        await wire.send([("attendance-changed", {**ATTENDED, "learner_id": learner, "message_id": f"m-{by}"})])
        await wire.send([("attendance-changed", {**ATTENDED, "message_id": f"n-{by}", "event_id": 7})])
        await wire.settled()
        changed = await wire.read("course-completion-changed")
        assert learner in {json.loads(got.value or b"")["learner_id"] for got in changed}
        assert await wire.read("dead-letter")
    assert await asyncio.to_thread(serving.stop) == 0
    assert "lane stopped" not in serving.log.read_text(), "nothing had to be tried twice"


@pytest.mark.parametrize("by", WAYS)
async def test_commands_need_no_more(site: Site, by: str, tmp_path: Path) -> None:
    """Beside a worker that has its own rights."""
    serving, world = site.world("worker", "scram").serve().wait_until_ready(), site.world("commands", by)
    course, file = f"k-{by}", tmp_path / "attendance.csv"
    definition = tmp_path / "course.yaml"
    content = {name: value for name, value in DEFINITION.items() if name not in ("message_id", "changed_at")}
    definition.write_text(yaml.safe_dump({**content, "course_id": course}))
    file.write_text(f"tenant,learner,course,event,minutes\nacme,u-{by},{course},e1,60\n")
    assert world.run("courses", "apply", str(definition), "--wait").returncode == 0
    assert json.loads(world.run("upload", "attendance", str(file), "--json").stdout)["sent"] == 1
    about = {**ATTENDED, "learner_id": f"u-{by}", "course_id": course, "message_id": f"bad-{by}", "event_id": 7}
    async with Wire(own_world(site)) as wire:
        await wire.send([("attendance-changed", about)])
        await wire.settled()
    told = json.loads(world.run("explain", "acme", f"u-{by}", course, "--json").stdout)
    assert told["timeline"][-1]["after"]["course"]["status"] == "completed"
    assert f"acme/u-{by}/{course}" in world.run("dead-letters", "list", "--json").stdout
    again = world.run("dead-letters", "replay", "--reason", "invalid_message", "--set", 'event_id="e1"').stdout
    assert int(again.split()[0]) > 0 and again.endswith(", 0 not\n"), again
    assert json.loads(world.run("lag", "--json", "--window", "1", check=False).stdout)["lanes"]
    assert world.run("courses", "list", "--tenant", "acme").returncode == 0
    assert world.run("learner", "erase", "acme", f"u-{by}", "--yes").returncode == 0
    assert await asyncio.to_thread(serving.stop) == 0


def test_every_topic_is_spoken_of() -> None:
    assert {right.name for part in PERMISSIONS for right in rights(part) if right.kind == "topic"} == set(FULL)
