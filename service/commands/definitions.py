"""`ratchet courses apply` and `release`: a definition goes out, or on; both can wait for what becomes of it."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from service.clock import now
from service.commands.common import NO, JsonOption, number_of, progress_bar, run
from service.commands.courses import (
    CourseArgument,
    FileArgument,
    TenantArgument,
    checked_key,
    state_of,
)
from service.errors import FixConfiguration

if TYPE_CHECKING:
    from service.admin.courses import Candidate, Reevaluation
    from service.mongo.store import MongoStore
    from service.settings import Settings

WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until every record is decided again.")]
STOPPED = "stopped; the workers go on with what they have"
TOLD_AFTER_SECONDS = 10.0
"""A worker that runs and has no lag has stored a definition by then."""


class Ended(NamedTuple):
    """How a re-evaluation ended, and how many records it was about."""

    seen: "Reevaluation"
    records: int


def apply(file: FileArgument, wait: WaitOption = False, as_json: JsonOption = False) -> None:
    """Send a definition to the workers. They decide the course's records again under it.

    Without `version` in the file it is the next one; a definition that is known already is not sent. One that would
    complete more learners than RATCHET_MAX_NEW_COMPLETIONS is stored and waits for `ratchet courses release`; with
    --wait the exit status is 1 then.
    """

    async def work(settings: "Settings") -> "tuple[Candidate, Ended | None]":
        from service.admin.courses import apply as send
        from service.admin.courses import candidate_of, count_behind, read_definition
        from service.kafka.sender import open_sender
        from service.mongo.store import open_store

        async with open_store(settings) as store:
            candidate = await candidate_of(store, read_definition(file), now(), str(file))
            behind = await count_behind(store, candidate) if wait else 0  # before a worker begins with them
            if candidate.is_new:
                async with open_sender(settings) as sender:
                    await send(sender, store, candidate)
                if not as_json:
                    typer.echo(f"{candidate.key}: version {candidate.definition.version} was sent")
            return candidate, await _ended(store, candidate, behind, file) if wait else None

    candidate, ended = run(work, stopped=STOPPED)
    version = candidate.definition.version
    if as_json:
        said = {"course": candidate.key, "version": version, "sent": candidate.is_new}
        typer.echo(json.dumps(said | _as_json(ended)))
    elif not candidate.is_new:
        typer.echo(f"{candidate.key}: this definition is known already, as version {version}; nothing was sent")
    _tell(ended, as_json)


async def _ended(store: "MongoStore", candidate: "Candidate", behind: int, file: Path) -> "Ended":
    ended = await _wait(store, candidate.key, candidate.definition.version, behind)
    if candidate.definition not in ended.seen.course.versions:
        raise FixConfiguration(
            f"{file}: version {candidate.definition.version} of {candidate.key} came from somebody else at the same "
            "time, so this one is a dead letter; look at theirs (ratchet courses show) and apply it again"
        )
    return ended


def release(
    tenant: TenantArgument, course: CourseArgument, wait: WaitOption = False, as_json: JsonOption = False
) -> None:
    """Let a definition that is paused complete its learners. The workers go on within seconds.

    Exit status 1 when there is no such course, or it is not paused.
    """
    key = checked_key(tenant, course)

    async def work(settings: "Settings") -> "tuple[str, int, Ended | None]":
        from service.admin.courses import reevaluation
        from service.admin.courses import release as let_go
        from service.mongo.store import open_store

        async with open_store(settings) as store:
            before = (await store.courses.load([key])).get(key)
            behind = (await reevaluation(store, before)).behind if wait and before is not None else 0
            found = await let_go(store, key)
            if found is None:
                return f"course {key} has no definition", 0, None
            version = found.newest.version
            if not found.is_paused:
                return f"course {key}: version {version} is not paused", version, None
            if not as_json:
                typer.echo(f"{key}: version {version} is released")
            return "", version, await _wait(store, key, version, behind) if wait else None

    refused, version, ended = run(work, stopped=STOPPED)
    if as_json:
        said = {"course": key, "version": version or None, "released": not refused}
        typer.echo(json.dumps(said | _as_json(ended)))
    if refused:
        typer.echo(f"ratchet: {refused}", err=True)
        raise typer.Exit(NO)
    _tell(ended, as_json)


async def _wait(store: "MongoStore", key: str, version: int, records: int) -> Ended:
    """Show how many records are still behind, of so many at first, until none is or the definition is paused."""
    from service.admin.courses import watch

    told_at: float | None = time.monotonic() + TOLD_AFTER_SECONDS
    with progress_bar() as bar:
        task = bar.add_task("a worker takes the definition", total=None)
        async for seen in watch(store, key, version):
            if seen is None:
                if told_at is not None and time.monotonic() > told_at:
                    told_at = None
                    typer.echo("ratchet: no worker has taken the definition yet; ratchet lag tells why", err=True)
                continue
            records = max(records, seen.behind)
            bar.update(task, description="records", total=records, completed=records - seen.behind)
        assert seen is not None, "it ends once it is known how"
        return Ended(seen, records)


def _as_json(ended: Ended | None) -> dict[str, Any]:
    if ended is None:
        return {}
    return {
        "state": ended.seen.state,
        "records": ended.records,
        "would_complete_at_least": ended.seen.course.would_complete,
        "would_certify_at_least": ended.seen.course.would_certify,
    }


def _tell(ended: Ended | None, as_json: bool) -> None:
    """The end of a waiting. Ends the command with status 1 where the definition is paused."""
    if ended is None:
        return
    course = ended.seen.course
    if not as_json:
        told = state_of(ended.seen) or f"{number_of(ended.records, 'record')} decided again"
        typer.echo(f"{course.key}: version {course.newest.version}: {told}")
    if ended.seen.state == "paused":
        raise typer.Exit(NO)
