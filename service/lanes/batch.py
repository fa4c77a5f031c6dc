"""What a batch of messages makes of the stored records and courses. Pure: no clock, no I/O.

`by_key` and `sort_out` turn messages into work; `decide_record` and `accept_definitions` do it; what cannot be used or
stands in the wrong partition goes on as it was (`forwarding`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self

from msgspec.structs import replace

from contracts.fields import course_key_of
from rules.decide import MessageIdReused, decide, redecide
from rules.values import Change, Decision, Fact, Instant, Record, Step, StepDefinition, Timeline
from rules.window import recall, shorten
from service.lanes.bounds import (
    COURSE_BYTES,
    RECORD_DECISIONS,
    RECORD_PLACES,
    RECORD_TURNS,
    WAITING_FACTS,
    WAITING_PLACES,
)
from service.lanes.outgoing import stand_alike
from service.lanes.packed import Packed, pack, unpack
from service.lanes.ports import (
    History,
    Page,
    Pending,
    Place,
    Received,
    StoredCourse,
    StoredDefinition,
    StoredRecord,
)
from service.lanes.progress import Progress, is_done
from service.lanes.translate import (
    HeardDefinition,
    HeardFact,
    HeardRequest,
    Item,
    Misrouted,
    Unusable,
)

Letter = tuple[Received, Unusable]
"""A message for the dead letters."""
GoingOut = Mapping[str, Sequence[Pending]]
"""By record, what it still has to announce."""


class Work(NamedTuple):
    """What messages are about, each part in order of arrival."""

    records: Mapping[str, Sequence[tuple[Received, HeardFact | HeardRequest]]]
    definitions: Mapping[str, Sequence[tuple[Received, HeardDefinition]]]
    misrouted: Sequence[tuple[Received, Misrouted]]
    unusable: Sequence[Letter]


NOT_ASKED = History()
KEPT_DEFINITIONS = 16
"""So many decisions that followed from definitions stay with a record, the newest."""


class Decided(NamedTuple):
    """A record once a batch has been folded into it, and what moves out of it with that write."""

    stored: StoredRecord
    page: Page | None
    letters: Sequence[Letter]
    decisions: Sequence[Decision] = ()
    """New ones."""


class Refused(Exception):
    """A fact goes to the dead letters."""

    def __init__(self, why: Unusable) -> None:
        super().__init__(why.reason)
        self.why = why


class Clock(NamedTuple):
    """The instant of deciding, and from which instant on a `changed_at` is taken for a mistake."""

    now: Instant
    future: Instant

    @classmethod
    def at(cls, now: Instant, future_tolerance_seconds: int) -> Self:
        """Senders' clocks may be so far ahead."""
        return cls(now, now + future_tolerance_seconds * 1_000_000)


def by_key(messages: Iterable[Received]) -> dict[bytes | None, list[Received]]:
    """Messages of a record, which are decided together, have its key; those of others may have it, too."""
    sorted_by_key: dict[bytes | None, list[Received]] = defaultdict(list)
    for message in messages:
        sorted_by_key[message.key].append(message)
    return sorted_by_key


def sort_out(translated: Iterable[tuple[Received, Item]]) -> Work:
    """Group translated messages by what they are about."""
    records: dict[str, list[tuple[Received, HeardFact | HeardRequest]]] = defaultdict(list)
    definitions: dict[str, list[tuple[Received, HeardDefinition]]] = defaultdict(list)
    misrouted: list[tuple[Received, Misrouted]] = []
    unusable: list[Letter] = []
    for received, item in translated:
        match item:
            case HeardFact() | HeardRequest():
                records[item.key].append((received, item))
            case HeardDefinition():
                definitions[item.key].append((received, item))
            case Misrouted():
                misrouted.append((received, item))
            case Unusable():
                unusable.append((received, item))
    return Work(records, definitions, misrouted, unusable)


