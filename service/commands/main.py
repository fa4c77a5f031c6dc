"""The command `ratchet`, wired. Exit status: 0 done, 1 the answer is no, 2 mend something first, 3 start it again."""

import gc
import os
import sys
from typing import Annotated

import typer

from service.commands import audit, courses, definitions, lag, reassign, serve, simulate, skip, topics, web
from service.commands.common import MEND
from service.commands.contracts import contracts_app
from service.commands.dead_letters import dead_letters_app
from service.commands.explain import explain
from service.commands.learner import learner_app
from service.commands.rules import rules_app
from service.commands.state import state_app
from service.commands.upload import upload_app

GARBAGE_THRESHOLDS = 20_000, 20, 20
"""Imports and batches make many objects and no cycles: Python's own thresholds would look for some all the time."""

app = typer.Typer(
    name="ratchet",
    help="Decides course completions from what the LMS reports, keeps and explains the record, tells what changed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
topics_app = typer.Typer(help="The Kafka topics.", no_args_is_help=True)
courses_app = typer.Typer(help="Course definitions: look, try, send, release.", no_args_is_help=True)
app.add_typer(topics_app, name="topics")
app.add_typer(rules_app, name="rules")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(upload_app, name="upload")
app.add_typer(courses_app, name="courses")
app.add_typer(learner_app, name="learner")
app.add_typer(state_app, name="state")
app.add_typer(contracts_app, name="contracts")

topics_app.command("create", epilog="Example: RATCHET_PARTITIONS=12 ratchet topics create")(topics.create)
courses_app.command("list", epilog="Example: ratchet courses list --tenant acme")(courses.list_courses)
courses_app.command("show", epilog="Example: ratchet courses show acme safety-101")(courses.show)
courses_app.command("preview", epilog="Example: ratchet courses preview safety-101.yaml")(courses.preview)
courses_app.command("apply", epilog="Example: ratchet courses apply safety-101.yaml --wait")(definitions.apply)
courses_app.command("release", epilog="Example: ratchet courses release acme safety-101 --wait")(definitions.release)
app.command(epilog="Example: RATCHET_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 ratchet serve")(serve.serve)
app.command(epilog="Example: RATCHET_WEB_PORT=8081 ratchet web")(web.web)
app.command(epilog="Example: ratchet audit --tenant acme --limit 20")(audit.audit)
app.command(epilog="Example: ratchet lag --watch")(lag.lag)
app.command(
    epilog="Example: ratchet skip lms.attendance-changed.v1 3 1042 --reason 'corrupt on disk, sent again on 2 March'"
)(skip.skip)
app.command(epilog='Example: echo \'{"topic": "reassigned", "value": {…}}\' | ratchet simulate - --records')(
    simulate.simulate
)
app.command(epilog="Example: ratchet explain acme l-1001 safety-101")(explain)
app.command(epilog="Example: ratchet reassign --tenant acme --course safety-101 --file learners.csv --dry-run")(
    reassign.reassign
)


def _say_version(*, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # few ask for it

        typer.echo(f"ratchet {version('ratchet')}")
        raise typer.Exit


@app.callback()
def _ratchet(
    _: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """The command. What it cannot write is an error like any other, without a traceback."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        app()
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # nothing more can be flushed
        print(f"ratchet: cannot write what it has to say: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(MEND)


if __name__ == "__main__":
    main()
