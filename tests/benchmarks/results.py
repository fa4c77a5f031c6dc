"""What was measured: numbers by workload, who and measure."""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

RATE = "messages/s"
CPU = "CPU s per million, worker"
CPU_ALL = "CPU s per million, worker + broker + database"
MEMORY = "peak memory MB"
START = "start to first commit s"
MEDIAN = "median ms"
P99 = "99th percentile ms"
CPU_REQUESTS = "CPU ms a request"
CALLS = "calls/s"
FACTS = "facts/s"
DOCUMENT = "bytes a record"
DISK = "MB on disk per million records"
INDEXES = "MB of indexes per million records"


class Name(NamedTuple):
    """Of a series."""

    workload: str
    who: str
    measure: str


class Summary(NamedTuple):
    """Of a series."""

    minimum: float
    median: float
    maximum: float
    rounds: int


class Results:
    """Grows while the benchmarks run."""

    def __init__(self) -> None:
        self.series: dict[Name, list[float]] = defaultdict(list)
        self.latencies_ms: dict[str, list[float]] = defaultdict(list)
        """Of every message of the steady trickle, by who."""
        self.wrong: list[str] = []
        """Whatever makes a measurement worthless."""
        self.notes: list[str] = []

    def add(self, workload: str, who: str, measure: str, value: float) -> None:
        """One round's value."""
        self.series[Name(workload, who, measure)].append(value)

    def note(self, text: str) -> None:
        """Something that a reader of the results should know."""
        if text not in self.notes:
            self.notes.append(text)

    def summaries(self) -> Mapping[Name, Summary]:
        """Minimum, median and maximum of the rounds."""
        return {
            name: Summary(min(values), statistics.median(values), max(values), len(values))
            for name, values in self.series.items()
        }

    def median(self, workload: str, who: str, measure: str) -> float | None:
        """None where nothing was measured."""
        values = self.series.get(Name(workload, who, measure))
        return statistics.median(values) if values else None
