"""Kafka headers: CloudEvents' binding in binary mode; where dead letters, rerouted and replayed messages come from."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes | None]]
"""Names and values as they are on the wire; a value may be anything, also null."""

CE_SOURCE = "/ratchet"
_VERSION = "ce_specversion", b"1.0"
_SOURCE = "ce_source", CE_SOURCE.encode()
_CONTENT_TYPE = "content-type", b"application/json"
TRACEPARENT = "traceparent"
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
REROUTED_TOPIC = "ratchet-original-topic"
REROUTED_PARTITION = "ratchet-original-partition"
REROUTED_OFFSET = "ratchet-original-offset"
REROUTED_TIMESTAMP = "ratchet-original-timestamp"
_REROUTED = (REROUTED_TOPIC, REROUTED_PARTITION, REROUTED_OFFSET, REROUTED_TIMESTAMP)


def first(headers: Headers, name: str) -> bytes | None:
    """The first value under a name, None where there is none."""
    return next((value for header, value in headers if header == name), None)


def trace_of(headers: Headers) -> bytes | None:
    """The trace that a message is part of, as W3C Trace Context has it; whatever else stands there is not passed on."""
    said = first(headers, TRACEPARENT)
    return said if said is not None and _TRACE.fullmatch(said) else None


def cloud_event(message_id: str, event_type: str, time: str, traceparent: bytes | None) -> Headers:
    """Headers of an outbound message. `time` is RFC 3339; `traceparent` is passed on where the cause had one."""
    about = _VERSION, ("ce_id", message_id.encode()), _SOURCE, *_type_and_time(event_type, time), _CONTENT_TYPE
    return about if traceparent is None else (*about, (TRACEPARENT, traceparent))


@lru_cache(maxsize=64)
def _type_and_time(event_type: str, time: str) -> Headers:
    """The changes of a batch share them."""
    return ("ce_type", event_type.encode()), ("ce_time", time.encode())


REPLAYED_FROM = "ratchet-replayed-from"
_DEAD_LETTER = (
    "kafka_dlt-original-topic",
    "kafka_dlt-original-partition",
    "kafka_dlt-original-offset",
    "kafka_dlt-original-timestamp",
    "kafka_dlt-exception-fqcn",
    "kafka_dlt-exception-message",
)


class Origin(NamedTuple):
    """A message's own headers, and where it first stood."""

    headers: Headers
    topic: bytes
    partition: bytes
    offset: bytes
    timestamp: bytes

    @classmethod
    def of(cls, headers: Headers, topic: str, partition: int, offset: int, timestamp: int) -> "Origin":
        """The origin of a message that was read there."""
        return cls(headers, topic.encode(), *(str(number).encode() for number in (partition, offset, timestamp)))


def dead_letter(origin: Origin, reason: str, explanation: str) -> Headers:
    """The original headers as they were, then where the message stood and what is wrong with it."""
    told = (*origin[1:], reason.encode(), explanation.encode())
    return [*origin.headers, *zip(_DEAD_LETTER, told, strict=True)]


def read_dead_letter(headers: Headers) -> tuple[Origin, str, str] | None:
    """The inverse of `dead_letter`: origin, reason, explanation; None where the headers do not say."""
    original, added = headers[: -len(_DEAD_LETTER)], headers[-len(_DEAD_LETTER) :]
    if tuple(name for name, _ in added) != _DEAD_LETTER:
        return None
    topic, partition, offset, timestamp, reason, explanation = (value or b"" for _, value in added)
    return (
        Origin(original, topic, partition, offset, timestamp),
        reason.decode(errors="replace"),
        explanation.decode(errors="replace"),
    )


def replayed(headers: Headers, dead_letter_topic: str, letter_id: str) -> Headers:
    """The original headers as they were, then which dead letter this was."""
    return [*headers, (REPLAYED_FROM, f"{dead_letter_topic}/{letter_id}".encode())]


def rerouted(origin: Origin) -> Headers:
    """The original headers as they were, then where the message stood."""
    return [*origin.headers, *zip(_REROUTED, origin[1:], strict=True)]


def origin(headers: Headers) -> Origin | None:
    """Where a rerouted message first stood; None where the headers do not say."""
    original, added = headers[: -len(_REROUTED)], headers[-len(_REROUTED) :]
    if tuple(name for name, _ in added) != _REROUTED:
        return None
    topic, partition, offset, timestamp = (value or b"" for _, value in added)
    return Origin(original, topic, partition, offset, timestamp)
