"""`ratchet upload`."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.clock import now
from service.commands.common import (
    MEND,
    NO,
    JsonOption,
    check_ids,
    console,
    dead_letters,
    progress_bar,
    reported,
    run,
    table,
    watched,
)
from service.errors import FixConfiguration

if TYPE_CHECKING:
    from rich.table import Table

    from service.admin.impact import Effects
    from service.admin.kinds import Kind
    from service.admin.uploads import Asked, Report, Upload
    from service.settings import Settings

HARMLESS = {"accepted", "sent before", "merged", "empty", "left out"}
"""Verdicts that leave nothing to be done."""
upload_app = typer.Typer(help="Mass uploads, from the files that people hold.", no_args_is_help=True)
OF_FILE, OF_ROWS, WHAT = "How the file is read", "What holds for every row", "What is done"

FileArgument = Annotated[
    Path | None, typer.Argument(help="CSV of any kind, XLSX, XLS, ODS or a web page called .xls, with headings.")
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", help="Its format, where it is not recognised; see `formats`.", rich_help_panel=OF_FILE),
]
SheetOption = Annotated[str | None, typer.Option(help="Of a workbook, the sheet to read.", rich_help_panel=OF_FILE)]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="FIELD=HEADING", help="Where a field stands; may be given again.", rich_help_panel=OF_FILE
    ),
]
LearnersOption = Annotated[
    Path | None,
    typer.Option(
        help="A table of who is who: Learner, and e-mail, external id, name as the file has them.",
        rich_help_panel=OF_FILE,
    ),
]
ZoneOption = Annotated[
    str | None, typer.Option(help="Of times that do not say theirs, as Europe/Vienna.", rich_help_panel=OF_FILE)
]
TenantOption = Annotated[str | None, typer.Option(help="tenant_id; needs no column then.", rich_help_panel=OF_ROWS)]
CourseOption = Annotated[str | None, typer.Option(help="course_id", rich_help_panel=OF_ROWS)]
EventOption = Annotated[str | None, typer.Option(help="event_id", rich_help_panel=OF_ROWS)]
SessionOption = Annotated[str | None, typer.Option(help="session_id", rich_help_panel=OF_ROWS)]
StepOption = Annotated[str | None, typer.Option(help="step_id", rich_help_panel=OF_ROWS)]
ChangedOption = Annotated[
    str | None,
    typer.Option(
        help="When it was (RFC 3339, with an offset), of rows that do not say; otherwise now.", rich_help_panel=OF_ROWS
    ),
]
AgainOption = Annotated[
    bool,
    typer.Option("--again", help="Send a file that was uploaded before once more, as of now.", rich_help_panel=WHAT),
]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Stay until all is decided, and tell what became of it.", rich_help_panel=WHAT),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Send nothing; show what it would do.", rich_help_panel=WHAT)
]
TemplateOption = Annotated[bool, typer.Option("--template", help="Print a file to fill in.", rich_help_panel=WHAT)]


@upload_app.command(
    epilog="Examples: ratchet upload attendance march.csv --tenant acme --dry-run; ratchet upload attendance "
    "participants.csv --tenant acme --course safety-101 --event live-1 --learners people.xlsx --wait"
)
def attendance(
    file: FileArgument = None,
    tenant: TenantOption = None,
    course: CourseOption = None,
    event: EventOption = None,
    session: SessionOption = None,
    changed_at: ChangedOption = None,
    format_name: FormatOption = None,
    sheet: SheetOption = None,
    column: ColumnOption = None,
    learners: LearnersOption = None,
    timezone: ZoneOption = None,
    again: AgainOption = False,
    wait: WaitOption = False,
    dry_run: DryRunOption = False,
    template: TemplateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload attendance, a row for each learner and event.

    A row says learner, course, event, perhaps session, and how much was attended. Exports of Zoom, Teams, Webex and
    others are recognised (`ratchet upload formats`); --course and --event say what they never do. Where rows are
    connections, those of a person count together. Every row gets a verdict, a reason and an effect in FILE.result.csv
    (or .xlsx, .ods, as the file is); only what is accepted is sent. What of the file is not read is said first. Rows
    about the same learner and event are ambiguous, and none is sent. The same file sent twice changes nothing, unless
    with --again. After Ctrl-C the same command goes on where it stopped. With --dry-run, FILE.impact.csv tells what
    becomes of each record. Exit status 1 when any row should be looked at.
    """
    from service.admin.kinds import ATTENDANCE

    given = {"tenant": tenant, "course": course, "event": event, "session": session}
    how = {"format": format_name, "sheet": sheet, "columns": column, "learners": learners, "zone": timezone}
    _upload(ATTENDANCE, file, given, {**how, "at": changed_at}, (again, wait, dry_run, template, as_json))


