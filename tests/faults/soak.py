"""Random faults for hours on real servers, under steady inputs: `python -m tests.faults.soak --help`.

Rounds of all faults that can be repeated, in random order: first those that leave the workers alive, so that their
memory can be watched for long, then those that end some. After each one everything is settled and judged.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from tests.faults.cluster import Cluster, start_cluster, start_proxies
from tests.faults.faults import CASES, Case
from tests.faults.judge import judge
from tests.faults.report import lines, machine
from tests.faults.situation import Profile, situation
from tests.faults.soak_report import Soak, markdown
from tests.faults.steady import Steady
from tests.stack.servers import NotAvailable, stop_all

PROFILE = Profile("soak", inputs=3_000, records=600, partitions=6, batch_messages=1000, trouble_seconds=20)
"""What a fault feeds in addition is a share of these inputs."""
MESSAGES_PER_SECOND = 150.0
AROUND_SECONDS = 5.0
"""Before a fault, and after it."""
FREE_GIB = 5.0
"""With less left on the disk it ends."""
GIB = 2**30
BLOCK_BYTES = 512
"""What `stat` counts in."""
CONCLUSIONS = {True: "nothing was found", False: "SOMETHING WAS FOUND"}
console = Console(width=None if sys.stdout.isatty() else 200)
Say = Callable[[str], None]


class Plan(NamedTuple):
    """What a soak does."""

    seconds: float
    cases: Sequence[Case]
    messages_per_second: float = MESSAGES_PER_SECOND
    profile: Profile = PROFILE
    around_seconds: float = AROUND_SECONDS


def repeatable() -> list[Case]:
    """Every fault that a soak may choose."""
    return [case for case in CASES if case.repeats]


def in_rounds(cases: Sequence[Case], seed: int) -> Iterator[Case]:
    """Without end: all of them in random order, those that end workers last."""
    chance = random.Random(seed)
    while True:
        shuffled = chance.sample(cases, len(cases))
        yield from sorted(shuffled, key=lambda case: case.ends_workers)


async def soak(cluster: Cluster, folder: Path, plan: Plan, say: Say = print) -> Soak:
    """Until the time is over, the disk is full, or it is cancelled, which ends it like time."""
    began_gib = _used_gib(folder)
    made = Soak(plan.messages_per_second, plan.profile, time.time(), began_gib, end_gib=began_gib)
    proxies = start_proxies(cluster)
    try:
        make = partial(Steady, messages_per_second=plan.messages_per_second)
        async with situation(make, cluster, folder, plan.profile, proxies) as s:
            made.lives = s.vitals.lives
            await _go_on(s, made, folder, plan, say)
    except asyncio.CancelledError:
        made.ended = "interrupted"
    except Exception as error:  # noqa: BLE001  # whatever has ended it belongs to the report
        made.findings.append(f"it ended early: {type(error).__name__}: {error}, {_where(error)}")
        made.ended = "failed"
    finally:
        for proxy in proxies.all:
            proxy.close()
    made.seconds = time.time() - made.begun
    made.findings += [found for life in made.lives.values() for found in life.leaks()]
    return made


def _where(error: Exception) -> str:
    """The last places of ours on its way."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/" in frame.filename]
    return " → ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-4:])


async def _go_on(s: Steady, made: Soak, folder: Path, plan: Plan, say: Say) -> None:
    for case in in_rounds(plan.cases, plan.profile.seed):
        if time.time() - made.begun >= plan.seconds:
            return
        free_gib = shutil.disk_usage(folder).free / GIB
        if free_gib < FREE_GIB:
            made.ended = f"only {free_gib:.1f} GiB were left on the disk"
            return
        say(f"{datetime.now(UTC):%H:%M:%S} {case.name} ...")
        made.doing = case.name
        await _one_fault(s, case, made, plan.around_seconds, say)
        made.doing = None
        made.end_gib = _used_gib(folder)
        say(f"  {_how_it_stands(made)}")


async def _one_fault(s: Steady, case: Case, made: Soak, around_seconds: float, say: Say) -> None:
    """Inputs come before, during and after it; then it is judged."""
    await asyncio.sleep(around_seconds)
    await s.changes_come()
    begin = time.time()
    await case.act(s)
    end = time.time()
    await asyncio.sleep(around_seconds)
    async with s.rest():
        s.look_beside()
        await s.dealt_with()
        settled = time.time()
        await s.ready()
        row = await judge(case, s, begin, end, settled)
        strangers = s.strangers()
        made.rows.append(row)
        made.findings += [f"{case.name}: {example}" for example in (*row.examples, *strangers)]
        for line in (*lines(row), *strangers):
            say(f"  {line}")
        await s.forget()


def _how_it_stands(made: Soak) -> str:
    alive = [life.samples[-1] for life in list(made.lives.values())[-3:]]
    memory = "/".join(f"{sample.memory_mb:.0f}" for sample in alive)
    files = "/".join(str(sample.files) for sample in alive)
    return (
        f"{(time.time() - made.begun) / 3600:.2f} h, {made.inputs} inputs, {CONCLUSIONS[not made.findings]}; "
        f"workers: {memory} MB, {files} files; disk {made.grown_gib:+.1f} GiB"
    )


def _used_gib(folder: Path) -> float:
    """Of the disk, by servers and logs."""
    used = 0
    for parent, _, names in os.walk(folder):  # which bears that something is deleted meanwhile
        for name in names:
            with suppress(OSError):
                used += Path(parent, name).stat().st_blocks * BLOCK_BYTES
    return used / GIB


@asynccontextmanager
async def _ended_by_signals() -> AsyncIterator[None]:
    """Ctrl-C and SIGTERM end what goes on here, once; the report follows."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    yield


async def _run(cluster: Cluster, folder: Path, plan: Plan) -> Soak:
    async with _ended_by_signals():
        return await soak(cluster, folder, plan, partial(console.print, soft_wrap=True, markup=False, highlight=False))


def main() -> int:
    """Soak. Status 1 when something was found, 2 when there are no servers."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="faults: " + "; ".join(case.name for case in repeatable())
    )
    parser.add_argument("hours", type=float, metavar="HOURS")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the faults, and of the inputs")
    parser.add_argument("--rate", type=float, default=MESSAGES_PER_SECOND, help="messages a second")
    parser.add_argument("--only", action="append", metavar="FAULT", help="part of a fault's name; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report there")
    arguments = parser.parse_args()
    chosen = [case for case in repeatable() if not arguments.only or any(part in case.name for part in arguments.only)]
    if not chosen:
        parser.error("no fault has such a name")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # until the soak begins
    plan = Plan(arguments.hours * 3600, chosen, arguments.rate, PROFILE._replace(seed=arguments.seed))
    cluster: Cluster | None = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            cluster = start_cluster(Path(folder))
            about = machine(cluster)
            made = asyncio.run(_run(cluster, Path(folder), plan))
        except NotAvailable as error:
            console.print(str(error), markup=False)
            return 2
        finally:
            if cluster is not None:
                cluster.stop()
            stop_all()
    report = markdown(made, about)
    console.print(report, soft_wrap=True, markup=False, highlight=False)
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, **made.as_json()}, indent=2))
    if arguments.markdown:
        arguments.markdown.write_text(report)
    return 1 if made.findings else 0


if __name__ == "__main__":
    sys.exit(main())
