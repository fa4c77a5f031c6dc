"""Passwords and certificates are changed one worker after the other, while messages come in."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.deploy.site import Site, own_world, rights
from tests.stack.service import Serving
from tests.stack.wire import Wire

pytestmark = [pytest.mark.full, pytest.mark.servers]
SECRET = ("RATCHET_KAFKA_SASL_USERNAME", "RATCHET_KAFKA_SASL_PASSWORD", "RATCHET_MONGODB_URI")


async def test_another_user_takes_over(site: Site, tmp_path: Path) -> None:
    """Kafka and MongoDB know one password of a user, so the new one is another user's."""
    old, new = f"{site.group}-rotated", f"{site.group}-rotated-2"
    for who in ("rotated", "rotated-2"):
        site.secured.add_user(f"{site.group}-{who}", "readWrite", site.group)
        site.allow(who, *rights("worker"))
    keep(tmp_path, site.secured.settings(old, "scram"))
    world = site.world("rotated", "scram")
    world.settings = {name: value for name, value in world.settings.items() if name not in SECRET}
    world.settings["RATCHET_SECRETS_DIR"] = str(tmp_path)
    workers = [world.serve().wait_until_ready(), world.serve()]
    async with Wire(own_world(site)) as wire:
        course = await begin(wire, "password")
        keep(tmp_path, site.secured.settings(new, "scram"))
        await one_after_the_other(workers, lambda: world.serve().wait_until_ready(), wire, course)
        site.secured.drop_user(old)
        await everybody_completed(wire, course, 6)
    for worker in workers:
        assert await asyncio.to_thread(worker.stop) == 0


async def test_a_certificate_is_renewed(site: Site) -> None:
    world = site.world("worker", "certificate")
    workers = [world.serve().wait_until_ready(), world.serve()]
    async with Wire(own_world(site)) as wire:
        course = await begin(wire, "certificate")
        old = (site.folder / f"{site.group}-worker.pem").read_bytes()
        site.secured.certify(f"{site.group}-worker")
        assert (site.folder / f"{site.group}-worker.pem").read_bytes() != old
        await one_after_the_other(workers, lambda: world.serve().wait_until_ready(), wire, course)
        await everybody_completed(wire, course, 6)
    for worker in workers:
        assert await asyncio.to_thread(worker.stop) == 0


def keep(folder: Path, settings: Mapping[str, str]) -> None:
    """As files named like the settings."""
    for name in SECRET:
        (folder / name.lower()).write_text(settings[name] + "\n")


async def begin(wire: Wire, name: str) -> str:
    """A course of its own."""
    course = f"c-{name}"
    await wire.send([("course-defined", {**DEFINITION, "course_id": course, "message_id": f"d-{name}"})])
    return course


async def complete(wire: Wire, course: str, *numbers: int) -> None:
    """So many learners."""
    for number in numbers:
        about = {**ATTENDED, "course_id": course, "learner_id": f"l-{number}", "message_id": f"{course}-{number}"}
        await wire.send([("attendance-changed", about)])


async def one_after_the_other(workers: list[Serving], start: Callable[[], Serving], wire: Wire, course: str) -> None:
    """Each is stopped, and started again; messages come in all the time."""
    await complete(wire, course, 0, 1)
    for number, worker in enumerate(list(workers)):
        assert await asyncio.to_thread(worker.stop) == 0
        await complete(wire, course, 2 + number)
        workers[number] = await asyncio.to_thread(start)
    await complete(wire, course, 4, 5)


async def everybody_completed(wire: Wire, course: str, count: int) -> None:
    """Each learner once."""
    await wire.settled()
    changed = [change.json for change in await wire.read("course-completion-changed")]
    learners = [one["learner_id"] for one in changed if one["course_id"] == course]
    assert sorted(learners) == [f"l-{number}" for number in range(count)]
