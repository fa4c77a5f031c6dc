"""`ratchet simulate`."""

import json
from collections.abc import Iterator
from typing import Annotated

import typer

from service.commands.common import reported
from service.errors import FixConfiguration


def simulate(
    file: Annotated[str, typer.Argument(help="JSON Lines, one message a line; - for standard input.")],
    records: Annotated[bool, typer.Option("--records", help="At the end, one line per record as it stands.")] = False,
) -> None:
    """Decide messages with the real rules and no servers. Prints what would go out as JSON Lines.

    Each line of FILE is {"topic": "attendance-changed", "value": {…}}, in order of arrival. An optional "now" (RFC
    3339) on a line sets the clock for it.

    \b
    Topics: attendance-changed, step-progress-changed, equivalency-granted,
    completion-granted, reassigned, reassignment-withdrawn, course-defined
    """  # noqa: D301  # the sign that says: wrap nothing of this paragraph
    from service.admin.simulate import Simulation

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
