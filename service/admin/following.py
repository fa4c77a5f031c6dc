"""What became of messages that were sent: followed until the workers have decided them."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from contracts.topics import Topic
from rules.values import Decision, StepChange
from service.admin.impact import EFFECTS, REFUSED, Effects, Impact, tallied
from service.kafka.committed import dealt_with
from service.lanes.deciding import whole_records
from service.mongo.store import MongoStore
from service.settings import Settings

PAGE = 100
"""A record may hold tens of thousands of facts."""
GAINS, LOSES, COMPLETES, WITHDRAWN, REMOVED, CERTIFIED, REVOKED = EFFECTS
Progress = Callable[[int], None]


class Became(NamedTuple):
    """What one message did to its record, in the words of EFFECTS; REFUSED where the record does not know it."""

    line: int
    key: str
    effects: Sequence[str]


async def follow(
    settings: Settings, store: MongoStore, topic: Topic, sent: Iterator[tuple[int, str, str]], progress: Progress
) -> AsyncIterator[Became]:
    """Wait for the workers, then tell message by message (`sent`: line, record's key, message id; by key).

    `progress` is told how many of the topic's messages are left.
    """
    async for left in dealt_with(settings, topic.name):
        progress(left)
    while page := list(islice(sent, PAGE)):
        records = await whole_records(store, {key for _, key, _ in page})
        for line, key, message_id in page:
            stored = records.get(key)
            if stored is None or message_id not in stored.record.facts:
                yield Became(line, key, [REFUSED])
            else:
                decided = [one for one in stored.record.decisions if one.message_id == message_id]
                yield Became(line, key, [effect for one in decided for effect in effects_of(one)])


async def told(
    settings: Settings,
    store: MongoStore,
    topic: Topic,
    sent: Iterator[tuple[int, str, str]],
    progress: Progress,
    tell: Callable[[Became], None] = lambda _: None,
) -> tuple[Effects, int]:
    """The same in sum: how many records each effect met, and how many messages were refused."""
    refused, by_key = 0, dict[str, set[str]]()
    with tallied(Impact(None)) as tally:

        def tally_up() -> None:
            for key, met in by_key.items():
                tally.add(key, [effect for effect in EFFECTS if effect in met])
            by_key.clear()

        records = 0
        async for became in follow(settings, store, topic, sent, progress):
            tell(became)
            if became.key not in by_key:
                tally_up()
                records += 1
            by_key.setdefault(became.key, set()).update(became.effects)
            refused += REFUSED in became.effects
        tally_up()
    return Effects(tally.counts, tally.named, records), refused


def effects_of(decision: Decision) -> list[str]:
    """What a decision changed, in the order of EFFECTS."""
    found = set()
    for change in decision.changes:
        what = change.what
        if isinstance(what, StepChange):
            if what.complete != what.previously_complete:
                found.add(GAINS if what.complete else LOSES)
            continue
        if what.course.completed_via is None:
            found.add(REMOVED)
        elif not what.was_completed:
            found.add(COMPLETES)
        if what.certificate_action != "none":
            found.add(REVOKED if what.certificate_action == "revoke" else CERTIFIED)
    if decision.course_after.evidence == "withdrawn" and decision.course_before.evidence != "withdrawn":
        found.add(WITHDRAWN)
    return [effect for effect in EFFECTS if effect in found]