def decide_record(
    stored: StoredRecord,
    heard: Sequence[tuple[Received, HeardFact | HeardRequest]],
    timeline: Timeline,
    clock: Clock,
    committed: Progress,
    history: History = NOT_ASKED,
    facts_in_record: int | None = None,
    may_redecide: bool = True,
) -> Decided:
    """Fold what was heard into a record. The same stored record comes back where nothing has changed.

    Changes are kept with the position of their message; those of messages that are committed are out and are dropped.
    Facts beyond the newest `facts_in_record` move away. Requests to decide again count unless the course's newest
    version is not released (`may_redecide`). Raises HistoryNeeded when those that have moved away count
    here, and `history` is not the whole of them.
    """
    before = recall(stored.record, history.past) if history.whole else stored.record
    record, asked = before, dict(stored.asked)
    added: list[Pending] = []
    letters: list[Letter] = []
    changed_by: Place | None = None
    for received, item in heard:
        known = record
        if isinstance(item, HeardRequest):
            if not item.decides:
                continue
            place = f"{received.topic}/{received.partition}"
            if received.offset <= asked.get(place, -1):
                continue
            asked[place] = received.offset
            record, changes = redecide(record, timeline, clock.now) if may_redecide else (record, ())
        else:
            try:
                record, changes = _hear(record, item.fact, timeline, clock, history)
            except Refused as refusal:
                letters.append((received, refusal.why))
                continue
        cause = received.topic, received.partition, received.offset
        added += [Pending(*cause, change, item.traceparent) for change in changes]
        changed_by = changed_by if record is known else Place(*cause)
    if record is before and asked == stored.asked:
        return Decided(stored, None, letters)
    lane = heard[0][0].partition
    restates = not added and (stored.record.latest is None or not stand_alike(stored.record, record))
    pending = (*_not_done(stored, committed, lane), *added)
    new = pack(Packed(one, one.message_id not in record.facts) for one in record.decisions)
    decided = StoredRecord(
        stored.key,
        stored.rev,
        replace(record, decisions=()),
        pending,
        stored.decisions + new,
        asked,
        record.decisions[-1].decided_at if record.decisions else stored.decided_at,
        changed_by if restates else stored.restated if is_restated(stored, committed, lane) else None,
    )
    if facts_in_record is None:
        return Decided(decided, None, letters, record.decisions)
    return Decided(*_shortened(decided, stored, history, facts_in_record, timeline), letters, record.decisions)


def is_restated(stored: StoredRecord, progress: Progress, lane: int) -> bool:
    """Whether the state is to go out with a message that is not done, though no change does."""
    place = stored.restated
    return (
        place is not None
        and place.partition == lane
        and not is_done(progress, place.topic, stored.key.encode(), place.offset)
    )


def _hear(
    record: Record, fact: Fact, timeline: Timeline, clock: Clock, history: History
) -> tuple[Record, tuple[Change, ...]]:
    """Fold one fact into a record. Raises Refused; a fact already known changes nothing."""
    past = history.past.get(fact.message_id)
    if past is not None:
        if past.fact != fact:
            raise Refused(_reused(fact.message_id))
        return record, ()
    if fact.message_id not in record.facts:  # what is known already was let pass, by another clock or bound
        if fact.changed_at > clock.future:
            raise Refused(_from_the_future(fact.changed_at, clock))
        if problem := _no_room_for(fact, record, timeline):
            raise Refused(Unusable("record_limit", problem))
    try:
        return decide(record, fact, timeline, clock.now)
    except MessageIdReused:
        raise Refused(_reused(fact.message_id)) from None


def _no_room_for(fact: Fact, record: Record, timeline: Timeline) -> str | None:
    """Which bound the fact would break: a record is one document, and what is in it is counted again and again.

    While the course is not defined no steps and sessions are counted; what waits then moves away like other old facts.
    """
    is_turn = fact.kind in ("reassigned", "withdrawn")
    if is_turn and len(record.reassignments) + len(record.withdrawals) >= RECORD_TURNS:
        return f"message_id: {RECORD_TURNS} reassignments and withdrawals are known already, and no more may be"
    if record.decided >= RECORD_DECISIONS * (2 if is_turn else 1):
        return f"message_id: {RECORD_DECISIONS} facts and definitions have decided this record already, and no more may"
    if not timeline:
        waits = record.decided >= WAITING_FACTS
        return f"course_id: {WAITING_FACTS} facts wait for the course's definition already" if waits else None
    defined, steps = timeline[-1].steps, record.standing.steps
    if fact.step_id is None or _is_known(fact, steps):
        return None
    name = "step_id" if fact.session_id is None else "session_id"
    if sum(1 + len(step.sessions) for step in steps.values()) >= RECORD_PLACES:
        return f"{name}: the record has {RECORD_PLACES} steps and sessions already, over all definitions"
    if _is_defined(fact.step_id, fact.session_id, defined):
        return None
    waiting = sum(
        not _is_defined(step.step_id, session_id, defined)
        for step in steps.values()
        for session_id in (None, *step.sessions)
    )
    if waiting < WAITING_PLACES:
        return None
    return f"{name}: {WAITING_PLACES} steps and sessions that are not defined wait for a definition already"


def _is_known(fact: Fact, steps: Mapping[str, Step]) -> bool:
    step = steps.get(fact.step_id or "")
    return step is not None and (fact.session_id is None or fact.session_id in step.sessions)


def _is_defined(step_id: str, session_id: str | None, defined: Mapping[str, StepDefinition]) -> bool:
    step = defined.get(step_id)
    return step is not None and (session_id is None or session_id in step.sessions or session_id in step.cancelled)


