"""Up to where the group has dealt with topics."""

import asyncio
from collections.abc import AsyncIterator

from aiokafka import TopicPartition

from service.kafka import topics
from service.kafka.clients import make_reader, started
from service.settings import Settings

LOOK_SECONDS = 0.5


async def committed_offset(settings: Settings, topic: str, partition: int) -> int:
    """Up to where the group has dealt with a partition; the topic's name in full."""
    consumer, place = make_reader(settings, settings.group), TopicPartition(topic, partition)
    async with started(settings, consumer):
        consumer.assign([place])
        return await consumer.committed(place) or 0


async def dealt_with(settings: Settings, topic: str) -> AsyncIterator[int]:
    """Wait until all that is in a topic now is dealt with, and tell how many offsets are left, again and again.

    `topic` without the prefix.
    """
    name = settings.topic_prefix + topic
    count = (await topics.partitions(settings))[topic]
    places = [TopicPartition(name, number) for number in range(count)]
    consumer = make_reader(settings, settings.group, isolation_level="read_uncommitted")
    async with started(settings, consumer):
        consumer.assign(places)
        ends = {place: end for place, end in (await consumer.end_offsets(places)).items() if end}
        while ends:
            committed = {place: await consumer.committed(place) or 0 for place in ends}
            ends = {place: end for place, end in ends.items() if committed[place] < end}
            yield sum(end - committed[place] for place, end in ends.items())
            if ends:
                await asyncio.sleep(LOOK_SECONDS)
