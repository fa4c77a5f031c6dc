"""The command `ratchet`. Exit status: 0 done, 1 the answer is no, 2 mend something first, 3 start it again."""

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.table import Table

from contracts.fields import ID_PATTERN, record_key
from service.commands import courses, definitions, lag, reassign
from service.commands.common import MEND, NO, JsonOption, console, reported, run
from service.commands.dead_letters import dead_letters_app
from service.commands.learner import learner_app
from service.commands.rules import rules_app
from service.commands.upload import upload_app
from service.errors import FixConfiguration
from service.settings import Settings

app = typer.Typer(
    name="ratchet",
    help="Decides course completions from what the LMS reports, keeps and explains the record, tells what changed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
topics_app = typer.Typer(help="The Kafka topics.", no_args_is_help=True)
courses_app = typer.Typer(help="Course definitions: look, try, send, release.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")
app.add_typer(rules_app, name="rules")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(upload_app, name="upload")
app.add_typer(courses_app, name="courses")
app.add_typer(learner_app, name="learner")

courses_app.command("list", epilog="Example: ratchet courses list --tenant acme")(courses.list_courses)
courses_app.command("show", epilog="Example: ratchet courses show acme safety-101")(courses.show)
courses_app.command("preview", epilog="Example: ratchet courses preview safety-101.yaml")(courses.preview)
courses_app.command("apply", epilog="Example: ratchet courses apply safety-101.yaml --wait")(definitions.apply)
courses_app.command("release", epilog="Example: ratchet courses release acme safety-101 --wait")(definitions.release)
app.command("lag", epilog="Example: ratchet lag --watch")(lag.lag)
app.command(
    "reassign", epilog="Example: ratchet reassign --tenant acme --course safety-101 --file learners.csv --dry-run"
)(reassign.reassign)


@app.command(epilog="Example: RATCHET_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 ratchet serve")
def serve() -> None:
    """Run the worker until SIGTERM or SIGINT, with /livez, /readyz and /metrics on RATCHET_HTTP_PORT."""
    with reported():
        from service.app import serve as work
    run(work, logged=True)


@topics_app.command("create", epilog="Example: RATCHET_PARTITIONS=12 ratchet topics create")
def topics_create(as_json: JsonOption = False) -> None:
    """Create the topics that are missing, and check those that are there."""
    with reported():
        from service.topics import create
    states = run(create)
    if as_json:
        typer.echo(json.dumps([state._asdict() for state in states]))
        return
    table = Table("topic", "partitions", "")
    for state in states:
        table.add_row(state.name, str(state.partitions), "created" if state.created else "was there")
    console().print(table)


@app.command(epilog='Example: echo \'{"topic": "reassigned", "value": {…}}\' | ratchet simulate - --records')
def simulate(
    file: Annotated[str, typer.Argument(help="JSON Lines, one message a line; - for standard input.")],
    records: Annotated[bool, typer.Option("--records", help="At the end, one line per record as it stands.")] = False,
) -> None:
    """Decide messages with the real rules and no servers; print what would go out as JSON Lines.

    Each line of FILE is {"topic": "attendance-changed", "value": {…}}, in order of arrival. Topics: attendance-changed,
    step-progress-changed, equivalency-granted, reassigned, course-defined. An optional "now" (RFC 3339) on a line sets
    the clock for it.
    """
    from service.simulate import Simulation

    simulation = Simulation()
    with reported():
        for line in simulation.lines(_lines_of(file)):
            typer.echo(json.dumps(line))
    if records:
        for line in simulation.records():
            typer.echo(json.dumps(line))


def _lines_of(file: str) -> Iterator[bytes]:
    """The lines of a file, or of standard input. Raises FixConfiguration where it cannot be read."""
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as source:  # 0: standard input
            while line := source.readline():
                yield line
    except OSError as error:
        raise FixConfiguration(f"{file}: {error.strerror}") from None


@app.command(epilog="Example: ratchet explain acme l-1001 safety-101")
def explain(
    tenant: Annotated[str, typer.Argument(help="tenant_id")],
    learner: Annotated[str, typer.Argument(help="learner_id")],
    course: Annotated[str, typer.Argument(help="course_id")],
    as_json: JsonOption = False,
) -> None:
    """Print a record's timeline: each fact, what it decided, by which rule, why, and what was announced."""
    with reported():
        from service.app import checked_store
        from service.deciding import whole_records
        from service.store_mongo import MongoStore
        from service.story import story_json, story_table

    for name, value in (("TENANT", tenant), ("LEARNER", learner), ("COURSE", course)):
        if not re.fullmatch(ID_PATTERN, value):
            typer.echo(f"ratchet: {name}: {value!r} is not an id; ids match {ID_PATTERN}", err=True)
            raise typer.Exit(MEND)
    key = record_key(tenant, learner, course)

    async def load_record(settings: Settings) -> Any:
        store = await checked_store(settings, MongoStore.check)
        try:
            return (await whole_records(store, [key])).get(key)
        finally:
            await store.close()

    stored = run(load_record)
    if stored is None:
        typer.echo(f"ratchet: no record {key}: nothing was ever reported about it", err=True)
        raise typer.Exit(NO)
    if as_json:
        typer.echo(json.dumps(story_json(key, stored.record)))
    else:
        console().print(story_table(key, stored.record))


def main() -> None:
    """The command. What it cannot write is an error like any other, without a traceback."""
    try:
        app()
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # nothing more can be flushed
        print(f"ratchet: cannot write what it has to say: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(MEND)


if __name__ == "__main__":
    main()
