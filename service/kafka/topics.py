"""Creates and checks the topics.

All inbound topics need equally many partitions, so that partition p of each belongs together; and the topics that
carry messages on (dead letters, rerouted) must take anything that the inbound ones take.
"""

import asyncio
import logging
from typing import Any, NamedTuple, Self

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code

from contracts.topics import CONSUMED, DEAD_LETTER, LANE_PROGRESS, RECORD_STATE, REROUTED, TOPICS, Topic
from service.errors import FixConfiguration, RestartProcess
from service.kafka import rights
from service.kafka.clients import make_admin
from service.kafka.rights import Described, Needs, describe, lacking, not_allowed
from service.settings import Settings

log = logging.getLogger(__name__)

SIZE = "max.message.bytes"
HEADROOM_BYTES = 64 * 1024
"""For the headers that dead letters and rerouted messages carry in addition."""
CARRIERS = (DEAD_LETTER.name, REROUTED.name)


class TopicState(NamedTuple):
    """A topic as Kafka has it, after `create`."""

    name: str
    partitions: int
    created: bool


async def create(settings: Settings) -> list[TopicState]:
    """Create what is missing, then check everything. Raises FixConfiguration for what is there and does not fit."""
    async with _Admin(settings) as admin:
        before = admin.counts(_all_seen(await admin.described()))
        missing = [topic for topic in _needed(settings) if topic.name not in before]
        partitions = next((before[topic.name] for topic in CONSUMED if topic.name in before), settings.partitions)
        if missing:
            await admin.create(
                [
                    NewTopic(
                        settings.topic_prefix + topic.name,
                        partitions,
                        settings.replication_factor,
                        replica_assignments={} if settings.replication_factor == -1 else None,
                        topic_configs=dict(topic.settings),
                    )
                    for topic in missing
                ]
            )
        found = await admin.wait_until_all_exist()
        await _check(admin, found, settings, rights.CREATOR)
        after = admin.counts(found)
        return [TopicState(settings.topic_prefix + name, after[name], name not in before) for name in sorted(after)]


async def check(settings: Settings, needs: Needs) -> int:
    """How many partitions every inbound topic has.

    Raises FixConfiguration where topics are missing, do not fit, or may not be used as is needed.
    """
    async with _Admin(settings) as admin:
        return await _check(admin, await admin.described(), settings, needs)


async def partitions(settings: Settings) -> dict[str, int]:
    """How many partitions each of our topics has. Raises FixConfiguration where one is missing, or may not be seen."""
    async with _Admin(settings) as admin:
        return admin.counts(_all_there(_all_seen(await admin.described()), settings))


async def changed(settings: Settings, known: int) -> str | None:
    """What is wrong with the partitions of the topics that are read, where each had so many; None where nothing is.

    Raises RestartProcess once all of them have another number: what is routed by the old one must end first.
    """
    async with _Admin(settings) as admin:
        found = admin.counts(await admin.described())
    counts = {topic.name: found[topic.name] for topic in CONSUMED if topic.name in found}
    if set(counts.values()) == {known} or not counts:
        return None
    if len(set(counts.values())) == 1:
        now = next(iter(counts.values()))
        raise RestartProcess(f"the topics that are read have {now} partitions now, not {known}; start again with them")
    return _unequal({settings.topic_prefix + name: count for name, count in counts.items()})


def _needed(settings: Settings) -> list[Topic]:
    """By these settings."""
    return [topic for topic in TOPICS if settings.state_topic or topic is not RECORD_STATE]


def _unequal(counts: dict[str, int]) -> str:
    spelled = ", ".join(f"{name} has {count}" for name, count in counts.items())
    return f"the topics that are read need equally many partitions, but {spelled}"


def _all_seen(found: dict[str, Described]) -> dict[str, Described]:
    """Raises FixConfiguration where some of these may not be looked at."""
    hidden = [name for name, topic in found.items() if not topic.partitions]
    if hidden:
        raise not_allowed(f"DESCRIBE on {', '.join(hidden)}")
    return found


def _all_there(found: dict[str, Described], settings: Settings) -> dict[str, Described]:
    missing = [name for topic in _needed(settings) if (name := settings.topic_prefix + topic.name) not in found]
    if missing:
        raise FixConfiguration(
            f"topics are missing: {', '.join(missing)}; run `ratchet topics create`, or mend RATCHET_TOPIC_PREFIX"
        )
    return found


