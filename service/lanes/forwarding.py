"""Messages that go on as they were: those that cannot be used, and those that stand in the wrong partition."""

from contracts import headers
from contracts.topics import DEAD_LETTER, REROUTED
from service.errors import Unreadable
from service.lanes.bounds import KEY_BYTES
from service.lanes.ports import Outbound, Received, Skip
from service.lanes.translate import EXPLANATION_LIMIT, Misrouted, Unusable


def dead_letter(received: Received, unusable: Unusable, prefix: str) -> Outbound:
    """Key, value and headers as they were, byte for byte; in further headers where from and what is wrong.

    Of a message that is too long there is no value, no header, and no key but a short one.
    """
    place = prefix + received.topic, received.partition, received.offset, received.timestamp
    if received.is_too_long:
        key = received.key if len(received.key or b"") <= KEY_BYTES else None
        letter = headers.dead_letter(headers.Origin.of((), *place), unusable.reason, unusable.explanation)
        return Outbound(DEAD_LETTER.name, key, None, letter)
    origin = headers.origin(received.headers) if received.topic == REROUTED.name else None
    if origin is None:
        origin = headers.Origin.of(received.headers, *place)
    letter = headers.dead_letter(origin, unusable.reason, unusable.explanation)
    return Outbound(DEAD_LETTER.name, received.key, received.value, letter)


def skipped(error: Unreadable, skip: Skip) -> Outbound:
    """What is left of a batch that could not be read: which offsets, who skipped it and why. It has no key or value."""
    about = error.topic, error.partition, error.start, skip.at // 1000
    told = f"offsets {error.start} to {error.end - 1} were skipped by {skip.by}: {skip.reason} ({error.why})"
    letter = headers.dead_letter(headers.Origin.of((), *about), "skipped", told[:EXPLANATION_LIMIT])
    return Outbound(DEAD_LETTER.name, None, None, letter)


def rerouted(received: Received, misrouted: Misrouted, prefix: str) -> Outbound:
    """The message as it was, bound for its key's partition. One that was rerouted before keeps its first origin."""
    if received.topic == REROUTED.name:
        return Outbound(REROUTED.name, received.key, received.value, received.headers, misrouted.partition)
    topic = prefix + received.topic
    origin = headers.Origin.of(received.headers, topic, received.partition, received.offset, received.timestamp)
    provenance = headers.rerouted(origin)
    return Outbound(REROUTED.name, received.key, received.value, provenance, misrouted.partition)
