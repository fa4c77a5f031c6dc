"""`ratchet lag`: how far behind, and whether that is a reason to act."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from service.admin.lag import LaneLag, judge, watch
from service.kafka.lag import LagReader, LaneSample, Sample
from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.stack.service import World
from tests.stack.wire import Wire

Seen = list[tuple[int, int]]


def stuck(topic: str, offset: int) -> frozenset[tuple[str, int]]:
    return frozenset({(topic, offset)})


@pytest.mark.parametrize(
    ("seen", "members", "status"),
    [
        ([(10, 0), (10, 0)], True, "ok"),
        ([(10, 0), (10, 0)], False, "ok"),
        ([(10, 5), (12, 0), (12, 4)], True, "ok"),
        ([(10, 9), (15, 4)], True, "ok"),
        ([(10, 9), (15, 9)], True, "warning"),
        ([(10, 9), (15, 12), (20, 30)], True, "warning"),
        ([(10, 9), (15, 12), (20, 11)], True, "ok"),
        ([(10, 9), (10, 9)], True, "stalled"),
        ([(10, 9), (10, 90)], True, "stalled"),
        ([(10, 9), (10, 9)], False, "stopped"),
        ([(10, 9)], False, "stopped"),
        ([(10, 9)], True, "ok"),
    ],
)
def test_the_rules(seen: Seen, members: bool, status: str) -> None:
    window = [
        Sample(float(at), members, {0: LaneSample(committed, lag, 2.0), 1: LaneSample(7, 0, 0.0)})
        for at, (committed, lag) in enumerate(seen)
    ]
    lane, idle, total = judge(window)
    assert (lane.lane, lane.status, idle.status, total.lane) == (0, status, "ok", None)
    assert total.status == status, "as bad as the worst"
    assert total.lag_messages == seen[-1][1]


@pytest.mark.parametrize(
    ("lanes", "status"),
    [
        ([LaneSample(5, 0, 0.0, stuck("a", 9))] * 2, "blocked"),
        ([LaneSample(5, 3, 0.0, stuck("a", 9))] * 2, "blocked"),
        ([LaneSample(5, 0, 0.0, stuck("a", 9)), LaneSample(5, 0, 0.0, stuck("a", 9) | stuck("b", 4))], "blocked"),
        ([LaneSample(5, 0, 0.0, stuck("a", 9)), LaneSample(5, 0, 0.0, stuck("a", 12))], "ok"),
        ([LaneSample(5, 0, 0.0, stuck("a", 9)), LaneSample(5, 0, 0.0)], "ok"),
        ([LaneSample(5, 0, 0.0, stuck("a", 9))], "ok"),
        ([LaneSample(5, 3, 0.0), LaneSample(6, 2, 0.0, unreadable=True)], "unreadable"),
    ],
    ids=["hangs", "hangs while others wait", "hangs beside another", "moves", "ended", "seen once", "damaged"],
)
def test_what_cannot_be_read_is_no_matter_of_falling_behind(lanes: list[LaneSample], status: str) -> None:
    assert judge([Sample(float(at), True, {0: lane}) for at, lane in enumerate(lanes)])[0].status == status


def test_the_trend_is_messages_a_second() -> None:
    window = [Sample(at, True, {0: LaneSample(100 - lag, lag, 1.0)}) for at, lag in ((10.0, 100), (14.0, 60))]
    assert judge(window)[0] == LaneLag(0, "ok", 60, 1.0, -10.0)


class SlowReader:
    """Takes longer for a sample than the window is."""

    def __init__(self, lane: LaneSample, every_seconds: float) -> None:
        self.at, self.lane, self.every_seconds = 0.0, lane, every_seconds

    async def sample(self) -> Sample:
        self.at += self.every_seconds
        return Sample(self.at, True, {0: self.lane})


@pytest.mark.parametrize(("every_seconds", "samples"), [(2.5, 2), (1.0, 3)])
async def test_a_status_is_sure_once_the_samples_span_the_window(every_seconds: float, samples: int) -> None:
    reader = SlowReader(LaneSample(5, 3, 0.0, stuck("a", 9)), every_seconds)
    said = []
    async for judged, is_sure in watch(cast(LagReader, reader), 2.0, 0.0):
        said.append(judged[0].status)
        if is_sure:
            break
    assert (len(said), said[-1]) == (samples, "blocked")


async def test_lag_from_nobody_there_to_nothing_behind(world: World, wire: Wire) -> None:
    untouched = world.run("lag", "--json")
    assert json.loads(untouched.stdout)["total"] == {
        "lane": None,
        "status": "ok",
        "lag_messages": 0,
        "lag_seconds": 0.0,
        "trend": 0.0,
    }
    await wire.send([("course-defined", DEFINITION)])
    await wire.send([("attendance-changed", {**ATTENDED, "message_id": f"m{n}"}) for n in range(20)])
    behind = world.run("lag", "--json", "--window", "1", check=False)
    total = json.loads(behind.stdout)["total"]
    assert (behind.returncode, total["status"], total["lag_messages"]) == (1, "stopped", 21)
    assert 0 < total["lag_seconds"] < 60
    shown = world.run("lag", "--window", "1", check=False).stdout
    assert "stopped" in shown and "21" in shown
    serving = world.serve().wait_until_ready()
    await wire.settled()
    ran = world.run("lag")
    assert ran.returncode == 0 and "stopped" not in ran.stdout
    assert world.run("lag", "--group", "nobody", "--window", "1", check=False).returncode == 1
    assert await asyncio.to_thread(serving.stop) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--json",), '"lag_messages": 0, "lag_seconds": 0.0, "trend": 0.0}, "lanes": ['),
        ((), r"│ all  │               0 │            0.0 │       +0.0 │"),
    ],
    ids=["json", "table"],
)
def test_watch_shows_how_it_stands_until_ctrl_c(world: World, options: tuple[str, ...], says: str) -> None:
    """At a terminal, where the table is drawn again and again."""
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [str(Path(sys.executable).with_name("ratchet")), "lag", "--watch", *options],
        env={**world.settings, "PATH": "", "TERM": "xterm", "COLUMNS": "200", "LINES": "50"},
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    told = ""
    while says not in told:
        told += os.read(ours, 10_000).decode()
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=20)
    os.close(ours)
    assert (watching.returncode, errors) == (0, b"")


def test_errors_name_the_setting(world: World) -> None:
    ran = world.run("lag", check=False, RATCHET_TOPIC_PREFIX="other.")
    assert ran.returncode == 2 and "RATCHET_TOPIC_PREFIX" in ran.stderr
    ran = world.run("lag", check=False, RATCHET_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", RATCHET_START_SECONDS="3")
    assert ran.returncode == 2 and "RATCHET_KAFKA_BOOTSTRAP_SERVERS" in ran.stderr
    assert "Traceback" not in ran.stderr
