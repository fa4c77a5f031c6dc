"""Course definitions: read from a file, sent, their impact told beforehand, what became of them, released."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid5

import yaml
from msgspec.structs import replace

from contracts.fields import format_timestamp
from contracts.outbound import NAMESPACE
from contracts.topics import COURSE_DEFINED
from rules import bounded_yaml
from service.admin.impact import EFFECTS, Effects, Impact, effects_on, tallied
from service.errors import FixConfiguration
from service.kafka.sender import Sender
from service.lanes.batch import Clock, accept_definitions
from service.lanes.deciding import decide_again
from service.lanes.ports import Outbound, Received, Store, StoredCourse, StoredDefinition
from service.lanes.sweep import pages_behind
from service.lanes.translate import HeardDefinition, Unusable, read
from service.mongo.store import MongoStore
from service.settings import Settings

PAGE = 500
LOOK_SECONDS = 0.5
"""Between two looks at a re-evaluation."""
Progress = Callable[[int], None]
"""Is told how many records are through."""
GAINS, CERTIFIED = "gains the course", "gets a certificate"
PERCENT = "gets another percent"
"""Of a step, and nothing else."""


class Candidate(NamedTuple):
    """A definition from a file, and the course as it would be with it. `is_new`: it is not known yet."""

    key: str
    definition: StoredDefinition
    course: StoredCourse
    message: bytes
    is_new: bool
    is_dated: bool = False
    """It says itself when it was."""

    @property
    def version(self) -> int:
        return self.definition.version

    @property
    def identity(self) -> str:
        """The same for the same content and version, so that sending it again sends the same message."""
        return _identity(self.definition.content)


def _identity(content: str) -> str:
    return f"course-{uuid5(NAMESPACE, f'course/{content}')}"


def read_definition(path: Path) -> dict[str, Any]:
    """What a YAML file says. Raises FixConfiguration."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FixConfiguration(f"{path}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}") from None
    return parsed(text, str(path))


async def candidate_of(store: MongoStore, given: dict[str, Any], now: str, where: str) -> Candidate:
    """The definition with the fields of course-defined. Without `version` it is the next one.

    `changed_at` is now unless given, `message_id` follows from the rest. Raises FixConfiguration that names the field
    and `where` it is from.
    """
    key = f"{given.get('tenant_id')}/{given.get('course_id')}"
    course = (await store.courses.load([key])).get(key) or StoredCourse(key, 0, 0)
    newest = course.newest if course.versions else None
    heard, message = _understood(where, {"version": newest.version + 1 if newest else 1, "changed_at": now, **given})
    if newest is not None and _says_the_same(heard.definition, newest, given):
        return Candidate(key, newest, course, message, is_new=False)
    sent_before = await store.uploads.find(_identity(heard.definition.content))
    if sent_before is not None:
        at = {"version": heard.definition.version, "changed_at": sent_before.started_at}
        heard, message = _understood(where, {**at, **given})
    instant = int(time.time() * 1_000_000)
    accepted, letters = accept_definitions(course, [(_received(message), heard)], Clock(instant, instant))
    if letters:
        raise FixConfiguration(f"{where}: {letters[0][1].explanation}")
    is_new = accepted is not course
    return Candidate(key, heard.definition, accepted, message, is_new, is_dated="changed_at" in given)


