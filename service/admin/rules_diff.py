"""What a candidate for a decision table would decide differently about the stored records. Reads only."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import NamedTuple

from contracts.fields import course_key_of
from rules.compare import Difference, compare, rule_pairs
from rules.tables import SHIPPED, Table, Tables
from service.lanes.deciding import whole_records
from service.lanes.definitions import course_timeline
from service.mongo.store import MongoStore

PAGE = 100
Progress = Callable[[int], None]


class Selection(NamedTuple):
    """Which records: of a tenant, of a course (empty: of all), and how many of them at random (None: all)."""

    tenant_id: str = ""
    course_id: str = ""
    sample: int | None = None


class Sums:
    """Counted while the differences are read."""

    def __init__(self) -> None:
        self.records = 0
        self.differing = 0
        self.differing_facts = 0
        self.facts: Counter[tuple[str, str]] = Counter()
        """Facts by the rule that speaks now and the one that would."""
        self.records_by_rule: Counter[tuple[str, str]] = Counter()

    def add(self, differences: list[Difference], candidate: Tables) -> None:
        """One more record."""
        self.records += 1
        self.differing += bool(differences)
        self.differing_facts += len(differences)
        pairs = Counter(pair for difference in differences for pair in rule_pairs(difference, SHIPPED, candidate))
        self.facts += pairs
        self.records_by_rule.update(pairs.keys())


async def count(store: MongoStore, selection: Selection) -> int:
    """How many records will be replayed, about: workers may be adding some."""
    known = await store.keys.count(selection.tenant_id, selection.course_id)
    return known if selection.sample is None else min(known, selection.sample)


async def differing(
    store: MongoStore, candidate: Table, selection: Selection, sums: Sums, progress: Progress = lambda _: None
) -> AsyncIterator[tuple[str, list[Difference]]]:
    """The records that the candidate would decide differently, by key. Memory holds a hundred records at a time."""
    tables = SHIPPED._replace(**{candidate.name: candidate})
    async for page in _pages(store, selection):
        stored = await whole_records(store, page)
        courses = await store.courses.load_all({course_key_of(key) for key in stored})
        for key, one in sorted(stored.items()):
            timeline = course_timeline(courses.get(course_key_of(key)))
            differences = compare(list(one.record.facts.values()), timeline, SHIPPED, tables)
            sums.add(differences, tables)
            if differences:
                yield key, differences
        progress(len(page))


async def _pages(store: MongoStore, selection: Selection) -> AsyncIterator[list[str]]:
    if selection.sample is None:
        async for page in store.keys.pages(selection.tenant_id, selection.course_id):
            yield page
        return
    keys = iter(await store.keys.sample(selection.sample, selection.tenant_id, selection.course_id))
    while page := list(islice(keys, PAGE)):
        yield page
