"""`ratchet reassign`."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from service.clock import now
from service.commands.common import NO, JsonOption, console, dead_letters, number_of, progress_bar, run, watched
from service.commands.upload import effects_table
from service.errors import FixConfiguration

if TYPE_CHECKING:
    from service.admin.impact import Effects
    from service.admin.reassignments import Reassignment, Selection
    from service.settings import Settings

LOSES = "loses the course"
UNKNOWN_NAMED = 10


class Sent(NamedTuple):
    """How many messages; how many were refused, where that is known; by what they can be taken back."""

    messages: int
    refused: int | None = None
    command: str | None = None


def reassign(
    tenant: Annotated[str, typer.Option(help="tenant_id")],
    course: Annotated[str, typer.Option(help="course_id")],
    learner: Annotated[list[str] | None, typer.Option(help="A learner_id; may be given again.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="CSV of any kind, XLSX, XLS, ODS or a web page called .xls, with the heading Learner."),
    ] = None,
    completed_before: Annotated[
        str | None, typer.Option(help="All who completed the course before this time (RFC 3339, with an offset).")
    ] = None,
    keep_progress: Annotated[
        bool, typer.Option("--keep-progress", help="The steps stay as they stand; the course is decided from them.")
    ] = False,
    undo: Annotated[
        str | None,
        typer.Option(
            metavar="UPLOAD_OR_FILE",
            help="Take reassignments back: those of the command with this id, or of a file's learners the newest ones.",
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Kept in each record's story.")] = None,
    by: Annotated[str | None, typer.Option(help="Who did it; kept in each record's story.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing; show what it would do.")] = False,
    most: Annotated[int, typer.Option("--max", min=0, help="Completions that may be removed without asking.")] = 1000,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Also learners who have no record in the course.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until all is decided, and tell what became of it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Have learners do a course again. A new attempt starts, and completion and certificate are removed.

    First it tells what becomes of the records; more than --max completions are removed only with --yes, or when you
    confirm it. COURSE.reassign.csv tells what becomes of each record. After Ctrl-C the same command goes on. What was
    a mistake is taken back with --undo: completions and certificates stand again, and what was said since counts.
    """
    impacts = Path(f"{course}.reassign.csv")

    async def work(settings: "Settings") -> "tuple[Effects, Sent]":
        from service.admin.reassignments import prepared
        from service.mongo.store import open_store

        whom = _undone(undo, learner, file, completed_before, keep_progress) if undo is not None else {}
        selection = _selection(tenant, course, learner or [], file, completed_before, keep_progress, whom)
        about = {
            name: value
            for name, value in (("reason", _told("--reason", reason)), (_by(undo), _told("--by", by)))
            if value
        }
        async with (
            open_store(settings, prepared=True) as store,
            prepared(store, selection, about, now()) as reassignment,
        ):
            if reassignment.interrupted_at is not None:
                typer.echo(f"ratchet: goes on with the same command of {reassignment.interrupted_at}", err=True)
            if undo is not None:
                _tell_without(reassignment, undo)
            elif not allow_unknown:
                _refuse_unknown(await reassignment.unknown(), tenant, course)
            effects = await reassignment.look(settings, impacts)
            if dry_run:
                return effects, Sent(0)
            _confirm(effects, most, yes)
            return await _send(settings, reassignment, effects, wait, undo is not None)

    effects, sent = run(work, stopped="stopped; the same command goes on where it stopped", writes=impacts)
    if as_json:
        told = {"records": effects.records, "effects": effects.counts, "sent": sent.messages, "refused": sent.refused}
        typer.echo(json.dumps({**told, "undo_with": sent.command}))
    else:
        console().print(effects_table(effects))
        done = "Nothing was sent." if dry_run else _sent(sent, "withdrawal" if undo is not None else "reassignment")
        typer.echo(f"{done} What becomes of each record: {impacts}")
        if sent.command is not None:
            typer.echo(f"A mistake? ratchet reassign --tenant {tenant} --course {course} --undo {sent.command}")
    if sent.refused:
        raise typer.Exit(NO)


def _sent(sent: "Sent", what: str) -> str:
    said = f"{number_of(sent.messages, what)} {'was' if sent.messages == 1 else 'were'} sent"
    if sent.refused is None:
        return f"{said}."
    return f"{said}, and all are decided{dead_letters(sent.refused)}."


