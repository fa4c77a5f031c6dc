"""`ratchet contracts`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.common import JsonOption, console, run, table
from service.errors import FixConfiguration

if TYPE_CHECKING:
    from service.admin.registry import Outcome
    from service.settings import Settings

contracts_app = typer.Typer(help="What goes over the wire, for other systems.", no_args_is_help=True)


@contracts_app.command("register", epilog="Example: ratchet contracts register --url http://registry:8081")
def register(
    url: Annotated[
        str,
        typer.Option(
            help="Address of the registry, with user:password@ where it wants them; otherwise "
            "RATCHET_SCHEMA_REGISTRY_URL."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Register the JSON Schemas of topics in a schema registry.

    Of every topic that others read or write, in a registry that speaks Confluent's protocol: each under its topic's
    name, RATCHET_TOPIC_PREFIX in front and -value behind, with the compatibility that fits it. The same again changes
    nothing. With RATCHET_SCHEMA_REGISTRY_URL set, workers begin what they write with the id of its schema.
    """

    async def work(settings: "Settings") -> "list[Outcome]":
        from service.admin.registry import register as put

        outcomes: list[Outcome] = []
        await put(settings, "--url", url or _configured(settings), outcomes.append)
        return outcomes

    outcomes = run(work)
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in outcomes]))
        return
    shown = table("subject", "version", "id", "compatibility", "")
    for one in outcomes:
        shown.add_row(
            one.subject, str(one.version), str(one.id), one.compatibility, "new" if one.is_new else "was known"
        )
    console().print(shown)


def _configured(settings: "Settings") -> str:
    if settings.schema_registry_url is None:
        raise FixConfiguration("--url: say where the schema registry is, like http://registry:8081")
    return settings.schema_registry_url.get_secret_value()
