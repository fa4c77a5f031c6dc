"""`ratchet rules`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.common import MEND, NO, JsonOption, check_ids, console, table

if TYPE_CHECKING:
    from rich.table import Table

    from rules.tables import Table as DecisionTable

rules_app = typer.Typer(
    help="Prints the decision tables; checks and tries a candidate.",
    epilog="Example: ratchet rules --json",
    invoke_without_command=True,
)
CandidateArgument = Annotated[Path, typer.Argument(help="YAML, one table, like rules/course.yaml.")]


@rules_app.callback()
def rules(context: typer.Context, as_json: JsonOption = False) -> None:
    """Print the decision tables, or check a candidate for one of them."""
    if context.invoked_subcommand is not None:
        return
    from rules.render import in_reading_order
    from rules.tables import SHIPPED

    if as_json:
        typer.echo(json.dumps({one.name: [row._asdict() for row in one.rows] for one in SHIPPED}))
        return
    for one in in_reading_order(SHIPPED):
        console().print(_rules_table(one))


@rules_app.command("check", epilog="Example: ratchet rules check course.yaml")
def rules_check(file: CandidateArgument) -> None:
    """Check a candidate table: complete, unambiguous, every name known."""
    checked = _candidate(file)
    rows, combinations = len(checked.rows), len(checked.lookup)
    typer.echo(f"{file}: table {checked.name}: {rows} rows meet all {combinations} combinations, each one")


@rules_app.command("diff", epilog="Example: ratchet rules diff course.yaml --tenant acme --sample 1000")
def rules_diff(
    file: CandidateArgument,
    tenant: Annotated[str, typer.Option(help="Only this tenant's records.")] = "",
    course: Annotated[str, typer.Option(help="Only records of this course.")] = "",
    sample: Annotated[int | None, typer.Option(min=1, help="So many records, at random.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write every fact that differs to this CSV file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which records a candidate table would decide differently. Fact by fact, and a sum for each rule.

    The facts of each record are replayed in order of time, under the tables in use and under the candidate. Nothing is
    changed. With --json, a line for each record that differs, and at last one with the sums. Exit status 0: no record
    differs; 1: some do, or the candidate is refused.
    """
    candidate = _candidate(file)
    check_ids(**{name: value for name, value in (("tenant", tenant), ("course", course)) if value})
    from service.admin.rules_diff import Selection
    from service.commands.rules_diff import diff

    diff(candidate, Selection(tenant, course, sample), output, as_json)


def _candidate(file: Path) -> "DecisionTable":
    """The table in a file. Ends the command where it cannot be read, or is refused."""
    from rules.tables import TableError, load

    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        typer.echo(f"ratchet: {file}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}", err=True)
        raise typer.Exit(MEND) from None
    try:
        return load(text, str(file))
    except TableError as error:
        typer.echo(f"ratchet: {error}", err=True)
        raise typer.Exit(NO) from None


def _rules_table(decision: "DecisionTable") -> "Table":
    from rules.render import cells

    head, *rows = cells(decision)
    outcomes = [number for number, name in enumerate(head) if name.startswith("→")]
    shown = table(title=f"{decision.name} (hit policy: unique)", title_justify="left", show_lines=True)
    for name in ("when", "then", "because", "rule"):
        shown.add_column(name, overflow="fold")
    for row in rows:
        when = [f"{name}: {value}" for name, value in zip(head[: outcomes[0]], row, strict=False)]
        then = [f"{head[number]}: {row[number]}" for number in outcomes]
        shown.add_row("\n".join(when), "\n".join(then), row[-2], row[-1])
    return shown
