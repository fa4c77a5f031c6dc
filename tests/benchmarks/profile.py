"""What the worker's interpreter is busy with during a mass upload, as a tree: `python -m tests.benchmarks.profile`.

py-spy looks a hundred times a second which thread holds the interpreter, and where. Each line tells how much of all the
time was spent in a function and in what it calls; what took less than a hundredth is left out.
"""

import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from tests.benchmarks.backlog import Backlog
from tests.benchmarks.cases import MESSAGES, RECORDS
from tests.benchmarks.results import Results
from tests.benchmarks.servers import machine, start_servers
from tests.benchmarks.subjects import RATCHET, Worker
from tests.benchmarks.workloads import mass_upload
from tests.stack.servers import stop_all
from tests.stack.service import World

LOOKS_PER_SECOND = 100
LEFT_OUT_PERCENT = 1.0
EVENT_LOOP = "Runner.run (asyncio/runners.py"
"""Frames up to here are the same for all that runs in the event loop."""


class Call(NamedTuple):
    """A function, how often it was seen with all it calls, and what it called."""

    seen: int
    calls: dict[str, "Call"]

    def add(self, frames: Sequence[str], times: int) -> Self:
        """Count a stack, the outermost frame first."""
        if frames:
            called = self.calls.get(frames[0], Call(0, {}))
            self.calls[frames[0]] = called.add(frames[1:], times)
        return self._replace(seen=self.seen + times)

    def tell(self, whole: int, depth: int = 0) -> Iterator[str]:
        """A line for each function, the most expensive first, indented by who called it."""
        for name, call in sorted(self.calls.items(), key=lambda item: -item[1].seen):
            percent = 100 * call.seen / whole
            if percent >= LEFT_OUT_PERCENT:
                yield f"{percent:5.1f} % {'  ' * depth}{name}"
                yield from call.tell(whole, depth + 1)


def tree(stacks: Iterable[str]) -> Call:
    """From py-spy's raw format: frames joined by semicolons, a blank, how often."""
    root = Call(0, {})
    for line in stacks:
        joined, _, times = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] + ")" if ":" in frame else frame for frame in joined.split(";")]
        inner = [number for number, frame in enumerate(frames) if EVENT_LOOP in frame]
        root = root.add(frames[inner[0] + 1 :] if inner else ["outside the event loop", *frames], int(times))
    return root


def _watched(output: Path) -> list[str]:
    return [
        str(Path(sys.executable).with_name("py-spy")),
        *("record", "--gil", "--format", "raw", "--rate", str(LOOKS_PER_SECOND), "--duration", "600"),
        *("--output", str(output), "--pid"),
    ]


def main() -> None:
    """Start servers, have a mass upload worked off under py-spy's eyes, print the tree."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="ratchet-profile-") as folder:
        output = Path(folder) / "stacks"
        spies = []

        def start(world: World) -> Worker:
            worker = RATCHET.start(world)
            command = [*_watched(output), str(worker.pids[0])]
            spies.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            return worker

        try:
            servers = start_servers(Path(folder))
            about = machine(servers)
            Backlog(servers, mass_upload(MESSAGES, RECORDS)).measure(RATCHET._replace(start=start), Results())
            for spy in spies:
                spy.wait()
        finally:
            stop_all()
        root = tree(output.read_text().splitlines())
    print((__doc__ or "").partition("\n\n")[2])
    print(", ".join(f"{name}: {value}" for name, value in about.items()), end="\n\n")
    print("\n".join(root.tell(root.seen)))


if __name__ == "__main__":
    main()
