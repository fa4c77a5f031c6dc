"""What probes and scrapers are told: `/livez`, `/readyz`, `/metrics`."""

import asyncio
import json
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from service import metrics
from service.errors import FixConfiguration
from service.lanes.health import FloodHealth, Health, LaneHealth
from service.settings import Settings
from service.web.health import serve_health
from tests.stack.servers import free_port

OPERATE = Path(__file__).parents[2] / "deploy" / "README.md"
QUIET = FloodHealth(flood=False, unusable=0, of_messages=0)
NONE_AWAY = {"kafka": None, "mongodb": None}
OPEN = LaneHealth(0, "open", 0, 0.0, None, ready=True, paused_reevaluations=0)
WAITING = LaneHealth(1, "waiting", 3, 12.5, "MongoDB is away", ready=False, paused_reevaluations=2)
WELL = Health(True, NONE_AWAY, QUIET, [OPEN])


async def get(health: Health, path: str) -> tuple[int, str]:
    """Status and body."""

    async def told() -> Health:
        return health

    def ask(port: int) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async with serve_health(Settings(http_port=0), told) as port:
        return await asyncio.to_thread(ask, port)


async def test_readyz_tells_all_of_a_worker_that_is_well() -> None:
    status, body = await get(WELL, "/readyz")
    assert status == 200
    assert json.loads(body) == {
        "ready": True,
        "outages": {"kafka": None, "mongodb": None},
        "dead_letters": {"flood": False, "unusable": 0, "of_messages": 0},
        "lanes": [
            {
                "lane": 0,
                "state": "open",
                "lag_messages": 0,
                "lag_seconds": 0.0,
                "failure": None,
                "ready": True,
                "paused_reevaluations": 0,
                "deleted_unread": [],
            }
        ],
        "topics": None,
        "hanging_transactions": [],
    }


@pytest.mark.parametrize(
    ("health", "ready"),
    [
        (WELL._replace(joined=False, lanes=[]), False),
        (WELL._replace(outages={"kafka": None, "mongodb": "MongoDB is away"}), False),
        (WELL._replace(lanes=[OPEN, WAITING]), False),
        (WELL._replace(lanes=[]), True),
        (WELL._replace(dead_letters=FloodHealth(flood=True, unusable=60, of_messages=100)), True),
        (WELL._replace(lanes=[OPEN._replace(paused_reevaluations=1)]), True),
    ],
    ids=["not joined", "outage", "a lane waits", "no lane for this worker", "flood", "paused"],
)
async def test_ready_means_that_it_can_work(health: Health, ready: bool) -> None:
    status, body = await get(health, "/readyz")
    told = json.loads(body)
    assert (status, told["ready"]) == ((200, True) if ready else (503, False))
    assert told["outages"] == health.outages
    assert told["dead_letters"] == health.dead_letters._asdict()
    assert told["lanes"] == [{**lane._asdict(), "deleted_unread": []} for lane in health.lanes]


async def test_livez_needs_nothing_but_the_event_loop() -> None:
    assert await get(WELL._replace(joined=False), "/livez") == (200, "ok\n")


async def test_every_metric_is_explained_to_operators() -> None:
    metrics.LANES.labels("open").set(1)
    status, body = await get(WELL, "/metrics")
    assert 'ratchet_lanes{state="open"} 1.0' in body
    exported = {name.removesuffix("_total") for name in re.findall(r"^# TYPE (ratchet_\w+) ", body, re.MULTILINE)}
    explained = {name.removesuffix("_total") for name in re.findall(r"`(ratchet_\w+)`", OPERATE.read_text("utf-8"))}
    assert status == 200
    assert {name for name in exported if not name.endswith("_created")} == explained - {"ratchet_kafka_sasl_password"}


async def test_an_address_that_is_taken_is_named() -> None:
    port = free_port()

    async def told() -> Health:
        return WELL

    with socket.create_server(("127.0.0.1", port)), pytest.raises(FixConfiguration, match=f"127.0.0.1:{port}"):
        async with serve_health(Settings(http_port=port), told):
            pass
