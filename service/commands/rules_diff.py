"""`ratchet rules diff`: what it shows."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from contracts.fields import format_timestamp, split_key
from rules.compare import Difference, Said
from rules.tables import Table as DecisionTable
from rules.values import Certificate
from service.admin.files.cells import harmless
from service.admin.story import (
    announced_json,
    announced_text,
    course_json,
    course_text,
    fact_text,
    step_json,
    step_text,
)
from service.commands.common import NO, console, number_of, progress_bar, run
from service.errors import FixConfiguration
from service.settings import Settings

if TYPE_CHECKING:
    from service.admin.rules_diff import Selection, Sums

SHOWN = 20
"""So many facts are shown; the file has all."""
HEADINGS = ("tenant", "learner", "course", "changed_at", "message_id", "what", "rules now", "rules then", "now", "then")


class Shown:
    """Takes the records that differ, one by one, and shows them where they are wanted."""

    def __init__(self, writer: Any, as_json: bool) -> None:
        self.table = Table("record", "fact", "now", "then", show_lines=True)
        self._writer = writer
        self._as_json = as_json

    def add(self, key: str, differences: list[Difference]) -> None:
        """One record."""
        for difference in differences:
            if self._writer is not None:
                self._writer.writerow(map(harmless, _row(key, difference)))
            if self.table.row_count < SHOWN:
                self.table.add_row(key, _what(difference), *_sides(difference))
        if self._as_json:
            typer.echo(json.dumps({"record": key, "facts": [_json(key, one) for one in differences]}))


def diff(candidate: DecisionTable, selection: "Selection", output: Path | None, as_json: bool) -> None:
    """Do it, show it, and end with the exit status."""

    async def work(settings: Settings) -> "tuple[Sums, Table]":
        from service.admin.rules_diff import Sums, count, differing
        from service.mongo.store import open_store

        sums = Sums()
        async with open_store(settings) as store:
            with progress_bar() as bar, _written(output) as writer:
                shown = Shown(writer, as_json)
                task = bar.add_task("records", total=await count(store, selection))
                found = differing(store, candidate, selection, sums, lambda records: bar.advance(task, records))
                async for key, differences in found:
                    shown.add(key, differences)
        return sums, shown.table

    sums, table = run(work, stopped="stopped")
    if as_json:
        typer.echo(json.dumps(_sums_json(sums)))
    else:
        _tell(sums, table, output)
    if sums.differing:
        raise typer.Exit(NO)


@contextmanager
def _written(output: Path | None) -> Iterator[Any]:
    """A writer of rows; None where there is no file. Raises FixConfiguration where it cannot be written."""
    if output is None:
        yield None
        return
    try:
        with output.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADINGS)
            yield writer
    except OSError as error:
        raise FixConfiguration(f"{output}: cannot be written: {error.strerror}") from None


def _tell(sums: "Sums", shown: Table, output: Path | None) -> None:
    if sums.differing:
        console().print(shown)
        more = sums.differing_facts - shown.row_count
        if more:
            whole = "--output FILE writes them all" if output is None else f"{output} has them all"
            typer.echo(f"… and {number_of(more, 'more fact')}; {whole}")
        console().print(_sums_table(sums))
    typer.echo(f"{sums.differing:,} of {number_of(sums.records, 'record')} would decide differently.")


def _sums_table(sums: "Sums") -> Table:
    table = Table("rule now", "rule then", "facts", "records")
    table.columns[2].justify = table.columns[3].justify = "right"
    for (now, then), facts in sums.facts.most_common():
        table.add_row(now, then, f"{facts:,}", f"{sums.records_by_rule[now, then]:,}")
    return table


def _sums_json(sums: "Sums") -> dict[str, Any]:
    rules = [
        {"now": now, "then": then, "facts": facts, "records": sums.records_by_rule[now, then]}
        for (now, then), facts in sums.facts.most_common()
    ]
    return {"records": sums.records, "differing": sums.differing, "rules": rules}


def _what(difference: Difference) -> str:
    return f"{format_timestamp(difference.changed_at)}\n{fact_text(difference.fact)}\n{difference.message_id}"


def _sides(difference: Difference) -> tuple[str, str]:
    """What differs, on either side: rules that speak on this one only, else the last one, and what they decide."""
    sides = []
    effects, others = _effects(difference.now), _effects(difference.then)
    for said, other, mine, yours in (
        (difference.now, difference.then, effects, others),
        (difference.then, difference.now, others, effects),
    ):
        rules = [rule_id for rule_id in said.rules if rule_id not in other.rules] or said.rules[-1:]
        sides.append("\n".join([*rules, *(text for name, text in mine.items() if text != yours[name])]))
    return sides[0], sides[1]


def _effects(said: Said) -> dict[str, str]:
    """What was decided, in words."""
    announced = ", ".join(announced_text(what) for what in said.announced)
    return {
        "step": "" if said.step is None else f"step {step_text(said.step)}",
        "course": f"course {course_text(said.course)}",
        "certificate": _certificate_text(said.certificate),
        "announced": f"announces {announced or 'nothing'}",
    }


def _certificate_text(certificate: Certificate | None) -> str:
    return "no certificate" if certificate is None else f"certificate {certificate.status}"


def _row(key: str, difference: Difference) -> list[str]:
    rules = (" ".join(said.rules) for said in (difference.now, difference.then))
    effects = ("; ".join(filter(None, _effects(said).values())) for said in (difference.now, difference.then))
    what = (format_timestamp(difference.changed_at), difference.message_id, fact_text(difference.fact))
    return [*split_key(key), *what, *rules, *effects]


def _json(key: str, difference: Difference) -> dict[str, Any]:
    return {
        "changed_at": format_timestamp(difference.changed_at),
        "message_id": difference.message_id,
        "what": fact_text(difference.fact),
        "now": _said_json(key, difference.now),
        "then": _said_json(key, difference.then),
    }


def _said_json(key: str, said: Said) -> dict[str, Any]:
    certificate = said.certificate
    return {
        "rules": said.rules,
        "step": step_json(said.step),
        "course": course_json(said.course),
        "certificate": None if certificate is None else {"attempt": certificate.attempt, "status": certificate.status},
        "announced": [announced_json(key, what) for what in said.announced],
    }
