"""`ratchet lag`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.common import NO, JsonOption, console, run, table

if TYPE_CHECKING:
    from rich.table import Table

    from service.admin.lag import LaneLag
    from service.settings import Settings

STYLES = {"ok": "green", "warning": "yellow", "blocked": "yellow"}
"""Red otherwise."""


def lag(
    group: Annotated[str | None, typer.Option(help="The consumer group; RATCHET_GROUP unless given.")] = None,
    watching: Annotated[bool, typer.Option("--watch", help="Keep looking until Ctrl-C.")] = False,
    window_seconds: Annotated[
        float, typer.Option("--window", min=1, max=3600, help="Seconds of samples that the status is judged by.")
    ] = 5.0,
    as_json: JsonOption = False,
) -> None:
    """How far the workers are behind, and whether to act. Messages and seconds, by lane and in sum, and the trend.

    ok: nothing waited at some time in the window, or what waits is getting less. warning: it works, but what waits
    never got less. stalled: something waits, and nothing was done in the window. stopped: likewise, and nobody
    consumes. blocked: a transaction that another producer has left open keeps messages from being read. unreadable: a
    batch cannot be unpacked. Exit status 0 when all is ok.
    """

    async def look(settings: "Settings") -> "list[LaneLag]":
        from rich.live import Live

        from service.admin.lag import watch
        from service.kafka.lag import open_lag_reader

        judged: list[LaneLag] = []
        async with open_lag_reader(settings, group) as reader:
            with Live(console=console(), auto_refresh=False, transient=not watching) as live:
                async for judged, is_sure in watch(reader, window_seconds, min(1.0, window_seconds / 4)):
                    if watching and not as_json:
                        live.update(_table(judged), refresh=True)
                    elif watching:
                        typer.echo(_json(judged))
                    elif is_sure:
                        break
        return judged

    try:
        judged = run(look)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    if as_json:
        typer.echo(_json(judged))
    else:
        console().print(_table(judged))
    if judged[-1].status != "ok":
        raise typer.Exit(NO)


def _json(judged: "list[LaneLag]") -> str:
    *lanes, total = ({name: getattr(lag, name) for name in lag.__struct_fields__} for lag in judged)
    return json.dumps({"total": total, "lanes": lanes})


def _table(judged: "list[LaneLag]") -> "Table":
    from rich.text import Text

    shown = table()
    shown.add_column("lane")
    for heading in ("messages behind", "seconds behind", "messages/s", "status"):
        shown.add_column(heading, justify="left" if heading == "status" else "right")
    for lag in judged:
        if lag.lane is None:
            shown.add_section()
        shown.add_row(
            "all" if lag.lane is None else str(lag.lane),
            f"{lag.lag_messages:,}",
            f"{lag.lag_seconds:,.1f}",
            f"{lag.trend:+,.1f}",
            Text(lag.status, STYLES.get(lag.status, "red")),
        )
    return shown
