"""What limits a lane, and how far a sender can make something grow; what goes beyond is refused as `record_limit`."""

from typing import NamedTuple

LANES_WITH_WHOLE_BATCHES = 4

MESSAGE_BYTES = 1_000_000
"""Key, value and headers of a message, uncompressed. A longer one is not read: Kafka, as it comes, takes no dead letter
or rerouted message that is longer.
"""
HEADERS = 1000
"""Of a message: of the shortest ones it could have half a million."""
HEADER_BYTES = 64
"""What a header takes in memory besides name and value."""
KEY_BYTES = 1000
"""Of a key that the dead letter of a message that is too long still has; none that is longer is of anything here."""
DETAIL_LIMIT = 1000
"""Characters kept of a text that is told but decides nothing."""
COURSE_BYTES = 8_000_000
"""Of all versions of a course: they are kept in one document, far below MongoDB's 16 MB."""
RECORD_BYTES = 15_000_000
"""Of a record with what it has to announce: it is one document, too."""
WAITING_FACTS = 5000
"""About a record whose course is not defined; a definition decides them all at once."""
DEFINITION_PLACES = 5000
"""Steps and sessions of a definition."""
RECORD_PLACES = 2 * DEFINITION_PLACES
"""Steps and sessions that a record has values of, whatever definitions they come from."""
WAITING_PLACES = 500
"""Of these, those that its course's newest definition does not have."""
RECORD_DECISIONS = 100_000
"""Decisions about a record: one for each fact, and for each definition that decided it again."""
RECORD_TURNS = 1000
"""Reassignments of a record and their withdrawals: each stays with it, with the completion that it ended."""

COURSES_BYTES = 32_000_000
"""Of the definitions that are loaded together; a batch that is about more of them is prepared in parts."""
TIMELINE_PLACES = 200_000
"""Steps and sessions, over all versions, of the courses that a worker keeps at hand."""


class Bounds(NamedTuple):
    """Each is the setting of the same name; see their descriptions."""

    batch_messages: int
    batch_bytes: int
    batch_records: int
    new_facts_per_record: int
    records_together: int
    facts_in_record: int
    future_tolerance_seconds: int
    max_new_completions: int
    max_new_certificates: int
    reevaluations_per_second: int

    def shared_by(self, lanes: int) -> "Bounds":
        """What waits in all lanes of a worker together does not grow with their number, beyond a few."""
        share = LANES_WITH_WHOLE_BATCHES / max(lanes, LANES_WITH_WHOLE_BATCHES)
        shared = ("batch_messages", "batch_bytes", "batch_records")
        return self._replace(**{name: max(1, int(getattr(self, name) * share)) for name in shared})
