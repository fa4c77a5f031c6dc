"""deploy/permissions.yaml is enough for all that Ratchet does."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml

import rules
from service.kafka import rights as needed
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.deploy.site import FULL, PERMISSIONS, Right, Site, own_world, rights
from tests.stack.wire import Wire
from tests.web.programs import Site as WebSite
from tests.web.programs import accepted, attendance, definition, eventually, record

WAYS = ("scram", "certificate")
MORE_UPLOADS = {
    "equivalencies": "tenant,learner,course\nacme,{learner},{course}\n",
    "completions": "tenant,learner,course,completed at\nacme,{learner},{course},2026-01-05T09:00:00Z\n",
}
COURSE_TABLE = Path(rules.__file__).parent / "course.yaml"
pytestmark = [pytest.mark.full, pytest.mark.servers]


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
async def test_commands_need_no_more(site: Site, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a worker that has its own rights."""
    monkeypatch.chdir(tmp_path)  # some write where they are
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
    for kind, rows in MORE_UPLOADS.items():
        file = tmp_path / f"{kind}.csv"
        file.write_text(rows.format(learner=f"u-{by}", course=course))
        assert json.loads(world.run("upload", kind, str(file), "--json").stdout)["sent"] == 1, kind
    about_all = ["--tenant", "acme", "--course", course, "--learner", f"u-{by}"]
    for command in (
        ["reassign", *about_all, "--yes"],
        ["courses", "show", "acme", course],
        ["courses", "preview", str(definition)],
        ["learner", "export", "acme", f"u-{by}"],
        ["audit"],
        ["rules", "diff", str(COURSE_TABLE)],
    ):
        assert world.run(*command, check=False).returncode == 0, command
    skipped = world.run("skip", f"{site.prefix}{FULL['reassigned']}", "0", "0", "--reason", "none is", check=False)
    assert "can be read" in skipped.stderr, skipped
    assert world.run("learner", "erase", "acme", f"u-{by}", "--yes").returncode == 0
    assert await asyncio.to_thread(serving.stop) == 0


def test_every_topic_is_spoken_of() -> None:
    assert {right.name for part in PERMISSIONS for right in rights(part) if right.kind == "topic"} == set(FULL)


@pytest.mark.parametrize("by", WAYS)
def test_web_needs_no_more_than_commands(site: Site, by: str) -> None:
    """Beside a worker that has its own rights: sent, decided, seen, replayed, erased."""
    tenant, serving = f"t-{by}", site.world("worker", "scram").serve().wait_until_ready()
    web = WebSite(site.world("commands", by))
    try:
        client = web.as_("administrator operator privacy", tenant)
        accepted(client, definition(tenant), attendance(tenant, "l-1"))
        assert record(client, tenant, "l-1")["course"]["status"] == "completed"
        with client.stream("GET", "/v1/changes", params={"tenant": tenant, "begin": "earliest"}) as changes:
            assert next(line for line in changes.iter_lines() if line.startswith("event: step-completion-changed"))
        assert eventually(lambda: client.get("/v1/lanes").json()["items"])
        letters = client.get("/v1/dead-letters")
        assert letters.status_code == 200, letters.text
        again = client.post("/v1/dead-letters/replay", json={"reason": "nothing_like_that"})
        assert again.status_code == 200, again.text
        assert client.delete(f"/v1/learners/{tenant}/l-1").json() == {"records": 1}
    finally:
        web.close()
        assert serving.stop() == 0


@pytest.mark.parametrize(("part", "needs"), [("worker", needed.WORKER), ("commands", needed.COMMANDS)])
def test_the_page_says_what_is_asked_for_at_the_start(part: str, needs: needed.Needs) -> None:
    asked = {Right("topic", topic.short, operation) for operation, topics in needs.items() for topic in topics}
    assert asked == {right for right in rights(part) if right.kind == "topic"}
