"""What operators watch, for Prometheus. Names are stable; labels have few values and never a learner's data."""

from collections import Counter as Count

from prometheus_client import Counter, Gauge, Histogram

MESSAGES = Counter("ratchet_messages_total", "Messages read and stored, by topic.", ["topic"])
PUBLISHED = Counter("ratchet_published_total", "Messages prepared for publication, by topic.", ["topic"])
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
LANES = Gauge("ratchet_lanes", "Lanes of this worker, by state.", ["state"])
LAG_MESSAGES = Gauge("ratchet_lag_messages", "Messages read from Kafka's end but not committed, by lane.", ["lane"])
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


def count_batch(read: Count[str], published: Count[str], unusable: Count[str], misrouted: int) -> None:
    """Count one prepared batch: messages by topic, what goes out by topic, dead letters by reason."""
    for counter, counted in ((MESSAGES, read), (PUBLISHED, published), (DEAD_LETTERS, unusable)):
        for label, number in counted.items():
            counter.labels(label).inc(number)
    REROUTED.inc(misrouted)
