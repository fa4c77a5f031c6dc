"""Whoever is compared does the same work: as many changes as there must be, in the benchmarks' own way of measuring.

Nothing is said about time.
"""

from pathlib import Path

import pytest

from tests.benchmarks import in_process
from tests.benchmarks import results as measures
from tests.benchmarks.backlog import Backlog
from tests.benchmarks.profile import tree
from tests.benchmarks.results import Results
from tests.benchmarks.servers import Servers
from tests.benchmarks.subjects import BATCH_HANDLER, FLOOR, RATCHET
from tests.benchmarks.workloads import decided_changes, mass_upload, redelivery
from tests.stack.servers import Server

MESSAGES, RECORDS = 1000, 100


@pytest.fixture
def servers(broker: Server, database: Server, tmp_path: Path) -> Servers:
    """The tests' own servers."""
    if not broker.real:
        pytest.skip("the mock broker never tells the offsets of transactions, by which the benchmarks measure")
    return Servers(broker, database, tmp_path)


def test_floor_batch_handler_and_ratchet_publish_every_change_of_an_upload(servers: Servers) -> None:
    backlog = Backlog(servers, mass_upload(MESSAGES, RECORDS))
    assert backlog.messages == MESSAGES
    results = Results()
    changes = {subject.name: backlog.measure(subject, results) for subject in (FLOOR, BATCH_HANDLER, RATCHET)}
    assert results.wrong == []
    assert changes["floor"] == changes["batch handler"] == FLOOR.changes(backlog.workload.make())
    assert changes["ratchet"] == RATCHET.changes(backlog.workload.make())
    assert all(count is not None and count > MESSAGES // 2 for count in changes.values())
    assert all(results.median("mass upload", who, measures.MEMORY) for who in changes)


def test_messages_sent_twice_change_a_record_once(servers: Servers) -> None:
    once, twice = mass_upload(MESSAGES // 2, RECORDS), Backlog(servers, redelivery(MESSAGES, RECORDS))
    assert twice.measure(RATCHET, Results()) == RATCHET.changes(once.make())


def test_a_profile_tells_of_functions_by_who_called_them() -> None:
    loop = "main (a.py:1);Runner.run (asyncio/runners.py:118)"
    stacks = [f"{loop};f (b.py:3);g (b.py:9) 60", f"{loop};f (b.py:4) 30", "run (thread.py:1) 10"]
    root = tree(stacks)
    assert list(root.tell(root.seen)) == [
        " 90.0 % f (b.py)",
        " 60.0 %   g (b.py)",
        " 10.0 % outside the event loop",
        " 10.0 %   run (thread.py)",
    ]


async def test_in_one_process_as_much_is_decided() -> None:
    workload = mass_upload(600, 100)
    messages = in_process.received(workload)
    changes = decided_changes(workload.make())
    assert await in_process.work_off(messages, tells_states=False) == changes
    records = len({message.key for message in messages})
    assert await in_process.work_off(messages) == changes + records, "all in one batch, with a state of each record"
