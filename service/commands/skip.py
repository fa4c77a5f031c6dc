"""`ratchet skip`."""

import getpass
import json
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.common import NO, JsonOption, run

if TYPE_CHECKING:
    from service.errors import Unreadable
    from service.settings import Settings


def skip(
    topic: Annotated[str, typer.Argument(help="As /readyz names it, prefix included.")],
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0, help="One of those that cannot be read.")],
    reason: Annotated[str, typer.Option(help="Why its messages may be lost; kept in the dead letter.")],
    by: Annotated[str | None, typer.Option(help="Who decides it; the user's name unless given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a lane go past a batch that cannot be read. Its messages are lost, and a dead letter says which, who and why.

    Nothing is skipped that can be read, and nothing ever by itself. Try first to have the batch mended, or sent again.
    Exit status 1 when no worker has gone past it within half a minute; the next one that runs will.
    """

    async def work(settings: "Settings") -> "tuple[Unreadable, bool]":
        from service.admin.skips import has_passed
        from service.admin.skips import skip as allow
        from service.mongo.store import open_store

        async with open_store(settings, prepared=True) as store:
            found = await allow(settings, store, topic, partition, offset, by or getpass.getuser(), reason)
        return found, await has_passed(settings, found)

    found, passed = run(work)
    if as_json:
        said = {"topic": topic, "partition": partition, "start": found.start, "end": found.end, "passed": passed}
        typer.echo(json.dumps(said))
    else:
        what = f"{topic} partition {partition}: offsets {found.start} to {found.end - 1}"
        typer.echo(f"{what} {'were skipped' if passed else 'may be skipped; no worker has gone past them yet'}")
    if not passed:
        raise typer.Exit(NO)
