"""The worker's consumer: one FastStream subscriber over all inbound topics, without a handler.

FastStream makes the consumer, joins and leaves the group. It does not poll: its loop swallows a failed poll, with what
other partitions have lost by it. Each lane reads its own partitions (`log`); offsets go with the lanes' transactions.
"""

import asyncio
import logging
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from contracts.topics import CONSUMED
from service.errors import FixConfiguration, RestartProcess
from service.kafka import batches
from service.kafka.assignment import Lanes
from service.kafka.clients import make_producer, make_reader
from service.kafka.frames import NO_FRAMES, Frames
from service.kafka.rights import REFUSALS, refusal
from service.lanes.ports import Store
from service.settings import Settings

log = logging.getLogger(__name__)
FASTSTREAM_LOG = logging.getLogger("service.faststream")
FASTSTREAM_LOG.setLevel(logging.ERROR)  # it would tell of every poll

FETCH_BYTES = 512 * 1024
"""Per partition and fetch, so that one full partition does not keep the others waiting."""


class Worker:
    """Owns the consumer, which FastStream makes, and the lanes."""

    def __init__(self, settings: Settings, store: Store, partitions: int, frames: Frames = NO_FRAMES) -> None:
        batches.install()
        self._settings = settings
        self.lanes = Lanes(
            settings,
            store,
            partitions,
            self._consumer,
            partial(make_producer, settings),
            partial(make_reader, settings),
            frames=frames,
        )
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
            *(self._settings.topic_prefix + topic.name for topic in CONSUMED),
            group_id=self._settings.group,
            group_instance_id=self._settings.instance,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="none",
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=session_milliseconds,
            heartbeat_interval_ms=session_milliseconds // 10,
            rebalance_timeout_ms=max(session_milliseconds, 2000 * self._settings.shutdown_seconds),
            max_partition_fetch_bytes=FETCH_BYTES,
            check_crcs=self._settings.kafka_check_crcs,
            listener=self.lanes,
        )
        return broker

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises what ends the process: RestartProcess, FixConfiguration, a bug."""
        try:
            await self._run(stop)
        except REFUSALS as error:
            raise FixConfiguration(refusal(error)) from None
        except KafkaError as error:
            if error.retriable:
                raise RestartProcess(f"Kafka went away: {error!r}") from None
            raise FixConfiguration(f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: Kafka refuses: {error!r}") from None

    async def _run(self, stop: asyncio.Event) -> None:
        stopped = asyncio.create_task(stop.wait())
        starting = asyncio.create_task(self._start())
        tasks: list[asyncio.Future[Any]] = [stopped, starting]
        try:
            await asyncio.wait([stopped, starting], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                watching = asyncio.create_task(self.lanes.keep_watch())
                tasks.append(watching)
                ending: list[asyncio.Future[Any]] = [stopped, watching, self.lanes.failed]
                done, _ = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
                for ended in done:
                    ended.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.lanes.close()
            await self._leave()
            await self.lanes.close()  # of a rebalance that came in between

    async def _start(self) -> None:
        """Bounded: aiokafka's start waits for ever for a coordinator, and for members of the group that have died."""
        seconds = self._settings.start_seconds + self._settings.kafka_session_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._broker.start()
        except TimeoutError:
            raise RestartProcess(f"the group {self._settings.group} could not be joined within {seconds} s") from None

    async def _leave(self) -> None:
        """Bounded: aiokafka's stop can wait for ever when the assignment has just changed."""
        try:
            async with asyncio.timeout(self._settings.shutdown_seconds):
                await self._broker.stop()
        except TimeoutError:
            log.warning("the group was not left in time; it will miss this worker after its session")

    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        assert consumer is not None, "aiokafka and FastStream call back once it is there"
        return consumer


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
