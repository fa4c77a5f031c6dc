"""Messages of a lane, prepared: translated, loaded, decided, stored; what is to be published comes back.

No message may stop its lane. Where something fails that is not about the world (WaitAndRetry), the messages are
prepared again in halves, until the one is found that cannot be decided: it goes to the dead letters as
`internal_error`, to be replayed once the fault is mended. Likewise those that would take too long together
(TooMuchAtOnce). What is stored twice counts once, as everywhere here.
"""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from contracts.fields import course_key_of, is_record_key
from contracts.topics import COURSE_DEFINED, REROUTED
from service import metrics, traces
from service.errors import FixConfiguration, LaneLost, RecordTooLarge, WaitAndRetry
from service.lanes.batch import (
    Clock,
    GoingOut,
    Letter,
    accept_definitions,
    beyond,
    by_key,
    going_out,
    is_restated,
    sort_out,
)
from service.lanes.bounds import Bounds
from service.lanes.deciding import Heard, Stored, decide_and_store
from service.lanes.definitions import course_timeline
from service.lanes.failpoint import reach
from service.lanes.flood import Flood
from service.lanes.forwarding import dead_letter, rerouted
from service.lanes.inbox import Further
from service.lanes.outgoing import kind_of, no_state, outbound, state_of, topic_of
from service.lanes.parts import ByKey, in_parts, translate_all
from service.lanes.ports import Outbound, Received, Store, StoredCourse, StoredRecord
from service.lanes.progress import Progress
from service.lanes.sweep import requests_behind
from service.lanes.translate import HeardDefinition, HeardFact, HeardRequest, Item, Misrouted, Unusable
from service.lanes.turns import Turns
from service.metrics import Tally, Traced

log = logging.getLogger(__name__)

MICROSECONDS = 1_000_000
TRACED = 128
"""So many messages of a batch are remembered with their traces: a span may link to so many."""
Courses = Mapping[str, StoredCourse]
Definitions = Mapping[str, Sequence[tuple[Received, HeardDefinition]]]
MAY_DEFINE = COURSE_DEFINED.name, REROUTED.name


class Shared(NamedTuple):
    """What the lanes of a worker have in common. `partition_of`: where a key belongs; `prefix`: of the topics' names.

    `clock` gives seconds since 1970. `tells_states`: where a record stands is told, too.
    """

    bounds: Bounds
    partition_of: Callable[[bytes], int]
    prefix: str
    flood: Flood
    turns: Turns
    clock: Callable[[], float]
    tells_states: bool = True


class Prepared(NamedTuple):
    """What stored messages have to say: changes and states by record, and whatever else goes out."""

    changes: GoingOut
    states: Mapping[str, Outbound]
    others: Sequence[Outbound]
    tally: Tally

    def and_then(self, later: "Prepared") -> "Prepared":
        """With messages that were prepared later: where a record is in both, that knows all it has to announce."""
        changes, states = {**self.changes, **later.changes}, {**self.states, **later.states}
        return Prepared(changes, states, [*self.others, *later.others], self.tally.and_then(later.tally))

    @property
    def messages(self) -> Iterator[Outbound]:
        """All that goes out, of each record the changes in order."""
        for key, pendings in self.changes.items():
            yield from (outbound(key, one.change, one.traceparent) for one in pendings)
        yield from self.states.values()
        yield from self.others

    def tell_committed(self, lane: int, began: float, now: float) -> None:
        """Operators learn of it. `began`, `now`: when it was taken and committed, seconds since 1970."""
        kinds = Counter(kind_of(one.change) for pendings in self.changes.values() for one in pendings)
        topics = Counter(other.topic for other in chain(self.states.values(), self.others))
        for kind, number in kinds.items():
            topics[topic_of(kind)] += number
        metrics.count_committed(self.tally, topics, kinds, now)
        metrics.LAST_COMMIT.labels(lane).set(now)
        traces.note_batch(lane, began, now, len(self.tally.timestamps), self.tally.traced)

    def beyond(self, end: Progress) -> Further:
        """How far a batch with this must go, where it ends before that."""
        return beyond(self.changes, end)


class Ready(NamedTuple):
    """A stored batch, ready to be published. `began`: seconds since 1970; `pieces`: it was prepared in so many."""

    began: float
    end: Progress
    pieces: int
    prepared: Prepared


