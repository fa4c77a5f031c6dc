"""Kafka headers: CloudEvents' Kafka binding in binary mode, the dead letter's and the rerouted message's provenance."""

from collections.abc import Sequence

Headers = Sequence[tuple[str, bytes | None]]
"""Names and values as they are on the wire; a value may be anything, also null."""

CE_SOURCE = "/ratchet"
TRACEPARENT = "traceparent"
REROUTED_TOPIC = "ratchet-original-topic"
REROUTED_PARTITION = "ratchet-original-partition"
REROUTED_OFFSET = "ratchet-original-offset"
REROUTED_TIMESTAMP = "ratchet-original-timestamp"
_REROUTED = (REROUTED_TOPIC, REROUTED_PARTITION, REROUTED_OFFSET, REROUTED_TIMESTAMP)


def first(headers: Headers, name: str) -> bytes | None:
    """The first value under a name, None where there is none."""
    return next((value for header, value in headers if header == name), None)


def cloud_event(message_id: str, event_type: str, time: str, traceparent: bytes | None) -> Headers:
    """Headers of an outbound message. `time` is RFC 3339; `traceparent` is passed on where the cause had one."""
    headers: list[tuple[str, bytes | None]] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", message_id.encode()),
        ("ce_source", CE_SOURCE.encode()),
        ("ce_type", event_type.encode()),
        ("ce_time", time.encode()),
        ("content-type", b"application/json"),
    ]
    if traceparent is not None:
        headers.append((TRACEPARENT, traceparent))
    return headers


def dead_letter(
    original: Headers, topic: bytes, partition: bytes, offset: bytes, timestamp: bytes, reason: str, explanation: str
) -> Headers:
    """The original headers as they were, then where the message stood and what is wrong with it."""
    return [
        *original,
        ("kafka_dlt-original-topic", topic),
        ("kafka_dlt-original-partition", partition),
        ("kafka_dlt-original-offset", offset),
        ("kafka_dlt-original-timestamp", timestamp),
        ("kafka_dlt-exception-fqcn", reason.encode()),
        ("kafka_dlt-exception-message", explanation.encode()),
    ]


def rerouted(original: Headers, topic: str, partition: int, offset: int, timestamp: int) -> Headers:
    """The original headers as they were, then where the message stood."""
    position = (topic, partition, offset, timestamp)
    return [*original, *((name, str(part).encode()) for name, part in zip(_REROUTED, position, strict=True))]


def origin(headers: Headers) -> tuple[Headers, bytes, bytes, bytes, bytes] | None:
    """Headers, topic, partition, offset and timestamp of a message before it was rerouted; None where it was not."""
    original, added = headers[: -len(_REROUTED)], headers[-len(_REROUTED) :]
    if tuple(name for name, _ in added) != _REROUTED:
        return None
    topic, partition, offset, timestamp = (value or b"" for _, value in added)
    return original, topic, partition, offset, timestamp
