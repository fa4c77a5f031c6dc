"""Who does jobs over HTTP goes on, whatever the database says for a while. No server is needed."""

import asyncio
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.admin import jobs
from service.admin.desk import Desk
from service.admin.job_work import Done
from service.errors import FixConfiguration
from service.mongo.jobs import Job

REFUSED = FixConfiguration("RATCHET_MONGODB_URI: MongoDB refuses the user")
JOB = Job("j-1", "attendance", "t-1", "kim", datetime(2026, 3, 1, tzinfo=UTC), {}, dry_run=True)


class Kept:
    """One job; the database refuses the user now and then, as while a password is changed."""

    def __init__(self) -> None:
        self.taken = self.beats = 0
        self.ended: list[str | None] = []

    async def take(self, _: str) -> Job | None:
        self.taken += 1
        if self.taken == 1:
            raise REFUSED
        return JOB if self.taken == 2 else None

    async def beat(self, *_: Any) -> bool:
        self.beats += 1
        if self.beats < 3:
            raise REFUSED
        return True

    async def end(self, _: str, __: str, error: str | None, *___: Any) -> None:
        self.ended.append(error)


async def test_a_refused_user_ends_neither_the_work_nor_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: Any) -> Done:
        while kept.beats < 3:
            time.sleep(0.01)
        return Done({}, {})

    monkeypatch.setattr(jobs, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(jobs, "_in_thread", work)
    kept = Kept()
    desk = SimpleNamespace(store=SimpleNamespace(jobs=kept), settings=None)
    running = asyncio.create_task(jobs.Worker(cast("Desk", desk)).run())
    while kept.taken < 3:
        assert not running.done()
        await asyncio.sleep(0.01)
    running.cancel()
    assert kept.ended == [None]
