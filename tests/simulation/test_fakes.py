"""The Kafka in memory keeps the promises that the real one keeps: one suite on both."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.topics import LANE_PROGRESS
from service.errors import LaneLost
from service.kafka.log import KafkaLog
from service.lanes.ports import Outbound
from service.lanes.progress import Done, digest, up_to
from tests.simulation.kafka import Broker, FakeConsumer, FakeProducer
from tests.stack.servers import Server

IN, OUT = "in", "out"


class Cluster:
    """A lane's topics and clients, on either Kafka."""

    def __init__(
        self,
        make_log: Callable[[], KafkaLog],
        read: Callable[[], AsyncIterator[tuple[bytes | None, bytes | None]]],
        forget: Callable[[], Awaitable[None]],
    ) -> None:
        self.make_log = make_log
        self._read = read
        self.forget = forget
        """The group tells a committed offset of 2 from now on, whatever was committed since."""

    async def read(self) -> list[tuple[bytes | None, bytes | None]]:
        """Key and value of everything in the output topic, as a `read_committed` reader sees it."""
        return [message async for message in self._read()]


@pytest.fixture(params=["memory", "kafka"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """An input and an output topic of one partition each."""
    if request.param == "memory":
        async for made in _in_memory():
            yield made
        return
    server: Server = request.getfixturevalue("broker")
    if not server.real:
        pytest.skip("a mock broker proves nothing about Kafka")
    async for made in _on_kafka(server):
        yield made


def log_in_memory(broker: Broker) -> KafkaLog:
    """The only lane's."""

    async def pause(_: str) -> bool:
        return False

    consumer = FakeConsumer(broker, pause)
    consumer.assign([TopicPartition(IN, 0)])
    make_producer, make_reader = partial(FakeProducer, broker, pause), partial(FakeConsumer, broker, pause)
    return KafkaLog(consumer, [IN], 0, "g", "", make_producer, make_reader)


async def _in_memory() -> AsyncIterator[Cluster]:
    broker = Broker(1)

    async def read() -> AsyncIterator[tuple[bytes | None, bytes | None]]:
        for record in broker.fetch(TopicPartition(OUT, 0), 0, 1000)[0]:
            yield record.key, record.value

    async def forget() -> None:
        broker._told = {TopicPartition(IN, 0): 2}, {TopicPartition(IN, 0): ""}

    yield Cluster(partial(log_in_memory, broker), read, forget)


async def _on_kafka(server: Server) -> AsyncIterator[Cluster]:
    prefix, group = f"f{uuid4().hex[:8]}.", f"g{uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=server.address)
    await admin.start()
    await admin.create_topics([NewTopic(prefix + name, 1, 1) for name in (IN, OUT, LANE_PROGRESS.name)])
    await admin.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=server.address, group_id=group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(prefix + IN, 0)])

    def make_log() -> KafkaLog:
        return KafkaLog(
            consumer,
            [IN],
            0,
            group,
            prefix,
            lambda transactional_id: AIOKafkaProducer(
                bootstrap_servers=server.address, transactional_id=transactional_id, enable_idempotence=True
            ),
            lambda: AIOKafkaConsumer(
                bootstrap_servers=server.address, isolation_level="read_committed", enable_auto_commit=False
            ),
        )

    async def read() -> AsyncIterator[tuple[bytes | None, bytes | None]]:
        out = TopicPartition(prefix + OUT, 0)
        async with AIOKafkaConsumer(
            bootstrap_servers=server.address, isolation_level="read_committed", enable_auto_commit=False
        ) as reader:
            reader.assign([out])
            end = (await reader.end_offsets([out]))[out]
            reader.seek(out, 0)
            while await reader.position(out) < end:
                for records in (await reader.getmany(timeout_ms=100)).values():
                    for record in records:
                        yield record.key, record.value

    async def forget() -> None:
        await consumer.commit({TopicPartition(prefix + IN, 0): 2})

    yield Cluster(make_log, read, forget)
    await consumer.stop()


def message(number: int) -> Outbound:
    """A message for the output topic."""
    return Outbound(OUT, b"k", str(number).encode(), (("h", b"\xff"), ("n", None)))


async def test_a_transaction_carries_messages_and_offsets_together(cluster: Cluster) -> None:
    log = cluster.make_log()
    await log.fence()
    assert await log.committed({}) == up_to({IN: 0})
    assert await log.committed({IN: 3}) == up_to({IN: 3})
    await log.publish([message(1), message(2)], up_to({IN: 5}))
    await log.publish([], up_to({IN: 7}))
    assert await cluster.read() == [(b"k", b"1"), (b"k", b"2")]
    await log.fence()
    assert await log.committed({IN: 3}) == up_to({IN: 7})
    await log.discard()


