"""The floor: the worker's I/O and nothing else, as fast as it goes. `python -m tests.benchmarks.floor`.

aiokafka, PyMongo and uvloop; one process, a lane per partition. A lane takes a batch, loads its records by `$in`, puts
the values into them (tests.benchmarks.plain), stores records with their changes in one unordered bulk write, and
publishes the changes with the offsets in a transaction, while the next batch is being stored. Exactly once, as the
worker: the changes stay in the record until they are committed, and a message below the record's offset is known.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pymongo import AsyncMongoClient, InsertOne, ReplaceOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.benchmarks.place import BATCH_MESSAGES, PRODUCER_BATCH_BYTES, Place, place
from tests.benchmarks.plain import Document, decode, encode, new_record, update

POLL_MILLISECONDS = 1000
Change = tuple[bytes, bytes]
"""Key and value."""


class FloorLane:
    """One partition, its records, its transactional producer."""

    def __init__(
        self, where: Place, consumer: AIOKafkaConsumer, records: AsyncCollection[Document], partition: TopicPartition
    ) -> None:
        self._where = where
        self._consumer = consumer
        self._records = records
        self._partition = partition
        self._committed = 0
        self._producer = AIOKafkaProducer(
            bootstrap_servers=where.kafka,
            transactional_id=f"{where.group}-{partition.partition}",
            enable_idempotence=True,
            acks="all",
            max_batch_size=PRODUCER_BATCH_BYTES,
            max_request_size=2 * PRODUCER_BATCH_BYTES,
        )

    async def run(self) -> None:
        """For ever."""
        await self._producer.start()
        self._committed = await self._consumer.committed(self._partition) or 0
        publishing: asyncio.Task[None] | None = None
        while True:
            taken = await self._consumer.getmany(
                self._partition, timeout_ms=POLL_MILLISECONDS, max_records=BATCH_MESSAGES
            )
            messages = taken.get(self._partition)
            changes = await self._store(messages) if messages else []
            if publishing is not None:
                await publishing
                publishing = None
            if messages:
                publishing = asyncio.create_task(self._publish(changes, messages[-1].offset + 1))

    async def _store(self, messages: Sequence[Any]) -> list[Change]:
        """Load, update, store; gives the changes that the batch makes."""
        keys = list({message.key.decode() for message in messages})
        records = {record["_id"]: record for record in await self._records.find({"_id": {"$in": keys}}).to_list(None)}
        for message in messages:
            key = message.key.decode()
            record = records.get(key)
            if record is None:
                record = records[key] = new_record(key) | {"offset": -1, "pending": []}
            if message.offset > record["offset"]:
                record["offset"] = message.offset
                change = update(record, decode(message.value))
                if change is not None:
                    record["pending"].append({"offset": message.offset, "value": encode(change)})
        await self._save(records.values())
        first = messages[0].offset
        return [
            (record["_id"].encode(), pending["value"])
            for record in records.values()
            for pending in record["pending"]
            if pending["offset"] >= first
        ]

    async def _save(self, records: Any) -> None:
        writes: list[InsertOne[Document] | ReplaceOne[Document]] = []
        for record in records:
            rev = record["rev"]
            record["rev"] = rev + 1
            record["pending"] = [pending for pending in record["pending"] if pending["offset"] >= self._committed]
            writes.append(ReplaceOne({"_id": record["_id"], "rev": rev}, record) if rev else InsertOne(record))
        result = await self._records.bulk_write(writes, ordered=False)
        assert result.matched_count + result.inserted_count == len(writes), "nobody else writes here"

    async def _publish(self, changes: Sequence[Change], end: int) -> None:
        await self._producer.begin_transaction()
        if changes:
            batch = self._producer.create_batch()
            for key, value in changes:
                assert batch.append(key=key, value=value, timestamp=None) is not None, "it is large enough"
            sent = await self._producer.send_batch(batch, self._where.outbound, partition=self._partition.partition)
            await sent
        await self._producer.send_offsets_to_transaction({self._partition: end}, self._where.group)
        await self._producer.commit_transaction()
        self._committed = end


async def main() -> None:
    """Join the group and work until the process is ended."""
    where = place()
    client: AsyncMongoClient[Document] = AsyncMongoClient(where.mongodb)
    records = client.get_database(
        where.database, write_concern=WriteConcern(w="majority", j=True), read_concern=ReadConcern("majority")
    )["floor"]
    consumer = AIOKafkaConsumer(
        where.inbound,
        bootstrap_servers=where.kafka,
        group_id=where.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    while not consumer.assignment():
        await asyncio.sleep(0.01)
    await asyncio.gather(*(FloorLane(where, consumer, records, each).run() for each in consumer.assignment()))


if __name__ == "__main__":
    uvloop.run(main())
