"""Files as programs and people really write them: each is read as it is meant, or refused with the reason."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.stack.service import World
from tests.stack.wire import Wire

FILES = Path(__file__).parent / "files"
CASES = sorted(path.name.removesuffix(".right.json") for path in FILES.glob("F*.right.json"))
SOME = CASES[::5]
REFUSED = {
    "F01-zoom-participants-raw.csv": "line 4: the heading Course, Event is missing; there are: 'Name (Original Name)'",
    "F07-zoom-webinar-raw.csv": "line 9: the heading Course, Event is missing; there are: 'Attended'",
    "F08-teams-raw-en.csv": "line 10: the heading Course, Event is missing",
    "F18-schoox-raw.xlsx": "the heading Course, Event is missing",
    "F26-xlsx-two-sheets.xlsx": "several sheets have these headings: March, April; say with --sheet which to read",
    "F58-teams-quote-in-name.csv": "line 10: the heading Course, Event is missing",
}
"""Files that are refused whole, each with what is said."""
NOT_ACCEPTED = {
    "F02-zoom-rejoin-sum.csv": {"ambiguous": 2},
    "F05-zoom-two-devices-overlap.csv": {"merged": 1},
    "F16-moodle-attendance-codes.csv": {"invalid": 6},
    "F31-xlsx-percent-cells.xlsx": {"invalid": 1},
    "F41-blank-first-line-and-total.csv": {"invalid": 1},
    "F45-chamilo-presence.csv": {"empty": 1},
    "F47-email-case.csv": {"ambiguous": 2},
}
"""Rows that are not accepted, by verdict."""


def definition(tenant: str, right: Any) -> dict[str, Any]:
    """The course that the case speaks of."""
    common = {"message_id": f"d-{tenant}", "tenant_id": tenant, "changed_at": "2026-01-01T00:00:00Z", "version": 1}
    return {**common, **right["definition"]}


def percents(world: World, tenant: str) -> dict[str, int]:
    """Of each learner who came into being, the event's percent."""
    with MongoClient[dict[str, Any]](world.database.address) as client:
        keys = [record["_id"] for record in client[world.name]["records"].find({"_id": {"$regex": f"^{tenant}/"}})]
    found = {}
    for key in keys:
        told = json.loads(world.run("explain", *key.split("/"), "--json").stdout)
        found[key.split("/")[1]] = told["state"]["steps"]["e1"]["percent"]
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "names", [SOME, pytest.param(sorted({*CASES} - {*SOME}), marks=pytest.mark.full)], ids=["some", "rest"]
)
async def test_files_of_other_programs(world: World, wire: Wire, tmp_path: Path, names: list[str]) -> None:
    """Each case is a tenant of its own."""
    serving = world.serve().wait_until_ready()
    rights = {name: json.loads((FILES / f"{name}.right.json").read_text("utf-8")) for name in names}
    tenants = {name: name.partition("-")[0] for name in names}
    await wire.send([("course-defined", definition(tenants[name], right)) for name, right in rights.items()])
    await wire.settled()
    for name in names:
        file = tmp_path / name
        file.write_bytes((FILES / name).read_bytes())
        for options in (("--dry-run",), ()):
            ran = world.run(
                "upload", "attendance", str(file), "--tenant", tenants[name], "--json", *options, check=False
            )
            assert "Traceback" not in ran.stderr
            if name in REFUSED:
                assert (ran.returncode, REFUSED[name] in ran.stderr) == (2, True), (name, ran.stderr)
                continue
            verdicts = json.loads(ran.stdout)["verdicts"]
            accepted = verdicts.pop("accepted", 0)
            assert verdicts == NOT_ACCEPTED.get(name, {}), (name, verdicts)
            assert json.loads(ran.stdout)["sent"] == (0 if options else accepted), name
    for message in await wire.read("attendance-changed"):
        wire.expect(message)
    await wire.settled()
    for name, right in rights.items():
        said = right["right"]["percent_of_e1_by_learner"]
        found = await asyncio.to_thread(percents, world, tenants[name])
        assert found.items() <= said.items(), (name, found, said)
        if name not in REFUSED and not {"ambiguous"} & set(NOT_ACCEPTED.get(name, {})):
            assert set(said) <= set(found) or right["right"]["percent_of_e1_by_learner"] == {}, (name, found)
    assert await wire.read("dead-letter") == []
    assert await asyncio.to_thread(serving.stop) == 0


