"""Runs faults on real servers and says what came of each: `python -m tests.faults.matrix --help`."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.faults.cluster import Cluster, start_cluster, start_proxies
from tests.faults.faults import CASES, Case
from tests.faults.judge import judge
from tests.faults.report import Row, lines, machine, markdown, table
from tests.faults.situation import Profile, Situation, situation
from tests.stack.servers import NotAvailable, stop_all

PROFILES = {
    "short": Profile("short", inputs=3_000, records=150, partitions=6, batch_messages=60, trouble_seconds=8),
    "full": Profile("full", inputs=100_000, records=5_000, partitions=12, batch_messages=1000, trouble_seconds=60),
}
FIRST_SHARE = 0.3
console = Console(width=None if sys.stdout.isatty() else 200)


async def run_case(cluster: Cluster, folder: Path, case: Case, profile: Profile) -> Row:
    """Inputs before, during and after the fault; then look at what is left behind."""
    inputs, records = round(profile.inputs * case.scale), round(profile.records * case.scale)
    scaled = profile._replace(inputs=inputs, records=records)
    proxies = start_proxies(cluster) if case.proxied else None
    try:
        async with situation(Situation, cluster, folder, scaled, proxies) as s:
            await s.feed(FIRST_SHARE / case.scale)
            await s.changes_come()
            begin = time.time()
            await case.act(s)
            end = time.time()
            await s.feed_rest()
            await s.dealt_with()
            settled = time.time()
            await s.ready()
            await s.stop_all()
            return await judge(case, s, begin, end, settled)
    finally:
        for proxy in () if proxies is None else proxies.all:
            proxy.close()


def _tell(row: Row) -> None:
    for line in lines(row):
        console.print(f"  {line}", soft_wrap=True, markup=False, highlight=False)


def main() -> int:
    """Run the chosen cases. Status 1 when the promise was not kept, 2 when there are no servers."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="cases: " + "; ".join(case.name for case in CASES))
    parser.add_argument("--profile", choices=PROFILES, default="full")
    parser.add_argument("--only", action="append", metavar="CASE", help="part of a case's name; may be given again")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write there, case by case; with --only, rows of others stay"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    arguments = parser.parse_args()
    chosen = [case for case in CASES if not arguments.only or any(part in case.name for part in arguments.only)]
    if not chosen:
        parser.error("no case has such a name")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that no server stays behind
    profile = PROFILES[arguments.profile]
    rows = _earlier(arguments.json) if arguments.only else []
    cluster: Cluster | None = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            cluster = start_cluster(Path(folder))
            about = machine(cluster)
            for case in chosen:
                console.print(f"{datetime.now(UTC):%H:%M:%S} {case.name} ...")
                row = asyncio.run(run_case(cluster, Path(folder), case, profile))
                _tell(row)
                rows = _with(rows, row)
                if arguments.json:
                    arguments.json.write_text(json.dumps({"about": about, "rows": [one._asdict() for one in rows]}))
        except NotAvailable as error:
            console.print(str(error), markup=False)
            return 2
        finally:
            if cluster is not None:
                cluster.stop()  # all at once: one after the other they would wait for each other
            stop_all()
    console.print(table(rows))
    if arguments.markdown:
        arguments.markdown.write_text(markdown(rows, profile, about))
    return 0 if all(row.is_good for row in rows) else 1


def _earlier(kept: Path | None) -> list[Row]:
    """What other runs have written there."""
    if kept is None or not kept.exists():
        return []
    return [Row(**row) for row in json.loads(kept.read_text())["rows"]]


def _with(rows: list[Row], row: Row) -> list[Row]:
    """In the order of the cases; what was run again takes the place of what it said before."""
    known = {one.fault: one for one in (*rows, row)}
    return [known[case.name] for case in CASES if case.name in known]


if __name__ == "__main__":
    sys.exit(main())
