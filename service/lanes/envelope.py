"""What is around a message's JSON, taken off: a schema's id, a byte-order mark, a CloudEvent in structured mode."""

import base64
import binascii
import json

from contracts.framing import split_frame
from contracts.headers import Headers

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CONTENT_TYPE = "content-type"
STRUCTURED = b"application/cloudevents+json"


class NoEnvelope(Exception):
    """It says that it is in one, and is not; the message says what is wrong, field by field."""


def unwrapped(value: bytes, headers: Headers) -> bytes:
    """The JSON that the sender means. Raises NoEnvelope."""
    try:
        _, value = split_frame(value)
    except ValueError:
        raise NoEnvelope("value: ends amid the id of a schema, which byte 0 announces") from None
    value = value.removeprefix(BYTE_ORDER_MARK)
    if not headers or not any(name.lower() == CONTENT_TYPE and _is_structured(said) for name, said in headers):
        return value
    try:
        event = json.loads(value)
    except (ValueError, RecursionError):
        return value  # which is no JSON either, and will be told so
    if not isinstance(event, dict):
        raise NoEnvelope("value: must be a JSON object, as a CloudEvent in structured mode is")
    if "data_base64" in event:
        try:
            return base64.b64decode(event["data_base64"], validate=True).removeprefix(BYTE_ORDER_MARK)
        except (TypeError, ValueError, binascii.Error):
            raise NoEnvelope("data_base64: must be a text in Base64") from None
    if "data" not in event:
        raise NoEnvelope("data: is missing, where a CloudEvent in structured mode has its message")
    return json.dumps(event["data"]).encode()


def _is_structured(content_type: bytes | None) -> bool:
    return (content_type or b"").split(b";")[0].strip().lower() == STRUCTURED