@upload_app.command(epilog="Example: ratchet upload progress practice.xlsx --tenant acme --step forklift --dry-run")
def progress(
    file: FileArgument = None,
    tenant: TenantOption = None,
    course: CourseOption = None,
    step: StepOption = None,
    changed_at: ChangedOption = None,
    format_name: FormatOption = None,
    sheet: SheetOption = None,
    column: ColumnOption = None,
    learners: LearnersOption = None,
    timezone: ZoneOption = None,
    again: AgainOption = False,
    wait: WaitOption = False,
    dry_run: DryRunOption = False,
    template: TemplateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload progress in steps of another kind.

    An On-the-Job Training, for example: learner, course, step, percent. Files, verdicts and exit statuses are
    those of `ratchet upload attendance`.
    """
    from service.admin.kinds import PROGRESS

    given = {"tenant": tenant, "course": course, "step": step}
    how = {"format": format_name, "sheet": sheet, "columns": column, "learners": learners, "zone": timezone}
    _upload(PROGRESS, file, given, {**how, "at": changed_at}, (again, wait, dry_run, template, as_json))


@upload_app.command(
    epilog="Example: ratchet upload equivalencies recognised.csv --tenant acme --timezone Europe/Vienna"
)
def equivalencies(
    file: FileArgument = None,
    tenant: TenantOption = None,
    course: CourseOption = None,
    changed_at: ChangedOption = None,
    format_name: FormatOption = None,
    sheet: SheetOption = None,
    column: ColumnOption = None,
    learners: LearnersOption = None,
    timezone: ZoneOption = None,
    again: AgainOption = False,
    wait: WaitOption = False,
    dry_run: DryRunOption = False,
    template: TemplateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload equivalencies (recognised prior learning). Who has completed which course, or step, by an equivalent one.

    Files, verdicts and exit statuses are those of `ratchet upload attendance`.
    """
    from service.admin.kinds import EQUIVALENCIES

    given = {"tenant": tenant, "course": course}
    how = {"format": format_name, "sheet": sheet, "columns": column, "learners": learners, "zone": timezone}
    _upload(EQUIVALENCIES, file, given, {**how, "at": changed_at}, (again, wait, dry_run, template, as_json))


@upload_app.command(epilog="Example: ratchet upload completions old-system.xlsx --tenant acme --timezone Europe/Vienna")
def completions(
    file: FileArgument = None,
    tenant: TenantOption = None,
    course: CourseOption = None,
    changed_at: ChangedOption = None,
    format_name: FormatOption = None,
    sheet: SheetOption = None,
    column: ColumnOption = None,
    learners: LearnersOption = None,
    timezone: ZoneOption = None,
    again: AgainOption = False,
    wait: WaitOption = False,
    dry_run: DryRunOption = False,
    template: TemplateOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload completions of an older system. Who completed which course, when, with a certificate or without one.

    Each row needs its date. Certificate says issue or none; without it none is issued, and no definition issues one
    later. Files, verdicts and exit statuses are those of `ratchet upload attendance`; Totara's file is recognised.
    """
    from service.admin.kinds import COMPLETIONS

    given = {"tenant": tenant, "course": course}
    how = {"format": format_name, "sheet": sheet, "columns": column, "learners": learners, "zone": timezone}
    _upload(COMPLETIONS, file, given, {**how, "at": changed_at}, (again, wait, dry_run, template, as_json))


@upload_app.command(epilog="Example: ratchet upload formats zoom-participants")
def formats(
    name: Annotated[str | None, typer.Argument(help="One of them, or a file of your own; all where none.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the formats of files that are recognised, or show one.

    One is shown with its headings. A format of your own is a YAML file like these, given with --format my.yaml.
    """
    from service.admin.formats.catalogue import chosen

    with reported():
        found = chosen(name)
    if as_json:
        typer.echo(json.dumps([form.model_dump(exclude_defaults=True) for form in found]))
        return
    if name is None:
        shown = table("format", "of", "a row is")
        for form in found:
            shown.add_row(form.name, form.title, form.rows)
        console().print(shown)
        return
    (form,) = found
    typer.echo(f"{form.title}\n{form.about}")
    shown = table("field", "headings")
    for field, headings in form.headings.items():
        shown.add_row(field, ", ".join(headings))
    console().print(shown)


def _asked(given: dict[str, str | None], how: dict[str, Any], stack: ExitStack) -> "Asked":
    """Raises FixConfiguration."""
    from zoneinfo import ZoneInfo

    from contracts.fields import parse_timestamp
    from service.admin.columns import chosen_columns
    from service.admin.directory import open_directory
    from service.admin.formats.catalogue import chosen
    from service.admin.uploads import Asked

    zone = None
    if how["zone"] is not None:
        try:
            zone = ZoneInfo(how["zone"])
        except (OSError, ValueError, KeyError):
            raise FixConfiguration(f"--timezone: {how['zone']!r} is none; one is Europe/Vienna") from None
    if how["at"] is not None:
        try:
            parse_timestamp(how["at"])
        except ValueError as error:
            raise FixConfiguration(f"--changed-at: {how['at']!r} {error}") from None
    directory = None if how["learners"] is None else stack.enter_context(open_directory(how["learners"]))
    fields = {f"{name}_id": value for name, value in given.items() if value is not None}
    columns = chosen_columns(how["columns"] or ())
    return Asked(chosen(how["format"]), how["sheet"], fields, columns, zone, how["at"], directory)


def _upload(
    kind: "Kind",
    file: Path | None,
    given: dict[str, str | None],
    how: dict[str, Any],
    switches: tuple[bool, bool, bool, bool, bool],
) -> None:
    again, wait, dry_run, template, as_json = switches
    if template:
        typer.echo(kind.template, nl=False)
        return
    if file is None:
        typer.echo("ratchet: FILE is missing; --template prints what belongs in one", err=True)
        raise typer.Exit(MEND)
    check_ids(**{name: value for name, value in given.items() if value is not None})
    impacts = file.with_name(f"{file.name}.impact.csv")
    opened: list[Upload] = []

    async def work(settings: "Settings") -> "Report":
        from service.admin.uploads import newest, open_file, preview, upload
        from service.mongo.store import open_store

        with ExitStack() as stack:
            found = open_file(file, kind, _asked(given, how, stack))
            opened.append(found)
            _tell_reading(found)
            async with open_store(settings) as store:
                found = await newest(store, found, again=again)
                with progress_bar() as bar:
                    task = bar.add_task("rows", total=found.row_count)
                    if dry_run:
                        return await preview(
                            settings, store, found, impacts, now(), lambda rows: bar.advance(task, rows)
                        )
                    waiting = watched(bar, "messages") if wait else None
                    return await upload(
                        settings, store, found, now(), lambda rows: bar.advance(task, rows), wait=waiting
                    )

    from service.admin.uploads import report_json

    report = run(work, stopped="stopped; the same command goes on where it stopped", writes=f"{file}.result")
    if as_json:
        typer.echo(json.dumps(report_json(report, opened[0])))
    else:
        _tell(report, opened[0], impacts if dry_run else None)
    if set(report.verdicts) - HARMLESS or report.refused:
        raise typer.Exit(NO)


def _tell_reading(upload: "Upload") -> None:
    """Before anything is sent."""
    from service.admin.formats.catalogue import OWN

    if upload.sheet.format.name != OWN:
        typer.echo(f"format: {upload.sheet.format.name}: {upload.sheet.format.title}", err=True)
    for remark in upload.sheet.remarks:
        typer.echo(f"{upload.sheet.path.name} {remark}", err=True)
    for note in upload.unread:
        typer.echo(f"not read: {note}", err=True)


def _tell(report: "Report", upload: "Upload", impacts: Path | None) -> None:
    from service.admin.files.results import result_path

    if report.before is not None:
        typer.echo(f"This file was uploaded before, first at {report.before}; --again sends all of it as of now.")
    shown = table("verdict", "rows")
    shown.columns[1].justify = "right"
    for verdict, count in sorted(report.verdicts.items(), key=lambda item: -item[1]):
        shown.add_row(verdict, f"{count:,}")
    console().print(shown)
    if report.effects is not None:
        console().print(effects_table(report.effects))
    if report.warnings:
        rows = "row counts" if report.warnings == 1 else "rows count"
        typer.echo(f"{report.warnings:,} {rows} in an attempt that began after the event took place; see the reasons.")
    _tell_learners(report)
    result = f"Each row's verdict, reason and effect: {result_path(upload.sheet)}"
    sent = f"{report.sent:,} {'row was' if report.sent == 1 else 'rows were'} sent"
    if impacts is not None:
        typer.echo(f"Nothing was sent. {result}; what becomes of each record: {impacts}")
    elif report.refused is None:
        typer.echo(
            f"{sent}; --wait tells what became of them. Each row's verdict and reason: {result_path(upload.sheet)}"
        )
    else:
        typer.echo(f"{sent}, and all are decided{dead_letters(report.refused)}. {result}")


def _tell_learners(report: "Report") -> None:
    there = report.newcomers
    if there is None or not there.known + there.new:
        return
    typer.echo(f"Learners: {there.known:,} known, {there.new:,} new to the service.")
    for learner_id, other in there.near:
        typer.echo(f"  {learner_id} is new, and one letter away from {other}, who is known")


def effects_table(effects: "Effects") -> "Table":
    """How many records each effect meets, and the first of them."""
    shown = table("effect", "records", "the first of them")
    shown.columns[1].justify = "right"
    for effect, named in effects.named.items():
        count = effects.counts.get(effect, 0)
        shown.add_row(effect, f"{count:,}", ", ".join(named) + (" …" if count > len(named) else ""))
    return shown
