"""Many seeds without a fault, the same run from the same seed, and every deliberate mistake caught.

A failing seed is named; `python -m tests.simulation.run 1 SEED` runs it again, the same.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import simulate, simulate_all

FIRST_SEEDS, SEEDS = 60, 600


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Lanes that stop and wait are the point here."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seeds", [range(FIRST_SEEDS), pytest.param(range(FIRST_SEEDS, SEEDS), marks=pytest.mark.full)])
@pytest.mark.timeout(600)
def test_seeds(seeds: range) -> None:
    assert simulate_all(seeds) == []


def test_the_same_seed_gives_the_same_run_in_every_process() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation.run", "1", "7"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[0]
        for hash_seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].startswith("seed 7: ")


@pytest.mark.full
@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.filterwarnings("ignore")
def test_every_mistake_is_caught(name: str) -> None:
    mutation, within = MUTATIONS[name]
    begin = time.perf_counter()
    with mutation():
        for seed in within:
            try:
                simulate(seed)
            except AssertionError as error:
                print(f"{name}: seed {seed}, {time.perf_counter() - begin:.1f} s: {error}")
                return
    pytest.fail(f"{name}: not caught by seeds {within}")
