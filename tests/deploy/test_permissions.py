"""deploy/permissions.yaml is enough for all that Ratchet does; each part of it is needed, and missed by its name."""

import asyncio
import json
import re
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
from tests.stack.service import Serving, World
from tests.stack.wire import Wire

FULL = {topic.short: topic.name for topic in TOPICS}
PERMISSIONS: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "deploy" / "permissions.yaml").read_text("utf-8")
)
WAYS = ("scram", "certificate")
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

    @property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.secured.own_kafka})

    def allow(self, part: str, *given: Right) -> None:
        for made in self.admin.create_acls([self.binding(part, right) for right in given]).values():
            made.result()

    def forbid(self, part: str, right: Right) -> None:
        one = self.binding(part, right)
        wanted = AclBindingFilter(
            one.restype, one.name, one.resource_pattern_type, one.principal, "*", one.operation, one.permission_type
        )
        for gone in self.admin.delete_acls([wanted]).values():
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


@pytest.mark.parametrize("right", rights("worker"), ids=lambda right: f"{right.operation} {right.name}")
async def test_a_worker_says_what_it_may_not(site: Site, right: Right) -> None:
    site.forbid("worker", right)
    try:
        said = await what_a_worker_says(site)
    finally:
        site.allow("worker", right)
    name = site.prefix + FULL[right.name] if right.kind == "topic" else site.group
    assert re.search(rf"{right.operation}\b.*{re.escape(name)}", said), said


async def what_a_worker_says(site: Site) -> str:
    """Until it ends, or names what keeps a lane waiting."""
    serving = site.world("worker", "scram").serve()
    try:
        async with Wire(own_world(site)) as wire:
            for number in range(300):
                if serving.process.poll() is not None:
                    return serving.log.read_text()
                if number % 10 == 0 and serving.log.exists() and "lanes assigned" in serving.log.read_text():
                    await something_of_each(wire)
                if failures := [line for line in _logged(serving) if "may not" in line]:
                    return failures[0]
                await asyncio.sleep(0.1)
        return serving.log.read_text()
    finally:
        if serving.process.poll() is None:
            await asyncio.to_thread(serving.stop)


def _logged(serving: Serving) -> list[str]:
    return serving.log.read_text().splitlines() if serving.log.exists() else []


async def something_of_each(wire: Wire) -> None:
    """A fact, an unusable message, a misrouted one, a new definition."""
    unique = uuid.uuid4().hex[:8]
    await wire.send([("course-defined", {**DEFINITION, "course_id": f"c-{unique}", "message_id": f"d-{unique}"})])
    about = {**ATTENDED, "course_id": f"c-{unique}", "message_id": f"m-{unique}"}
    await wire.send([("attendance-changed", about), ("attendance-changed", {**about, "event_id": 7})])
    for partition in range(PARTITIONS):
        key = f"acme/l-1/c-{unique}".encode()
        await wire.send_raw("attendance-changed", json.dumps(about).encode(), key, (), partition)
