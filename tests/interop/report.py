"""What came of it, as tables: for the terminal, for programs, for the repository."""

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient

from tests.interop.clients import CLIENTS, There
from tests.interop.judge import Row
from tests.interop.messages import HEADERS
from tests.interop.plan import CODECS, MODES, OTHERS, USUAL
from tests.interop.run import Came
from tests.stack.servers import Server

ABOUT = """\
# Other clients: the last full run

Made by `make interop`; do not edit. {about}.

A cell is {messages} messages of a client about as many learners, by the partitioner that it has by default. *commit*,
*abort* and *open* are transactions; behind one that is left open come as many messages that are in none, and then
another producer takes its id over. One message each has these headers:

{headers}

A cell is **ok** when

- the messages are in the log as the cell says (codec, idempotent, transactional, kind of timestamp, every header),
- each learner's step and course completion is announced once, where the message was committed, and else never,
- announcements and records in MongoDB are what the messages make them, and the trace is passed on,
- whatever is in another partition than its key's, and committed, is forwarded once, with its headers,
- and nothing is left behind: no dead letter, and outside lag 0.
"""
READERS = """\
Each as a group with read_committed, in topics of every kind, in which a transaction was aborted. All see the same
messages in the same order as everybody; a validator finds every value valid, and a CloudEvents SDK finds its attributes
and data.
"""


def markdown(came: Came, there: There, about: str) -> str:
    """For the repository."""
    parts = [
        ABOUT.format(about=about, messages=len(HEADERS), headers="\n".join(f"- {name}" for name in HEADERS)),
        "## Clients\n",
        _table(
            ["client", "version", "on", "codecs", "not where Kafka's own partitioner has them"], _clients(came, there)
        ),
        "## Every client, codec and mode\n",
        f"Topics with {USUAL}.\n",
        _table(["client", "codec", *MODES], _usual(came)),
        "## Topics of every kind\n",
        "Every client with every codec; the modes take turns, so that any two of client, codec, mode and kind meet.\n",
        _table(["timestamps", "compression.type", *CLIENTS], _others(came)),
        "## Readers\n",
        READERS,
        _table(["client", "messages", "came of it", "CloudEvents", "JSON Schema"], _readers(came, there)),
        "## What was left out\n",
        _list([*(f"{name}: {why}." for name, why in there.missing.items()), *_cannot()]),
        "## What went wrong\n",
        _list(problems(came)),
    ]
    return "\n".join(parts)


def about(broker: Server, database: Server) -> str:
    """Date and versions."""
    with MongoClient[dict[str, object]](database.address) as client:
        mongodb = client.server_info()["version"]
    kafka = broker.how.replace(f" at {broker.address}", "")
    return f"{datetime.now(UTC).date().isoformat()}, {kafka}, MongoDB {mongodb}, Python {platform.python_version()}"


def machine(came: Came, there: There, about: str) -> dict[str, Any]:
    """For programs."""
    rows = [{**row._asdict(), "topics": row.topics._asdict(), "cell": row.cell._asdict()} for row in came.rows]
    reads = [{**read._asdict(), "topics": read.topics._asdict()} for read in came.reads]
    return {
        "about": about,
        "clients": there.about,
        "missing": there.missing,
        "rows": rows,
        "reads": reads,
        "problems": came.problems,
    }


def problems(came: Came) -> list[str]:
    """Whatever is not as it must be."""
    cells = [f"{row.topics}: {' '.join(row.cell)}: {problem}" for row in came.rows for problem in row.problems]
    reads = [f"{read.topics}: {read.client} reads: {problem}" for read in came.reads for problem in read.problems[:5]]
    return [*cells, *reads, *came.problems]


def _clients(came: Came, there: There) -> Iterable[list[str]]:
    for name, said in there.about.items():
        rows = [row for row in came.rows if row.cell.client == name]
        strays = f"{sum(row.misrouted for row in rows)} of {sum(row.messages for row in rows)}"
        yield [name, said["client"], said["runtime"], said["codecs"], strays]


def _usual(came: Came) -> Iterable[list[str]]:
    rows = {row.cell: row for row in came.rows if row.topics == USUAL}
    for client in CLIENTS:
        for codec in CODECS:
            found = [row for mode in MODES for cell, row in rows.items() if cell == (client, codec, mode)]
            yield [client, codec, *(_verdict([row]) for row in found), *["-"] * (len(MODES) - len(found))]


def _others(came: Came) -> Iterable[list[str]]:
    for topics in OTHERS:
        of = {
            client: [row for row in came.rows if (row.topics, row.cell.client) == (topics, client)]
            for client in CLIENTS
        }
        yield [*topics, *(_verdict(rows) for rows in of.values())]


def _verdict(rows: Sequence[Row]) -> str:
    if not rows:
        return "-"
    bad = sum(bool(row.problems) for row in rows)
    return f"**{bad} of {len(rows)} not**" if bad else "ok" if len(rows) == 1 else f"{len(rows)} ok"


def _readers(came: Came, there: There) -> Iterable[list[str]]:
    for name, said in there.about.items():
        reads = [read for read in came.reads if read.client == name]
        bad = [read for read in reads if read.problems]
        verdict = f"**{len(bad)} of {len(reads)} not**" if bad else f"{len(reads)} ok"
        yield [name, str(sum(read.messages for read in reads)), verdict, said["events"], said["validator"]]


def _cannot() -> Iterable[str]:
    for name, client in CLIENTS.items():
        yield from (f"{name}, a header with {what}: {why}." for what, why in client.cannot.items())
        yield from [f"{name}: {client.left_out}."] if client.left_out else []


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines or ["Nothing."]) + "\n"
