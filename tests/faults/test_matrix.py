"""The short profile of the fault matrix: the faults of workers, side by side; one broker and one database will do."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.conftest import REAL_KAFKA
from tests.faults.cluster import start_cluster
from tests.faults.faults import CASES
from tests.faults.matrix import PROFILES, run_case
from tests.faults.report import table
from tests.stack.servers import NotAvailable


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_the_promise_holds_when_workers_die_pause_and_come_back(tmp_path: Path) -> None:
    try:
        cluster = await asyncio.to_thread(start_cluster, tmp_path, 1)
    except NotAvailable as error:
        if os.environ.get(REAL_KAFKA):
            raise
        pytest.skip(f"broker and database cannot be had: {error}")
    try:
        chosen = [case for case in CASES if case.in_short]
        rows = await asyncio.gather(*(run_case(cluster, tmp_path, case, PROFILES["short"]) for case in chosen))
    finally:
        await asyncio.to_thread(cluster.stop)
    assert [row.fault for row in rows if not row.is_good] == [], [row.examples for row in rows]
    assert all(row.changes > 1200 and row.dead_letters > 25 for row in rows), table(rows)
