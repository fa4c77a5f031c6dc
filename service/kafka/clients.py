"""aiokafka's clients as they are made here, and how those of commands begin and end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError

from service.errors import FixConfiguration
from service.kafka.rights import REFUSALS, refusal
from service.settings import Settings

CALL_SECONDS = 30.0
"""No call to Kafka takes longer: after that its outcome counts as unknown."""
PRODUCER_BATCH_BYTES = 512 * 1024
"""Half of what a broker takes by default."""
LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024
"""A dead letter may be as large as any topic allows."""


_send = AIOKafkaConnection.send


def _send_or_break(connection: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
    """Uvloop raises RuntimeError for what is written to a connection that has just broken, aiokafka expects OSError."""
    try:
        return _send(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"connection to {connection.host}:{connection.port} is broken") from error


AIOKafkaConnection.send = _send_or_break


def make_admin(settings: Settings, **options: Any) -> AIOKafkaAdminClient:
    """Raises ValueError for an address that is none."""
    return AIOKafkaAdminClient(**settings.kafka_options(), **options)


def make_producer(settings: Settings, transactional_id: str | None = None) -> AIOKafkaProducer:
    """Idempotent, at least; every producer here has these options."""
    return AIOKafkaProducer(
        **settings.kafka_options(),
        enable_idempotence=True,
        acks="all",
        max_batch_size=PRODUCER_BATCH_BYTES,
        max_request_size=LARGEST_MESSAGE_BYTES,
        request_timeout_ms=int(CALL_SECONDS * 1000),
        transactional_id=transactional_id,
        transaction_timeout_ms=int(CALL_SECONDS * 2000),
    )


def make_reader(settings: Settings, group: str | None = None, **options: Any) -> AIOKafkaConsumer:
    """A consumer for commands: reads what is committed unless told otherwise, and commits nothing by itself."""
    return AIOKafkaConsumer(
        **settings.kafka_options(),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        check_crcs=settings.kafka_check_crcs,
        **{"isolation_level": "read_committed", **options},
    )


@asynccontextmanager
async def started(settings: Settings, client: Any) -> AsyncIterator[None]:
    """A client, while the context lasts. Raises FixConfiguration where Kafka does not answer in time."""
    try:
        try:
            async with asyncio.timeout(settings.start_seconds):
                await client.start()
        except REFUSALS:
            raise
        except (KafkaError, OSError, TimeoutError) as error:
            raise FixConfiguration(
                f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: no Kafka answers at {settings.kafka_bootstrap_servers} "
                f"({type(error).__name__})"
            ) from None
        yield
    except REFUSALS as error:
        raise FixConfiguration(refusal(error, group="DESCRIBE")) from None
    finally:
        await (client.stop() if hasattr(client, "stop") else client.close())
