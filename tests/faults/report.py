"""What came of the faults, as tables: for the terminal, for programs, for the repository."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

from pymongo import MongoClient
from rich.table import Table

from tests.faults.cluster import Cluster
from tests.faults.situation import SESSION_SECONDS, WORKERS, Profile
from tests.stack.kafka import VERSION

ABOUT = """\
# Faults on real servers: the last full run

Made by `make faults`; do not edit. {machine}.

{inputs:,} inputs about {records:,} records on {partitions} partitions, with 5 % doubled, 5 % late, 5 % misrouted, 1 %
poison, 1 % reassignments, 1 % equivalencies and three versions of each of 20 courses, by {workers} workers with a
session time-out of {session_seconds} s; three nodes of Kafka (replication 3, min.insync.replicas 2), three of MongoDB,
everything on one machine.

- *wrong*: records that are not what folding their facts gives, and dead letters that are not the poison.
- *again*: changes and dead letters that came once more, or that were decided otherwise the second time, which only a
  database restored from a backup may cause.
- *first change*: from the fault's end until a change decided after it could be read. *lag 0*: from the fault's end
  until everything was dealt with, including the share of the inputs that was sent after it. *longest pause*: without
  any change, from the fault's begin on.
- *memory*: the largest worker's. *restarts*: workers that ended with status 3 and were started again.

"""


class Row(NamedTuple):
    """What came of a case. All but the counts in seconds; None: it never happened."""

    fault: str
    inputs: int
    changes: int
    dead_letters: int
    lost: int
    doubled: int
    out_of_order: int
    wrong: int
    again: int
    first_change_seconds: float | None
    lag_zero_seconds: float
    longest_pause_seconds: float
    peak_memory_mb: int
    restarts: int
    notes: str
    examples: list[str]

    @property
    def is_good(self) -> bool:
        """Whether the promise was kept."""
        return not (self.lost or self.doubled or self.out_of_order or self.wrong)


HEADINGS = {
    "fault": "fault",
    "inputs": "inputs",
    "changes": "changes",
    "dead_letters": "dead letters",
    "lost": "lost",
    "doubled": "doubled",
    "out_of_order": "out of order",
    "wrong": "wrong",
    "again": "again",
    "first_change_seconds": "first change s",
    "lag_zero_seconds": "lag 0 s",
    "longest_pause_seconds": "longest pause s",
    "peak_memory_mb": "memory MB",
    "restarts": "restarts",
}


def cells(row: Row) -> list[str]:
    """One per heading."""
    return ["never" if value is None else str(value) for value in (getattr(row, name) for name in HEADINGS)]


def lines(row: Row) -> list[str]:
    """For the terminal, as soon as it is known."""
    told = ", ".join(f"{name} {cell}" for name, cell in zip(HEADINGS.values(), cells(row), strict=True))
    return [line for line in (told, row.notes, *row.examples) if line]


def table(rows: Sequence[Row]) -> Table:
    """For the terminal."""
    made = Table(title="Faults on real servers")
    for heading in HEADINGS.values():
        made.add_column(heading, justify="left" if heading == "fault" else "right")
    for row in rows:
        made.add_row(*cells(row), style=None if row.is_good else "red")
    return made


def markdown(rows: Sequence[Row], profile: Profile, machine: dict[str, str]) -> str:
    """For the repository."""
    about = ABOUT.format(
        machine=", ".join(f"{name}: {value}" for name, value in machine.items()),
        inputs=profile.inputs,
        records=profile.records,
        partitions=profile.partitions,
        workers=WORKERS,
        session_seconds=SESSION_SECONDS,
    )
    lines = [
        "| " + " | ".join(HEADINGS.values()) + " |",
        "| --- |" + " ---: |" * (len(HEADINGS) - 1),
        *("| " + " | ".join(cells(row)) + " |" for row in rows),
        "",
        *(f"- {row.fault}: {row.notes}." for row in rows if row.notes),
    ]
    return about + "\n".join(lines) + "\n"


def machine(cluster: Cluster) -> dict[str, str]:
    """Date, versions, size."""
    with MongoClient[dict[str, object]](cluster.database.address) as client:
        mongodb = client.server_info()["version"]
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "Apache Kafka": VERSION,
        "MongoDB": mongodb,
        "Python": platform.python_version(),
        **{name: version(name) for name in ("aiokafka", "faststream", "motor")},
        "machine": f"{os.cpu_count()} cores, {memory_gib:.0f} GiB",
    }
