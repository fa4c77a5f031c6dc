"""Each part of deploy/permissions.yaml is needed; where one is missing, what is said names it."""

import asyncio
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from pymongo import MongoClient

from contracts.topics import DEAD_LETTER
from service.errors import FixConfiguration
from service.kafka import topics
from service.kafka.rights import COMMANDS, WORKER, Needs
from service.settings import Settings
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.deploy.site import FULL, Right, Site, own_world, rights
from tests.stack.service import Ran, World
from tests.stack.wire import Wire

pytestmark = [pytest.mark.full, pytest.mark.servers]
ADVICE = "allow it (deploy/permissions.yaml lists what each part needs)"


def named(site: Site, right: Right) -> str:
    """How it is spoken of."""
    what = site.prefix + FULL[right.name] if right.kind == "topic" else right.name.format(group=site.group)
    kinds = {"topic": "", "group": "group ", "transactional_id": "transactional id "}
    return rf"{right.operation} on ([^;]*, )?{kinds[right.kind]}{re.escape(what)}"


@pytest.fixture
def settings(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, Settings]:
    """Of each part."""
    made = {}
    for part in ("worker", "commands"):
        with monkeypatch.context() as patched:
            for name, value in site.world(part, "scram").settings.items():
                patched.setenv(name, value)
            made[part] = Settings()
    return made


@pytest.mark.parametrize(("part", "needs"), [("worker", WORKER), ("commands", COMMANDS)])
async def test_each_right_on_a_topic_is_missed_at_the_start(
    site: Site, settings: dict[str, Settings], part: str, needs: Needs
) -> None:
    """As `ratchet serve` and `ratchet web` ask for them."""
    assert await topics.check(settings[part], needs) == 4
    for right in rights(part):
        if right.kind != "topic":
            continue
        with site.without(part, right):
            said = await refused(settings[part], needs)
        assert re.search(named(site, right), said) and said.endswith(ADVICE), (right, said)


async def test_sizes_are_seen_with_no_more_than_that(site: Site, settings: dict[str, Settings]) -> None:
    name = site.prefix + FULL["dead-letter"]
    admin = AdminClient({"bootstrap.servers": site.secured.own_kafka})

    def resize(size_bytes: int) -> None:
        entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        for done in admin.incremental_alter_configs([resource]).values():
            done.result()

    resize(100_000)
    try:
        assert f"topic {name}: max.message.bytes is 100000" in await refused(settings["worker"], WORKER)
    finally:
        resize(int(DEAD_LETTER.settings["max.message.bytes"]))


async def refused(settings: Settings, needs: Needs) -> str:
    """What is said once the brokers know."""
    for _ in range(100):
        try:
            await topics.check(settings, needs)
        except FixConfiguration as error:
            return str(error)
        await asyncio.sleep(0.05)
    raise AssertionError("it is allowed")


@pytest.mark.parametrize("right", [right for right in rights("worker") if right.kind != "topic"], ids=str)
async def test_a_worker_says_what_it_may_not(site: Site, right: Right) -> None:
    with site.without("worker", right):
        serving = site.world("worker", "scram").serve()
        try:
            said = ""
            for _ in range(200):
                said = serving.log.read_text() if serving.log.exists() else ""
                if serving.process.poll() is not None or ADVICE in said:
                    break
                await asyncio.sleep(0.1)
            if right.kind == "group":
                assert await asyncio.to_thread(serving.wait) == 2
        finally:
            status = await asyncio.to_thread(serving.stop)
    assert re.search(named(site, right), said) and ADVICE in said, said
    assert right.kind == "group" or status == 0, "a lane waits for what may be allowed any moment"


STEPS = [*DEFINITION["steps"], {"step_id": "j1", "kind": "on_the_job_training"}]  # type: ignore[misc]
UPLOADS = {
    "attendance-changed": ("attendance", "tenant,learner,course,event,minutes\nacme,u-1,{course},e1,60\n"),
    "step-progress-changed": ("progress", "tenant,learner,course,step,progress percent\nacme,u-1,{course},j1,60\n"),
    "equivalency-granted": ("equivalencies", "tenant,learner,course\nacme,u-1,{course}\n"),
    "completion-granted": (
        "completions",
        "tenant,learner,course,completed at\nacme,u-1,{course},2026-01-05T09:00:00Z\n",
    ),
}


