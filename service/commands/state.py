"""`ratchet state`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.common import JsonOption, check_ids, number_of, progress_bar, progress_count, run, watched

if TYPE_CHECKING:
    from service.settings import Settings

state_app = typer.Typer(help="Where records stand, as completion.record-state.v1 tells.", no_args_is_help=True)


@state_app.command("republish", epilog="Example: ratchet state republish --tenant acme --course safety-101 --wait")
def republish(
    tenant: Annotated[str, typer.Option(help="tenant_id; otherwise the records of every tenant.")] = "",
    course: Annotated[str, typer.Option(help="course_id; otherwise the records of every course.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until the workers have told all of it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have the state of every record told anew.

    It is how records from before there was the topic get into it. The workers tell it, in order with whatever else they
    decide: no state comes after a newer one. They are asked for RATCHET_REEVALUATIONS_PER_SECOND records in a second,
    at most. After an interruption the same command goes on.
    """
    check_ids(**{name: value for name, value in (("tenant", tenant), ("course", course)) if value})

    async def work(settings: "Settings") -> int:
        from contracts.topics import REEVALUATION_REQUESTED
        from service.admin.states import republish as ask
        from service.kafka.committed import dealt_with
        from service.kafka.sender import open_sender
        from service.mongo.store import open_store

        async with open_store(settings, prepared=True) as store, open_sender(settings) as sender:
            with progress_count("records") as bar:
                task = bar.add_task("")
                count = await ask(settings, store, sender, tenant, course, lambda more: bar.advance(task, more))
        if wait and count:
            with progress_bar() as bar:
                tell = watched(bar, "requests")
                async for left in dealt_with(settings, REEVALUATION_REQUESTED.name):
                    tell(left)
        return count

    records = run(work, stopped="not all were asked for; the same command goes on")
    of = number_of(records, "record")
    if as_json:
        typer.echo(json.dumps({"records": records, "told": wait}))
    elif wait:
        typer.echo(f"The states of {of} are told.")
    else:
        typer.echo(f"Asked for the states of {of}: the workers tell them.")
