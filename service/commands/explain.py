"""`ratchet explain`."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.common import NO, JsonOption, check_ids, console, run

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rules.values import Record
    from service.lanes.ports import StoredRecord
    from service.settings import Settings


def explain(
    tenant: Annotated[str, typer.Argument(help="tenant_id")],
    learner: Annotated[str, typer.Argument(help="learner_id")],
    course: Annotated[str, typer.Argument(help="course_id")],
    as_json: JsonOption = False,
) -> None:
    """Print a record's timeline, and why it stands as it does.

    Each fact, what it decided, by which rule, why, and what was announced.
    """
    check_ids(TENANT=tenant, LEARNER=learner, COURSE=course)
    from contracts.fields import record_key

    key = record_key(tenant, learner, course)

    async def load_record(settings: "Settings") -> "StoredRecord | None":
        from service.lanes.deciding import whole_records
        from service.mongo.store import open_store

        async with open_store(settings) as store:
            return (await whole_records(store, [key])).get(key)

    stored = run(load_record)
    if stored is None:
        typer.echo(f"ratchet: no record {key}: nothing was ever reported about it", err=True)
        raise typer.Exit(NO)
    if as_json:
        from service.admin.story import story_json

        typer.echo(json.dumps(story_json(key, stored.record)))
    else:
        console().print(story_table(key, stored.record))


def story_table(key: str, record: "Record") -> "RenderableType":
    """How the record stands, then its timeline."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from contracts.fields import format_timestamp
    from rules.explain import explain as explained
    from service.admin.story import change_text, standing_text, what_text

    table = Table(title="Timeline", show_lines=True, title_justify="left")
    for name in ("When", "What happened", "Why", "Announced"):
        table.add_column(name, overflow="fold", no_wrap=name == "When")
    for told in explained(record):
        why = "\n".join(f"{reason.because} ({reason.rule_id})" for reason in told.reasons) or "(no longer kept)"
        announced = "\n".join(change_text(change) for change in told.announced) or "nothing"
        table.add_row(
            Text(format_timestamp(told.changed_at)),
            Text(f"{what_text(told)}\n{told.message_id}"),
            Text(why),
            Text(announced),
        )
    return Group(Text("\n".join(standing_text(key, record))), table)
