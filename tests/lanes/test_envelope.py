"""A byte-order mark and a CloudEvent in structured mode are understood; what only claims to be one is explained."""

import base64
import json
from collections.abc import Callable

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from contracts.headers import Headers
from contracts.topics import ATTENDANCE_CHANGED, COURSE_DEFINED
from rules.values import Cause, Change, Course, CourseChange
from service.lanes.outgoing import outbound
from service.lanes.translate import HeardFact, Unusable, read
from tests.commands.test_commands import ATTENDED

GOOD = json.dumps(ATTENDED).encode()
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
ENVELOPE = {"specversion": "1.0", "id": "x1", "source": "/lms", "type": "lms.attendance-changed.v1"}


def event(**fields: object) -> bytes:
    """A CloudEvent."""
    return json.dumps({**ENVELOPE, **fields}).encode()


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (GOOD, ()),
        (b"\xef\xbb\xbf" + GOOD, ()),
        (event(data=ATTENDED), STRUCTURED),
        (b"\xef\xbb\xbf" + event(data=ATTENDED), STRUCTURED),
        (event(data=ATTENDED), (("x", None), ("Content-Type", b"Application/CloudEvents+JSON"))),
        (event(data_base64=base64.b64encode(GOOD).decode()), STRUCTURED),
        (GOOD, (("content-type", b"application/json"), ("ce_id", b"x1"))),
        (b"\0\0\0\1\7" + GOOD, ()),
        (b"\0\xff\xff\xff\xff\xef\xbb\xbf" + event(data=ATTENDED), STRUCTURED),
    ],
    ids=[
        *("plain", "byte-order mark", "structured", "both", "spelled otherwise", "base64", "binary mode"),
        *("a schema's id", "all of it"),
    ],
)
def test_the_message_is_what_is_inside(value: bytes, headers: Headers) -> None:
    plain = read(ATTENDANCE_CHANGED, GOOD, None)
    assert isinstance(plain, HeardFact)
    assert read(ATTENDANCE_CHANGED, value, None, headers) == plain


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event], ids=["structured", "binary"])
def test_what_the_cloudevents_sdk_writes_is_understood(write: Callable[[CloudEvent], KafkaMessage]) -> None:
    message = write(CloudEvent({**ENVELOPE, "datacontenttype": "application/json"}, ATTENDED))
    assert isinstance(message.value, bytes)
    headers = tuple(message.headers.items())
    assert read(ATTENDANCE_CHANGED, message.value, None, headers) == read(ATTENDANCE_CHANGED, GOOD, None)


def test_the_cloudevents_sdk_understands_what_goes_out() -> None:
    course = CourseChange(Course("steps", 5, "held"), False, "issue", 1, None, "Safety")
    out = outbound("acme/l-1/c-1", Change(2, 1, Cause("m1", 5, "completed-by-steps"), 7, course), None)
    headers = {name: value for name, value in out.headers if value is not None}
    event = from_kafka_event(KafkaMessage(headers=headers, key=out.key, value=out.value or b""))
    data = event.get_data()
    assert isinstance(data, dict)
    assert (event.get_id(), event.get_type(), event.get_source()) == (data["message_id"], out.topic, "/ratchet")
    assert (data["status"], data["caused_by"], event.get_specversion()) == ("completed", "m1", "1.0")


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (event(), "invalid_message", "data: is missing"),
        (event(data="text"), "invalid_message", "value: Input should be an object"),
        (event(data=None), "invalid_message", "value: Input should be an object"),
        (event(data={**ATTENDED, "event_id": 7}), "invalid_message", "event_id: "),
        (event(data_base64="?"), "invalid_message", "data_base64: must be"),
        (event(data_base64=7), "invalid_message", "data_base64: must be"),
        (b"[]", "invalid_message", "value: must be a JSON object"),
        (b"{", "invalid_json", "value: "),
        (b"[" * 100_000, "invalid_json", "value: "),
    ],
)
def test_what_only_claims_to_be_one_is_explained(value: bytes, reason: str, says: str) -> None:
    told = read(ATTENDANCE_CHANGED, value, None, STRUCTURED)
    assert isinstance(told, Unusable)
    assert (told.reason, told.explanation.startswith(says)) == (reason, True), told


@pytest.mark.parametrize("value", [b"\0", b"\0\0\0\1"])
def test_what_ends_amid_a_schemas_id_is_explained(value: bytes) -> None:
    says = "value: ends amid the id of a schema, which byte 0 announces"
    assert read(ATTENDANCE_CHANGED, value, None) == Unusable("invalid_message", says)
    assert read(COURSE_DEFINED, value, None) == Unusable("invalid_definition", says)
    told = read(ATTENDANCE_CHANGED, b"\0\0\0\0\1", None)
    assert isinstance(told, Unusable) and told.reason == "invalid_json", "nothing is behind it"


def test_a_tombstone_of_a_definition_is_explained() -> None:
    told = read(COURSE_DEFINED, None, None)
    assert told == Unusable(
        "invalid_definition",
        "value: is null; a tombstone does not delete a course here, because completions were decided under it: "
        "send a new version of the definition instead",
    )