async def test_commands_say_what_they_may_not(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one command each that needs the right."""
    monkeypatch.chdir(tmp_path)  # some write where they are
    course = f"c-{uuid.uuid4().hex[:8]}"
    serving, world = site.world("worker", "scram").serve().wait_until_ready(), site.world("commands", "scram")
    async with Wire(own_world(site)) as wire:
        about = {**DEFINITION, "course_id": course, "message_id": f"d-{course}", "steps": STEPS}
        await wire.send([("course-defined", about)])
        await wire.send([("attendance-changed", {**ATTENDED, "course_id": course, "message_id": f"m-{course}"})])
        await wire.send([("attendance-changed", {**ATTENDED, "message_id": f"b-{course}", "event_id": 7})])
        await wire.settled()
    tried = set()
    for right in rights("commands"):
        if (command := command_for(right, course, tmp_path)) is not None:
            tried.add(right.kind)
            with site.without("commands", right):
                ran = await run_until_refused(world, command)
            hidden = named(site, right._replace(operation="DESCRIBE"))  # comes with READ and with WRITE
            assert re.search(f"{named(site, right)}|{hidden}", ran.stderr) and ADVICE in ran.stderr, (right, ran)
            assert ran.returncode in (2, 3) and "Traceback" not in ran.stderr
    assert tried == {"topic", "group", "transactional_id"}
    assert await asyncio.to_thread(serving.stop) == 0
    async with Wire(own_world(site)) as wire:
        await wire.send([("attendance-changed", {**ATTENDED, "course_id": course, "message_id": f"w-{course}"})])
    waits = Right("topic", "attendance-changed", "READ")
    with site.without("commands", waits):
        ran = await run_until_refused(world, ["lag", "--window", "1"])
    assert re.search(named(site, waits), ran.stderr), "what waits could not be counted"


def command_for(right: Right, course: str, folder: Path) -> list[str] | None:
    """One that needs it; None where another of these has shown it, or the web alone needs it."""
    what = right.operation, right.name
    if right.operation == "WRITE" and right.name in UPLOADS:
        kind, rows = UPLOADS[right.name]
        file = folder / f"{uuid.uuid4().hex}.csv"
        file.write_text(rows.format(course=course))
        return ["upload", kind, str(file)]
    if what == ("WRITE", "course-defined"):
        file = folder / "course.yaml"
        content = {name: value for name, value in DEFINITION.items() if name not in ("message_id", "changed_at")}
        file.write_text(yaml.safe_dump({**content, "course_id": f"{course}-{uuid.uuid4().hex[:4]}"}))
        return ["courses", "apply", str(file)]
    about = ["reassign", "--tenant", "acme", "--course", course, "--learner", str(ATTENDED["learner_id"]), "--yes"]
    return {
        ("WRITE", "reassigned"): about,
        ("DESCRIBE", "{group}"): ["lag", "--window", "1"],
        ("READ", "dead-letter"): ["dead-letters", "list"],
        ("READ", "{group}-replays"): ["dead-letters", "replay", "--all"],
        ("WRITE", "{group}-replays-"): ["dead-letters", "replay", "--all"],
        ("WRITE", "lane-progress"): ["dead-letters", "replay", "--all"],
        ("READ", "lane-progress"): ["dead-letters", "replay", "--all"],
    }.get(what)


async def run_until_refused(world: World, command: list[str]) -> Ran:
    """Once the brokers know. What it sends before counts once."""
    for _ in range(5):
        ran = await asyncio.to_thread(world.run, *command, check=False)
        if ran.returncode:
            return ran
        await asyncio.sleep(0.2)
    raise AssertionError(f"it is allowed: {ran}")


@pytest.mark.parametrize("operation", ["CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"])
def test_topics_are_not_created(site: Site, operation: str) -> None:
    """Under another prefix, so that there is something to create."""
    allowed = [right for right in rights("topics") if right.operation != operation]
    other = site._replace(group=f"w{uuid.uuid4().hex[:8]}")
    site.secured.add_user(f"{other.group}-topics", "read", other.group)
    other.allow("topics", *allowed)
    ran = other.world("topics", "scram").run("topics", "create", check=False)
    assert ran.returncode == 2 and ADVICE in ran.stderr, ran
    for short in FULL:
        assert re.search(named(other, Right("topic", short, operation)), ran.stderr), ran.stderr


@pytest.mark.parametrize("role", ["read", None])
def test_the_database_is_not_written(site: Site, role: str | None) -> None:
    user = f"{site.group}-worker"
    had, given = [{"role": "readWrite", "db": site.group}], [{"role": role, "db": site.group}] if role else []
    with MongoClient[dict[str, Any]](site.secured.own_mongodb) as client:
        client.admin.command("updateUser", user, roles=given)
        try:
            ran = site.world("worker", "scram").run_process("serve", check=False)
        finally:
            client.admin.command("updateUser", user, roles=had)
    assert ran.returncode == 2
    assert re.search(rf"MongoDB refuses the user `\w+` in {site.group}\.\w+, which needs a role there", ran.stderr), ran
