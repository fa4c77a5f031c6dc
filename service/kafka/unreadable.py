"""Finds a batch that a lane cannot read, as the lane meets it."""

from aiokafka import TopicPartition

from contracts.topics import CONSUMED
from service.errors import FixConfiguration, Unreadable, WaitAndRetry
from service.kafka import batches, topics
from service.kafka.clients import make_reader, started
from service.settings import Settings

READ_MILLISECONDS = 10_000


async def find_unreadable(settings: Settings, topic: str, partition: int) -> Unreadable | None:
    """The first such batch behind the committed offset; None where everything can be read.

    Raises FixConfiguration for a topic or partition that is not read here, WaitAndRetry.
    """
    names = [settings.topic_prefix + known.name for known in CONSUMED]
    if topic not in names:
        raise FixConfiguration(f"TOPIC: {topic} is not read here; these are: {', '.join(names)}")
    count = (await topics.partitions(settings))[topic.removeprefix(settings.topic_prefix)]
    if partition >= count:
        raise FixConfiguration(f"PARTITION: {topic} has partitions 0 to {count - 1}")
    batches.install()
    consumer, place = make_reader(settings, settings.group), TopicPartition(topic, partition)
    async with started(settings, consumer):
        consumer.assign([place])
        beginning = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        consumer.seek(place, max(await consumer.committed(place) or 0, beginning))
        while (position := await consumer.position(place)) < end:
            try:
                await consumer.getmany(place, timeout_ms=READ_MILLISECONDS)
            except Unreadable as error:
                return error
            if await consumer.position(place) == position:
                raise WaitAndRetry(f"Kafka gave nothing of {topic} partition {partition} from offset {position} on")
    return None
