"""Quix Streams as its pages show it: state in RocksDB with a changelog, exactly once to Kafka, records to a sink.

Its sink for MongoDB writes at least once, and apart from the transaction. It has an environment of its own
(tests/stack/build.py), because it takes an older librdkafka than Ratchet's tests do.
"""

import tempfile
from typing import Any

from quixstreams import Application, State
from quixstreams.sinks.community.mongodb import MongoDBSink

from tests.benchmarks.place import place
from tests.benchmarks.plain import Document, new_record, update

COMMIT_SECONDS = 1.0
"""The best of 0.5, 1 and 5."""


def _updated(message: Any, key: str, _timestamp: int, _headers: Any, state: State) -> tuple[Document, Document | None]:
    """The record once it knows the message, and the change to publish."""
    record = state.get("record") or new_record(key)
    change = update(record, message)
    state.set("record", record)
    return record, change


def main() -> None:
    """Work until SIGTERM."""
    where = place()
    mongodb = where.mongodb.removeprefix("mongodb://")
    with tempfile.TemporaryDirectory() as folder:
        application = Application(
            broker_address=where.kafka,
            consumer_group=where.group,
            auto_offset_reset="earliest",
            processing_guarantee="exactly-once",
            commit_interval=COMMIT_SECONDS,
            state_dir=folder,
            loglevel="WARNING",
        )
        inbound = application.topic(where.inbound, key_deserializer="str", value_deserializer="json")
        outbound = application.topic(where.outbound, key_serializer="str", value_serializer="json")
        updated = application.dataframe(inbound).apply(_updated, stateful=True, metadata=True)
        changed = updated.filter(lambda pair: pair[1] is not None).apply(lambda pair: pair[1])
        changed.to_topic(outbound)
        sink = MongoDBSink(mongodb, where.database, "quix", update_method="ReplaceOne", w="majority", journal=True)
        updated.apply(lambda pair: pair[0]).sink(sink)
        application.run()


if __name__ == "__main__":
    main()