async def test_what_has_overtaken_others_is_committed_with_the_offset(cluster: Cluster) -> None:
    log, done = cluster.make_log(), Done.but(900, {digest(b"k"): 3, digest(b"l"): 7})
    await log.fence()
    await log.publish([message(1)], {IN: done})
    await log.fence()  # which waits for the end of the transaction everywhere, as a lane that takes over does
    assert await log.committed({}) == {IN: done}
    assert (done.offset, done.has(b"k", 2), done.has(b"k", 3), done.has(b"l", 6)) == (3, True, False, True)
    assert (done.has(b"m", 899), done.has(b"m", 900), done.has(None, 899)) == (True, False, True)
    await log.publish([], up_to({IN: 900}))
    await log.fence()
    assert await log.committed({}) == up_to({IN: 900})
    await log.discard()


@pytest.mark.parametrize("since", [1, 120], ids=["just now", "long ago"])
async def test_where_a_lane_stands_does_not_depend_on_what_the_group_remembers(cluster: Cluster, since: int) -> None:
    log = cluster.make_log()
    await log.fence()
    await log.publish([message(1)], up_to({IN: 2}))
    await log.publish([message(2)], up_to({IN: 7}))
    for _ in range(since):
        await log.fence()
    await cluster.forget()
    successor = cluster.make_log()
    await successor.fence()
    assert await successor.committed({IN: 3}) == up_to({IN: 7})
    async with asyncio.timeout(10):  # and the group is told again; Kafka shows it a moment after
        while not await successor.has_dealt_with(IN, {0: 6}):
            await asyncio.sleep(0.05)
    assert await cluster.read() == [(b"k", b"1"), (b"k", b"2")]
    await log.discard()
    await successor.discard()


async def test_order_within_a_key_is_kept_over_many_batches(cluster: Cluster) -> None:
    log = cluster.make_log()
    await log.fence()
    await log.publish([message(number) for number in range(200)], up_to({IN: 1}))
    assert [int(value or b"") for _, value in await cluster.read()] == list(range(200))
    await log.discard()


async def test_a_message_needs_neither_key_nor_value(cluster: Cluster) -> None:
    log = cluster.make_log()
    await log.fence()
    nothing = [Outbound(OUT, None, None, ()), Outbound(OUT, b"k", None, ()), Outbound(OUT, None, b"", ())]
    await log.publish(nothing, up_to({IN: 1}))
    assert await cluster.read() == [(None, None), (b"k", None), (None, b"")]
    await log.discard()


async def test_a_successor_fences_its_predecessor(cluster: Cluster) -> None:
    old, new = cluster.make_log(), cluster.make_log()
    await old.fence()
    await old.publish([message(1)], up_to({IN: 1}))
    await new.fence()
    with pytest.raises(LaneLost):
        await old.publish([message(2)], up_to({IN: 2}))
    assert await new.committed({}) == up_to({IN: 1})
    await new.publish([message(3)], up_to({IN: 3}))
    assert await cluster.read() == [(b"k", b"1"), (b"k", b"3")]
    await new.discard()


async def test_what_was_not_committed_is_never_seen(cluster: Cluster) -> None:
    old, new = cluster.make_log(), cluster.make_log()
    await old.fence()
    producer = old._producer
    assert producer is not None
    await producer.begin_transaction()
    await old._send_all(producer, [message(1)])
    assert await cluster.read() == []
    await new.fence()
    await new.publish([message(2)], up_to({IN: 2}))
    assert await cluster.read() == [(b"k", b"2")]
    await old.discard()
    await new.discard()


async def test_requests_are_sent_without_a_transaction(cluster: Cluster) -> None:
    log = cluster.make_log()
    sent = await log.send(OUT, [message(1), message(2)])
    assert sent == {0: 1}
    assert await cluster.read() == [(b"k", b"1"), (b"k", b"2")]
    await log.fence()
    assert await log.committed({}) == up_to({IN: 0})


async def test_what_was_sent_is_dealt_with_once_the_group_has_committed_more(cluster: Cluster) -> None:
    log = cluster.make_log()
    await log.fence()
    assert not await log.has_dealt_with(IN, {0: 1})
    await log.publish([], up_to({IN: 1}))
    assert not await log.has_dealt_with(IN, {0: 1})
    await log.publish([], up_to({IN: 2}))
    async with asyncio.timeout(10):  # Kafka shows a transaction's offsets a moment after its end
        while not await log.has_dealt_with(IN, {0: 1}):
            await asyncio.sleep(0.05)
    await log.discard()


@pytest.mark.parametrize("deleted", [False, True], ids=["all brokers were away", "somebody has deleted it"])
async def test_a_group_that_tells_nothing_is_asked_once_more(deleted: bool) -> None:
    """Where brokers go away between fencing and asking, nothing is told, as if the group had been deleted."""
    broker = Broker(1)
    first = log_in_memory(broker)
    await first.fence()
    await first.publish((), up_to({IN: 5}))
    second = log_in_memory(broker)
    await second.fence()
    if deleted:
        broker.offsets.clear()
    else:
        broker.come_back(1)
    assert await second.committed({IN: 3}) == {IN: Done.up_to(3 if deleted else 5)}
