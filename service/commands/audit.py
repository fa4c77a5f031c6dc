"""`ratchet audit`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.common import JsonOption, check_ids, console, run, table

if TYPE_CHECKING:
    from service.mongo.audit import Entry
    from service.settings import Settings

PAGE = 500


def audit(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the newest.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Who changed what over HTTP: the newest first. In the console, or with a token.

    Every change is noted before it is done: when, who, how they came, from which address, what, and ids of what it was
    about; never what a message says, and no learner.
    """
    check_ids(**({"tenant": tenant} if tenant else {}))

    async def look(settings: "Settings") -> "list[tuple[str, Entry]]":
        from service.mongo.store import open_store

        found: list[tuple[str, Entry]] = []
        async with open_store(settings) as store:
            while page := await store.audit.page(
                [tenant] if tenant else None, found[-1][0] if found else "", min(PAGE, limit - len(found))
            ):
                found += page
                if len(found) >= limit:
                    break
        return found

    found = run(look)
    from service.admin.trail import about_text, entry_json

    if as_json:
        for id_, entry in found:
            typer.echo(json.dumps(entry_json(id_, entry)))
        return
    shown = table("at", "who", "how", "from", "what", "tenant", "about")
    for id_, entry in found:
        at = str(entry_json(id_, entry)["at"])
        shown.add_row(at, entry.who, entry.how, entry.where, entry.what, entry.tenant_id, about_text(entry))
    console().print(shown)
