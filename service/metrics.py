"""What operators watch, for Prometheus. Names are stable; labels have few values and never a learner's data."""

import platform
from bisect import bisect_left
from collections import Counter as Count
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import NamedTuple

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Info
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

BUILD = Info("ratchet_build", "Which Ratchet this is.")
BUILD.info({"version": version("ratchet"), "python": platform.python_version()})
MESSAGES = Counter("ratchet_messages_total", "Messages dealt with and committed, by topic.", ["topic"])
PUBLISHED = Counter("ratchet_published_total", "Messages published and committed, by topic.", ["topic"])
CHANGES = Counter("ratchet_changes_total", "Completion changes published and committed, by kind.", ["kind"])
DECISIONS = Counter("ratchet_decisions_total", "Rows of the decision tables that decided and were stored.", ["rule"])
DEAD_LETTERS = Counter("ratchet_dead_letters_total", "Messages that could not be used, by reason code.", ["reason"])
DEAD_LETTER_FLOOD = Gauge(
    "ratchet_dead_letter_flood", "1 while more than RATCHET_FLOOD_PERCENT of the latest messages are unusable."
)
INTERNAL_ERRORS = Counter(
    "ratchet_internal_errors_total", "Messages that could not be decided because of a fault of Ratchet's own."
)
UNREADABLE_BATCHES = Gauge(
    "ratchet_unreadable_batches", "1 while a lane stands still at a batch that cannot be read, by lane.", ["lane"]
)
HANGING_TRANSACTIONS = Gauge(
    "ratchet_hanging_transactions", "Transactions of other producers that keep lanes of this worker from reading on."
)
DELETED_UNREAD = Counter("ratchet_deleted_unread_total", "Offsets that retention deleted before they were read.")
REROUTED = Counter("ratchet_rerouted_total", "Messages found in another partition than their key's.")
ERASED = Counter("ratchet_erased_total", "Messages dropped because their learner was erased.")
STORE_MISSES = Counter("ratchet_store_misses_total", "Compare-and-set writes that missed and were decided again.")
LANE_FAILURES = Counter("ratchet_lane_failures_total", "Times a lane stopped to wait, or was lost.", ["state"])
RETRIES = Counter("ratchet_retries_total", "Times a lane took over again after it had stopped.")
REBALANCES = Counter("ratchet_rebalances_total", "Times the group gave this worker its lanes anew.")
TRANSACTIONS = Counter(
    "ratchet_transactions_total", "Kafka transactions of lanes, by how they ended: committed, aborted.", ["end"]
)
LANES = Gauge("ratchet_lanes", "Lanes of this worker, by state.", ["state"])
OUTAGES = Gauge("ratchet_outages", "1 while Kafka or MongoDB does not answer, by which.", ["of"])
LAG_MESSAGES = Gauge("ratchet_lag_messages", "Messages that can be read but are not committed, by lane.", ["lane"])
LAG_SECONDS = Gauge(
    "ratchet_lag_seconds", "Age of the oldest message that is not committed, by its own timestamp, by lane.", ["lane"]
)
LAST_COMMIT = Gauge("ratchet_last_commit_timestamp_seconds", "When a lane last committed, by lane.", ["lane"])
PENDING_REEVALUATIONS = Gauge(
    "ratchet_pending_reevaluations",
    "Records that a released definition still has to decide again, as last counted, by lane.",
    ["lane"],
)
PAUSED_REEVALUATIONS = Gauge(
    "ratchet_paused_reevaluations",
    "Courses whose newest definition would complete too many learners and waits for its release, by lane.",
    ["lane"],
)
STAGE_SECONDS = Histogram(
    "ratchet_stage_seconds",
    "Time a batch spends in each stage.",
    ["stage"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)


class Traced(NamedTuple):
    """A message that is part of a trace: its timestamp (milliseconds since 1970), and its W3C traceparent."""

    timestamp: int
    traceparent: bytes


class LatencyHistogram(Collector):
    """From a message's timestamp to its commit; prometheus_client's own takes one value at a time, this one a batch."""

    NAME = "ratchet_latency_seconds"
    HELP = "From the timestamp of a message to the commit of what followed from it."
    BOUNDS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
    """Seconds."""

    def __init__(self) -> None:
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self._exemplars: list[Exemplar | None] = [None] * (len(self.BOUNDS) + 1)
        self._sum_seconds = 0.0

    def observe(self, timestamps: Sequence[int], traced: Iterable[Traced], now: float) -> None:
        """A batch that was committed `now`, in seconds since 1970."""
        ages = [max(0.0, now - timestamp / 1000) for timestamp in timestamps]
        self._sum_seconds += sum(ages)
        for place, count in Count(bisect_left(self.BOUNDS, age) for age in ages).items():
            self._counts[place] += count
        for one in traced:
            age = max(0.0, now - one.timestamp / 1000)
            trace_id = one.traceparent.split(b"-")[1].decode()
            self._exemplars[bisect_left(self.BOUNDS, age)] = Exemplar({"trace_id": trace_id}, age, now)

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        total = 0
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for bound, count, exemplar in zip((*self.BOUNDS, "+Inf"), self._counts, self._exemplars, strict=True):
            total += count
            buckets.append((str(bound), total) if exemplar is None else (str(bound), total, exemplar))
        yield HistogramMetricFamily(self.NAME, self.HELP, buckets, self._sum_seconds)

    def describe(self) -> Iterator[Metric]:
        """For the registry, once."""
        yield HistogramMetricFamily(self.NAME, self.HELP)


for counter, labels in ((LANE_FAILURES, ("waiting", "lost", "unreadable")), (TRANSACTIONS, ("committed", "aborted"))):
    for label in labels:
        counter.labels(label)  # a rate is known from the first failure on only where 0 was told before
LANE_GAUGES = (
    *(UNREADABLE_BATCHES, LAG_MESSAGES, LAG_SECONDS, LAST_COMMIT),
    *(PENDING_REEVALUATIONS, PAUSED_REEVALUATIONS),
)


def forget_lane(number: int) -> None:
    """What this worker said of a lane that it has given away."""
    for gauge in LANE_GAUGES:
        with suppress(KeyError):
            gauge.remove(number)


LATENCY = LatencyHistogram()
REGISTRY.register(LATENCY)


class Tally(NamedTuple):
    """What the messages of a batch come to; counted once it is committed."""

    timestamps: Sequence[int]
    """Milliseconds since 1970."""
    messages: Count[str]
    """By topic."""
    unusable: Count[str]
    """By reason code."""
    misrouted: int
    traced: Sequence[Traced]

    def and_then(self, later: "Tally") -> "Tally":
        """Both together."""
        return Tally(
            (*self.timestamps, *later.timestamps),
            self.messages + later.messages,
            self.unusable + later.unusable,
            self.misrouted + later.misrouted,
            (*self.traced, *later.traced),
        )


def count_committed(tally: Tally, published: Count[str], changes: Count[str], now: float) -> None:
    """What a transaction has brought that has committed at this time (seconds since 1970).

    `published`: messages by topic; `changes`: by kind.
    """
    by_label = (
        (MESSAGES, tally.messages),
        (DEAD_LETTERS, tally.unusable),
        (PUBLISHED, published),
        (CHANGES, changes),
    )
    for counter, counted in by_label:
        for label, number in counted.items():
            counter.labels(label).inc(number)
    REROUTED.inc(tally.misrouted)
    LATENCY.observe(tally.timestamps, tally.traced, now)


def count_decisions(spoke: Iterable[tuple[str | None, ...]]) -> None:
    """The rows that spoke in each decision, by their ids."""
    for rules, number in Count(spoke).items():
        for rule in filter(None, rules):
            DECISIONS.labels(rule).inc(number)