ONE_EVENT = {
    "message_id": "d",
    "tenant_id": "T",
    "course_id": "c-1",
    "changed_at": "2026-01-01T00:00:00Z",
    "version": 1,
    "steps": [{"step_id": "e1", "kind": "event", "scheduled_minutes": 60, "threshold_percent": 90}],
}


class Office:
    """An administrator of one tenant, and the service."""

    def __init__(self, world: World, wire: Wire, folder: Path) -> None:
        self.world = world
        self.wire = wire
        self.folder = folder

    async def upload(self, name: str, *options: str) -> dict[str, Any]:
        """Upload a file, wait until that is decided, and tell what was reported."""
        file = self.folder / name
        file.write_bytes((FILES / name).read_bytes())
        ran = self.world.run("upload", "attendance", str(file), "--tenant", "T", "--json", *options, check=False)
        assert ran.returncode in (0, 1), ran.stderr
        await self.settled()
        return {**json.loads(ran.stdout), "status": ran.returncode}

    async def settled(self) -> None:
        """Until everything sent is decided."""
        for message in await self.wire.read("attendance-changed", "reassigned"):
            self.wire.expect(message)
        await self.wire.settled()

    async def attend(self, *learners: str) -> None:
        """They complete the course."""
        common = {"tenant_id": "T", "course_id": "c-1", "event_id": "e1", "attended": True}
        await self.wire.send(
            (
                "attendance-changed",
                {**common, "learner_id": one, "message_id": f"m-{one}", "changed_at": "2026-02-01T00:00:00Z"},
            )
            for one in learners
        )
        await self.settled()


async def test_a_file_that_comes_before_its_course_counts_once_the_course_is_there(
    world: World, wire: Wire, tmp_path: Path
) -> None:
    office, serving = Office(world, wire, tmp_path), world.serve().wait_until_ready()
    first = await office.upload("C01-c01.csv")
    assert (first["verdicts"], first["sent"], first["status"]) == ({"unknown course": 2}, 0, 1)
    await wire.send([("course-defined", ONE_EVENT)])
    await wire.settled()
    second = await office.upload("C01-c01.csv")
    assert (second["verdicts"], second["sent"], second["status"]) == ({"accepted": 2}, 2, 0)
    assert await asyncio.to_thread(percents, world, "T") == {"l-1": 100, "l-2": 100}
    assert await asyncio.to_thread(serving.stop) == 0


async def test_a_file_that_was_uploaded_before_says_so_and_what_has_overtaken_it(
    world: World, wire: Wire, tmp_path: Path
) -> None:
    office, serving = Office(world, wire, tmp_path), world.serve().wait_until_ready()
    await wire.send([("course-defined", ONE_EVENT)])
    await wire.settled()
    assert (await office.upload("C02-c02a.csv"))["uploaded_before_at"] is None
    same = await office.upload("C02-c02a.csv")
    assert (same["verdicts"], same["sent"], same["status"]) == ({"sent before": 1}, 0, 0)
    assert same["uploaded_before_at"].startswith("20")
    assert (await office.upload("C02-c02b.csv"))["sent"] == 1
    assert await asyncio.to_thread(percents, world, "T") == {"l-1": 0}
    overtaken = await office.upload("C02-c02a.csv")
    assert (overtaken["verdicts"], overtaken["sent"], overtaken["status"]) == ({"overtaken": 1}, 0, 1)
    told = world.run("upload", "attendance", str(tmp_path / "C02-c02a.csv"), "--tenant", "T", check=False).stdout
    assert "This file was uploaded before, first at 20" in told and "--again sends all of it as of now" in told
    again = await office.upload("C02-c02a.csv", "--again")
    assert (again["verdicts"], again["sent"]) == ({"accepted": 1}, 1)
    assert await asyncio.to_thread(percents, world, "T") == {"l-1": 100}
    assert (await office.upload("C02-c02a.csv"))["verdicts"] == {"sent before": 1}
    assert await asyncio.to_thread(serving.stop) == 0


