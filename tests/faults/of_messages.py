"""Faults of what lies in Kafka: damaged, deleted unread, compressed otherwise, in a transaction that hangs."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from contracts.topics import ATTENDANCE_CHANGED, STEP_COMPLETION_CHANGED
from tests.faults.segments import Stored, batches, was_stopped_well
from tests.faults.situation import STALL_SECONDS as USUAL_STALL_SECONDS
from tests.faults.situation import WORKERS, Situation, wait_for
from tests.faults.workload import Message
from tests.stack.wire import NAMES, Got

LANE = 1
STALL_SECONDS = 60
"""The least that can be set."""
HANG_SECONDS = STALL_SECONDS + 15.0
HANGING_MESSAGES = 20
ANSWER_SECONDS = 30.0
COMPRESSED_SECONDS = 5.0


# -- a batch that cannot be read --------------------------------------------------------------------------------


async def undecodable_batch(s: Situation) -> None:
    """A byte flips in every broker's copy, one broker after the other: its lane alone stands still, until skipped."""
    topic = s.world.prefix + ATTENDANCE_CHANGED.name
    await s.stop_all()
    await s.feed(0.2)
    damaged = await _damage(s, topic)
    s.workload.lose(damaged.values)
    s.workload.expect_letter(None)
    s.start(WORKERS)
    await s.feed(0.1)
    await wait_for(lambda: _all_others_are_through(s), "every lane but one to be through, and that to stand still")
    reason = ("--reason", "a disk fault", "--by", "the matrix")
    await asyncio.to_thread(s.world.run, "skip", topic, str(LANE), str(damaged.start), *reason)
    await s.ready()
    s.notes.append(
        f"lane {LANE} stood still before offsets {damaged.start} to {damaged.end - 1} until they were skipped; "
        "the others went on to their ends"
    )


