"""Which learners of a file the service does not know yet, and which of them may be known ones misspelled."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import NamedTuple

from contracts.fields import split_key
from service.admin.directory import ID_LETTERS, one_edit_away
from service.mongo.store import MongoStore

PAGE = 500
LOOKS = 20
"""For so many that are new, near misses are looked for."""
LENGTH = 40
"""Characters of an id for which near misses are looked for."""


class Newcomers(NamedTuple):
    """How many learners have a record in some course, how many have none; and new ones beside known ones like them."""

    known: int
    new: int
    near: Sequence[tuple[str, str]]


async def newcomers(store: MongoStore, keys: Iterable[str]) -> Newcomers:
    """Of the learners in these records' keys, which come in order."""
    learners = _learners(keys)
    known = new = 0
    near: list[tuple[str, str]] = []
    looked = 0
    while page := list(islice(learners, PAGE)):
        there = await store.learners.known(page)
        known += len(there)
        for tenant_id, learner_id in page:
            if (tenant_id, learner_id) in there:
                continue
            new += 1
            if looked < LOOKS and len(learner_id) <= LENGTH:
                looked += 1
                near += await _near(store, tenant_id, learner_id)
    return Newcomers(known, new, near)


def _learners(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    return (learner for learner, _ in groupby(split_key(key)[:2] for key in keys))


async def _near(store: MongoStore, tenant_id: str, learner_id: str) -> list[tuple[str, str]]:
    candidates = sorted(one_edit_away(learner_id, ID_LETTERS))
    for first in range(0, len(candidates), PAGE):
        found = await store.learners.known([(tenant_id, other) for other in candidates[first : first + PAGE]])
        if found:
            return [(learner_id, min(other for _, other in found))]
    return []
