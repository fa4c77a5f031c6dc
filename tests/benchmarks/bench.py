"""Measures Ratchet beside what else does the same work, on real servers: `python -m tests.benchmarks.bench --help`."""

import argparse
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import KafkaException
from pymongo.errors import PyMongoError
from rich.console import Console

from tests.benchmarks.cases import BY_NAME, CASES, Case, Measured
from tests.benchmarks.plots import draw
from tests.benchmarks.report import as_json, markdown, tables
from tests.benchmarks.results import Results
from tests.benchmarks.servers import machine, start_servers
from tests.stack.servers import NotAvailable, stop_all
from tests.stack.service import Failed

ROUNDS = 3
console = Console(width=None if sys.stdout.isatty() else 160)


def main() -> int:
    """Run the chosen cases. Status 1 when somebody did not do the work, 2 when there are no servers."""
    arguments = _arguments()
    logging.disable(logging.CRITICAL)  # clients tell of topics that are a moment old
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that no server stays behind
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = [case for case in CASES if not arguments.only or case.name in arguments.only]
    results = Results()
    begin = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="ratchet-bench-") as folder:
            try:
                about = run(chosen, Path(folder), arguments.scale, arguments.rounds, results)
            finally:
                stop_all()
    except (NotAvailable, Failed) as error:
        console.print(str(error), markup=False)
        return 2
    except KeyboardInterrupt:
        return 130
    about["took"] = f"{(time.monotonic() - begin) / 60:.0f} minutes"
    if arguments.scale != 1:
        about["scale"] = f"{arguments.scale:g}"
    _tell(results, about, arguments)
    return 1 if results.wrong else 0


def run(chosen: Sequence[Case], folder: Path, scale: float, rounds: int, results: Results) -> dict[str, str]:
    """Each case once in every round; gives what it ran on."""
    servers = start_servers(folder)
    prepared: list[tuple[Case, Measured]] = []
    for case in chosen:
        _say(f"{case.name}: preparing")
        with _noted(case, results):
            prepared.append((case, case.prepare(servers, scale)))
    for number in range(1, rounds + 1):
        for case, measured in prepared:
            if number == 1 or not case.once:
                _say(f"{case.name}: round {number} of {1 if case.once else rounds}")
                with _noted(case, results):
                    measured.measure(results)
    return machine(servers)


@contextmanager
def _noted(case: Case, results: Results) -> Iterator[None]:
    """A case that fails is told of; the time that was spent on the others is not lost."""
    try:
        yield
    except (Failed, AssertionError, TimeoutError, KafkaException, PyMongoError) as error:
        results.wrong.append(f"{case.name}: {(str(error) or repr(error)).splitlines()[-1]}")


def _say(text: str) -> None:
    console.print(f"{datetime.now(UTC):%H:%M:%S} {text} ...", markup=False, highlight=False)


def _tell(results: Results, about: dict[str, str], arguments: argparse.Namespace) -> None:
    for table in tables(results):
        console.print(table)
    for line in (*results.wrong, *results.notes):
        console.print(line, markup=False, highlight=False)
    plots = draw(results, arguments.plots) if arguments.plots else []
    if arguments.json:
        arguments.json.write_text(as_json(results, about))
    if arguments.markdown:
        arguments.markdown.write_text(markdown(results, about, arguments.rounds, plots))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bench", description=(__doc__ or "").split(":")[0] + "."
    )
    parser.add_argument(
        "--rounds", type=_positive_int, default=ROUNDS, metavar="N", help=f"how often; default {ROUNDS}"
    )
    parser.add_argument("--scale", type=_positive, default=1.0, metavar="F", help="of messages and records; default 1")
    parser.add_argument(
        "--only",
        action="append",
        choices=BY_NAME,
        metavar="NAME",
        help="may be given again; one of: " + ", ".join(BY_NAME),
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write throughput.png and latency.png there")
    return parser.parse_args()


def _positive(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("must be greater than 0")
    return value


def _positive_int(text: str) -> int:
    return int(_positive(str(int(text))))


if __name__ == "__main__":
    sys.exit(main())
