"""`ratchet upload attendance`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands.common import INTERRUPTED, MEND, NO, JsonOption, console, progress, reported, run
from service.settings import Settings

if TYPE_CHECKING:
    from service.admin.impact import Effects
    from service.admin.uploads import Report

upload_app = typer.Typer(help="Mass uploads.", no_args_is_help=True)


@upload_app.command(epilog="Example: ratchet upload attendance march.csv --tenant acme --dry-run")
def attendance(
    file: Annotated[Path | None, typer.Argument(help="CSV (UTF-8) or XLSX, with headings.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant of every row; needs no column then.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing; show what it would do.")] = False,
    template: Annotated[bool, typer.Option("--template", help="Print a file to fill in.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Upload attendance: a row each for learner, course, event, perhaps session, and how much was attended.

    Every row gets a verdict in FILE.result.csv: accepted, repeated, invalid, unknown course, unknown event. What is
    accepted is sent; the same file sent twice changes nothing; after Ctrl-C the same command goes on where it stopped.
    With --dry-run, FILE.impact.csv tells what becomes of each record. Exit status 1 when a row was not accepted.
    """
    with reported():
        from service.admin.attendance_file import TEMPLATE
        from service.admin.uploads import open_file
    if template:
        typer.echo(TEMPLATE, nl=False)
        return
    if file is None:
        typer.echo("ratchet: FILE is missing; --template prints what belongs in one", err=True)
        raise typer.Exit(MEND)
    results, impacts = (file.with_name(f"{file.name}.{kind}.csv") for kind in ("result", "impact"))

    async def work(settings: Settings) -> "Report":
        from service.admin.uploads import preview, upload
        from service.app import checked_store
        from service.store_mongo import MongoStore

        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        opened = open_file(file, tenant)
        store = await checked_store(settings, MongoStore.check)
        bar = progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        try:
            with bar:
                task = bar.add_task("rows", total=opened.row_count)
                if dry_run:
                    return await preview(store, opened, results, impacts, now, lambda rows: bar.advance(task, rows))
                return await upload(settings, store, opened, results, now, lambda rows: bar.advance(task, rows))
        finally:
            await store.close()

    try:
        report = run(work)
    except KeyboardInterrupt:
        typer.echo("ratchet: stopped; the same command goes on where it stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        typer.echo(f"ratchet: {error.filename or results}: cannot be written: {error.strerror}", err=True)
        raise typer.Exit(MEND) from None
    if as_json:
        typer.echo(json.dumps(_json(report)))
    else:
        _tell(report, results, impacts)
    if set(report.verdicts) - {"accepted"}:
        raise typer.Exit(NO)


def _json(report: "Report") -> dict[str, Any]:
    effects = None
    if report.effects is not None:
        effects = {"records": report.effects.records, **report.effects.counts}
    return {"verdicts": report.verdicts, "sent": report.sent, "effects": effects}


def _tell(report: "Report", results: Path, impacts: Path) -> None:
    table = Table("verdict", "rows")
    table.columns[1].justify = "right"
    for verdict, count in sorted(report.verdicts.items(), key=lambda item: -item[1]):
        table.add_row(verdict, f"{count:,}")
    console().print(table)
    if report.effects is not None:
        console().print(effects_table(report.effects))
        typer.echo(f"Nothing was sent. Each row's verdict: {results}; what becomes of each record: {impacts}")
    else:
        typer.echo(f"{report.sent:,} rows were sent. Each row's verdict: {results}")


def effects_table(effects: "Effects") -> Table:
    """How many records each effect meets, and the first of them."""
    table = Table("effect", "records", "the first of them")
    table.columns[1].justify = "right"
    for effect, named in effects.named.items():
        count = effects.counts.get(effect, 0)
        table.add_row(effect, f"{count:,}", ", ".join(named) + (" …" if count > len(named) else ""))
    return table