class _Part(NamedTuple):
    """What the messages of some keys have to say."""

    changes: GoingOut
    states: Mapping[str, Outbound]
    requests: Sequence[Outbound]
    letters: Sequence[Letter]
    misrouted: Sequence[tuple[Received, Misrouted]]
    traced: Sequence[Traced]


def _asks_for_state(item: HeardFact | HeardRequest) -> bool:
    return isinstance(item, HeardRequest) and not item.decides


def _traced(heard: Heard) -> Iterator[Traced]:
    return (
        Traced(received.timestamp, item.traceparent)
        for said in heard.values()
        for received, item in said
        if item.traceparent is not None
    )


def _tally(
    messages: Sequence[Received], unusable: Counter[str], misrouted: int = 0, traced: Iterable[Traced] = ()
) -> Tally:
    return Tally(
        tuple(message.timestamp for message in messages),
        Counter(message.topic for message in messages),
        unusable=unusable,
        misrouted=misrouted,
        traced=tuple(islice(traced, TRACED)),
    )


class Preparer:
    """Prepares the messages of one lane. `definitions_came` is called when there is something to sweep."""

    def __init__(self, lane: int, store: Store, shared: Shared, definitions_came: Callable[[], None]) -> None:
        self._lane = lane
        self._store = store
        self._shared = shared
        self._definitions_came = definitions_came

    async def prepare(self, messages: Sequence[Received], start: Progress, committed: Progress) -> Prepared:
        """Decide and store. `start`: of the batch; changes of committed messages are dropped from the records."""
        try:
            return await self._prepare(messages, start, committed)
        except (WaitAndRetry, LaneLost, FixConfiguration):
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, the lane goes on
            if len(messages) == 1:
                reason, letter = self._given_up(messages[0], error)
                return Prepared({}, {}, [letter], _tally(messages, Counter([reason])))
            half = len(messages) // 2
            first = await self.prepare(messages[:half], start, committed)
            return first.and_then(await self.prepare(messages[half:], start, committed))

    def _given_up(self, message: Received, error: Exception) -> tuple[str, Outbound]:
        """Reason and dead letter. No word of the error itself, unless it is ours: it may quote the message."""
        if isinstance(error, RecordTooLarge):
            return "record_limit", dead_letter(message, Unusable("record_limit", str(error)), self._shared.prefix)
        kind = type(error).__name__
        places = [f"{Path(place.filename).name}:{place.lineno}" for place in traceback.extract_tb(error.__traceback__)]
        log.error(
            "a fault of Ratchet's own: a message could not be decided, and is a dead letter; report it, then replay it",
            extra={
                "lane": self._lane,
                "topic": message.topic,
                "partition": message.partition,
                "offset": message.offset,
                "error": kind,
                "places": places,
            },
        )
        metrics.INTERNAL_ERRORS.inc()
        says = f"{kind} at {places[-1]}: a fault of Ratchet's own; replay it once it is mended"
        return "internal_error", dead_letter(message, Unusable("internal_error", says), self._shared.prefix)

    async def _prepare(self, messages: Sequence[Received], start: Progress, committed: Progress) -> Prepared:
        """Definitions first, then some records at a time, the next ones while the last ones are being stored.

        Messages are translated with their records, so that all of a large batch is in memory only as it came. The clock
        is read once, before anything else: what an owner refuses as from the future, nobody whose batch is older can
        let pass, however long it was paused.
        """
        clock = self._now()
        definitions, others = await self._definitions_first(messages)
        (_, letters), parts = await in_parts(
            by_key(others),
            self._shared.bounds.records_together,
            self._get_ready(definitions, others, clock),
            partial(self._prepare_part, clock, start, committed),
        )
        unusable = [*letters, *(letter for part in parts for letter in part.letters)]
        misrouted = [one for part in parts for one in part.misrouted]
        changes = {key: pendings for part in parts for key, pendings in part.changes.items()}
        states = {key: state for part in parts for key, state in part.states.items()}
        others_out = [
            *(dead_letter(received, why, self._shared.prefix) for received, why in unusable),
            *(rerouted(received, to, self._shared.prefix) for received, to in misrouted),
            *(request for part in parts for request in part.requests),
        ]
        self._shared.flood.note(len(messages), len(unusable))
        traced = chain.from_iterable(part.traced for part in parts)
        tally = _tally(messages, Counter(why.reason for _, why in unusable), len(misrouted), traced)
        return Prepared(changes, states, others_out, tally)

    async def _definitions_first(self, messages: Sequence[Received]) -> tuple[Definitions, Sequence[Received]]:
        """The definitions among them, and all others, of which those that were rerouted come last."""
        may_define = [message for message in messages if message.topic in MAY_DEFINE]
        if not may_define:
            return {}, messages
        translated = await self._translate(may_define)
        others = [message for message in messages if message.topic not in MAY_DEFINE]
        others += [message for message, item in translated if not isinstance(item, HeardDefinition)]
        return sort_out(translated).definitions, others

    async def _translate(self, messages: Sequence[Received]) -> list[tuple[Received, Item]]:
        with metrics.STAGE_SECONDS.labels("translate").time():
            return await translate_all(messages, self._shared.partition_of, self._shared.prefix)

    async def _get_ready(
        self, definitions: Definitions, others: Iterable[Received], clock: Clock
    ) -> tuple[Courses, list[Letter]]:
        """Store what is defined: records may follow. Gives the courses that all of it is about."""
        keys = {message.key or b"" for message in others}
        courses = {course_key_of(key.decode()) for key in keys if is_record_key(key)}
        return await self._store_definitions(
            definitions, await self._store.courses.load(sorted(courses | definitions.keys())), clock
        )

    async def _store_definitions(
        self, definitions: Definitions, courses: Courses, clock: Clock
    ) -> tuple[Courses, list[Letter]]:
        """Definitions come first: the facts of the same batch are decided under them."""
        newest = dict(courses)
        letters: list[Letter] = []
        for key, heard in definitions.items():
            while True:
                course = newest.get(key) or StoredCourse(key, 0, self._lane)
                accepted, rejected = accept_definitions(course, heard, clock)
                if accepted is course or await self._store.courses.save(replace(accepted, lane=self._lane)):
                    break
                newest.update(await self._store.courses.load([key]))
            if accepted.versions:  # or nothing of it was accepted, and the course is still not defined
                newest[key] = accepted
            letters += rejected
            if accepted.sweeping:
                self._definitions_came()
        return newest, letters

    async def _prepare_part(
        self,
        clock: Clock,
        start: Progress,
        committed: Progress,
        messages: ByKey,
        ready: asyncio.Task[tuple[Courses, list[Letter]]],
    ) -> _Part:
        work = sort_out(await self._translate([*chain.from_iterable(messages.values())]))
        heard = work.records
        with metrics.STAGE_SECONDS.labels("load").time():
            stored = await self._store.records.load(heard)
        courses, _ = await ready
        reach("after_load")
        done = await decide_and_store(
            self._store, heard, stored, courses, clock, committed, self._shared.bounds.facts_in_record
        )
        reach("after_store")
        late = await self._decided_under_old_definitions(done.records)
        changes = going_out(done.records.values(), start, self._lane)
        states = self._states(heard, done, changes, start) if self._shared.tells_states else {}
        letters = [*work.unusable, *done.letters]
        return _Part(changes, states, late, letters, work.misrouted, list(islice(_traced(heard), TRACED)))

    def _states(self, heard: Heard, done: Stored, changes: GoingOut, start: Progress) -> dict[str, Outbound]:
        """Where those records stand of which anything goes out, or that were asked for."""
        asked = {key for key, said in heard.items() if any(_asks_for_state(item) for _, item in said)}
        states = {key: no_state(key) for key in asked}
        for key, stored in done.records.items():
            if stored.record.latest is None:
                continue  # nothing is stored
            if changes[key] or key in asked or is_restated(stored, start, self._lane):
                states[key] = state_of(stored, course_timeline(done.courses.get(course_key_of(key))))
        return states

    def _now(self) -> Clock:
        now = int(self._shared.clock() * MICROSECONDS)
        return Clock.at(now, self._shared.bounds.future_tolerance_seconds)

    async def _decided_under_old_definitions(self, records: Mapping[str, StoredRecord]) -> list[Outbound]:
        """A definition that came while the batch was in flight has not seen its records: ask to decide them again."""
        newest = await self._store.courses.newest_versions(set(map(course_key_of, records)))
        return requests_behind(records, newest)