async def _damage(s: Situation, topic: str) -> Stored:
    """The middle one of those batches that nobody has read yet. Each broker ends well, or it would mend its copy."""
    unread = await s.committed(topic, LANE)
    await _in_sync(s)
    waiting = [batch for batch in batches(s.cluster.nodes[0], topic, LANE) if batch.start >= unread]
    chosen = waiting[len(waiting) // 2]
    for node in s.cluster.nodes:
        await asyncio.to_thread(node.daemon.stop)
        assert was_stopped_well(node)
        (copy,) = [batch for batch in batches(node, topic, LANE) if batch.start == chosen.start]
        assert copy.raw == chosen.raw
        copy.flip()
        await asyncio.to_thread(node.daemon.start)
        await _in_sync(s)
        await s.feed(0.02)
    return chosen


async def _in_sync(s: Situation) -> None:
    await wait_for(lambda: s.cluster.in_sync(s.world.prefix), "the brokers to be in sync")


def _all_others_are_through(s: Situation) -> bool:
    lanes = {lane["lane"]: lane for body in s.readyz() for lane in body["lanes"]}
    still = [number for number, lane in lanes.items() if lane["state"] == "unreadable"]
    others = [lane for number, lane in lanes.items() if number != LANE]
    through = all(lane["ready"] and not lane["lag_messages"] for lane in others)
    return still == [LANE] and through and len(lanes) == s.profile.partitions and lanes[LANE]["lag_messages"] > 0


# -- transactions that hang -------------------------------------------------------------------------------------


async def hanging_transactions(s: Situation) -> None:
    """Two of other producers stay open for longer than a worker may stand still; then one commits and one aborts."""
    restarts = s.restarts
    await _start_anew(s, STALL_SECONDS)
    committed, aborted = s.workload.facts(HANGING_MESSAGES), s.workload.facts(HANGING_MESSAGES)
    s.workload.lose(message.value for message in aborted)
    committing, sent = await asyncio.to_thread(_begin, s, committed, 0)
    aborting, _ = await asyncio.to_thread(_begin, s, aborted, LANE)
    await s.feed(0.3)
    await asyncio.sleep(HANG_SECONDS)  # without anything new, which would keep the lanes busy
    assert s.restarts == restarts, "a worker that waits for somebody else's transaction has not stalled"
    told = {(one["topic"], one["partition"]) for body in s.readyz() for one in body["hanging_transactions"]}
    assert told == _places(s, committed, 0) | _places(s, aborted, LANE)
    await asyncio.to_thread(committing.commit_transaction, ANSWER_SECONDS)
    await asyncio.to_thread(aborting.abort_transaction, ANSWER_SECONDS)
    s.expect(sent)
    await s.dealt_with()
    assert s.restarts == restarts
    await _start_anew(s, USUAL_STALL_SECONDS)
    s.notes.append(f"open for {HANG_SECONDS:.0f} s, told by /readyz on {len(told)} partitions, no restart")


def _places(s: Situation, messages: Sequence[Message], partition: int) -> set[tuple[str, int]]:
    return {(s.world.prefix + NAMES[message.short], partition) for message in messages}


async def _start_anew(s: Situation, stall_seconds: int) -> None:
    await s.stop_all()
    s.world.settings["RATCHET_STALL_SECONDS"] = str(stall_seconds)
    s.start(WORKERS)
    await s.ready()


def _begin(s: Situation, messages: Sequence[Message], partition: int) -> tuple[Producer, list[Got]]:
    """A transaction with these messages, all in one lane, wherever they belong; it is left open."""
    sent: list[Got] = []

    def note(error: Any, message: Any) -> None:
        assert error is None, error
        short = next(short for short, name in NAMES.items() if s.world.prefix + name == message.topic())
        sent.append(Got(short, message.partition(), message.offset(), None, None, ()))

    producer = Producer(
        {
            "bootstrap.servers": s.world.broker.address,
            "transactional.id": f"lms-{uuid.uuid4()}",
            "transaction.timeout.ms": int(4000 * HANG_SECONDS),
            "log_level": 0,
        }
    )
    producer.init_transactions(ANSWER_SECONDS)
    producer.begin_transaction()
    for message in messages:
        topic = s.world.prefix + NAMES[message.short]
        producer.produce(topic, message.value, message.key, partition=partition, on_delivery=note)
    producer.flush(ANSWER_SECONDS)
    assert len(sent) == len(messages)
    return producer, sent


# -- topics that change -----------------------------------------------------------------------------------------


async def recompressed(s: Situation) -> None:
    """An operator has the brokers compress every topic with zstd, and thinks better of it."""
    for codec in ("zstd", "producer"):
        _set_of_all_topics(s, "compression.type", codec)
        for _ in range(4):
            await s.feed(0.05)
            await asyncio.sleep(COMPRESSED_SECONDS / 4)
    topics = (s.world.prefix + topic.name for topic in (ATTENDANCE_CHANGED, STEP_COMPLETION_CHANGED))
    of_topics = [batches(s.cluster.nodes[0], topic, LANE) for topic in topics]
    zstd_in, zstd_out = (sum(batch.is_zstd for batch in found) for found in of_topics)
    assert zstd_in and zstd_out
    s.notes.append(f"of one partition, {zstd_in} batches with zstd came in and {zstd_out} went out")


def _set_of_all_topics(s: Situation, name: str, value: str) -> None:
    admin = s.cluster.admin()  # it answers as long as it lives
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    topics = [topic for topic in admin.list_topics(timeout=10).topics if topic.startswith(s.world.prefix)]
    changes = [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry]) for topic in topics]
    for altered in admin.incremental_alter_configs(changes).values():
        altered.result()


async def retention_overtakes(s: Situation) -> None:
    """Half of what waits in a partition is deleted while nobody reads. That is lost by declaration, and told."""
    topic = s.world.prefix + ATTENDANCE_CHANGED.name
    await s.stop_all()
    await s.feed(0.2)
    unread = await s.committed(topic, LANE)
    waiting = [got for got in await s.read(ATTENDANCE_CHANGED.short) if got.partition == LANE and got.offset >= unread]
    gone = waiting[: len(waiting) // 2]
    until = gone[-1].offset + 1
    s.workload.lose(got.value for got in gone)
    admin = s.cluster.admin()
    (deleted,) = admin.delete_records([TopicPartition(topic, LANE, until)]).values()
    deleted.result()
    s.start()  # alone, so that no lane passes to another worker, who would know nothing of it
    await s.ready()
    says = f"{topic}: offsets {unread} to {until - 1} were deleted before they were read"
    told = [line for body in s.readyz() for lane in body["lanes"] for line in lane["deleted_unread"]]
    logged = [json.loads(line) for worker in s.workers for line in worker.log.read_text().splitlines()]
    assert (told, [line["what"] for line in logged if "what" in line]) == ([says], [says])
    s.start(WORKERS - 1)
    await s.ready()
    s.notes.append(f"{len(gone)} messages were deleted unread, and named by /readyz and in the log")
