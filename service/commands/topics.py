"""`ratchet topics`."""

import json
from typing import TYPE_CHECKING

import typer

from service.commands.common import JsonOption, console, run

if TYPE_CHECKING:
    from service.kafka.topics import TopicState
    from service.settings import Settings


def create(as_json: JsonOption = False) -> None:
    """Create the topics that are missing, check those that are there."""

    async def work(settings: "Settings") -> "list[TopicState]":
        from service.kafka.topics import create as create_topics

        return await create_topics(settings)

    states = run(work)
    if as_json:
        typer.echo(json.dumps([state._asdict() for state in states]))
        return
    from rich.table import Table

    table = Table("topic", "partitions", "")
    for state in states:
        table.add_row(state.name, str(state.partitions), "created" if state.created else "was there")
    console().print(table)
