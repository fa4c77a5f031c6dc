"""What a process has used, as Linux counts it in /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(processes: Iterable[int]) -> float:
    """Processor time of these processes together, user and system, all threads."""
    return sum(_cpu_ticks(process) for process in processes) / TICKS_PER_SECOND


def _cpu_ticks(process: int) -> int:
    # the name, in parentheses, may hold anything; utime and stime are fields 14 and 15
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def peak_memory_mb(process: int) -> float:
    """The most that was ever resident, in megabytes of 2**20 bytes."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(kilobytes) / 1024
