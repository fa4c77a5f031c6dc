"""Secured servers, with users who have what deploy/permissions.yaml says, and no more."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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
from tests.stack.secured import Secured, start_secured
from tests.stack.servers import Server
from tests.stack.service import World

FULL = {topic.short: topic.name for topic in TOPICS}
PERMISSIONS: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "deploy" / "permissions.yaml").read_text("utf-8")
)
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

    @contextmanager
    def without(self, part: str, right: Right) -> Iterator[None]:
        """This one right is taken away meanwhile."""
        self._forbid(part, right)
        try:
            yield
        finally:
            self.allow(part, right)

    def _forbid(self, part: str, right: Right) -> None:
        one = self.binding(part, right)
        wanted = AclBindingFilter(
            one.restype, one.name, one.resource_pattern_type, one.principal, "*", one.operation, one.permission_type
        )
        admin = AdminClient({"bootstrap.servers": self.secured.own_kafka})
        for gone in admin.delete_acls([wanted]).values():
            assert len(gone.result()) == 1, right


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """With its users, and its topics, which the part `topics` creates. Raises NotAvailable."""
    secured = start_secured(folder)
    made = Site(secured, f"w{uuid.uuid4().hex[:8]}", folder)
    try:
        for part, needs in PERMISSIONS.items():
            secured.add_user(f"{made.group}-{part}", needs.get("mongodb", "read"), made.group)
            made.allow(part, *rights(part))
        assert "created" in made.world("topics", "scram").run("topics", "create").stdout
        yield made
    finally:
        secured.stop()


def own_world(site: Site) -> World:
    """Who may do everything: the tests' own eyes."""
    broker = Server(site.secured.own_kafka, "secured", lambda: None)
    database = Server(site.secured.own_mongodb, "secured", lambda: None)
    return World(broker, database, site.folder, site.prefix, site.group, PARTITIONS)
