"""Who is measured. Each is a process of its own, told where to work by the settings of a world."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from contracts.topics import ATTENDANCE_CHANGED, STEP_COMPLETION_CHANGED
from tests.benchmarks.workloads import Message, decided_changes, plain_changes
from tests.stack.build import built
from tests.stack.servers import start_process, stop_process
from tests.stack.service import Failed, World

ROOT = Path(__file__).parents[2]
TUTORIAL_MESSAGES = 1000
"""It is slow."""


class Worker(NamedTuple):
    """A running worker, in as many processes of the same kind as it has. `log`: of the first."""

    processes: Sequence[subprocess.Popen[bytes]]
    log: Path

    @property
    def pids(self) -> list[int]:
        """Of its processes."""
        return [process.pid for process in self.processes]

    def check(self) -> None:
        """Raises Failed, with what the first said last, when one has ended."""
        for process in self.processes:
            if process.poll() is not None:
                said = self.log.read_text(errors="replace")[-2000:].strip()
                raise Failed(f"a worker ended with {process.returncode}: {said}")

    def stop(self) -> None:
        """SIGTERM, and in the end SIGKILL."""
        for process in self.processes:
            stop_process(process, grace_seconds=30)


class Subject(NamedTuple):
    """Somebody who turns attendance into changes."""

    name: str
    start: Callable[[World], Worker]
    changes: Callable[[Iterable[Message]], int]
    """How many changes must come of messages in this order."""
    messages: int | None = None
    """It is measured over so many, where not over all."""


def _serve(processes: int = 1, **settings: str) -> Callable[[World], Worker]:
    def start(world: World) -> Worker:
        serving = [world.serve(**settings) for _ in range(processes)]
        return Worker([one.process for one in serving], serving[0].log)

    return start


def _module(name: str) -> Callable[[World], Worker]:
    def start(world: World) -> Worker:
        log = world.folder / f"{world.name}-{name}.log"
        command = [sys.executable, "-m", f"tests.benchmarks.{name}"]
        return Worker([start_process(command, log, {**world.settings, "PYTHONPATH": str(ROOT)})], log)

    return start


def _other(name: str) -> Callable[[World], Worker]:
    """A program that tests.stack.build makes. Raises NotAvailable."""

    def start(world: World) -> Worker:
        topics = [world.prefix + topic.name for topic in (ATTENDANCE_CHANGED, STEP_COMPLETION_CHANGED)]
        program, log = built(f"benchmarks/{name}", *topics), world.folder / f"{world.name}-{name}.log"
        environment = {**world.settings, "PYTHONPATH": str(ROOT)}
        return Worker([start_process(program.command, log, environment, program.folder)], log)

    return start


RATCHET = Subject("ratchet", _serve(), decided_changes)
WITHOUT_STATES = Subject("ratchet without states", _serve(RATCHET_STATE_TOPIC="false"), decided_changes)
"""What telling where each record stands costs is the difference."""
TWO_WORKERS = Subject("two ratchets", _serve(processes=2), decided_changes)
"""On the same cores as one: what they take for a message together tells what a second pair of cores would bring."""
FLOOR = Subject("floor", _module("floor"), plain_changes)
BATCH_HANDLER = Subject("batch handler", _module("batch_handler"), plain_changes)
QUIX = Subject("Quix Streams", _other("quix"), plain_changes)
STREAMS = Subject("Kafka Streams", _other("streams"), plain_changes)
TUTORIAL = Subject("tutorial", _module("tutorial"), plain_changes, TUTORIAL_MESSAGES)
