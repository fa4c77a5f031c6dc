"""What messages would do: decided by the real rules on the records as they stand; nothing is sent or stored."""

import csv
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from contracts.fields import course_key_of, split_key
from contracts.topics import Topic
from rules.values import Record
from service.admin.files.cells import harmless
from service.lanes.batch import Clock, Decided
from service.lanes.deciding import decide_records
from service.lanes.ports import Received, StoredRecord
from service.lanes.translate import HeardFact, read
from service.mongo.store import MongoStore
from service.settings import Settings

BATCH = 500
NAMED = 20
"""So many of each effect are named in the report; the file names all."""
EFFECTS = (
    "gains the step",
    "loses the step",
    "gains the course",
    "keeps the course, its evidence withdrawn",
    "loses the course",
    "gets a certificate",
    "loses the certificate",
)
REFUSED = "does not count: it is a dead letter, or the learner was erased"
"""What becomes of a message that its record will not know."""
Tell = Callable[[Sequence[int], Sequence[str]], None]
"""Is told which lines count for a record, and what becomes of it; and which do not count."""
Kept = Iterator[tuple[str, int, bytes]]
"""Record's key, line, message; all of a record together."""


class Effects(NamedTuple):
    """How many records each effect meets, and the first of them by name."""

    counts: Mapping[str, int]
    named: Mapping[str, Sequence[str]]
    records: int


class Outcome(NamedTuple):
    """What becomes of one record. `refused`: lines of messages that do not count."""

    key: str
    lines: Sequence[int]
    effects: Sequence[str]
    refused: Sequence[int]


class Impact(NamedTuple):
    """Where the effects on each record are written; None: nowhere."""

    path: Path | None


class Tally:
    """Counts effects, names the first records of each, and writes a line for each record. Made by `tallied`."""

    def __init__(self, write: Callable[[Sequence[str]], object], effects: Iterable[str], with_lines: bool) -> None:
        self.counts: Counter[str] = Counter()
        self.named: dict[str, list[str]] = {effect: [] for effect in effects}
        self._write = write
        self._with_lines = with_lines
        write(["tenant", "learner", "course", *(["lines"] if with_lines else []), "effects"])

    def add(self, key: str, effects: Sequence[str], lines: Iterable[int] = ()) -> None:
        """What becomes of one record, because of these lines."""
        self.counts.update(effects)
        because = [" ".join(map(str, lines))] if self._with_lines else []
        self._write([*split_key(key), *because, "; ".join(effects) or "nothing"])
        for effect in effects:
            if len(self.named[effect]) < NAMED:
                self.named[effect].append(key)


@contextmanager
def tallied(impact: Impact, effects: Iterable[str] = EFFECTS, with_lines: bool = False) -> Iterator[Tally]:
    """A tally that is written where the impact says."""
    if impact.path is None:
        yield Tally(lambda _: None, effects, with_lines)
        return
    with impact.path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        yield Tally(lambda cells: writer.writerow(map(harmless, cells)), effects, with_lines)


def effects_on(before: Record, after: Record) -> list[str]:
    """What has become of a record, in the words of EFFECTS."""
    was, now = before.standing, after.standing
    steps = {
        step_id: (step_id in was.steps and was.steps[step_id].complete, step.complete)
        for step_id, step in now.steps.items()
    }
    had, has = was.course.status == "completed", now.course.status == "completed"
    certified, certifies = was.is_certified, now.is_certified
    true = (
        (False, True) in steps.values(),
        (True, False) in steps.values(),
        has and not had,
        has and now.course.evidence == "withdrawn" and was.course.evidence != "withdrawn",
        had and not has,
        certifies and (not certified or was.certificate != now.certificate),
        certified and not certifies,
    )
    return [effect for effect, holds in zip(EFFECTS, true, strict=True) if holds]


async def impact_of(
    settings: Settings, store: MongoStore, topic: Topic, kept: Kept, impact: Impact, tell: Tell = lambda *_: None
) -> Effects:
    """Decide record by record. Memory holds a few hundred records at a time."""
    records = 0
    with tallied(impact, with_lines=True) as tally:
        async for outcome in _decided(settings, store, topic, kept):
            records += 1
            tally.add(outcome.key, outcome.effects, outcome.lines)
            tell(outcome.lines, outcome.effects)
            tell(outcome.refused, [REFUSED])
    return Effects(tally.counts, tally.named, records)


async def _decided(settings: Settings, store: MongoStore, topic: Topic, kept: Kept) -> AsyncIterator[Outcome]:
    groups = (
        (key, [_heard(topic, line, value) for _, line, value in group]) for key, group in groupby(kept, itemgetter(0))
    )
    while batch := dict(islice(groups, BATCH)):
        for outcome in await _decide_batch(settings, store, batch):
            yield outcome


async def _decide_batch(
    settings: Settings, store: MongoStore, heard: Mapping[str, Sequence[tuple[Received, HeardFact]]]
) -> list[Outcome]:
    records = await store.records.load(heard)
    courses = await store.courses.load_all({course_key_of(key) for key in heard})
    erased = await store.records.erased([key for key in heard if key not in records])
    due = {key: said for key, said in heard.items() if key not in erased}
    clock = Clock.at(int(time.time() * 1_000_000), settings.future_tolerance_seconds)
    decided = await decide_records(store, due, records, courses, clock, {})
    return [
        _outcome(key, [received.offset for received, _ in said], records.get(key), decided.get(key))
        for key, said in heard.items()
    ]


def _outcome(key: str, lines: Sequence[int], stored: StoredRecord | None, decided: Decided | None) -> Outcome:
    """`decided`: None for an erased learner's."""
    if decided is None:
        return Outcome(key, lines, [], lines)
    before = Record() if stored is None else stored.record
    return Outcome(
        key, lines, effects_on(before, decided.stored.record), [received.offset for received, _ in decided.letters]
    )


def _heard(topic: Topic, line: int, value: bytes) -> tuple[Received, HeardFact]:
    item = read(topic, value, None)
    assert isinstance(item, HeardFact), "it was understood before"
    return Received(topic.name, 0, line, 0, None, value, ()), item