async def test_long_ids_in_number_cells_are_corrected_and_reassigned(
    world: World, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    office, serving = Office(world, wire, tmp_path), world.serve().wait_until_ready()
    learners = ("12345678901", "12345678902")
    await wire.send([("course-defined", ONE_EVENT)])
    await wire.settled()
    await office.attend(*learners)
    assert (await office.upload("X01-ids.xlsx"))["sent"] == 2
    assert await asyncio.to_thread(percents, world, "T") == dict.fromkeys(learners, 0)
    options = ("--tenant", "T", "--course", "c-1", "--json")
    ran = world.run("reassign", *options, "--file", str(tmp_path / "X01-ids.xlsx"))
    assert json.loads(ran.stdout)["sent"] == 2
    await office.settled()
    for learner in learners:
        told = json.loads(world.run("explain", "T", learner, "c-1", "--json").stdout)
        assert (told["state"]["attempt"], told["state"]["course"]["status"]) == (2, "incomplete")
    assert set(await asyncio.to_thread(percents, world, "T")) == set(learners)
    assert await asyncio.to_thread(serving.stop) == 0


async def test_a_file_that_contradicts_its_command_reassigns_nobody(
    world: World, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    office, serving = Office(world, wire, tmp_path), world.serve().wait_until_ready()
    await wire.send([("course-defined", ONE_EVENT)])
    await wire.settled()
    await office.attend("l-1", "l-2", "l-3")
    file = tmp_path / "c04.csv"
    file.write_text((FILES / "C04-c04.csv").read_text().replace("k1c04", "T"))
    options = ("--tenant", "T", "--course", "c-1")
    ran = world.run("reassign", *options, "--file", str(file), check=False)
    assert ran.returncode == 2
    assert f"{file}: line 3: 'c-2' is not c-1, as --course c-1 says; take the row out" in ran.stderr
    unknown = world.run("reassign", *options, "--learner", "l-1", "--learner", "l-9", check=False)
    assert unknown.returncode == 2
    assert "1 of the learners has no record in course c-1 of T: l-9; mend the ids, or give" in unknown.stderr
    assert await wire.read("reassigned") == []
    assert await asyncio.to_thread(serving.stop) == 0


async def test_all_who_completed_before_a_new_year_somewhere(
    world: World, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Midnight is the administrator's, not UTC's; an equivalency is a completion; and it waits until all is decided."""
    monkeypatch.chdir(tmp_path)
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", {**ONE_EVENT, "changed_at": "2025-01-01T00:00:00Z"})])
    common = {"tenant_id": "T", "course_id": "c-1"}
    attended = {**common, "event_id": "e1", "attended": True}
    days = {"nov": "2025-11-20T09:00:00Z", "dec31": "2025-12-31T23:30:00Z", "jan": "2026-01-05T09:00:00Z"}
    await wire.send(
        [
            *(
                ("attendance-changed", {**attended, "learner_id": who, "message_id": who, "changed_at": day})
                for who, day in days.items()
            ),
            (
                "equivalency-granted",
                {**common, "learner_id": "rpl", "message_id": "r", "changed_at": "2025-10-01T00:00:00Z"},
            ),
        ]
    )
    await wire.settled()
    options = ("--tenant", "T", "--course", "c-1", "--completed-before", "2026-01-01T00:00:00+01:00", "--wait")
    told = json.loads(world.run("reassign", *options, "--json").stdout)
    assert (told["sent"], told["refused"], told["records"]) == (2, 0, 2)
    assert told["effects"] == {"loses the step": 1, "loses the course": 2, "loses the certificate": 1}
    for learner, attempt in (("nov", 2), ("rpl", 2), ("dec31", 1), ("jan", 1)):
        assert json.loads(world.run("explain", "T", learner, "c-1", "--json").stdout)["state"]["attempt"] == attempt
    again = world.run("reassign", "--tenant", "T", "--course", "c-1", "--learner", "jan", "--wait").stdout
    assert "1 reassignment was sent, and all are decided." in again
    assert await asyncio.to_thread(serving.stop) == 0
