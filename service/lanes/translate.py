"""Bytes → what to do. Never raises: what cannot be used becomes a dead letter.

The names of the wire meet the names of the rules here and in `outgoing`, and nowhere else.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct
from pydantic import BaseModel, ValidationError

from contracts import headers, inbound
from contracts.fields import course_key
from contracts.inbound import (
    AboutRecord,
    AttendanceChanged,
    CompletionGranted,
    CourseDefined,
    EquivalencyGranted,
    Reassigned,
    ReassignmentWithdrawn,
    ReevaluationRequested,
    StepProgressChanged,
)
from contracts.topics import (
    ATTENDANCE_CHANGED,
    CONSUMED,
    COURSE_DEFINED,
    REROUTED,
    Topic,
    foreign_fields,
    owners_of,
)
from rules.values import Fact, GrantedCertificate, Value
from service.lanes.bounds import DEFINITION_PLACES, HEADERS, MESSAGE_BYTES
from service.lanes.envelope import NoEnvelope, unwrapped
from service.lanes.ports import Received, StoredDefinition
from service.lanes.usual import details, details_of_upload, usual_attendance, value_attended

BY_NAME: Mapping[str, Topic] = {topic.name: topic for topic in CONSUMED}
FOREIGN = {topic.name: foreign_fields(topic) for topic in CONSUMED}
OWNERS = {name: owners_of(name) for names in FOREIGN.values() for name in names}
TOMBSTONE = (
    "value: is null; a tombstone does not delete a course here, because completions were decided under it: "
    "send a new version of the definition instead"
)
EXPLANATION_LIMIT = 2000
"""Characters: a message can be wrong in a thousand fields, its explanation need not name them all."""


class Unusable(Struct, frozen=True, gc=False):
    """A message for the dead letters: reason code, and what is wrong, field by field."""

    reason: str
    explanation: str


class HeardFact(Struct, frozen=True, gc=False):
    """A fact about the record with this key."""

    key: str
    course_key: str
    fact: Fact
    traceparent: bytes | None


class HeardRequest(Struct, frozen=True, gc=False):
    """A request to decide the record with this key again; or only to tell its state."""

    key: str
    course_key: str
    traceparent: bytes | None
    decides: bool = True


class HeardDefinition(Struct, frozen=True, gc=False):
    """A version of the course with this key."""

    key: str
    definition: StoredDefinition


class Misrouted(Struct, frozen=True, gc=False):
    """A usable message in another partition than its key's."""

    partition: int


Item = HeardFact | HeardRequest | HeardDefinition | Misrouted | Unusable


def translate(received: Received, partition_of: Callable[[bytes], int], prefix: str = "") -> Item:
    """What a message asks for. `partition_of`: where a key belongs; `prefix`: of the topics' names."""
    if received.is_too_long:
        return _too_long(received)
    topic = BY_NAME[received.topic]
    if topic is REROUTED:
        origin = headers.origin(received.headers)
        name = "" if origin is None else origin.topic.decode("utf-8", "replace")
        original = BY_NAME.get(name.removeprefix(prefix))
        if original is None or original is REROUTED:
            return Unusable("invalid_message", f"header {headers.REROUTED_TOPIC}: must name a topic that is read here")
        topic = original
    traceparent = headers.trace_of(received.headers) if received.headers else None
    item = read(topic, received.value, traceparent, received.headers)
    if isinstance(item, Unusable):
        return item
    key = item.key.encode()
    if received.key != key:
        return _wrong_key(topic, received.key)
    partition = partition_of(key)
    return item if partition == received.partition else Misrouted(partition)


def read(
    topic: Topic, value: bytes | None, traceparent: bytes | None, around: headers.Headers = ()
) -> HeardFact | HeardRequest | HeardDefinition | Unusable:
    """What a message's value says, whatever its key and partition."""
    invalid = "invalid_definition" if topic is COURSE_DEFINED else "invalid_message"
    if value is None:
        return Unusable(invalid, TOMBSTONE if topic is COURSE_DEFINED else "value: is null, must be a JSON object")
    try:
        said = unwrapped(value, around)
    except NoEnvelope as error:
        return Unusable(invalid, str(error))
    if topic is ATTENDANCE_CHANGED and (usual := usual_attendance(said)) is not None:
        return HeardFact(*usual, traceparent)
    try:
        message = topic.model.model_validate_json(said)
    except ValidationError as error:
        return _unusable(error, invalid)
    if problem := _foreign(topic, message):
        return Unusable("invalid_message", problem[:EXPLANATION_LIMIT])
    if isinstance(message, CourseDefined):
        if message.places > DEFINITION_PLACES:
            return Unusable(
                "record_limit", f"steps: {message.places} with sessions and groups, at most {DEFINITION_PLACES}"
            )
        return HeardDefinition(message.key, _definition(message))
    assert isinstance(message, AboutRecord), "all other topics are about records"
    course = course_key(message.tenant_id, message.course_id)
    if isinstance(message, ReevaluationRequested):
        return HeardRequest(message.key, course, traceparent, message.definition_version is not None)
    assert isinstance(message, inbound.Fact), "all other messages are of facts"
    return HeardFact(message.key, course, _fact(message), traceparent)