def _shortened(
    decided: StoredRecord, stored: StoredRecord, history: History, facts_in_record: int, timeline: Timeline
) -> tuple[StoredRecord, Page | None]:
    """A record without its old facts and their decisions, and the page that these make."""
    record, moving = shorten(decided.record, stored.record, history.past, facts_in_record, timeline)
    if record is decided.record:
        return decided, None
    decisions = {(one.of_definition, one.message_id): one for one in unpack(decided.decisions)}
    back = {(False, id_): history.decisions[id_] for id_ in record.facts if id_ in history.decisions}
    of_facts = [one for (of_definition, _), one in (back | decisions).items() if not of_definition]
    of_definitions = [one for one in decisions.values() if one.of_definition]
    staying = [one for one in of_facts if one.message_id in record.facts]
    shortened = replace(decided, record=record, decisions=pack([*of_definitions[-KEPT_DEFINITIONS:], *staying]))
    if not moving:
        return shortened, None
    leaving = pack(one for one in of_facts if one.message_id not in record.facts)
    return shortened, Page(decided.key, decided.rev, moving, leaving)


def _from_the_future(changed_at: Instant, clock: Clock) -> Unusable:
    ahead_seconds = (changed_at - clock.now) // 1_000_000
    return Unusable(
        "changed_at_in_future",
        f"changed_at: is {ahead_seconds} seconds ahead of the clock here; mend the sender's clock and send it again",
    )


def _reused(message_id: str) -> Unusable:
    return Unusable(
        "message_id_reused",
        f"message_id: {message_id} is known with other content; send the new content under an id of its own",
    )


def outdated(records: Mapping[str, StoredRecord], courses: Mapping[str, StoredCourse]) -> set[str]:
    """Courses that another owner knew a newer version of when it wrote one of these records."""
    known = {key: course.newest.version for key, course in courses.items()}
    return {
        course_key_of(key)
        for key, stored in records.items()
        if known.get(course_key_of(key), 0) < stored.record.definition_version
    }


def accept_definitions(
    course: StoredCourse,
    heard: Iterable[tuple[Received, HeardDefinition]],
    clock: Clock,
) -> tuple[StoredCourse, list[Letter]]:
    """Add versions to a course, the newest last. The same stored course comes back where nothing has changed."""
    accepted = course
    letters: list[Letter] = []
    for received, item in heard:
        definition = item.definition
        known = {version.version: version for version in accepted.versions}
        same = known.get(definition.version)
        if same is not None and same.content == definition.content and same.changed_at == definition.changed_at:
            continue
        newest = max(known, default=0)
        if definition.version <= newest:
            letters.append((received, _stale(definition, newest)))
        elif definition.changed_at > clock.future:
            letters.append((received, _from_the_future(definition.changed_at, clock)))
        elif accepted.size_bytes + len(definition.content.encode()) > COURSE_BYTES:
            letters.append((received, _too_large()))
        else:
            versions = (*accepted.versions, definition)
            accepted = replace(accepted, versions=versions, sweeping=True, would_complete=0, would_certify=0)
    return accepted, letters


def _too_large() -> Unusable:
    return Unusable(
        "record_limit",
        f"steps: with this version the course's definitions have more than {COURSE_BYTES} bytes together",
    )


def _stale(definition: StoredDefinition, newest: int) -> Unusable:
    return Unusable(
        "stale_definition",
        f"version: {definition.version} with this content is not newer than the known version {newest}; "
        f"send it as version {newest + 1} or higher",
    )


def _not_done(stored: StoredRecord, progress: Progress, lane: int) -> tuple[Pending, ...]:
    """The pending changes whose messages are not done.

    Those of another lane are: partitions were added since, which takes that everything before is out.
    """
    if not stored.pending:
        return ()
    key = stored.key.encode()
    return tuple(
        one for one in stored.pending if one.partition == lane and not is_done(progress, one.topic, key, one.offset)
    )


def going_out(records: Iterable[StoredRecord], start: Progress, lane: int) -> GoingOut:
    """What a lane's batch publishes: each record's changes that are not out yet, in order of their sequence.

    Those of messages that were done before the batch went out with the batches before it.
    """
    return {record.key: _not_done(record, start, lane) for record in records}


def beyond(changes: GoingOut, end: Progress) -> dict[tuple[bytes, str], int]:
    """How far a batch must go so that these changes go out with what caused them: by record's key and topic."""
    further: dict[tuple[bytes, str], int] = {}
    for record_key, pendings in changes.items():
        key = record_key.encode()
        for one in pendings:
            if not is_done(end, one.topic, key, one.offset):
                further[key, one.topic] = max(further.get((key, one.topic), 0), one.offset + 1)
    return further
