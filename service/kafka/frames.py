"""How values begin where there is a schema registry: with the id of their schema (contracts.framing)."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from contracts.topics import COURSE_COMPLETION_CHANGED, RECORD_STATE, STEP_COMPLETION_CHANGED, TOPICS
from service.lanes.ports import Outbound
from service.settings import Settings

Frames = Mapping[str, bytes]
"""By the name of a topic, how its values begin."""
NO_FRAMES: Frames = MappingProxyType({})
OF_OTHERS = [topic for topic in TOPICS if topic.direction != "internal" and not topic.carries_others]
"""The topics that others read or write, with values of their own."""
FRAMED = {topic.name: topic for topic in OF_OTHERS if topic.direction == "out"}


def framed_topics(settings: Settings, names: Iterable[str]) -> set[str]:
    """Those of these topics whose values begin with the id of a schema; none without a registry."""
    return FRAMED.keys() & set(names) if settings.schema_registry_url is not None else set()


async def frames_of(settings: Settings, names: Iterable[str]) -> Frames:
    """How values in these topics begin, as the registry says; nothing without one.

    Raises FixConfiguration where a schema is not there, or the registry does not answer.
    """
    wanted = framed_topics(settings, names)
    if not wanted:
        return NO_FRAMES
    from service.kafka.registry import registered_frames  # an HTTP client takes a fifth of a second to import

    return await registered_frames(settings, wanted)


async def worker_frames(settings: Settings) -> Frames:
    """Of all that a worker tells others in values of its own. Raises FixConfiguration as `frames_of` does."""
    told = [STEP_COMPLETION_CHANGED, COURSE_COMPLETION_CHANGED, *([RECORD_STATE] if settings.state_topic else [])]
    return await frames_of(settings, [topic.name for topic in told])


def framed(message: Outbound, frames: Frames) -> bytes | None:
    """The value as it is written: a null one stays null."""
    begins = frames.get(message.topic)
    return message.value if begins is None or message.value is None else begins + message.value
