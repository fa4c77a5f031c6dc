"""`ratchet courses`."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from contracts.fields import ID_PATTERN, course_key, format_timestamp
from service.commands.common import MEND, NO, JsonOption, console, run
from service.commands.upload import effects_table
from service.settings import Settings

if TYPE_CHECKING:
    from service.admin.courses import Candidate
    from service.admin.impact import Effects
    from service.ports import StoredCourse

courses_app = typer.Typer(help="Course definitions: look, try, send.", no_args_is_help=True)
FileArgument = Annotated[Path, typer.Argument(help="YAML with the fields of course-defined.")]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@courses_app.command("list", epilog="Example: ratchet courses list --tenant acme")
def list_courses(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "", as_json: JsonOption = False
) -> None:
    """List the courses: newest version, since when, how many steps, whether records are being decided again."""

    async def look(settings: Settings) -> "list[StoredCourse]":
        return [course async for course in _courses(settings, tenant)]

    courses = run(look)
    if as_json:
        for course in courses:
            typer.echo(json.dumps(_listed(course)))
        return
    table = Table("tenant", "course", "version", "since", "steps", "")
    for course in courses:
        said = _listed(course)
        again = "records are being decided again" if said["is_reevaluating"] else ""
        table.add_row(
            *(str(said[name]) for name in ("tenant_id", "course_id", "version", "changed_at", "steps")), again
        )
    console().print(table)


async def _courses(settings: Settings, tenant: str) -> Any:
    from service.app import checked_store
    from service.store_mongo import MongoStore

    store = await checked_store(settings, MongoStore.check)
    try:
        async for course in store.all_courses(tenant):
            yield course
    finally:
        await store.close()


def _listed(course: "StoredCourse") -> dict[str, Any]:
    newest = course.versions[-1]
    tenant_id, course_id = course.key.split("/")
    return {
        "tenant_id": tenant_id,
        "course_id": course_id,
        "version": newest.version,
        "changed_at": format_timestamp(newest.changed_at),
        "steps": len(json.loads(newest.content)["steps"]),
        "is_reevaluating": course.sweeping,
    }


@courses_app.command("show", epilog="Example: ratchet courses show acme safety-101")
def show(
    tenant: Annotated[str, typer.Argument(help="tenant_id")],
    course: Annotated[str, typer.Argument(help="course_id")],
    as_json: JsonOption = False,
) -> None:
    """Show a course: its versions, and the steps of the newest one."""
    for name, value in (("TENANT", tenant), ("COURSE", course)):
        if not re.fullmatch(ID_PATTERN, value):
            typer.echo(f"ratchet: {name}: {value!r} is not an id; ids match {ID_PATTERN}", err=True)
            raise typer.Exit(MEND)
    key = course_key(tenant, course)

    async def look(settings: Settings) -> "StoredCourse | None":
        found = [known async for known in _courses(settings, tenant) if known.key == key]
        return found[0] if found else None

    found = run(look)
    if found is None:
        typer.echo(f"ratchet: course {key} has no definition", err=True)
        raise typer.Exit(NO)
    definition = json.loads(found.versions[-1].content)
    if as_json:
        versions = [
            {"version": known.version, "changed_at": format_timestamp(known.changed_at), **json.loads(known.content)}
            for known in found.versions
        ]
        typer.echo(json.dumps({**_listed(found), "versions": versions}))
        return
    table = Table("step", "kind", "required", "threshold", "scheduled minutes", title=_title(found, definition))
    for step in definition["steps"]:
        sessions = [
            f"{session['session_id']} {session['scheduled_minutes']}{' cancelled' if session['cancelled'] else ''}"
            for session in step.get("sessions", ())
        ]
        scheduled = ", ".join(sessions) or str(step.get("scheduled_minutes", ""))
        required = "yes" if step["required"] else "no"
        table.add_row(step["step_id"], step["kind"], required, f"{step['threshold_percent']} %", scheduled)
    console().print(table)


def _title(course: "StoredCourse", definition: dict[str, Any]) -> str:
    said = _listed(course)
    certificate = "awards a certificate" if definition["awards_certificate"] else "no certificate"
    return f"{course.key}, version {said['version']} since {said['changed_at']}, {certificate}"


@courses_app.command("preview", epilog="Example: ratchet courses preview safety-101.yaml")
def preview(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show what a definition would change: which records in progress, how many certificates. Sends nothing.

    Who has completed the course keeps it: records that are complete are not decided again.
    """
    candidate, effects = run(lambda settings: _look(settings, file))
    if as_json:
        said = {"course": candidate.heard.key, "version": candidate.version, "is_new": candidate.message is not None}
        typer.echo(json.dumps({**said, "records": effects.records, "effects": effects.counts}))
        return
    console().print(effects_table(effects))
    typer.echo(f"{effects.records:,} records in progress would be decided again. Nothing was sent.")


async def _look(settings: Settings, file: Path) -> "tuple[Candidate, Effects]":
    from service.admin.courses import preview as look
    from service.admin.courses import read_candidate
    from service.app import checked_store
    from service.store_mongo import MongoStore

    store = await checked_store(settings, MongoStore.check)
    try:
        candidate = await read_candidate(store, file, _now())
        return candidate, await look(store, candidate)
    finally:
        await store.close()


@courses_app.command("apply", epilog="Example: ratchet courses apply safety-101.yaml")
def apply(file: FileArgument, as_json: JsonOption = False) -> None:
    """Send a definition to the workers, who decide the records in progress again under it.

    Without `version` in the file it is the next one; a definition that is known already is not sent.
    """

    async def work(settings: Settings) -> "Candidate":
        from service.admin.courses import apply as send
        from service.admin.courses import read_candidate
        from service.app import checked_store
        from service.store_mongo import MongoStore

        store = await checked_store(settings, MongoStore.check)
        try:
            candidate = await read_candidate(store, file, _now())
        finally:
            await store.close()
        if candidate.message is not None:
            await send(settings, candidate)
        return candidate

    candidate = run(work)
    sent = candidate.message is not None
    if as_json:
        typer.echo(json.dumps({"course": candidate.heard.key, "version": candidate.version, "sent": sent}))
    elif sent:
        typer.echo(f"{candidate.heard.key}: version {candidate.version} was sent")
    else:
        typer.echo(f"{candidate.heard.key}: this definition is known already; nothing was sent")
