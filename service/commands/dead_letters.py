"""`ratchet dead-letters`."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.common import MEND, NO, JsonOption, console, progress_count, run, table

if TYPE_CHECKING:
    from service.admin.dead_letters import Edit, Report
    from service.kafka.dead_letters import DeadLetter
    from service.settings import Settings

dead_letters_app = typer.Typer(help="Messages that could not be used: look, mend, send again.", no_args_is_help=True)

ReasonOption = Annotated[str | None, typer.Option(help="Only those with this reason code.")]
SinceOption = Annotated[str | None, typer.Option(help="Only those since this time (RFC 3339, with an offset).")]
EXPLANATION_WIDTH = 70


@dead_letters_app.command("list", epilog="Example: ratchet dead-letters list --since 2026-03-01T00:00:00Z")
def list_letters(
    reason: ReasonOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many, the sum is of all.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List dead letters, and how many there are of each reason. Id, when, reason, where from, what is wrong."""
    from service.admin.dead_letters import letter_json, spelled

    letters: list[DeadLetter] = []
    sums: Counter[str] = Counter()

    async def look(settings: "Settings") -> None:
        async for letter in _chosen(settings, reason, since, None):
            sums[letter.reason] += 1
            if as_json:
                typer.echo(json.dumps(letter_json(letter)))
            elif len(letters) < limit:
                letters.append(letter)

    run(look)
    if as_json:
        return
    from contracts.fields import format_timestamp

    shown = table("id", "at", "reason", "from", "key", "what is wrong")
    for letter in letters:
        wrong = letter.explanation
        shown.add_row(
            letter.id,
            format_timestamp(letter.at * 1000),
            letter.reason,
            f"{letter.topic} {letter.partition}-{letter.offset}",
            spelled(letter.key),
            wrong if len(wrong) <= EXPLANATION_WIDTH else f"{wrong[:EXPLANATION_WIDTH]} …",
        )
    console().print(shown)
    told = ", ".join(f"{count:,} {name}" for name, count in sums.most_common())
    typer.echo(f"{sums.total():,} dead letter{'' if sums.total() == 1 else 's'}{': ' if told else ''}{told}")
    if sums.total() > len(letters):
        typer.echo(f"The first {len(letters):,} are shown; --limit shows more.")


@dead_letters_app.command("show", epilog="Example: ratchet dead-letters show 3-1042")
def show(letter_id: Annotated[str, typer.Argument(metavar="ID")], as_json: JsonOption = False) -> None:
    """Show one dead letter whole, and what is wrong with it. Where it came from, its headers, its value."""

    async def look(settings: "Settings") -> "DeadLetter | None":
        return next(iter([letter async for letter in _chosen(settings, None, None, [letter_id])]), None)

    from service.admin.dead_letters import letter_json

    letter = run(look)
    if letter is None:
        typer.echo(f"ratchet: there is no dead letter {letter_id}", err=True)
        raise typer.Exit(NO)
    if as_json:
        typer.echo(json.dumps(letter_json(letter)))
        return
    shown = table(show_header=False, box=None)
    for name, value in letter_json(letter).items():
        shown.add_row(name, value if isinstance(value, str) else json.dumps(value))
    console().print(shown)


@dead_letters_app.command(
    epilog="Example: ratchet dead-letters replay --reason changed_at_in_future --set changed_at=2026-03-01T09:00:00Z"
)
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These; or use --reason or --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
    reason: ReasonOption = None,
    since: SinceOption = None,
    settings_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set a field of the value first; VALUE is JSON, or a text."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters to the topics they came from once more. Each only once, however often it is asked for.

    Those of a record keep their order. The key is made of the ids in the value again, and a header
    ratchet-replayed-from says which dead letter it was.
    """
    if bool(ids) + everything + (reason is not None) != 1:
        typer.echo("ratchet: say which: ids, or --reason, or --all", err=True)
        raise typer.Exit(MEND)
    edits = [_edit(text) for text in settings_ or ()]

    async def send(settings: "Settings") -> "Report":
        from service.admin.dead_letters import replay as send_again
        from service.mongo.store import open_store

        async with open_store(settings, prepared=True) as store:
            with progress_count("dead letters") as bar:
                task = bar.add_task("", total=None)
                return await send_again(
                    settings,
                    store,
                    _chosen(settings, reason, since, ids or None),
                    edits,
                    lambda report: bar.update(task, completed=report.replayed + report.before + report.skipped),
                )

    report = run(send)
    if as_json:
        typer.echo(json.dumps({name: getattr(report, name) for name in report.__struct_fields__}))
    else:
        typer.echo(
            f"{report.replayed:,} sent again, {report.before:,} had been sent again before, {report.skipped:,} not"
        )
        for why in report.why:
            typer.echo(f"  {why}")
    if report.skipped or not report.replayed + report.before:
        raise typer.Exit(NO)


def _chosen(
    settings: "Settings", reason: str | None, since: str | None, ids: "list[str] | None"
) -> "AsyncIterator[DeadLetter]":
    from service.admin.dead_letters import chosen

    return chosen(settings, reason, _milliseconds(since), ids)


def _milliseconds(since: str | None) -> int:
    if since is None:
        return 0
    from contracts.fields import parse_timestamp

    try:
        instant = parse_timestamp(since)
    except ValueError as error:
        typer.echo(f"ratchet: --since: {error}", err=True)
        raise typer.Exit(MEND) from None
    assert isinstance(instant, int)
    return instant // 1000


def _edit(text: str) -> "Edit":
    from pydantic_core import from_json

    from service.admin.dead_letters import Edit

    field, equals, value = text.partition("=")
    if not (field and equals):
        typer.echo(f"ratchet: --set: {text!r} is not FIELD=VALUE", err=True)
        raise typer.Exit(MEND)
    try:
        return Edit(field, from_json(value))
    except ValueError:
        return Edit(field, value)
