"""Transactions that other producers have left open: nothing behind them can be read until they end.

Kafka tells the producers of a partition by DescribeProducers (KIP-664), which aiokafka does not have yet.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from service.kafka.clients import make_admin, started
from service.lanes.health import HangingTransaction
from service.settings import Settings

_PRODUCER = (
    ("producer_id", Int64),
    ("producer_epoch", Int32),
    ("last_sequence", Int32),
    ("last_timestamp", Int64),
    ("coordinator_epoch", Int32),
    ("current_txn_start_offset", Int64),
    ("tags", TaggedFields),
)
_PARTITION = (
    ("partition_index", Int32),
    ("error_code", Int16),
    ("error_message", CompactString("utf-8")),
    ("active_producers", CompactArray(*_PRODUCER)),
    ("tags", TaggedFields),
)


class _DescribeProducersResponse(Response):  # type: ignore[misc]  # aiokafka is not typed
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")), ("partitions", CompactArray(*_PARTITION)), ("tags", TaggedFields)
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeProducersStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 61
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _DescribeProducersResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("name", CompactString("utf-8")), ("partition_indexes", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("tags", TaggedFields),
    )


class _DescribeProducers(Request[_DescribeProducersStruct]):  # type: ignore[misc]
    API_KEY = 61

    def __init__(self, place: TopicPartition) -> None:
        self._place = place

    def build(self, struct: type[_DescribeProducersStruct]) -> _DescribeProducersStruct:
        return struct([(self._place.topic, [self._place.partition], {})], {})


async def find_hanging(settings: Settings, stuck: Mapping[TopicPartition, int]) -> list[HangingTransaction]:
    """Who has begun the transaction at the offset beyond which a partition cannot be read. Raises KafkaError."""
    if not stuck:
        return []
    admin = make_admin(settings)
    async with started(settings, admin):
        return [await _find(admin, place, offset) for place, offset in stuck.items()]


async def _find(admin: AIOKafkaAdminClient, place: TopicPartition, offset: int) -> HangingTransaction:
    cluster = await admin._client.fetch_all_metadata()  # noqa: SLF001  # it alone knows who leads a partition
    leader = cluster.leader_for_partition(place)
    answer: Any = await admin._send_request_to_node(leader, _DescribeProducers(place))  # noqa: SLF001
    for _, partitions, _ in answer.topics:
        for _, _, _, producers, _ in partitions:
            for producer_id, _, _, last_timestamp, _, start, _ in producers:
                if start == offset:
                    return HangingTransaction(place.topic, place.partition, offset, producer_id, last_timestamp)
    return HangingTransaction(place.topic, place.partition, offset, None, None)