def _foreign(topic: Topic, message: BaseModel) -> str | None:
    """Fields of other topics of ours: what they say would change the meaning, and is not read here."""
    if not message.model_extra:
        return None
    said = [name for name, value in message.model_extra.items() if value is not None]
    found = sorted(FOREIGN[topic.name].intersection(said))
    if not found:
        return None
    return "; ".join(f"{name}: is a field of {' and '.join(OWNERS[name])}, not of {topic.name}" for name in found)


def _unusable(error: ValidationError, invalid: str) -> Unusable:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        return Unusable("invalid_json", f"value: {problems[0]['msg']}")
    spelled = "; ".join(f"{field}: {what}" for field, what in by_field(error))
    return Unusable(invalid, spelled[:EXPLANATION_LIMIT])


def by_field(error: ValidationError) -> list[tuple[str, str]]:
    """What is wrong with which field; `value` is the whole of it."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        (".".join(str(part) for part in problem["loc"]) or "value", problem["msg"].removeprefix("Value error, "))
        for problem in problems
    ]


def _too_long(received: Received) -> Unusable:
    if len(received.headers) > HEADERS:
        return Unusable(
            "record_limit", f"headers: the message has {len(received.headers)}, at most {HEADERS} are carried along"
        )
    size_bytes = received.unread_bytes or received.size_bytes
    return Unusable(
        "record_limit",
        f"value: the message has {size_bytes} bytes uncompressed, at most {MESSAGE_BYTES} are read; it is still where "
        "kafka_dlt-original-topic, -partition and -offset say, for as long as that topic keeps it",
    )


def _wrong_key(topic: Topic, key: bytes | None) -> Unusable:
    invalid = "invalid_definition" if topic is COURSE_DEFINED else "invalid_message"
    if key is None:
        return Unusable(invalid, f"key: is null, must be {topic.key}")
    return Unusable(invalid, f"key: must be {topic.key} of the same message")


def _fact(message: inbound.Fact) -> Fact:
    if isinstance(message, AttendanceChanged):
        return Fact(
            message.message_id,
            message.changed_at,
            "attendance",
            message.event_id,
            message.session_id,
            _attended(message),
            details_of_upload(message.source, message.upload_id, message.actor, message.reason),
        )
    identity = message.message_id, message.changed_at
    by = ("actor", message.actor), ("reason", message.reason)
    match message:
        case StepProgressChanged():
            value = Value("percent", message.progress_percent)
            told = details(("source", message.source), *by)
            return Fact(*identity, "progress", message.step_id, None, value, told)
        case EquivalencyGranted():
            granted = ("equivalent_course_id", message.equivalent_course_id), ("granted_by", message.granted_by)
            step = None if message.step_id is None else Value("granted", 100)
            return Fact(*identity, "equivalency", message.step_id, None, step, details(*granted, *by))
        case CompletionGranted():
            older = ("source", message.source), ("certificate_id", message.certificate_id)
            return Fact(*identity, "granted", details=details(*older, *by), certificate=_certificate(message))
        case Reassigned():
            told = details(("reassigned_by", message.reassigned_by), *by)
            keeps = message.progress == "keep"
            return Fact(*identity, "reassigned", details=told, keeps=keeps, due_at=message.due_at)
        case ReassignmentWithdrawn():
            return Fact(*identity, "withdrawn", details=details(*by), withdraws=message.reassignment_message_id)
    raise AssertionError(f"no fact comes of {type(message).__name__}")


def _certificate(message: CompletionGranted) -> GrantedCertificate:
    return "none" if message.is_without_certificate else message.certificate or "as_awarded"


def _attended(message: AttendanceChanged) -> Value:
    if message.excused:
        return Value("excused", 0)
    return value_attended(message.attended_minutes, message.attended_percent, message.attended)


_DEFINING = CourseDefined.model_fields.keys() - {"message_id", "changed_at", "actor", "reason"}
"""What makes two definitions the same."""


def _definition(message: CourseDefined) -> StoredDefinition:
    content = message.model_dump_json(include=_DEFINING, exclude_none=True)
    return StoredDefinition(message.version, message.message_id, message.changed_at, content)
