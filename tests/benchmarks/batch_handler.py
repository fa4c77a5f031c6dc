"""FastStream's batch subscriber, Motor's bulk write, publish_batch: `python -m tests.benchmarks.batch_handler`.

What a competent engineer writes in a day: at least once, a crash after the publish publishes again. Bodies are bytes
on both sides, and changes go to the partition that their message came from, so that a key's changes keep their order.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import uvloop
from aiokafka import ConsumerRecord
from faststream import FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaPublishMessage
from faststream.middlewares import AckPolicy
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReplaceOne
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.benchmarks.place import BATCH_MESSAGES, PRODUCER_BATCH_BYTES, Place, place
from tests.benchmarks.plain import Document, decode, encode, new_record, update


def application(where: Place) -> FastStream:
    """One batch handler on one topic."""
    broker = KafkaBroker(
        where.kafka,
        acks="all",
        max_batch_size=PRODUCER_BATCH_BYTES,
        max_request_size=2 * PRODUCER_BATCH_BYTES,
        logger=None,
    )
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(where.mongodb)
    records = client.get_database(
        where.database, write_concern=WriteConcern(w="majority", j=True), read_concern=ReadConcern("majority")
    )["batch_handler"]

    @broker.subscriber(
        where.inbound,
        batch=True,
        max_records=BATCH_MESSAGES,
        group_id=where.group,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=_raw,
    )
    async def attendance_changed(messages: Any) -> None:
        keys = list({message.key.decode() for message in messages})
        known = {record["_id"]: record for record in await records.find({"_id": {"$in": keys}}).to_list(None)}
        changes = _update(known, messages)
        writes = [ReplaceOne({"_id": key}, known[key], upsert=True) for key in keys]
        await records.bulk_write(writes, ordered=False)
        for partition, some in changes.items():
            await broker.publish_batch(*some, topic=where.outbound, partition=partition)

    return FastStream(broker, logger=None)


async def _raw(message: KafkaMessage) -> Any:
    return message.raw_message


def _update(
    known: dict[str, Document], messages: Iterable[ConsumerRecord[bytes, bytes]]
) -> dict[int, list[KafkaPublishMessage]]:
    changes: dict[int, list[KafkaPublishMessage]] = defaultdict(list)
    for message in messages:
        assert message.key is not None and message.value is not None, "every message has both"
        key = message.key.decode()
        record = known.get(key)
        if record is None:
            record = known[key] = new_record(key)
        change = update(record, decode(message.value))
        if change is not None:
            changes[message.partition].append(KafkaPublishMessage(encode(change), key=message.key))
    return changes


async def main() -> None:
    """Work until SIGTERM."""
    await application(place()).run()


if __name__ == "__main__":
    uvloop.run(main())
