"""What came of a soak: for programs, for the repository."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.faults.report import Row
from tests.faults.situation import SESSION_SECONDS, WORKERS, Profile
from tests.faults.vitals import (
    FILES_GROWTH_LIMIT,
    FILES_LIMIT,
    GROWTH_LIMIT_MB,
    GROWTH_LIMIT_MB_PER_HOUR,
    JUDGED_SECONDS,
    MEMORY_LIMIT_MB,
    WARM_UP_SECONDS,
    Life,
)

SHOWN_LIVES = 12
SHOWN_FINDINGS = 20
ABOUT = """\
# Soak: random faults for hours, the last long run

Made by `make soak`; do not edit. {machine}. Seed {seed}.

**{hours:.2f} hours, {faults} faults, {inputs:,} inputs: {conclusion}.**{ended}

{workers} workers with a session time-out of {session_seconds} s on {partitions} partitions, {rate:.0f} messages a
second, and what a fault sends in addition. In each round every fault comes once, in random order: first those that
leave the workers alive, then those that end some. After each fault everything is settled and judged by the checker of
the fault matrix; then it is forgotten, and what is written of it later is found.

"""
FAULTS = """\
*again*: as in [RESULTS.md](RESULTS.md); only a database restored from a backup may cause it. *lag 0* and *pause*: the
longest of all times.

| fault | times | inputs | changes | dead letters | lost | doubled | out of order | wrong | again | lag 0 s | pause s |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""
SUMS = ("inputs", "changes", "dead_letters", "lost", "doubled", "out_of_order", "wrong", "again")
WORST = ("lag_zero_seconds", "longest_pause_seconds")
LIVES = """\

## Memory and file descriptors

The {shown} longest of {lives} lives of workers; most end by faults. *start* is soon after the worker's, *end* when
it was last seen; the slopes are of a straight line through what was measured after {warm_up_minutes:.0f} minutes,
for those that lived {judged_minutes:.0f} minutes longer. A leak, and a finding, is memory that grows by more than
{growth_mb:.0f} MB and {growth_mb_per_hour:.0f} MB an hour, file descriptors that grow by more than {files_growth:.0f},
or more than {memory_mb:.0f} MB or {files} file descriptors at any time.

| minutes | memory MB: start | peak | end | an hour | files: start | peak | end | an hour |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""
DISK = """
The servers' files grew by {grown:.2f} GiB ({per_hour:.1f} GiB an hour): their own logs of transactions, offsets and
operations. The topics are emptied after each fault.
"""


@dataclass
class Soak:
    """What came of it so far. Times in seconds since 1970."""

    messages_per_second: float
    profile: Profile
    begun: float
    begin_gib: float
    seconds: float = 0.0
    end_gib: float = 0.0
    ended: str = ""
    """Why, where it was not the time."""
    doing: str | None = None
    """The fault that was not judged when it ended."""
    rows: list[Row] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    lives: dict[int, Life] = field(default_factory=dict)

    @property
    def grown_gib(self) -> float:
        """What the servers and their logs have taken of the disk since the begin."""
        return self.end_gib - self.begin_gib

    @property
    def inputs(self) -> int:
        """Of all faults together."""
        return sum(row.inputs for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        lives = [{"pid": life.pid, "samples": life.samples} for life in self.lives.values()]
        said = {"seconds": self.seconds, "ended": self.ended, "findings": self.findings}
        return {**said, "rows": [row._asdict() for row in self.rows], "lives": lives}


def markdown(soak: Soak, machine: dict[str, str]) -> str:
    """For the repository."""
    hours = max(soak.seconds / 3600, 1e-9)
    parts = [
        ABOUT.format(
            machine=", ".join(f"{name}: {value}" for name, value in machine.items()),
            seed=soak.profile.seed,
            hours=hours,
            faults=len(soak.rows),
            inputs=soak.inputs,
            conclusion="nothing was found" if not soak.findings else f"{len(soak.findings)} findings",
            ended=_ended(soak),
            workers=WORKERS,
            session_seconds=SESSION_SECONDS,
            partitions=soak.profile.partitions,
            rate=soak.messages_per_second,
        ),
        "".join(f"- {finding}\n" for finding in soak.findings[:SHOWN_FINDINGS]),
        "\n" if soak.findings else "",
        FAULTS,
        *_faults(soak),
        *_lives(soak),
        DISK.format(grown=soak.grown_gib, per_hour=soak.grown_gib / hours),
    ]
    return "".join(parts)


def _ended(soak: Soak) -> str:
    doing = f", during *{soak.doing}*, which is not judged" if soak.doing else ""
    return f" It ended before its time: {soak.ended}{doing}." if soak.ended else ""


def _faults(soak: Soak) -> list[str]:
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in soak.rows:
        by_name[row.fault].append(row)
    return [
        _line(
            name,
            len(rows),
            *(sum(getattr(row, what) for row in rows) for what in SUMS),
            *(max(getattr(row, what) for row in rows) for what in WORST),
        )
        for name, rows in by_name.items()
    ]


def _lives(soak: Soak) -> list[str]:
    longest = sorted(soak.lives.values(), key=lambda life: -life.seconds)[:SHOWN_LIVES]
    about = LIVES.format(
        shown=len(longest),
        lives=len(soak.lives),
        warm_up_minutes=WARM_UP_SECONDS / 60,
        judged_minutes=JUDGED_SECONDS / 60,
        growth_mb=GROWTH_LIMIT_MB,
        growth_mb_per_hour=GROWTH_LIMIT_MB_PER_HOUR,
        files_growth=FILES_GROWTH_LIMIT,
        memory_mb=MEMORY_LIMIT_MB,
        files=FILES_LIMIT,
    )
    return [about, *map(_life, longest)]


def _life(life: Life) -> str:
    first, last, (peak_mb, peak_files), trend = life.samples[0], life.samples[-1], life.peak(), life.trend()
    memory = (f"{mb:.0f}" for mb in (first.memory_mb, peak_mb, last.memory_mb))
    slopes = ("", "") if trend is None else (f"{trend.memory_mb_per_hour:+.1f}", f"{trend.files_per_hour:+.1f}")
    return _line(f"{life.seconds / 60:.0f}", *memory, slopes[0], first.files, peak_files, last.files, slopes[1])


def _line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |\n"
