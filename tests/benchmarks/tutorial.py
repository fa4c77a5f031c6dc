"""FastStream and Motor as their tutorials show them: `python -m tests.benchmarks.tutorial`.

One message, one find, one replace, one publish, one commit; at least once.
"""

from typing import Any

import uvloop
from faststream import FastStream
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.middlewares import AckPolicy
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.benchmarks.place import Place, place
from tests.benchmarks.plain import Document, new_record, update


def application(where: Place) -> FastStream:
    """One handler on one topic."""
    broker = KafkaBroker(where.kafka, acks="all", logger=None)
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(where.mongodb)
    records = client.get_database(
        where.database, write_concern=WriteConcern(w="majority", j=True), read_concern=ReadConcern("majority")
    )["tutorial"]

    @broker.subscriber(
        where.inbound, group_id=where.group, auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
    )
    async def attendance_changed(body: dict[str, Any], message: KafkaMessage) -> None:
        raw = message.raw_message
        assert not isinstance(raw, tuple), "one message at a time"
        key = raw.key
        record = await records.find_one({"_id": key.decode()}) or new_record(key.decode())
        change = update(record, body)
        await records.replace_one({"_id": record["_id"]}, record, upsert=True)
        if change is not None:
            await broker.publish(change, where.outbound, key=key)

    return FastStream(broker, logger=None)


async def main() -> None:
    """Work until SIGTERM."""
    await application(place()).run()


if __name__ == "__main__":
    uvloop.run(main())
