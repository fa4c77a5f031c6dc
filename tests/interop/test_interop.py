"""The short form: every client with its usual codec in every mode, and as a reader."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.interop import clients, plan
from tests.interop.run import Came, run
from tests.stack.servers import Server

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]  # the first time, packages are fetched


class Results(NamedTuple):
    """Of all that are there."""

    came: Came
    there: clients.There

    def need(self, client: str) -> None:
        """Skip where it is not there."""
        if client in self.there.missing:
            pytest.skip(f"{client}: {self.there.details[client]}")


@pytest.fixture(scope="module")
def results(broker: Server, database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    if not broker.real:
        pytest.skip("the mock broker knows neither codecs nor transactions")
    folder: Path = tmp_path_factory.mktemp("interop")
    with clients.start(folder) as there:
        yield Results(run(broker, database, folder, there.running, plan.short(), print), there)


@pytest.mark.parametrize("client", clients.CLIENTS)
def test_what_it_sends_counts_once(results: Results, client: str) -> None:
    results.need(client)
    rows = [row for row in results.came.rows if row.cell.client == client]
    assert [(row.cell.mode, row.problems) for row in rows] == [(mode, []) for mode in plan.MODES]


@pytest.mark.parametrize("client", clients.CLIENTS)
def test_it_reads_what_goes_out_valid_and_as_cloudevents(results: Results, client: str) -> None:
    results.need(client)
    (read,) = [read for read in results.came.reads if read.client == client]
    assert (read.problems, read.messages > 0) == ([], True)


def test_nothing_waits_and_nothing_is_left_over(results: Results) -> None:
    assert results.came.problems == []
