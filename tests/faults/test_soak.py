"""A soak of less than a minute, and what it would say of workers that leak."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.conftest import REAL_KAFKA
from tests.faults.cluster import start_cluster
from tests.faults.faults import CASES, Case
from tests.faults.soak import PROFILE, Plan, in_rounds, repeatable, soak
from tests.faults.soak_report import markdown
from tests.faults.vitals import FILES_LIMIT, WARM_UP_SECONDS, Life, Sample
from tests.stack.servers import NotAvailable

HOUR_SECONDS = 3600
QUICK = ("network: failed polls", "messages: topics recompressed")


def cases(*names: str) -> list[Case]:
    return [case for case in CASES if case.name in names]


@pytest.mark.full
async def test_a_very_short_soak_finds_nothing(tmp_path: Path) -> None:
    try:
        cluster = await asyncio.to_thread(start_cluster, tmp_path, 1)
    except NotAvailable as error:
        if os.environ.get(REAL_KAFKA):
            raise
        pytest.skip(f"broker and database cannot be had: {error}")
    profile = PROFILE._replace(inputs=600, records=60, trouble_seconds=3)
    try:
        made = await soak(cluster, tmp_path, Plan(20, cases(*QUICK), 100.0, profile, around_seconds=2.0))
    finally:
        await asyncio.to_thread(cluster.stop)
    assert (made.findings, made.ended) == ([], "")
    assert made.rows and all(row.changes > 300 and row.dead_letters > 3 for row in made.rows)
    assert len(made.lives) == 3
    report = markdown(made, {"machine": "this one"})
    assert f"{len(made.rows)} faults" in report and "nothing was found" in report


def test_a_round_has_every_fault_once_and_ends_workers_last() -> None:
    chosen = repeatable()
    rounds = in_rounds(chosen, seed=7)
    for _ in range(2):
        one = [next(rounds) for _ in chosen]
        assert sorted(case.name for case in one) == sorted(case.name for case in chosen)
        assert [case.ends_workers for case in one] == sorted(case.ends_workers for case in one)
    assert "messages: undecodable batch" not in {case.name for case in chosen}, "a broker that is killed cuts it off"


@pytest.mark.parametrize(
    ("memory_mb_per_hour", "files_per_hour", "says"),
    [(0, 0, []), (20, 10, []), (100, 0, ["memory grows by 100 MB"]), (0, 60, ["file descriptors grow by 60"])],
)
def test_what_grows_for_an_hour_is_found(memory_mb_per_hour: int, files_per_hour: int, says: list[str]) -> None:
    life = Life(1, [sample(at, memory_mb_per_hour, files_per_hour) for at in range(0, HOUR_SECONDS, 60)])
    assert [said in found for said, found in zip(says, life.leaks(), strict=True)] == [True] * len(says)


def test_the_warm_up_is_no_leak() -> None:
    life = Life(1, [sample(min(at, WARM_UP_SECONDS), 600, 60) for at in range(0, HOUR_SECONDS, 60)])
    assert life.leaks() == []


def test_too_much_at_any_time_is_found() -> None:
    assert "file descriptors" in Life(1, [Sample(0, 80, 40), Sample(5, 80, FILES_LIMIT + 1)]).leaks()[0]


def sample(at: float, memory_mb_per_hour: float, files_per_hour: float) -> Sample:
    hours = at / HOUR_SECONDS
    return Sample(at, 80 + memory_mb_per_hour * hours, round(40 + files_per_hour * hours))
