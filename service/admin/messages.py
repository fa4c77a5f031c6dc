"""Messages that come otherwise than by Kafka: checked as the workers check them, sent, none of them twice."""

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import ValidationError

from contracts.topics import COURSE_DEFINED, FACTS, Topic
from service.admin.desk import Desk
from service.errors import WaitAndRetry
from service.lanes.ports import Outbound
from service.lanes.translate import HeardDefinition, HeardFact, Unusable, by_field, read

BY_SHORT: Mapping[str, Topic] = {topic.short: topic for topic in (COURSE_DEFINED, *FACTS)}
MICROSECONDS = 1_000_000
LOOK_SECONDS = 0.2
WAIT_SECONDS = 10.0
"""For another request that is sending the same message."""
UNSENT = "is being sent by another request; ask again"
REUSED = "was sent before with other content; send the new content under an id of its own"

Errors = Sequence[tuple[str, str]]
"""Field and what is wrong with it."""


class Verdict(NamedTuple):
    """What came of one message; `sent_before`: by an earlier request, and not again."""

    status: Literal["accepted", "sent_before", "invalid"]
    message_id: str | None
    errors: Errors = ()


class Checked(NamedTuple):
    """A message that can be sent. `id`: of its delivery."""

    id: str
    message_id: str
    tenant_id: str
    digest: str
    out: Outbound


def check(name: object, value: object, future_tolerance_seconds: int) -> Checked | Errors:
    """A message by the short name of its topic and its value, or what is wrong with it."""
    topic = BY_SHORT.get(name) if isinstance(name, str) else None
    if topic is None:
        return [("topic", f"must be one of {', '.join(BY_SHORT)}")]
    if not isinstance(value, dict):
        return [("value", "must be a JSON object")]
    message = json.dumps(value, sort_keys=True).encode()
    heard = read(topic, message, None)
    if isinstance(heard, Unusable):
        return _problems(topic, message, heard)
    assert isinstance(heard, HeardFact | HeardDefinition), "these topics have no others"
    said = heard.definition if isinstance(heard, HeardDefinition) else heard.fact
    if said.changed_at > (time.time() + future_tolerance_seconds) * MICROSECONDS:
        return [("changed_at", "is in the future; mend the sender's clock and send it again")]
    tenant_id, digest = heard.key.split("/")[0], hashlib.sha256(topic.name.encode() + message).hexdigest()
    out = Outbound(topic.name, heard.key.encode(), message, ())
    return Checked(f"{tenant_id}/{said.message_id}", said.message_id, tenant_id, digest, out)


def _problems(topic: Topic, message: bytes, refused: Unusable) -> Errors:
    try:
        topic.model.model_validate_json(message)
    except ValidationError as error:
        return by_field(error)
    field, _, what = refused.explanation.partition(": ")
    return [(field, what)]


async def deliver(desk: Desk, messages: Sequence[Checked]) -> list[Verdict]:
    """Send those that were not sent before, in their order. All verdicts are final when this returns.

    Raises WaitAndRetry where Kafka or the database is away: the same request again goes on.
    """
    first = {message.id: message for message in reversed(messages)}
    known = await _claimed(desk, {id_: message.digest for id_, message in reversed(first.items())})
    going = [one for one in messages if one.id not in known and first[one.id] is one]
    await desk.sender.send([one.out for one in going])  # where it fails, nobody knows: the claims run out
    await desk.store.deliveries.sent([one.id for one in going])
    return [_verdict(one, known, first) for one in messages]


def _verdict(message: Checked, known: Mapping[str, str], first: Mapping[str, Checked]) -> Verdict:
    digest = known.get(message.id, first[message.id].digest)
    if digest != message.digest:
        return Verdict("invalid", message.message_id, [("message_id", REUSED)])
    sent_now = message.id not in known and first[message.id] is message
    return Verdict("accepted" if sent_now else "sent_before", message.message_id)


async def _claimed(desk: Desk, digests: Mapping[str, str]) -> dict[str, str]:
    """Digests of those that are sent already, once nobody else is sending any. The others are claimed."""
    known: dict[str, str] = {}
    ours: list[str] = []
    left = dict(digests)
    deadline = time.monotonic() + WAIT_SECONDS
    while left:
        claims = await desk.store.deliveries.claim(left)
        ours += claims.ours
        done = {id_: one.digest for id_, one in claims.others.items() if one.is_final(left[id_])}
        known |= done
        gone = {*claims.ours, *done}
        left = {id_: digest for id_, digest in left.items() if id_ not in gone}
        if len(done) == len(claims.others):
            continue
        if time.monotonic() > deadline:
            await desk.store.deliveries.release(ours)
            raise WaitAndRetry(f"{len(left)} of the messages: {UNSENT}")
        await asyncio.sleep(LOOK_SECONDS)
    return known


def tenants_of(messages: Sequence[Checked]) -> set[str]:
    """Of all of them."""
    return {one.tenant_id for one in messages}
