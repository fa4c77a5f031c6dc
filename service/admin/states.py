"""Where records stand, told anew in completion.record-state.v1: by the lanes, in order with all that they write.

A request goes through the lane that writes the record's states. So none is told after a newer one.
"""

import asyncio
from collections.abc import Callable, Iterable
from uuid import uuid5

from contracts.fields import split_key
from contracts.inbound import ReevaluationRequested
from contracts.outbound import NAMESPACE
from contracts.topics import REEVALUATION_REQUESTED
from service.clock import now
from service.errors import FixConfiguration
from service.kafka.sender import Sender
from service.lanes.ports import Outbound
from service.mongo.store import MongoStore
from service.settings import Settings


async def republish(
    settings: Settings, store: MongoStore, sender: Sender, tenant_id: str, course_id: str, report: Callable[[int], None]
) -> int:
    """Ask for the state of every record of a tenant and a course, where an empty id leaves it open. Gives how many.

    Goes on where an interrupted one of the same has stopped. `report` is told how many records were asked for since the
    last time. Raises FixConfiguration where states are not told, WaitAndRetry.
    """
    if not settings.state_topic:
        raise FixConfiguration("RATCHET_STATE_TOPIC: is off, so no worker tells states; set it to true for all of them")
    count, last = 0, await store.republished.last(tenant_id, course_id)
    async for keys in store.keys.pages(tenant_id, course_id, last):
        await sender.send(state_requests(keys, now()))
        await store.republished.note(tenant_id, course_id, keys[-1])
        report(len(keys))
        count += len(keys)
        await asyncio.sleep(len(keys) / settings.reevaluations_per_second)
    await store.republished.forget(tenant_id, course_id)
    return count


def state_requests(keys: Iterable[str], at: str) -> list[Outbound]:
    """To the lanes: tell where these records stand, or that they are gone. `at`: RFC 3339, now."""
    return [_request(key, at) for key in keys]


def _request(key: str, at: str) -> Outbound:
    tenant_id, learner_id, course_id = split_key(key)
    said = {
        "message_id": str(uuid5(NAMESPACE, f"state/{key}")),
        "tenant_id": tenant_id,
        "learner_id": learner_id,
        "course_id": course_id,
        "changed_at": at,
    }
    value = ReevaluationRequested.model_validate(said).model_dump_json(exclude_none=True).encode()
    return Outbound(REEVALUATION_REQUESTED.name, key.encode(), value, ())
