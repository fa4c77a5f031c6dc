"""What limits the work of a lane. Each is the setting of the same name."""

from typing import NamedTuple

LANES_WITH_WHOLE_BATCHES = 4


class Bounds(NamedTuple):
    """See the settings' descriptions."""

    batch_messages: int
    batch_bytes: int
    new_facts_per_record: int
    records_together: int
    facts_in_record: int
    future_tolerance_seconds: int
    max_new_completions: int
    reevaluations_per_second: int

    def shared_by(self, lanes: int) -> "Bounds":
        """What waits in all lanes of a worker together does not grow with their number, beyond a few."""
        share = LANES_WITH_WHOLE_BATCHES / max(lanes, LANES_WITH_WHOLE_BATCHES)
        return self._replace(
            batch_messages=max(1, int(self.batch_messages * share)), batch_bytes=max(1, int(self.batch_bytes * share))
        )