async def _check(admin: "_Admin", found: dict[str, Described], settings: Settings, needs: Needs) -> int:
    refused = lacking(found, needs, settings.topic_prefix)
    if refused:
        raise not_allowed("; ".join(refused))
    partitions = admin.counts(_all_there(found, settings))
    counts = {settings.topic_prefix + topic.name: partitions[topic.name] for topic in CONSUMED}
    if len(set(counts.values())) != 1:
        raise FixConfiguration(_unequal(counts))
    lanes = next(iter(counts.values()))
    if partitions[LANE_PROGRESS.name] < lanes:
        raise FixConfiguration(
            f"topic {settings.topic_prefix + LANE_PROGRESS.name}: has {partitions[LANE_PROGRESS.name]} partitions, but "
            f"each of {lanes} lanes needs one of its own; add as many as the topics have that are read"
        )
    sizes = await admin.sizes()
    if not sizes:
        return next(iter(counts.values()))
    largest = max(sizes[topic.name] for topic in CONSUMED if topic is not REROUTED)
    for name in CARRIERS:
        if sizes[name] < largest + HEADROOM_BYTES:
            raise FixConfiguration(
                f"topic {settings.topic_prefix + name}: {SIZE} is {sizes[name]}, but it must carry messages of up to "
                f"{largest} bytes and {HEADROOM_BYTES} bytes of headers; raise it to {largest + HEADROOM_BYTES} or more"
            )
    return next(iter(counts.values()))


class _Admin:
    """Kafka's administration, bounded in time, speaking of topics without the prefix."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = settings.topic_prefix

    async def __aenter__(self) -> Self:
        settings = self._settings
        try:
            self._client = make_admin(settings, request_timeout_ms=settings.start_seconds * 1000)
        except ValueError as error:
            raise FixConfiguration(f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: {error}") from None
        try:
            async with asyncio.timeout(settings.start_seconds):
                await self._client.start()
        except (KafkaError, OSError, ValueError, TimeoutError) as error:
            await self._client.close()
            protocol = settings.kafka_security_protocol
            user = ", or it refuses RATCHET_KAFKA_SASL_USERNAME and RATCHET_KAFKA_SASL_PASSWORD"
            raise FixConfiguration(
                f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: no Kafka answers at {settings.kafka_bootstrap_servers} in the way "
                f"of RATCHET_KAFKA_SECURITY_PROTOCOL={protocol} ({type(error).__name__})"
                f"{user if protocol.startswith('SASL') else ''}"
            ) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def described(self) -> dict[str, Described]:
        """Those topics of ours that exist, with the prefix. Raises FixConfiguration where no broker tells."""
        try:
            return await describe(self._client, (self._prefix + topic.name for topic in _needed(self._settings)))
        except (KafkaError, OSError, TimeoutError) as error:
            raise FixConfiguration(
                f"RATCHET_KAFKA_BOOTSTRAP_SERVERS: no Kafka tells of its topics: {error!r}"
            ) from None

    def counts(self, found: dict[str, Described]) -> dict[str, int]:
        """How many partitions those have that may be looked at; without the prefix."""
        return {name.removeprefix(self._prefix): topic.partitions for name, topic in found.items() if topic.partitions}

    async def create(self, topics: list[NewTopic]) -> None:
        try:
            response = await self._client.create_topics(topics)
        except KafkaError as error:
            raise FixConfiguration(f"topics cannot be created: {error!r}") from None
        refused = [name for name, code, *_ in response.topic_errors if for_code(code) is TopicAuthorizationFailedError]
        if refused:
            raise not_allowed(f"CREATE on {', '.join(refused)}")
        for name, code, *rest in response.topic_errors:
            problem = for_code(code)
            if code and problem is not TopicAlreadyExistsError:
                raise FixConfiguration(
                    f"topic {name} cannot be created: {problem.__name__} {rest[0] if rest else ''}; "
                    "see RATCHET_PARTITIONS and RATCHET_REPLICATION_FACTOR"
                )

    async def wait_until_all_exist(self) -> dict[str, Described]:
        """A created topic appears in the metadata a moment later."""
        names = {self._prefix + topic.name for topic in _needed(self._settings)}
        try:
            async with asyncio.timeout(self._settings.start_seconds):
                while True:
                    found = await self.described()
                    if names <= set(found):
                        return found
                    await asyncio.sleep(0.1)
        except TimeoutError:
            missing = ", ".join(sorted(names - set(await self.described())))
            raise FixConfiguration(f"topics were created but do not appear: {missing}") from None

    async def sizes(self) -> dict[str, int]:
        """The largest message that topics take, in bytes; empty where the broker does not tell."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, self._prefix + topic.name) for topic in rights.SIZED]
        try:
            responses: list[Any] = await self._client.describe_configs(resources)
        except KafkaError as error:
            log.warning("the topics' largest message sizes are not known", extra={"error": repr(error)})
            return {}
        sizes = {
            name.removeprefix(self._prefix): int(entry[1])
            for response in responses
            for _, _, _, name, entries in response.resources
            for entry in entries
            if entry[0] == SIZE
        }
        return sizes if len(sizes) == len(rights.SIZED) else {}
