"""A connection that breaks is an outage like any other, on the event loop that commands and workers run on."""

import asyncio

import pytest
import uvloop
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from service.kafka.clients import make_reader, started
from service.settings import Settings
from tests.stack.service import World


def test_what_is_written_to_a_broken_connection(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in world.settings.items():
        monkeypatch.setenv(name, value)

    async def ask() -> None:
        settings = Settings()
        reader = make_reader(settings)
        async with started(settings, reader):
            known = await reader.topics()
            for connection in list(reader._client._conns.values()):
                connection._writer.transport.abort()  # as where the other side is gone
                await asyncio.sleep(0)  # aiokafka is about to learn of it
                with pytest.raises(KafkaConnectionError):
                    connection.send(MetadataRequest(None))
            assert known and await reader.topics() == known, "it connects again"

    uvloop.run(ask())
