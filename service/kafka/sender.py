"""Sends messages as the LMS would, and what commands tell others: each batch acknowledged before the next."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from service.errors import WaitAndRetry
from service.kafka.clients import make_producer, started
from service.kafka.frames import Frames, framed, framed_topics, frames_of
from service.kafka.rights import refusal
from service.lanes.ports import Outbound
from service.settings import Settings

SEND_SECONDS = 60.0


class Sender:
    """Made by `open_sender`."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings
        self._prefix = settings.topic_prefix
        self._frames: Frames = {}

    async def prepare(self, *names: str) -> None:
        """Ask once how values in these topics begin; then `send` need not. Raises FixConfiguration."""
        unknown = framed_topics(self._settings, names) - self._frames.keys()
        if unknown:
            self._frames = {**self._frames, **await frames_of(self._settings, unknown)}

    async def send(self, messages: Sequence[Outbound]) -> None:
        """All of them are acknowledged when this returns; those of a key keep their order.

        Raises WaitAndRetry, and FixConfiguration as `prepare` does.
        """
        await self.prepare(*{message.topic for message in messages if message.value is not None})
        try:
            async with asyncio.timeout(SEND_SECONDS):
                sending = [
                    await self._producer.send(
                        self._prefix + message.topic,
                        framed(message, self._frames),
                        key=message.key,
                        headers=list(message.headers),
                    )
                    for message in messages
                ]
                await asyncio.gather(*sending)
        except TopicAuthorizationFailedError:
            names = sorted({self._prefix + message.topic for message in messages})
            raise WaitAndRetry(refusal(TopicAuthorizationFailedError(*names), topic="WRITE")) from None
        except (KafkaError, OSError, TimeoutError) as error:
            raise WaitAndRetry(
                f"Kafka did not take the messages ({type(error).__name__}); run the same command again to go on"
            ) from None


@asynccontextmanager
async def open_sender(settings: Settings) -> AsyncIterator[Sender]:
    """A sender, while the context lasts. Raises FixConfiguration where Kafka does not answer at first."""
    producer = make_producer(settings)
    async with started(settings, producer):
        yield Sender(producer, settings)
