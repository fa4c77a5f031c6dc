"""Sends messages as the LMS would: to the topics that the workers read, each batch acknowledged before the next."""

import asyncio
from collections.abc import Sequence
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from service.errors import FixConfiguration, WaitAndRetry
from service.ports import Outbound
from service.settings import Settings
from service.worker import producer_options

SEND_SECONDS = 60.0


class Sender:
    """An idempotent producer, as a context manager.

    Raises FixConfiguration where Kafka does not answer at first, WaitAndRetry where it does not answer later.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = settings.topic_prefix
        self._producer = AIOKafkaProducer(**producer_options(settings))

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self._settings.start_seconds):
                await self._producer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise FixConfiguration(
                f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: no Kafka answers at {self._settings.kafka_bootstrap_servers} "
                f"({type(error).__name__})"
            ) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, messages: Sequence[Outbound]) -> None:
        """All of them are acknowledged when this returns; those of a key keep their order."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                sending = [
                    await self._producer.send(self._prefix + message.topic, message.value, key=message.key)
                    for message in messages
                ]
                await asyncio.gather(*sending)
        except (KafkaError, OSError, TimeoutError) as error:
            raise WaitAndRetry(
                f"Kafka did not take the messages ({type(error).__name__}); run the same command again to go on"
            ) from None
