"""The schemas of all topics that others read or write, put into a schema registry."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from contracts.topics import Topic
from service.kafka.frames import OF_OTHERS
from service.kafka.registry import Registry, open_registry, schema_text, subject
from service.settings import Settings

LEVELS: Mapping[str, str] = {"out": "FORWARD_TRANSITIVE", "in": "NONE"}
"""Compatibility by direction. What goes out can be read under every earlier schema: new fields may come, nothing is
removed or widened. Of what comes in, no level of a registry takes a new optional field and refuses what would refuse
writers: `make contracts-check` does.
"""


class Outcome(NamedTuple):
    """What came of one topic's schema."""

    subject: str
    version: int
    id: int
    compatibility: str
    is_new: bool


async def register(settings: Settings, name: str, url: str, tell: Callable[[Outcome], None]) -> None:
    """Each topic's, in the order of the catalogue; the same again changes nothing.

    `name`: what errors call the address, which may have user:password. Raises FixConfiguration for what must be mended,
    WaitAndRetry where the registry is away.
    """
    async with open_registry(name, url) as registry:
        for topic in OF_OTHERS:
            tell(await _register(registry, topic, subject(topic, settings.topic_prefix)))


async def _register(registry: Registry, topic: Topic, under: str) -> Outcome:
    schema, level = schema_text(topic), LEVELS[topic.direction]
    await _ensure_level(registry, under, level)
    known = await registry.find(under, schema)
    if known is not None:
        return Outcome(under, known.version, known.id, level, is_new=False)
    await registry.register(under, schema)
    await _ensure_level(registry, under, level)  # some registries set none before there is a schema
    made = await registry.find(under, schema)
    assert made is not None, "it was registered just now"
    return Outcome(under, made.version, made.id, level, is_new=True)


async def _ensure_level(registry: Registry, under: str, level: str) -> None:
    if await registry.level(under) != level:
        await registry.set_level(under, level)
