"""The dashboard's queries and the alerts, asked of a real Prometheus that scrapes a real worker: each has data."""

import asyncio
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_commands import ATTENDED, DEFINITION, RESET
from tests.deploy.tools import need
from tests.stack.servers import free_port
from tests.stack.service import World
from tests.stack.wire import Wire

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "ratchet.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {"$job": ".*", "$__rate_interval": "30s"}
"""As Grafana fills them in."""
START_SECONDS = 30.0


def ask(port: int, path: str, **query: str) -> Any:
    """What Prometheus' API answers with."""
    url = f"http://127.0.0.1:{port}/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


@contextmanager
def prometheus(folder: Path, worker_port: int) -> Iterator[int]:
    """Scrapes a worker each second, with our alerts; gives its port."""
    found = need("prometheus")
    port = free_port()
    configured = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "prometheus" / "alerts.yaml")],
        "scrape_configs": [{"job_name": "ratchet", "static_configs": [{"targets": [f"127.0.0.1:{worker_port}"]}]}],
    }
    (folder / "prometheus.json").write_text(json.dumps(configured))
    options = {
        "config.file": folder / "prometheus.json",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with (folder / "log").open("w") as log:
        command = [found, *(f"--{name}={value}" for name, value in options.items())]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: bool(ask(port, "api/v1/query", query="ratchet_build_info")["result"]), folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def until(holds: Any, log: Path) -> None:
    """Within a while."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])


@pytest.fixture(scope="module")
def asked(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Prometheus that has seen a worker decide, refuse and publish for some seconds; gives its port."""
    world = make_world()
    serving = world.serve().wait_until_ready()
    try:
        with prometheus(tmp_path_factory.mktemp("prometheus"), serving.port) as port:
            asyncio.run(work(world))
            yield port
    finally:
        serving.stop()


async def work(world: World) -> None:
    """Something of each kind, more than once: a rate needs two scrapes."""
    async with Wire(world) as wire:
        await wire.send([("course-defined", DEFINITION)])
        await wire.settled()
        for round_ in range(5):
            about = {"learner_id": f"l-{round_}", "message_id": f"a-{round_}"}
            again = {**RESET, **about, "message_id": f"b-{round_}"}
            unusable = {**ATTENDED, **about, "event_id": 7}
            sent = ({**ATTENDED, **about}, again, unusable)
            await wire.send([("attendance-changed", one) for one in sent])
            await wire.settled()
            await asyncio.sleep(1.2)


QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_a_query_of_the_dashboard_has_data(asked: int, title: str, query: str) -> None:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    answer = ask(asked, "api/v1/query", query=query)["result"]
    assert answer, (title, query)
    assert all(re.fullmatch(r"-?[\d.e+-]+", sample["value"][1]) for sample in answer), (title, answer)


def test_prometheus_evaluates_the_alerts_and_none_fires(asked: int) -> None:
    (group,) = ask(asked, "api/v1/rules")["groups"]
    assert len(group["rules"]) > 10
    assert [(rule["name"], rule["lastError"]) for rule in group["rules"] if rule["health"] == "err"] == []
    firing = {rule["name"] for rule in group["rules"] if rule["state"] == "firing"}
    assert firing == set()


def test_each_panel_says_what_it_shows() -> None:
    assert [row["title"] for row in DASHBOARD["panels"] if row["type"] == "row"] == [
        "Health",
        "Lag",
        "Throughput and latency",
        "Decisions",
        "Dead letters",
        "Database and broker",
        "Process",
    ]
    assert all(panel["description"].endswith(".") for panel in PANELS)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
