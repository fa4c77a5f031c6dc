"""From Kafka to the lanes: one FastStream batch subscriber over all inbound topics, lanes as the group assigns them.

FastStream flattens a poll over all partitions; `_hand_over` only sorts it to the lanes, which bound what waits there by
pausing their partitions. Nothing is ever acknowledged through FastStream: offsets go with the lanes' transactions.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage
from faststream.middlewares import AckPolicy
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from contracts.topics import CONSUMED
from service import metrics
from service.errors import FixConfiguration, RestartProcess
from service.kafka_log import CALL_SECONDS, KafkaLog
from service.lane import Lane
from service.ports import Received, Store
from service.settings import Settings

log = logging.getLogger(__name__)

FASTSTREAM_LOG = logging.getLogger("service.faststream")
FASTSTREAM_LOG.setLevel(logging.ERROR)  # it would tell of every poll

POLL_MILLISECONDS = 20
"""An empty poll costs this twice in latency; FastStream sleeps as long again."""
FETCH_BYTES = 512 * 1024
"""Per partition and fetch, so that one full partition does not keep the others waiting."""
PRODUCER_BATCH_BYTES = 256 * 1024
LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024
WATCH_SECONDS = 1.0


def producer_options(settings: Settings) -> dict[str, Any]:
    """What every producer here has in common; a dead letter may be as large as any topic allows."""
    return {
        **settings.kafka_options(),
        "enable_idempotence": True,
        "acks": "all",
        "max_batch_size": PRODUCER_BATCH_BYTES,
        "max_request_size": LARGEST_MESSAGE_BYTES,
        "request_timeout_ms": int(CALL_SECONDS * 1000),
    }


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed
    """Owns the consumer, the lanes and the watch over them."""

    def __init__(
        self, settings: Settings, store: Store, partitions: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.lanes: dict[int, Lane] = {}
        self.joined = False
        self._settings = settings
        self._store = store
        self._partitions = partitions
        self._clock = clock
        self._prefix = settings.topic_prefix
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sender = AIOKafkaProducer(**producer_options(settings))
        self._broker = self._make_broker()

    def _make_broker(self) -> KafkaBroker:
        options = self._settings.kafka_options()
        security = options.pop("security_protocol"), options.pop("ssl_context", None)
        broker = KafkaBroker(
            apply_types=False,
            logger=FASTSTREAM_LOG,
            graceful_timeout=float(self._settings.shutdown_seconds),
            allow_auto_create_topics=False,
            consumer_only=True,
            **_faststream_security(options, *security),
        )
        session_milliseconds = self._settings.kafka_session_timeout_seconds * 1000
        self._subscriber = broker.subscriber(
            *(self._prefix + topic.name for topic in CONSUMED),
            batch=True,
            group_id=self._settings.group,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=session_milliseconds,
            heartbeat_interval_ms=session_milliseconds // 10,
            rebalance_timeout_ms=session_milliseconds,
            batch_timeout_ms=POLL_MILLISECONDS,
            max_partition_fetch_bytes=FETCH_BYTES,
            check_crcs=self._settings.kafka_check_crcs,
            listener=self,
            parser=_parse,
            decoder=_decode,
            no_reply=True,
        )
        self._subscriber(self._hand_over)
        return broker

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises what ends the process: RestartProcess, FixConfiguration, a bug."""
        watch = asyncio.create_task(self._watch())
        stopped = asyncio.create_task(stop.wait())
        try:
            await self._start()
            ending: list[asyncio.Future[Any]] = [watch, stopped, self._failed]
            done, _ = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
        finally:
            for task in (watch, stopped):
                task.cancel()
            await self._close(list(self.lanes))
            await self._broker.stop()
            await self._close(list(self.lanes))  # of a rebalance that came in between
            await self._sender.stop()

    async def _start(self) -> None:
        """Bounded: aiokafka's start waits for ever for a coordinator."""
        try:
            async with asyncio.timeout(self._settings.start_seconds):
                await self._sender.start()
                await self._broker.start()
        except TimeoutError:
            raise FixConfiguration(
                f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: no group could be joined within {self._settings.start_seconds} s"
            ) from None

    # -- what aiokafka calls ------------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Close the lanes; the batches in hand may finish."""
        await self._close(sorted({partition.partition for partition in revoked}))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Open a lane for each partition number."""
        consumer = self._consumer
        consumer.pause(*assigned)
        topics = [topic.name for topic in CONSUMED]
        for number in sorted({partition.partition for partition in assigned}):
            lane_log = KafkaLog(
                consumer,
                topics,
                number,
                self._settings.group,
                self._prefix,
                self._make_producer,
                self._sender,
            )
            lane = Lane(
                number,
                topics,
                self._partitions,
                lane_log,
                self._store,
                self._settings.limits,
                self._settings.future_tolerance_seconds,
                self._prefix,
                self._clock,
            )
            lane.task.add_done_callback(self._lane_ended)
            self.lanes[number] = lane
        self.joined = True
        log.info("lanes assigned", extra={"lanes": sorted(self.lanes)})

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        assert consumer is not None, "aiokafka and FastStream call back once it is there"
        return consumer

    def _make_producer(self, transactional_id: str) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **producer_options(self._settings),
            transactional_id=transactional_id,
            transaction_timeout_ms=int(CALL_SECONDS * 2000),
        )

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and not self._failed.done():
            self._failed.set_exception(task.exception() or AssertionError)

    async def _close(self, numbers: Sequence[int]) -> None:
        lanes = [self.lanes.pop(number) for number in numbers if number in self.lanes]
        await asyncio.gather(*(lane.close(self._settings.shutdown_seconds) for lane in lanes))

    # -- what FastStream calls ----------------------------------------------------------------------------------

    async def _hand_over(self, records: tuple[ConsumerRecord[Any, Any], ...]) -> None:
        """Sort a poll to the lanes. Never raises: FastStream would swallow it and go on."""
        for (topic, partition), group in groupby(records, lambda record: (record.topic, record.partition)):
            lane = self.lanes.get(partition)
            position = await self._position(TopicPartition(topic, partition))
            if lane is None or position is None:
                continue
            name = topic.removeprefix(self._prefix)
            # What was fetched before a seek stands at or behind the position; it comes again.
            lane.offer(name, [_received(name, record) for record in group if record.offset < position])

    async def _position(self, partition: TopicPartition) -> int | None:
        try:
            return int(await self._consumer.position(partition))
        except IllegalStateError:
            return None

    # -- watching -----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Keep the gauges, and end the process when a lane with lag has stood still: clients can stick."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            states = [lane.state for lane in self.lanes.values()]
            for state in ("taking over", "open", "waiting", "lost", "closed"):
                metrics.LANES.labels(state).set(states.count(state))
            for lane in self.lanes.values():
                lag_messages = await lane.lag_messages()
                metrics.LAG_MESSAGES.labels(lane.number).set(lag_messages)
                still_seconds = time.monotonic() - lane.active_at
                if (lag_messages or lane.state != "open") and still_seconds > self._settings.stall_seconds:
                    raise RestartProcess(
                        f"lane {lane.number} ({lane.state}) has {lag_messages} messages waiting "
                        f"and did nothing for {still_seconds:.0f} s"
                    )


def _received(topic: str, record: ConsumerRecord[Any, Any]) -> Received:
    return Received(topic, record.partition, record.offset, record.timestamp, record.key, record.value, record.headers)


async def _parse(records: tuple[ConsumerRecord[Any, Any], ...]) -> KafkaMessage:
    """FastStream's own parser fails a whole batch on one header that is not UTF-8; this one looks at nothing."""
    return KafkaMessage(raw_message=records, body=b"", consumer=None)  # type: ignore[arg-type]  # never acknowledged


async def _decode(message: KafkaMessage) -> object:
    return message.raw_message


def _faststream_security(options: dict[str, Any], protocol: str, ssl_context: Any) -> dict[str, Any]:
    """The connection options of aiokafka in FastStream's words."""
    use_ssl = protocol.endswith("SSL")
    username, password = options.pop("sasl_plain_username", None), options.pop("sasl_plain_password", None)
    mechanism = options.pop("sasl_mechanism", None)
    by_mechanism = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    security: BaseSecurity = (
        BaseSecurity(ssl_context=ssl_context, use_ssl=use_ssl)
        if mechanism is None
        else by_mechanism[mechanism](username=username, password=password, ssl_context=ssl_context, use_ssl=use_ssl)
    )
    return {**options, "security": security}
