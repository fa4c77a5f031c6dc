"""`ratchet learner`."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.common import MEND, NO, JsonOption, check_ids, number_of, run
from service.errors import FixConfiguration

if TYPE_CHECKING:
    from service.admin.learners import Kept
    from service.settings import Settings

learner_app = typer.Typer(help="All that is kept about one learner: give it out, erase it.", no_args_is_help=True)
TenantArgument = Annotated[str, typer.Argument(help="tenant_id")]
LearnerArgument = Annotated[str, typer.Argument(help="learner_id")]
ONLY_MINE = 0o600


@learner_app.command("export", epilog="Example: ratchet learner export acme l-1001 --output l-1001.json")
def export(
    tenant: TenantArgument,
    learner: LearnerArgument,
    output: Annotated[Path | None, typer.Option(help="Write it to this file, for you alone to read.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Give out all that is kept about a learner. One JSON document: records, their stories, every fact.

    Exit status 1 when nothing is known.
    """
    check_ids(TENANT=tenant, LEARNER=learner)

    async def look(settings: "Settings") -> "tuple[dict[str, Any] | None, bool]":
        from service.admin.learners import export as everything
        from service.admin.learners import was_erased
        from service.mongo.store import open_store

        async with open_store(settings) as store:
            return await everything(store, tenant, learner), await was_erased(store, tenant, learner)

    document, erased = run(look)
    if document is None:
        why = "was erased" if erased else "nothing was ever reported"
        typer.echo(f"ratchet: nothing is known about {tenant}/{learner}: {why}", err=True)
        raise typer.Exit(NO)
    if output is None:
        typer.echo(json.dumps(document, indent=None if as_json else 2))
        return
    _write(output, json.dumps(document, indent=2))
    records = len(document["records"])
    if as_json:
        typer.echo(json.dumps({"records": records, "output": str(output)}))
    else:
        typer.echo(f"{number_of(records, 'record')} of {tenant}/{learner}: {output}")


@learner_app.command("erase", epilog="Example: ratchet learner erase acme l-1001")
def erase(
    tenant: TenantArgument,
    learner: LearnerArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a learner for good. All records with their facts and decisions. It cannot be undone.

    What remains is a tombstone that names nobody; by it, messages about the learner that come later are dropped. Who
    reads completion.learner-erased.v1 is told. First it tells what will go, and asks. After an interruption the same
    command finishes what it began.
    """
    check_ids(TENANT=tenant, LEARNER=learner)

    async def work(settings: "Settings") -> "Kept":
        from service.admin.learners import count
        from service.admin.learners import erase as for_good
        from service.kafka.sender import open_sender
        from service.mongo.store import open_store

        async with open_store(settings, prepared=True) as store:
            kept = await count(store, tenant, learner)
            _confirm(f"{_told(kept)} of {tenant}/{learner} will be erased for good", yes)
            async with open_sender(settings) as sender:
                return kept._replace(records=await for_good(settings, store, sender, tenant, learner))

    gone = run(work)
    if as_json:
        typer.echo(json.dumps(gone._asdict()))
    else:
        typer.echo(f"Erased: {_told(gone)} of {tenant}/{learner}. Later messages about this learner are dropped.")


def _confirm(says: str, yes: bool) -> None:
    """Raises FixConfiguration where nobody says yes."""
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise FixConfiguration(f"{says}; give --yes if that is right")
    if not typer.confirm(f"{says}. Go on?", err=True):
        raise FixConfiguration("nothing was erased")


def _told(kept: "Kept") -> str:
    counted = (
        (kept.records, "record"),
        (kept.completions, "course completion"),
        (kept.certificates, "certificate"),
    )
    return ", ".join(number_of(number, name) for number, name in counted)


def _write(path: Path, text: str) -> None:
    """It is about a person: nobody else may read it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ONLY_MINE)
        os.fchmod(descriptor, ONLY_MINE)  # also where it was there already
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        typer.echo(f"ratchet: {path}: cannot be written: {error.strerror}", err=True)
        raise typer.Exit(MEND) from None
