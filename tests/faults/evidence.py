"""What is kept where a promise was not: a moment later the servers are gone, and it may not happen again."""

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from pymongo import MongoClient

from contracts.topics import TOPICS
from tests.promise import Findings
from tests.stack.service import World

ISOLATIONS = ("read_committed", "read_uncommitted")


def keep(world: World, findings: Findings) -> Path:
    """All findings, the workers' logs, the records, and all that Ratchet has written, committed or not. Gives where."""
    folder = Path(tempfile.mkdtemp(prefix="ratchet-evidence-"))
    (folder / "findings.json").write_text(json.dumps(findings._asdict(), indent=1))
    for log in world.folder.glob(f"{world.name}-*.log"):
        shutil.copy(log, folder)
    for isolation in ISOLATIONS:
        lines = (json.dumps(message) + "\n" for message in _written(world, isolation))
        with (folder / f"{isolation}.jsonl").open("w") as file:
            file.writelines(lines)
    keys = sorted({finding.partition(":")[0] for finding in findings.all})
    with MongoClient[dict[str, Any]](world.database.address) as client:
        records = list(client[world.name]["records"].find({"_id": {"$in": keys}}))
    (folder / "records.txt").write_text("\n".join(map(repr, records)) + "\n")
    return folder


def _written(world: World, isolation: str) -> Iterator[dict[str, Any]]:
    """By another client than ours, as it comes."""
    options = {"isolation.level": isolation, "auto.offset.reset": "earliest", "enable.partition.eof": True}
    reader = Consumer({"bootstrap.servers": world.broker.address, "group.id": uuid.uuid4().hex, **options})
    try:
        names = [world.prefix + topic.name for topic in TOPICS if topic.direction != "in"]
        left = {(name, number) for name in names for number in range(world.partitions)}
        reader.assign([TopicPartition(*place, 0) for place in left])
        while left and (message := reader.poll(10)) is not None:
            topic, number = message.topic() or "", message.partition() or 0
            if message.error():
                left.discard((topic, number))  # its end
                continue
            key, value = ((one or b"").decode(errors="replace") for one in (message.key(), message.value()))
            place = {"topic": topic.removeprefix(world.prefix), "partition": number, "offset": message.offset()}
            yield {**place, "at": message.timestamp()[1], "key": key, "value": value}
    finally:
        reader.close()
