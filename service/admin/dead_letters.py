"""Dead letters: looked at, and sent again to where they came from, each once.

Whether a letter has been replayed is noted in the database before its batch goes out, with the batch's number; the
number is committed to Kafka with the batch, in one transaction. After a crash the number tells which notes are true.
"""

import heapq
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from msgspec import Struct
from pydantic_core import from_json

from contracts import headers
from contracts.fields import course_key, format_timestamp, record_key
from contracts.framing import FRAME_BYTES, MAGIC, split_frame
from contracts.topics import CONSUMED, COURSE_DEFINED, DEAD_LETTER
from service.errors import LaneLost, WaitAndRetry
from service.kafka.dead_letters import DeadLetter, read, replay_log
from service.lanes.ports import Outbound
from service.lanes.progress import up_to
from service.mongo.store import MongoStore
from service.settings import Settings

BATCH = 500
WHY_LIMIT = 20
WITHOUT_VALUE = {"record_limit", "skipped"}
"""Reasons for which a letter may be without the value that the message had."""


Letter = DeadLetter
"""As faces call it."""
Place = tuple[int, int, int]
"""Where a letter stands among all: its time, partition and offset."""


class Edit(NamedTuple):
    """A field of the value, and what it becomes."""

    field: str
    value: Any


class Report(Struct):
    """What came of a replay."""

    replayed: int = 0
    before: int = 0
    """Replayed by an earlier command."""
    skipped: int = 0
    """Cannot go out again."""
    why: list[str] = []
    """Of the first of them."""


class NotReplayable(Exception):
    """This letter cannot go out again; the message says why."""


def chosen(settings: Settings, reason: str | None, since: int, ids: Sequence[str] | None) -> AsyncIterator[DeadLetter]:
    """Of this reason (None: of any), from `since` on (milliseconds since 1970), with these ids (None: all).

    Raises FixConfiguration for an id that is none.
    """
    letters = read(settings, since, ids)
    return letters if reason is None else (letter async for letter in letters if letter.reason == reason)


def place_of(letter: DeadLetter) -> Place:
    """Where it stands among all."""
    partition, offset = letter.id.split("-")
    return letter.at, int(partition), int(offset)


async def newest(
    letters: AsyncIterator[DeadLetter], before: Place | None, limit: int
) -> tuple[list[DeadLetter], Counter[str]]:
    """The newest before a place, the newest first, and how many there are in all of each reason."""
    kept: list[tuple[Place, DeadLetter]] = []
    sums: Counter[str] = Counter()
    async for letter in letters:
        sums[letter.reason] += 1
        place = place_of(letter)
        if before is None or place < before:
            heapq.heappush(kept, (place, letter))
        if len(kept) > limit:
            heapq.heappop(kept)
    return [letter for _, letter in sorted(kept, key=itemgetter(0), reverse=True)], sums


def edited(letter: DeadLetter, edits: Sequence[Edit]) -> bytes | None:
    """The value with fields set, behind a schema's id where it had one. Raises NotReplayable where it is no object."""
    if not edits:
        return letter.value
    try:
        frame, said = split_frame(letter.value or b"")
        value = from_json(said)
    except ValueError:
        frame, value = b"", None
    if not isinstance(value, dict):
        raise NotReplayable("is no JSON object, so it has no fields to set")
    return frame + json.dumps(value | {edit.field: edit.value for edit in edits}).encode()


def again(letter: DeadLetter, edits: Sequence[Edit], prefix: str) -> Outbound:
    """The letter as it goes out again. The key follows the ids in the value, where it has them."""
    if letter.value is None and letter.reason in WITHOUT_VALUE:
        raise NotReplayable(f"has no value ({letter.reason}): send the message anew, once it is mended")
    known = {prefix + topic.name: topic.name for topic in CONSUMED}
    if letter.topic not in known:
        raise NotReplayable(f"came from {letter.topic or 'nobody knows where'}, which is not read here")
    value = edited(letter, edits)
    provenance = headers.replayed(letter.headers, prefix + DEAD_LETTER.name, letter.id)
    return Outbound(known[letter.topic], _key(known[letter.topic], letter.key, value), value, provenance)


def _key(topic: str, key: bytes | None, value: bytes | None) -> bytes | None:
    try:
        read_value = from_json(split_frame(value or b"")[1])
        ids: Mapping[str, Any] = read_value if isinstance(read_value, dict) else {}
        if topic == COURSE_DEFINED.name:
            return course_key(ids["tenant_id"], ids["course_id"]).encode()
        return record_key(ids["tenant_id"], ids["learner_id"], ids["course_id"]).encode()
    except (ValueError, KeyError, TypeError):
        return key


async def replay(
    settings: Settings,
    store: MongoStore,
    letters: AsyncIterator[DeadLetter],
    edits: Sequence[Edit] = (),
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Send letters again, those of a key in the order in which they came, each once; tell how far it is."""
    report = Report()
    async with replay_log(settings) as log:
        try:
            await log.fence()
            known = {DEAD_LETTER.name: await store.replays.last()}
            number = (await log.committed(known))[DEAD_LETTER.name].offset
            async for batch in _batches(letters):
                number += 1
                going = _going_out(batch, edits, settings.topic_prefix, report)
                await store.replays.forget(number)
                for id_ in await store.replays.among(going):
                    del going[id_]
                    report.before += 1
                if going:
                    await store.replays.note(number, going)
                    await log.publish(list(going.values()), up_to({DEAD_LETTER.name: number}))
                report.replayed += len(going)
                progress(report)
        except LaneLost:
            raise WaitAndRetry("another replay is going on; wait for its end and try again") from None
    return report


async def _batches(letters: AsyncIterator[DeadLetter]) -> AsyncIterator[list[DeadLetter]]:
    batch: list[DeadLetter] = []
    async for letter in letters:
        batch.append(letter)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _going_out(
    letters: Iterable[DeadLetter], edits: Sequence[Edit], prefix: str, report: Report
) -> dict[str, Outbound]:
    going = {}
    for letter in letters:
        try:
            going[letter.id] = again(letter, edits, prefix)
        except NotReplayable as error:
            report.skipped += 1
            if len(report.why) < WHY_LIMIT:
                report.why.append(f"{letter.id}: {error}")
    return going


def _time(milliseconds: int) -> str:
    """Senders write any number as a message's time; one that is none stays a number."""
    try:
        return format_timestamp(milliseconds * 1000)
    except OverflowError:
        return str(milliseconds)


def letter_json(letter: DeadLetter) -> dict[str, Any]:
    """For programs; what is no text is spelled out."""
    return {
        "id": letter.id,
        "at": _time(letter.at),
        "reason": letter.reason,
        "explanation": letter.explanation,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": _time(letter.timestamp),
        "key": spelled(letter.key),
        "headers": {name: spelled(value) for name, value in letter.headers},
        "value": spelled(letter.value),
    }


def spelled(raw: bytes | None) -> str | None:
    """What is no UTF-8 is spelled out, and so is the id of a schema."""
    if raw is None:
        return None
    frame, text = (raw[:FRAME_BYTES], raw[FRAME_BYTES:]) if raw.startswith(MAGIC) else (b"", raw)
    return "".join(f"\\x{byte:02x}" for byte in frame) + text.decode("utf-8", errors="backslashreplace")
