"""What Kafka lets this user do with topics, as the brokers tell it (KIP-430), beside what it takes.

Asked for at the start, all at once: a dead letter that may not be written would be found out at the first one.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from contracts.topics import (
    CONSUMED,
    COURSE_COMPLETION_CHANGED,
    COURSE_DEFINED,
    DEAD_LETTER,
    FACTS,
    LANE_PROGRESS,
    LEARNER_ERASED,
    RECORD_STATE,
    REEVALUATION_REQUESTED,
    REROUTED,
    STEP_COMPLETION_CHANGED,
    TOPICS,
    Topic,
)
from service.errors import FixConfiguration

Needs = Mapping[str, Iterable[Topic]]
"""By operation, on which topics."""
SIZED = (*CONSUMED, DEAD_LETTER)
"""How large a message they take counts: what comes in must fit what carries it on."""
_CHANGES = (STEP_COMPLETION_CHANGED, COURSE_COMPLETION_CHANGED)
WORKER: Needs = {
    "READ": (*CONSUMED, LANE_PROGRESS),
    "WRITE": (*_CHANGES, RECORD_STATE, DEAD_LETTER, REEVALUATION_REQUESTED, REROUTED, LANE_PROGRESS),
    "DESCRIBE_CONFIGS": SIZED,
}
COMMANDS: Needs = {
    "READ": (*CONSUMED, DEAD_LETTER, *_CHANGES, LANE_PROGRESS),
    "WRITE": (
        *(COURSE_DEFINED, *FACTS, REEVALUATION_REQUESTED, REROUTED),
        *(LANE_PROGRESS, LEARNER_ERASED, RECORD_STATE),
    ),
    "DESCRIBE_CONFIGS": SIZED,
}
CREATOR: Needs = {"DESCRIBE_CONFIGS": TOPICS}
"""Besides DESCRIBE, and CREATE, which only creating tells of."""
_BITS = {"READ": 3, "WRITE": 4, "DESCRIBE_CONFIGS": 10}
"""Of Kafka's AclOperation."""
_NOT_TOLD = -(2**31)
_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", Array(Int32)),
    ("isr", Array(Int32)),
    ("offline_replicas", Array(Int32)),
)
_TOPIC = (
    ("error_code", Int16),
    ("topic", String("utf-8")),
    ("is_internal", Boolean),
    ("partitions", Array(*_PARTITION)),
    ("authorized_operations", Int32),
)


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka is not typed
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8")))),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        ("topics", Array(*_TOPIC)),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Metadata(Request[MetadataRequest_v5 | _MetadataStruct]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, struct: Any) -> Any:
        return struct(self._topics, False, *([False, True] if struct is _MetadataStruct else []))


REFUSALS = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, TransactionalIdAuthorizationFailed)


def not_allowed(what: str) -> FixConfiguration:
    """`what`: operations, and on what."""
    return FixConfiguration(_told(what))


def refusal(error: KafkaError, topic: str = "READ", group: str = "READ") -> str:
    """One of REFUSALS, where such an operation was tried; which topic or group, aiokafka says where it knows."""
    operation, kind = {
        GroupAuthorizationFailedError: (group, "group "),
        TransactionalIdAuthorizationFailed: ("WRITE", "transactional id "),
    }.get(type(error), (topic, ""))
    told = [name for one in error.args for name in ([one] if isinstance(one, str) else sorted(one))]
    names = [one.rpartition(" ")[2] for one in told]  # it may be a sentence that ends with the name
    return _told(f"{operation} on {kind}{', '.join(names) or 'a topic'}")


def _told(what: str) -> str:
    return f"Kafka does not allow this user: {what}; allow it (deploy/permissions.yaml lists what each part needs)"


class Described(NamedTuple):
    """A topic that exists, or that may not be looked at (`partitions` 0)."""

    partitions: int
    lacks: frozenset[str]
    """Operations that are not allowed; empty where the broker is too old to tell."""


async def describe(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, Described]:
    """Those of these topics that there are, named in full. Raises KafkaError."""
    answer = (await admin._send_request(_Metadata(list(names)))).to_object()  # noqa: SLF001  # no other way in
    found = {}
    for topic in answer["topics"]:
        if for_code(topic["error_code"]) is TopicAuthorizationFailedError:
            found[topic["topic"]] = Described(0, frozenset(("DESCRIBE",)))
        elif topic["partitions"] and not topic["error_code"]:
            allowed = topic.get("authorized_operations", _NOT_TOLD)
            lacks = () if allowed == _NOT_TOLD else (name for name, bit in _BITS.items() if not allowed >> bit & 1)
            found[topic["topic"]] = Described(len(topic["partitions"]), frozenset(lacks))
    return found


def lacking(found: Mapping[str, Described], needs: Needs, prefix: str) -> list[str]:
    """What it takes and is not allowed, operation by operation."""
    wanted = {operation: [prefix + topic.name for topic in topics] for operation, topics in needs.items()}
    lacked = {
        operation: [name for name in names if name in found and found[name].lacks & {operation, "DESCRIBE"}]
        for operation, names in wanted.items()
    }
    return [f"{operation} on {', '.join(names)}" for operation, names in lacked.items() if names]
