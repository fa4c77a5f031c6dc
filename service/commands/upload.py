"""`ratchet upload attendance`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.common import MEND, NO, JsonOption, console, now, progress_bar, run, table

if TYPE_CHECKING:
    from rich.table import Table

    from service.admin.impact import Effects
    from service.admin.uploads import Report
    from service.settings import Settings

HARMLESS = {"accepted", "sent before", "empty"}
"""Verdicts that leave nothing to be done."""
upload_app = typer.Typer(help="Mass uploads.", no_args_is_help=True)


@upload_app.command(epilog="Example: ratchet upload attendance march.csv --tenant acme --dry-run")
def attendance(
    file: Annotated[Path | None, typer.Argument(help="CSV of any kind or XLSX, with headings.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant of every row; needs no column then.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Of a workbook, the sheet to read.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Send a file that was uploaded before once more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing; show what it would do.")] = False,
    template: Annotated[bool, typer.Option("--template", help="Print a file to fill in.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Upload attendance: a row each for learner, course, event, perhaps session, and how much was attended.

    Every row gets a verdict in FILE.result.csv; only what is accepted is sent. What of the file is not read is said
    first. Rows about the same learner and event are ambiguous, and none is sent. The same file sent twice changes
    nothing, unless with --again: then it counts as of now. After Ctrl-C the same command goes on where it stopped. With
    --dry-run, FILE.impact.csv tells what becomes of each record. Exit status 1 when something is left to be done.
    """
    if template:
        from service.admin.attendance_file import TEMPLATE

        typer.echo(TEMPLATE, nl=False)
        return
    if file is None:
        typer.echo("ratchet: FILE is missing; --template prints what belongs in one", err=True)
        raise typer.Exit(MEND)
    notes: list[str] = []
    results, impacts = (file.with_name(f"{file.name}.{kind}.csv") for kind in ("result", "impact"))

    async def work(settings: "Settings") -> "Report":
        from service.admin.uploads import newest, open_file, preview, upload
        from service.mongo.store import open_store

        opened = open_file(file, tenant, sheet)
        notes.extend(opened.notes)
        for note in notes:
            typer.echo(f"not read: {note}" if not note.startswith("is ") else f"{file.name} {note}", err=True)
        async with open_store(settings) as store:
            opened = await newest(store, opened, again=again)
            with progress_bar() as bar:
                task = bar.add_task("rows", total=opened.row_count)
                if dry_run:
                    return await preview(store, opened, results, impacts, now(), lambda rows: bar.advance(task, rows))
                return await upload(settings, store, opened, results, now(), lambda rows: bar.advance(task, rows))

    report = run(work, stopped="stopped; the same command goes on where it stopped", writes=results)
    if as_json:
        typer.echo(json.dumps(_json(report, notes)))
    else:
        _tell(report, results, impacts)
    if set(report.verdicts) - HARMLESS:
        raise typer.Exit(NO)


def _json(report: "Report", notes: "list[str]") -> dict[str, Any]:
    effects = None
    if report.effects is not None:
        effects = {"records": report.effects.records, **report.effects.counts}
    told = {"verdicts": report.verdicts, "sent": report.sent, "effects": effects}
    return {**told, "not_read": notes, "uploaded_before_at": report.before}


def _tell(report: "Report", results: Path, impacts: Path) -> None:
    if report.before is not None:
        typer.echo(f"This file was uploaded before, first at {report.before}; --again sends all of it as of now.")
    shown = table("verdict", "rows")
    shown.columns[1].justify = "right"
    for verdict, count in sorted(report.verdicts.items(), key=lambda item: -item[1]):
        shown.add_row(verdict, f"{count:,}")
    console().print(shown)
    if report.effects is not None:
        console().print(effects_table(report.effects))
        typer.echo(f"Nothing was sent. Each row's verdict: {results}; what becomes of each record: {impacts}")
    else:
        typer.echo(f"{report.sent:,} rows were sent. Each row's verdict: {results}")


def effects_table(effects: "Effects") -> "Table":
    """How many records each effect meets, and the first of them."""
    shown = table("effect", "records", "the first of them")
    shown.columns[1].justify = "right"
    for effect, named in effects.named.items():
        count = effects.counts.get(effect, 0)
        shown.add_row(effect, f"{count:,}", ", ".join(named) + (" …" if count > len(named) else ""))
    return shown
