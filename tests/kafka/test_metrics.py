"""`/metrics` of a real worker: it says what took effect, and Prometheus' own linter has nothing against it."""

import asyncio
import json
import re
import subprocess

import pytest

from contracts.topics import ATTENDANCE_CHANGED, COURSE_COMPLETION_CHANGED, DEAD_LETTER, STEP_COMPLETION_CHANGED
from service.kafka.partitioner import partition_of
from tests.commands.test_commands import ATTENDED, DEFINITION, RESET
from tests.deploy.tools import need
from tests.stack.service import World
from tests.stack.wire import Wire, key_of

TRACEPARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def value(page: str, sample: str) -> float:
    """Of a sample by its name with labels; 0 where it is not there."""
    found = re.search(rf"^{re.escape(sample)} (\S+)$", page, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


@pytest.fixture
async def page(world: World, wire: Wire) -> str:
    """After a completion, the loss of its step, and a message that cannot be used."""
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    await wire.send([("attendance-changed", ATTENDED)])
    await wire.settled()
    await wire.send([("attendance-changed", RESET)])
    await wire.send([("attendance-changed", {**ATTENDED, "message_id": "m3", "event_id": 7})])
    await wire.settled()
    await asyncio.sleep(1.5)  # gauges are set once a second
    status, text = serving.get("/metrics")
    assert status == 200
    assert await asyncio.to_thread(serving.stop) == 0
    return text


async def test_metrics_say_what_took_effect(page: str, world: World) -> None:
    assert value(page, f'ratchet_messages_total{{topic="{ATTENDANCE_CHANGED.name}"}}') == 3
    assert value(page, f'ratchet_published_total{{topic="{STEP_COMPLETION_CHANGED.name}"}}') == 2
    assert value(page, f'ratchet_published_total{{topic="{COURSE_COMPLETION_CHANGED.name}"}}') >= 1
    assert value(page, f'ratchet_published_total{{topic="{DEAD_LETTER.name}"}}') == 1
    assert value(page, 'ratchet_dead_letters_total{reason="invalid_message"}') == 1
    for kind in ("step_completed", "step_lost", "course_completed"):
        assert value(page, f'ratchet_changes_total{{kind="{kind}"}}') == 1, kind
    for rule in ("completed-by-steps", "completion-preserved"):
        assert value(page, f'ratchet_decisions_total{{rule="{rule}"}}') == 1, rule
    assert value(page, 'ratchet_latency_seconds_bucket{le="+Inf"}') == 4, "each message, the definition too"
    assert value(page, 'ratchet_transactions_total{end="committed"}') >= 3
    assert value(page, 'ratchet_lanes{state="open"}') == 4
    assert value(page, 'ratchet_outages{of="kafka"}') == value(page, 'ratchet_outages{of="mongodb"}') == 0
    assert value(page, "ratchet_rebalances_total") >= 1
    for lane in range(4):
        assert value(page, f'ratchet_lag_messages{{lane="{lane}"}}') == 0
        assert value(page, f'ratchet_lag_seconds{{lane="{lane}"}}') == 0
    commits = re.findall(r"^ratchet_last_commit_timestamp_seconds\{.*\} (\S+)$", page, re.MULTILINE)
    assert commits and all(float(at) > 1_700_000_000 for at in commits)
    assert f'version="{world.run("--version").stdout.split()[-1]}"' in page


async def test_prometheus_linter_finds_nothing(page: str) -> None:
    promtool = need("promtool")
    ran = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    ours = [line for line in ran.stderr.splitlines() if line.startswith("ratchet_")]
    assert (ours, "error" in ran.stderr) == ([], False), ran.stderr


async def test_a_trace_is_an_exemplar_of_the_latency(world: World, wire: Wire) -> None:
    serving = world.serve().wait_until_ready()
    await wire.send([("course-defined", DEFINITION)])
    await wire.settled()
    key = key_of(ATTENDED)
    headers = [("traceparent", TRACEPARENT)]
    await wire.send_raw("attendance-changed", json.dumps(ATTENDED).encode(), key, headers, partition_of(key, 4))
    await wire.settled()
    page = serving.get("/metrics", accept="application/openmetrics-text; version=1.0.0")[1]
    assert '# {trace_id="0af7651916cd43dd8448eb211c80319c"}' in page
    assert page.endswith("# EOF\n")
    assert await asyncio.to_thread(serving.stop) == 0
