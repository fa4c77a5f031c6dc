"""The figures that are promised: each compares two measurements, or one with a number, and has a target."""

from collections.abc import Iterator
from typing import NamedTuple

from tests.benchmarks import cases, rules, trickle
from tests.benchmarks.history import History
from tests.benchmarks.results import CALLS, CPU, CPU_ALL, FACTS, MEDIAN, MEMORY, P99, RATE, START, Results

UPLOAD, HOT = "mass upload", "hot record"
LONG, SHORT = (f"history of {facts:,} facts" for facts in (History.long_facts, History.short_facts))
LARGE, SMALL = "collection of 1,000,000 records", "collection of 20,000 records"


class Figure(NamedTuple):
    """A promised number: at least, or at most, the target."""

    says: str
    value: float
    target: float
    at_most: bool = False

    @property
    def is_reached(self) -> bool:
        """Whether the promise was kept."""
        return self.value <= self.target if self.at_most else self.value >= self.target


class _Ratio(NamedTuple):
    """Of medians."""

    says: str
    of: tuple[str, str, str]
    to: tuple[str, str, str]
    target: float
    at_most: bool = False


RATIOS = (
    _Ratio("backlog throughput against the floor", (UPLOAD, "ratchet", RATE), (UPLOAD, "floor", RATE), 1.0),
    _Ratio("backlog throughput against the tutorial", (UPLOAD, "ratchet", RATE), (UPLOAD, "tutorial", RATE), 110),
    _Ratio(
        "backlog throughput against the batch handler", (UPLOAD, "ratchet", RATE), (UPLOAD, "batch handler", RATE), 1.5
    ),
    _Ratio("worker's CPU per message against the floor's", (UPLOAD, "ratchet", CPU), (UPLOAD, "floor", CPU), 1.8, True),
    _Ratio("hot record, throughput against the floor", (HOT, "ratchet", RATE), (HOT, "floor", RATE), 0.8),
    _Ratio(
        "facts decided and explained against zen-engine with trace",
        (rules.NAME, rules.DECIDE, FACTS),
        (rules.NAME, rules.ZEN_TRACE, CALLS),
        3,
    ),
    _Ratio(
        "bare table lookup against zen-engine's fastest call",
        (rules.NAME, rules.LOOKUP, CALLS),
        (rules.NAME, rules.ZEN, CALLS),
        10,
    ),
    _Ratio(
        "median latency against the floor's",
        (trickle.NAME, "ratchet", MEDIAN),
        (trickle.NAME, "floor", MEDIAN),
        1.3,
        True,
    ),
    _Ratio(
        "99th percentile of latency against its own median",
        (trickle.NAME, "ratchet", P99),
        (trickle.NAME, "ratchet", MEDIAN),
        3,
        True,
    ),
    _Ratio(
        "CPU per message, history of 10,000 facts against 10",
        (LONG, "ratchet", CPU),
        (SHORT, "ratchet", CPU),
        1.2,
        True,
    ),
    _Ratio(
        "time per message, history of 10,000 facts against 10",
        (SHORT, "ratchet", RATE),
        (LONG, "ratchet", RATE),
        1.2,
        True,
    ),
    _Ratio(
        "CPU per message, 1,000,000 records against 20,000", (LARGE, "ratchet", CPU), (SMALL, "ratchet", CPU), 1.2, True
    ),
    _Ratio(
        "time per message, 1,000,000 records against 20,000",
        (SMALL, "ratchet", RATE),
        (LARGE, "ratchet", RATE),
        1.2,
        True,
    ),
    _Ratio(
        "throughput of redelivery against in order", ("redelivery", "ratchet", RATE), (UPLOAD, "ratchet", RATE), 0.5
    ),
    _Ratio("throughput of all late against in order", ("all late", "ratchet", RATE), (UPLOAD, "ratchet", RATE), 0.5),
)


def figures(results: Results) -> list[Figure]:
    """Those for which everything was measured."""
    return [*_ratios(results), *_absolute(results)]


def _ratios(results: Results) -> Iterator[Figure]:
    for ratio in RATIOS:
        of, to = results.median(*ratio.of), results.median(*ratio.to)
        if of is not None and to:
            yield Figure(ratio.says, of / to, ratio.target, ratio.at_most)


def _absolute(results: Results) -> Iterator[Figure]:
    facts = results.median(rules.NAME, rules.DECIDE, FACTS)
    if facts is not None:
        yield Figure("facts decided and explained per second and core", facts, 200_000)
    beside_hot_ms = results.median(trickle.BESIDE_HOT, "ratchet", P99)
    if beside_hot_ms is not None:
        says = "99th percentile of latency, ms, while 100,000 facts about one record wait in the same partition"
        yield Figure(says, beside_hot_ms, 2000, at_most=True)
    one, two = (results.median(UPLOAD, who, CPU_ALL) for who in ("ratchet", "two ratchets"))
    if one and two:
        says = "two workers on twice the cores against one, by what all processes take for a message"
        yield Figure(says, 2 * one / two, 1.8)
    memory_mb = results.median(cases.MEMORY, "ratchet", MEMORY)
    if memory_mb is not None:
        yield Figure("peak memory on a backlog of 1,000,000, MB", memory_mb, 200, at_most=True)
    start, join = results.median(UPLOAD, "ratchet", START), results.median("start", "bare consumer", cases.JOIN)
    if start is not None and join is not None:
        yield Figure("start to the first committed change beyond the group join, s", start - join, 3, at_most=True)
