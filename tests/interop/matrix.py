"""Has every client talk to the real service, and says what came of it: `python -m tests.interop.matrix --help`."""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.interop import clients, plan
from tests.interop.report import about, machine, markdown, problems
from tests.interop.run import run
from tests.stack import choose, kafka
from tests.stack.servers import stop_all

WAYS = tuple(way for way in kafka.WAYS if way is not kafka.embedded)


def _say(line: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")  # at once: several threads tell
    sys.stdout.flush()


def main() -> int:
    """Run it. Status 1 when something is not as it must be, 2 when there are no servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="only what pytest runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that no server stays behind
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            broker, database = choose.broker(folder, _say, WAYS), choose.database(folder, _say)
            on = about(broker, database)
            with clients.start(folder) as there:
                for client, why in there.details.items():
                    _say(f"{client} is left out: {why}")
                wanted = plan.short() if arguments.short else plan.whole()
                came = run(broker, database, folder, there.running, wanted, _say)
        except choose.NothingWorks as error:
            _say(str(error))
            return 2
        finally:
            stop_all()
    if arguments.json:
        arguments.json.write_text(json.dumps(machine(came, there, on), indent=2))
    if arguments.markdown:
        arguments.markdown.write_text(markdown(came, there, on))
    wrong = problems(came)
    for problem in wrong:
        _say(problem)
    _say(f"{sum(not row.problems for row in came.rows)} of {len(came.rows)} cells ok; with {', '.join(there.about)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
