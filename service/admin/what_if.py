"""What would be decided if this message came now: by the real rules, on the record as it stands. Nothing is sent."""

import json
import time
from typing import Any, NamedTuple
from uuid import uuid4

from msgspec.structs import replace

from contracts.fields import course_key_of, format_timestamp, split_key
from contracts.topics import Topic
from rules.explain import Told, explain
from rules.values import Record
from service.lanes.batch import Clock, decide_record
from service.lanes.deciding import whole_records
from service.lanes.definitions import course_timeline
from service.lanes.packed import unpack
from service.lanes.ports import Received, StoredRecord
from service.lanes.translate import HeardFact, Unusable, read
from service.mongo.store import MongoStore


class WhatIf(NamedTuple):
    """The record before and after, and what is to be told of the message; or why it would be a dead letter."""

    before: Record
    after: Record
    told: Told | None
    refused: str | None


async def what_if(store: MongoStore, key: str, topic: Topic, said: dict[str, Any]) -> WhatIf:
    """`said`: the message but for ids of record and message; it happens now unless it says when."""
    tenant_id, learner_id, course_id = split_key(key)
    ids = {"tenant_id": tenant_id, "learner_id": learner_id, "course_id": course_id}
    now = int(time.time() * 1_000_000)
    value = {"changed_at": format_timestamp(now), **said, **ids, "message_id": str(uuid4())}
    stored = (await whole_records(store, [key])).get(key) or StoredRecord(key, 0, Record())
    message = json.dumps(value).encode()
    heard = read(topic, message, None)
    if isinstance(heard, Unusable):
        return WhatIf(stored.record, stored.record, None, heard.explanation)
    assert isinstance(heard, HeardFact), "only facts are asked about"
    courses = await store.courses.load_all([course_key_of(key)])
    timeline = course_timeline(courses.get(course_key_of(key)))
    received = Received(topic.name, 0, 0, 0, None, message, ())
    decided = decide_record(stored, [(received, heard)], timeline, Clock(now, now), {})
    if decided.letters:
        return WhatIf(stored.record, stored.record, None, decided.letters[0][1].explanation)
    decisions = tuple(one.decision for one in unpack(decided.stored.decisions))
    after = replace(decided.stored.record, decisions=decisions)
    told = next(one for one in explain(after) if one.message_id == heard.fact.message_id)
    return WhatIf(stored.record, after, told, None)
