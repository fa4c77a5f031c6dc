"""Course definitions: sent from a file, listed, shown, and their impact told beforehand."""

import json
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid5

import yaml
from msgspec.structs import replace

from contracts.outbound import NAMESPACE
from contracts.topics import COURSE_DEFINED
from service.admin.impact import EFFECTS, NAMED, Effects, effects_on
from service.admin.sending import Sender
from service.batch import Clock, accept_definitions
from service.deciding import decide_records
from service.errors import FixConfiguration
from service.ports import Outbound, Received, StoredCourse
from service.settings import Settings
from service.store_mongo import MongoStore
from service.translate import HeardDefinition, HeardRequest, Unusable, read

PAGE = 500


class Candidate(NamedTuple):
    """A definition from a file, and the course as it is known. `message` is what is sent; None where it is known."""

    heard: HeardDefinition
    course: StoredCourse
    message: bytes | None

    @property
    def version(self) -> int:
        return self.heard.definition.version


async def read_candidate(store: MongoStore, path: Path, now: str) -> Candidate:
    """The definition in a YAML file: the fields of course-defined. Without `version` it is the next one.

    `message_id` follows from the content, `changed_at` is now, unless given. Raises FixConfiguration that names the
    field and the file.
    """
    value = _parsed(path)
    key = f"{value.get('tenant_id')}/{value.get('course_id')}"
    course = (await store.load_courses([key])).get(key) or StoredCourse(key, 0, 0)
    newest = course.versions[-1].version if course.versions else 0
    version = value.setdefault("version", newest + 1)
    value.setdefault("changed_at", now)
    value.setdefault("message_id", str(uuid5(NAMESPACE, f"course/{json.dumps(value, sort_keys=True, default=str)}")))
    message = json.dumps(value, default=str).encode()
    heard = read(COURSE_DEFINED, message, None)
    if isinstance(heard, Unusable):
        raise FixConfiguration(f"{path}: {heard.explanation}")
    assert isinstance(heard, HeardDefinition), "a definition was read"
    same = [known for known in course.versions if _content(known.content) == _content(heard.definition.content)]
    if same and same[-1].version == newest and version in (newest, newest + 1):
        return Candidate(heard, course, None)
    instant = int(time.time() * 1_000_000)
    accepted, letters = accept_definitions(course, [(_received(message), heard)], Clock(instant, instant))
    if letters:
        raise FixConfiguration(f"{path}: {letters[0][1].explanation}")
    return Candidate(heard, replace(accepted, rev=course.rev), message)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FixConfiguration(f"{path}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FixConfiguration(f"{path}: is no YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise FixConfiguration(f"{path}: must be a mapping with tenant_id, course_id and steps")
    for name, given in value.items():
        if isinstance(given, datetime):  # how YAML reads a time that is not quoted
            value[name] = given.isoformat()
    return value


def _content(content: str) -> dict[str, Any]:
    """A definition but for its version."""
    return {name: value for name, value in json.loads(content).items() if name != "version"}


def _received(message: bytes) -> Received:
    return Received(COURSE_DEFINED.name, 0, 0, 0, None, message, ())


async def apply(settings: Settings, candidate: Candidate) -> None:
    """Send it to the workers."""
    assert candidate.message is not None, "it is not known yet"
    async with Sender(settings) as sender:
        await sender.send([Outbound(COURSE_DEFINED.name, candidate.heard.key.encode(), candidate.message, ())])


async def preview(store: MongoStore, candidate: Candidate) -> Effects:
    """What would become of the records in progress, decided by the real rules under the new definition."""
    counts: Counter[str] = Counter()
    named: dict[str, list[str]] = {effect: [] for effect in EFFECTS}
    records = 0
    key, after = candidate.heard.key, ""
    instant = int(time.time() * 1_000_000)
    while keys := await store.records_behind(key, candidate.version, after, PAGE):
        after = keys[-1]
        stored = await store.load_records(keys)
        heard = {record_key: [(_received(b""), HeardRequest(record_key, key, None))] for record_key in stored}
        decided = await decide_records(store, heard, stored, {key: candidate.course}, Clock(instant, instant), {})
        records += len(stored)
        for record_key, one in decided.items():
            for effect in effects_on(stored[record_key].record, one.stored.record):
                counts[effect] += 1
                if len(named[effect]) < NAMED:
                    named[effect].append(record_key)
    return Effects(counts, named, records)