def parsed(text: str, where: str) -> dict[str, Any]:
    """What JSON can say of YAML. Raises FixConfiguration."""
    try:
        value = json.loads(json.dumps(bounded_yaml.load(text), default=_spelled))
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise FixConfiguration(f"{where}: is no YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(value, dict):
        raise FixConfiguration(f"{where}: must be a mapping with tenant_id, course_id and steps")
    return value


def _spelled(value: object) -> str:
    """YAML reads a time that is not quoted as one."""
    return value.isoformat() if isinstance(value, date) else str(value)


def _understood(where: str, value: dict[str, Any]) -> tuple[HeardDefinition, bytes]:
    message = json.dumps({"message_id": _derived(value), **value}).encode()
    heard = read(COURSE_DEFINED, message, None)
    if isinstance(heard, Unusable):
        raise FixConfiguration(f"{where}: {heard.explanation}")
    assert isinstance(heard, HeardDefinition), "a definition was read"
    return heard, message


def _derived(value: dict[str, Any]) -> str:
    """An id that follows from all else."""
    return str(uuid5(NAMESPACE, f"course/{json.dumps(value, sort_keys=True)}"))


def _says_the_same(definition: StoredDefinition, newest: StoredDefinition, given: dict[str, Any]) -> bool:
    """Nothing new in the file: not the content, nor a version or time of its own."""
    return (
        _content(definition) == _content(newest)
        and given.get("version", newest.version) == newest.version
        and ("changed_at" not in given or definition.changed_at == newest.changed_at)
    )


def _content(definition: StoredDefinition) -> dict[str, Any]:
    """A definition but for its version."""
    return {name: value for name, value in json.loads(definition.content).items() if name != "version"}


def _received(message: bytes) -> Received:
    return Received(COURSE_DEFINED.name, 0, 0, 0, None, message, ())


async def apply(sender: Sender, store: MongoStore, candidate: Candidate) -> None:
    """Send it to the workers. The same again, before a worker has stored it, sends the same message: it counts once."""
    at = format_timestamp(candidate.definition.changed_at)
    begun = await store.uploads.begin(candidate.identity, at)
    message = candidate.message if candidate.is_dated else _as_of(candidate.message, begun.started_at)
    await sender.send([Outbound(COURSE_DEFINED.name, candidate.key.encode(), message, ())])


def _as_of(message: bytes, changed_at: str) -> bytes:
    """As it was sent first, where somebody else sends the same."""
    value = json.loads(message)
    said = {name: what for name, what in value.items() if name != "message_id"}
    own = {} if value["message_id"] == _derived(said) else {"message_id": value["message_id"]}
    return _understood("definition", {**said, **own, "changed_at": changed_at})[1]


async def count_behind(store: MongoStore, candidate: Candidate) -> int:
    """How many records `preview` looks at."""
    return await store.records.count_behind(candidate.key, candidate.definition.version)


async def preview(store: MongoStore, candidate: Candidate, impact: Impact, progress: Progress) -> Effects:
    """What would become of the course's records, by the real rules; those that would change are written down."""
    instant, records = int(time.time() * 1_000_000), 0
    with tallied(impact, (*EFFECTS, PERCENT)) as tally:
        async for keys in pages_behind(store, candidate.key, candidate.definition.version, PAGE):
            for was, now in await decide_again(store, keys, candidate.course, instant):
                announces = now.record.sequence > was.record.sequence
                effects = effects_on(was.record, now.record) or ([PERCENT] if announces else [])
                if effects:
                    tally.add(was.key, effects)
            records += len(keys)
            progress(len(keys))
    return Effects(tally.counts, tally.named, records)


def beyond_cap(effects: Effects, settings: Settings) -> Literal["completions", "certificates"] | None:
    """Of what there would be so many that a definition waits for its release."""
    if effects.counts.get(GAINS, 0) > settings.max_new_completions:
        return "completions"
    return "certificates" if effects.counts.get(CERTIFIED, 0) > settings.max_new_certificates else None


class Reevaluation(NamedTuple):
    """How far a course's records are decided again. `behind`: those that are not yet."""

    course: StoredCourse
    behind: int

    @property
    def state(self) -> Literal["done", "under way", "paused"]:
        if self.course.is_paused:
            return "paused"
        return "under way" if self.course.sweeping or self.behind else "done"


async def reevaluation(store: MongoStore, course: StoredCourse) -> Reevaluation:
    """Of a course as it was loaded."""
    behind = await store.records.count_behind(course.key, course.newest.version) if course.sweeping else 0
    return Reevaluation(course, behind)


async def all_reevaluations(store: MongoStore, tenants: Sequence[str] | None) -> AsyncIterator[Reevaluation]:
    """Of every course of these tenants, or of all where it is None, by key."""
    for tenant_id in [""] if tenants is None else tenants:
        async for course in store.courses.all(tenant_id):
            yield await reevaluation(store, course)


async def watch(store: MongoStore, key: str, version: int) -> AsyncIterator[Reevaluation | None]:
    """Look again and again, until this version or a newer one is done or paused; None until a worker has stored it."""
    while True:
        course = (await store.courses.load([key])).get(key)
        if course is None or course.newest.version < version:
            yield None
        else:
            seen = await reevaluation(store, course)
            yield seen
            if seen.state != "under way":
                return
        await asyncio.sleep(LOOK_SECONDS)


async def release(store: Store, key: str) -> StoredCourse | None:
    """Let a paused re-evaluation go on. Gives the course as it was, None where there is none.

    Where that was not paused (`is_paused`), nothing is done. Workers see it within seconds.
    """
    while True:
        course = (await store.courses.load([key])).get(key)
        if course is None or not course.is_paused:
            return course
        if await store.courses.save(replace(course, released=course.newest.version, would_complete=0, would_certify=0)):
            return course


def listed_json(seen: Reevaluation) -> dict[str, Any]:
    """A course as a program reads it."""
    course = seen.course
    tenant_id, course_id = course.key.split("/")
    return {
        "tenant_id": tenant_id,
        "course_id": course_id,
        "version": course.newest.version,
        "changed_at": format_timestamp(course.newest.changed_at),
        "steps": len(json.loads(course.newest.content)["steps"]),
        "state": seen.state,
        "records_behind": seen.behind,
        "would_complete_at_least": course.would_complete,
        "would_certify_at_least": course.would_certify,
    }


def course_json(seen: Reevaluation) -> dict[str, Any]:
    """Likewise, with all its versions."""
    versions = [
        {"version": known.version, "changed_at": format_timestamp(known.changed_at), **json.loads(known.content)}
        for known in seen.course.versions
    ]
    return {**listed_json(seen), "versions": versions}
