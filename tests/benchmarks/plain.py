"""What the comparators do in place of deciding: a dictionary update, no rules, no validation, nothing explained."""

from collections.abc import Mapping
from typing import Any

import msgspec

Document = dict[str, Any]
SCHEDULED_MINUTES = 60
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def new_record(key: str) -> Document:
    """A record about which nothing is known."""
    return {"_id": key, "rev": 0, "sequence": 0, "steps": {}}


def update(record: Document, message: Mapping[str, Any]) -> Document | None:
    """Set a step's percent; gives the change to publish, None where nothing has changed. The last to arrive wins."""
    step_id = message["event_id"]
    percent = min(100, message["attended_minutes"] * 100 // SCHEDULED_MINUTES)
    previous_percent = record["steps"].get(step_id, 0)
    if percent == previous_percent:
        return None
    record["steps"][step_id] = percent
    record["sequence"] += 1
    return {
        "message_id": f"{record['_id']}/{record['sequence']}",
        "tenant_id": message["tenant_id"],
        "learner_id": message["learner_id"],
        "course_id": message["course_id"],
        "sequence": record["sequence"],
        "caused_by": message["message_id"],
        "changed_at": message["changed_at"],
        "step_id": step_id,
        "percent": percent,
        "previous_percent": previous_percent,
        "complete": percent == 100,
        "previously_complete": previous_percent == 100,
    }
