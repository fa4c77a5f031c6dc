"""`ratchet courses`: list, show, preview; what changes something stands in `definitions`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.clock import now
from service.commands.common import NO, JsonOption, check_ids, console, number_of, progress_bar, run, table
from service.commands.upload import effects_table

if TYPE_CHECKING:
    from rich.table import Table

    from service.admin.courses import Candidate, Reevaluation
    from service.admin.impact import Effects
    from service.lanes.ports import StoredCourse
    from service.settings import Settings

FileArgument = Annotated[Path, typer.Argument(help="YAML with the fields of course-defined.")]
TenantArgument = Annotated[str, typer.Argument(help="tenant_id")]
CourseArgument = Annotated[str, typer.Argument(help="course_id")]
LOSES = "loses the course"
CERTIFIED = "gets a certificate"


def list_courses(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "", as_json: JsonOption = False
) -> None:
    """List the courses.

    Newest version, since when, how many steps, whether records are being decided again.
    """

    async def look(settings: "Settings") -> "list[Reevaluation]":
        from service.admin.courses import all_reevaluations
        from service.mongo.store import open_store

        async with open_store(settings) as store:
            return [seen async for seen in all_reevaluations(store, [tenant] if tenant else None)]

    from service.admin.courses import listed_json

    courses = run(look)
    if as_json:
        for seen in courses:
            typer.echo(json.dumps(listed_json(seen)))
        return
    shown = table("tenant", "course", "version", "since", "steps", "state")
    for seen in courses:
        said = listed_json(seen)
        names = ("tenant_id", "course_id", "version", "changed_at", "steps")
        shown.add_row(*(str(said[name]) for name in names), state_of(seen))
    console().print(shown)


def state_of(seen: "Reevaluation") -> str:
    """In words; none where nothing is left to do."""
    if seen.state == "paused":
        return f"paused: {_too_many(seen.course)}; ratchet courses release {seen.course.key.replace('/', ' ')}"
    return f"{number_of(seen.behind, 'record')} being decided again" if seen.behind else ""


def _too_many(course: "StoredCourse") -> str:
    if course.would_complete:
        return f"would complete more than {number_of(course.would_complete - 1, 'learner')}"
    return f"would issue more than {number_of(course.would_certify - 1, 'certificate')}"


def checked_key(tenant: str, course: str) -> str:
    """The course's key. Ends the command where one of the ids is none."""
    check_ids(TENANT=tenant, COURSE=course)
    return f"{tenant}/{course}"


def show(tenant: TenantArgument, course: CourseArgument, as_json: JsonOption = False) -> None:
    """Show a course, its steps and its versions.

    The steps are those of the newest version. It says, too, whether records are being decided again.
    """
    key = checked_key(tenant, course)

    async def look(settings: "Settings") -> "Reevaluation | None":
        from service.admin.courses import reevaluation
        from service.mongo.store import open_store

        async with open_store(settings) as store:
            found = (await store.courses.load([key])).get(key)
            return None if found is None else await reevaluation(store, found)

    seen = run(look)
    if seen is None:
        typer.echo(f"ratchet: course {key} has no definition", err=True)
        raise typer.Exit(NO)
    from contracts.fields import format_timestamp
    from service.admin.courses import course_json

    if as_json:
        typer.echo(json.dumps(course_json(seen)))
        return
    typer.echo(_title(seen))
    console().print(_steps_table(seen))
    for known in seen.course.versions[:-1]:
        typer.echo(f"version {known.version} since {format_timestamp(known.changed_at)}")
    if state_of(seen):
        typer.echo(state_of(seen))


def _title(seen: "Reevaluation") -> str:
    from service.admin.courses import listed_json

    said = listed_json(seen)
    awards = json.loads(seen.course.newest.content)["awards_certificate"]
    certificate = "awards a certificate" if awards else "no certificate"
    return f"{seen.course.key}, version {said['version']} since {said['changed_at']}, {certificate}"


def _steps_table(seen: "Reevaluation") -> "Table":
    shown = table("step", "kind", "required", "threshold", "scheduled minutes")
    for step in json.loads(seen.course.newest.content)["steps"]:
        sessions = [
            f"{session['session_id']} {session['scheduled_minutes']}{' cancelled' if session['cancelled'] else ''}"
            for session in step.get("sessions", ())
        ]
        scheduled = ", ".join(sessions) or str(step.get("scheduled_minutes", ""))
        required = "yes" if step["required"] else "no"
        shown.add_row(step["step_id"], step["kind"], required, f"{step['threshold_percent']} %", scheduled)
    return shown


def preview(file: FileArgument, as_json: JsonOption = False) -> None:
    """Show what a definition would change. Which records, how many certificates. Sends nothing.

    FILE.impact.csv names every record that would change. Who has completed the course keeps it; their steps move, and
    they may get a certificate.
    """
    impacts = file.with_name(f"{file.name}.impact.csv")

    async def look(settings: "Settings") -> "tuple[Candidate, Effects, str | None]":
        from service.admin.courses import candidate_of, count_behind, read_definition
        from service.admin.courses import preview as look_ahead
        from service.admin.impact import Impact
        from service.mongo.store import open_store

        async with open_store(settings) as store:
            candidate = await candidate_of(store, read_definition(file), now(), str(file))
            with progress_bar() as bar:
                task = bar.add_task("records", total=await count_behind(store, candidate))
                effects = await look_ahead(store, candidate, Impact(impacts), lambda count: bar.advance(task, count))
        return candidate, effects, _too_much(effects, settings) if candidate.is_new else None

    candidate, effects, pauses = run(look, writes=impacts)
    if as_json:
        said = {"course": candidate.key, "version": candidate.definition.version, "is_new": candidate.is_new}
        counts = {effect: effects.counts.get(effect, 0) for effect in effects.named}
        typer.echo(json.dumps({**said, "records": effects.records, "effects": counts, "would_pause": bool(pauses)}))
        return
    console().print(effects_table(effects))
    _tell(candidate, effects, impacts)
    if pauses:
        typer.echo(f"{pauses}, so it would wait for ratchet courses release.")


def _too_much(effects: "Effects", settings: "Settings") -> str | None:
    from service.admin.courses import beyond_cap

    beyond = beyond_cap(effects, settings)
    if beyond == "completions":
        return f"More than {number_of(settings.max_new_completions, 'learner')} would complete it"
    if beyond == "certificates":
        return f"More than {number_of(settings.max_new_certificates, 'certificate')} would be issued"
    return None


def _tell(candidate: "Candidate", effects: "Effects", impacts: Path) -> None:
    name = f"{candidate.key}, version {candidate.definition.version}"
    typer.echo(f"{name}: {'' if candidate.is_new else 'known already; '}nothing was sent.")
    typer.echo(
        f"{number_of(effects.records, 'record')} would be decided again, "
        f"{number_of(effects.counts.get(CERTIFIED, 0), 'certificate')} issued, "
        f"{number_of(effects.counts.get(LOSES, 0), 'completion')} lost. Each record that would change: {impacts}"
    )
