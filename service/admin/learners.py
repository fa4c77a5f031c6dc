"""What is kept about one learner of a tenant: given out, counted, erased."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from contracts.fields import format_timestamp
from contracts.headers import cloud_event
from contracts.outbound import LearnerErased, erasure_id
from contracts.topics import LEARNER_ERASED
from rules.values import Fact
from service.admin.states import state_requests
from service.admin.story import story_json
from service.clock import now, spelled
from service.kafka.sender import Sender
from service.lanes.deciding import whole_records
from service.lanes.outgoing import no_state
from service.lanes.ports import Outbound, StoredRecord
from service.mongo.store import MongoStore
from service.settings import Settings

PAGE = 20
"""A record may hold tens of thousands of facts."""


class Kept(NamedTuple):
    """How much is kept about a learner."""

    records: int = 0
    completions: int = 0
    certificates: int = 0


async def export(store: MongoStore, tenant_id: str, learner_id: str) -> dict[str, Any] | None:
    """Everything that is kept about a learner, for a program or a lawyer; None where nothing is."""
    records = [_record_json(stored) async for stored in _records(store, tenant_id, learner_id)]
    return {"tenant_id": tenant_id, "learner_id": learner_id, "records": records} if records else None


async def count(store: MongoStore, tenant_id: str, learner_id: str) -> Kept:
    """What an erasure would take away."""
    records = completions = certificates = 0
    async for stored in _records(store, tenant_id, learner_id):
        standing = stored.record.standing
        records += 1
        completions += standing.course.completed_via is not None
        certificates += standing.is_certified
    return Kept(records, completions, certificates)


async def erase(settings: Settings, store: MongoStore, sender: Sender, tenant_id: str, learner_id: str) -> int:
    """Erase a learner for good, and tell those downstream. Gives how many records there were.

    Tombstones of states are sent at once, and asked of the lanes besides, which may just be telling a state.
    Raises WaitAndRetry, also where it is erased and nobody could be told; the same again tells. Raises
    FixConfiguration, before anything is erased, where nobody could be told as the settings want it.
    """
    await sender.prepare(LEARNER_ERASED.name)
    gone = await store.learners.erase(tenant_id, learner_id)
    erased_at = spelled(gone.at)
    states = [*map(no_state, gone.untold), *state_requests(gone.untold, now())] if settings.state_topic else []
    said = LearnerErased.model_validate({"tenant_id": tenant_id, "learner_id": learner_id, "erased_at": erased_at})
    about = cloud_event(erasure_id(tenant_id, learner_id), LEARNER_ERASED.name, erased_at, None)
    key = f"{tenant_id}/{learner_id}".encode()
    await sender.send([*states, Outbound(LEARNER_ERASED.name, key, said.model_dump_json().encode(), about)])
    await store.learners.told(tenant_id, learner_id)
    return gone.records


async def was_erased(store: MongoStore, tenant_id: str, learner_id: str) -> bool:
    """Whether there is a tombstone."""
    return bool(await store.records.erased([f"{tenant_id}/{learner_id}/"]))


async def _records(store: MongoStore, tenant_id: str, learner_id: str) -> AsyncIterator[StoredRecord]:
    keys = await store.learners.keys(tenant_id, learner_id)
    for first in range(0, len(keys), PAGE):
        for stored in (await whole_records(store, keys[first : first + PAGE])).values():
            yield stored


def _record_json(stored: StoredRecord) -> dict[str, Any]:
    facts = [_fact_json(fact) for fact in stored.record.facts.values()]
    return {**story_json(stored.key, stored.record), "facts": facts}


def _fact_json(fact: Fact) -> dict[str, Any]:
    return {
        "message_id": fact.message_id,
        "changed_at": format_timestamp(fact.changed_at),
        "kind": fact.kind,
        "step_id": fact.step_id,
        "session_id": fact.session_id,
        "value": None if fact.value is None else {"unit": fact.value.unit, "amount": fact.value.amount},
        "details": dict(fact.details),
        **_of_kind(fact),
    }


def _of_kind(fact: Fact) -> dict[str, Any]:
    """What only some kinds of facts say."""
    match fact.kind:
        case "reassigned":
            due_at = None if fact.due_at is None else format_timestamp(fact.due_at)
            return {"progress": "keep" if fact.keeps else "reset", "due_at": due_at}
        case "withdrawn":
            return {"reassignment_message_id": fact.withdraws}
        case "granted":
            return {"certificate": fact.certificate}
        case _:
            return {}