async def _send(
    settings: "Settings", reassignment: "Reassignment", expected: "Effects", wait: bool, undo: bool
) -> "tuple[Effects, Sent]":
    """The effects, expected or told; and what was sent."""
    command = None if undo or not len(reassignment) else reassignment.command
    with progress_bar() as bar:
        task = bar.add_task("learners", total=len(reassignment))
        sent = await reassignment.send(settings, lambda count: bar.advance(task, count))
        effects, refused = expected, None
        if wait:
            effects, refused = await reassignment.follow(settings, watched(bar, "messages"))
    await reassignment.end()
    return effects, Sent(sent, refused, command)


def _told(option: str, text: str | None) -> str | None:
    """Raises FixConfiguration for what no message may say."""
    from contracts.fields import TOLD_CHARACTERS

    if text is not None and len(text) > TOLD_CHARACTERS:
        raise FixConfiguration(f"{option}: has {len(text):,} characters; at most {TOLD_CHARACTERS:,} are kept")
    return text


def _by(undo: str | None) -> str:
    return "reassigned_by" if undo is None else "actor"


def _undone(
    undo: str, learners: list[str] | None, file: Path | None, completed_before: str | None, keep_progress: bool
) -> dict[str, Any]:
    """Whose reassignments are taken back. Raises FixConfiguration."""
    if learners or file is not None or completed_before is not None or keep_progress:
        raise FixConfiguration(
            "--undo says itself whom: without --learner, --file, --completed-before, --keep-progress"
        )
    if Path(undo).exists():
        return {"undo": True, "file": Path(undo)}
    if re.fullmatch(r"reassign-[0-9a-f]{32}@\S{1,64}", undo):
        return {"undo": True, "sent": undo}
    raise FixConfiguration(f"--undo: {undo!r} is neither a file nor the id that ratchet reassign told when it was sent")


def _tell_without(reassignment: "Reassignment", undo: str) -> None:
    """Raises FixConfiguration where there is nothing to take back."""
    if not len(reassignment):
        raise FixConfiguration(f"--undo: {undo}: no learner has such a reassignment in force; nothing was sent")
    if count := reassignment.without:
        learners = "learner has" if count == 1 else "learners have"
        typer.echo(f"ratchet: {count:,} {learners} no reassignment in force, and nothing to take back", err=True)


def _refuse_unknown(keys: list[str], tenant: str, course: str) -> None:
    """Raises FixConfiguration where there are any."""
    if not keys:
        return
    named = ", ".join(key.split("/")[1] for key in keys[:UNKNOWN_NAMED])
    more = " …" if len(keys) > UNKNOWN_NAMED else ""
    have = "has" if len(keys) == 1 else "have"
    raise FixConfiguration(
        f"{len(keys):,} of the learners {have} no record in course {course} of {tenant}: {named}{more}; mend the ids, "
        "or give --allow-unknown if that is right"
    )


def _confirm(effects: "Effects", most: int, yes: bool) -> None:
    """Raises FixConfiguration where too much would be removed and nobody says yes."""
    removed = effects.counts.get(LOSES, 0)
    if removed <= most or yes:
        return
    certificates = number_of(effects.counts.get("loses the certificate", 0), "certificate")
    says = f"{number_of(removed, 'completion')} and {certificates} would be removed"
    if not sys.stdin.isatty():
        raise FixConfiguration(f"{says}, more than --max {most}; give --yes if that is right")
    console().print(effects_table(effects))
    if not typer.confirm(f"{says}. Go on?"):
        raise FixConfiguration("nothing was sent")


def _selection(
    tenant: str,
    course: str,
    learners: list[str],
    file: Path | None,
    completed_before: str | None,
    keep_progress: bool,
    undone: dict[str, Any],
) -> "Selection":
    from contracts.fields import ID_PATTERN, parse_timestamp
    from service.admin.reassignments import Selection

    for name, value in (("--tenant", tenant), ("--course", course)):
        if not re.fullmatch(ID_PATTERN, value):
            raise FixConfiguration(f"{name}: {value!r} is not an id; ids match {ID_PATTERN}")
    if undone:
        return Selection(tenant, course, **undone)
    if bool(learners) + (file is not None) + (completed_before is not None) != 1:
        raise FixConfiguration("say whom: --learner, or --file, or --completed-before, or --undo")
    before = None
    if completed_before is not None:
        try:
            before = parse_timestamp(completed_before)
        except ValueError as error:
            raise FixConfiguration(f"--completed-before: {error}") from None
    assert before is None or isinstance(before, int), "a text parses to an instant"
    return Selection(tenant, course, learners, file, before, keep_progress)
