"""What was measured, as tables: for the terminal, for programs, for the repository."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.table import Table

from tests.benchmarks.figures import Figure, figures
from tests.benchmarks.results import Name, Results, Summary

ABOUT = """\
# Benchmarks: the last full run

Made by `make bench`; do not edit. {machine}.

Everything on one machine, started for this alone: one broker, one database, and one worker at a time. Whoever is
compared takes turns in every one of the {rounds} rounds, with the same durability (`w: majority, j: true`, acks all).
Ratios are of medians.

- *floor*: aiokafka, PyMongo, uvloop; the worker's I/O in batches of 2,000 without rules or validation; exactly once.
- *tutorial*: FastStream and Motor, one find, one replace, one publish per message; over 1,000 messages only.
- *batch handler*: FastStream's batches of 2,000, Motor's bulk write, `publish_batch`; at least once.
- *Quix Streams*: state in RocksDB and a changelog, exactly once to Kafka, its own sink for MongoDB at least once.
- *Kafka Streams*: the same in Java, exactly once (v2), without a database: nothing is left that could be queried. Its
  virtual machine is still warming up at first, and its time and CPU have that in them.
- *ratchet*: `ratchet serve` with default settings; *without states*: with `RATCHET_STATE_TOPIC=false`; *two ratchets*:
  two of them on the same cores, which tells what they take for a message together.
- The clock runs from when the group has given out its partitions until everything is committed. *start to first commit*
  is counted from the start of the process.
- *steady trickle*: 200 messages a second, from the send until a `read_committed` reader has the change.
  *100,000 facts about one record beside it*: the same, all in that record's partition, whose facts come at once.
- *rules only*: one core, no I/O. zen-engine has the same course table and is asked by its fastest call.

"""
FIGURE_HEADINGS = ("figure", "value", "target", "")
SERIES_HEADINGS = ("workload", "who", "measure", "minimum", "median", "maximum")


def number(value: float) -> str:
    """Three digits or more."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def figure_cells(figure: Figure) -> tuple[str, ...]:
    """One per heading."""
    target = f"{'≤' if figure.at_most else '≥'} {figure.target:,g}"
    return figure.says, number(figure.value), target, "reached" if figure.is_reached else "not reached"


def series_cells(name: Name, summary: Summary) -> tuple[str, ...]:
    """One per heading."""
    return (*name, *(number(value) for value in (summary.minimum, summary.median, summary.maximum)))


def tables(results: Results) -> list[Table]:
    """For the terminal."""
    series = _table("Measurements", SERIES_HEADINGS, 3)
    for name, summary in _sorted(results):
        series.add_row(*series_cells(name, summary))
    promised = _table("Figures", FIGURE_HEADINGS, 1)
    for figure in figures(results):
        promised.add_row(*figure_cells(figure), style="green" if figure.is_reached else "red")
    return [series, promised]


def _table(title: str, headings: Sequence[str], words: int) -> Table:
    made = Table(title=title, title_justify="left")
    for column, heading in enumerate(headings):
        made.add_column(heading, justify="left" if column < words else "right")
    return made


def _sorted(results: Results) -> list[tuple[Name, Summary]]:
    """By workload as they were measured, then by measure, so that those compared stand together."""
    summaries = results.summaries()
    workloads, seen = (
        list(dict.fromkeys(name.workload for name in summaries)),
        list(dict.fromkeys(name.measure for name in summaries)),
    )
    return sorted(summaries.items(), key=lambda item: (workloads.index(item[0].workload), seen.index(item[0].measure)))


def as_json(results: Results, about: Mapping[str, str]) -> str:
    """For programs."""
    series: list[Mapping[str, Any]] = [
        {**name._asdict(), **summary._asdict(), "values": results.series[name]} for name, summary in _sorted(results)
    ]
    promised = [{**figure._asdict(), "reached": figure.is_reached} for figure in figures(results)]
    told = {"about": about, "figures": promised, "series": series, "notes": results.notes, "wrong": results.wrong}
    return json.dumps(told, indent=2)


def markdown(results: Results, about: Mapping[str, str], rounds: int, plots: Iterable[str]) -> str:
    """For the repository. `plots`: file names beside it."""
    machine = ", ".join(f"{name}: {value}" for name, value in about.items())
    lines = [ABOUT.format(machine=machine, rounds=rounds)]
    lines += [*_markdown_table(FIGURE_HEADINGS, 1, map(figure_cells, figures(results))), ""]
    lines += [f"![{name.removesuffix('.png')}]({name})\n" for name in plots]
    for workload, series in groupby(_sorted(results), key=lambda item: item[0].workload):
        rows = (series_cells(*item)[1:] for item in series)
        lines += [f"## {workload[0].upper()}{workload[1:]}\n", *_markdown_table(SERIES_HEADINGS[1:], 2, rows), ""]
    lines += [f"- {note}." for note in (*results.wrong, *results.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_table(headings: Sequence[str], words: int, rows: Iterable[Sequence[str]]) -> list[str]:
    rule = [" --- " if column < words else " ---: " for column in range(len(headings))]
    return [
        "| " + " | ".join(headings) + " |",
        "|" + "|".join(rule) + "|",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
