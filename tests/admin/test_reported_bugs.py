"""Bugs that users of other learning systems have reported, played with `ratchet simulate`: here they do not happen."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.commands.main import app

FILES = Path(__file__).parent / "files"
RIGHT: dict[str, dict[str, tuple[str, str | None, str | None, dict[str, int]]]] = {
    "M01": {"l-1": ("steps", "2026-03-02T09:00:00Z", "issued", {"e1": 100})},
    "M02": {
        "l-1": ("steps", "2026-03-02T09:00:00Z", "issued", {"e1": 100}),
        "l-2": ("none", None, None, {"e1": 100}),
    },
    "M04": {"l-1": ("steps", "2026-03-02T09:00:00Z", "issued", {"e1": 100})},
    "M05": {"l-1": ("steps", "2026-03-02T09:00:00Z", "issued", {"e1": 40})},
    "M06": {"l-1": ("none", None, None, {"e1": 100}), "staff": ("none", None, None, {"e1": 0})},
    "M07": {
        "l-1": ("steps", "2026-03-04T09:00:00Z", "issued", {"e1": 80}),
        "l-2": ("none", None, None, {"e1": 39}),
    },
    "M11": {"l-1": ("steps", "2026-04-01T00:00:00Z", "issued", {"e1": 100}), "l-2": ("none", None, None, {"e1": 16})},
    "M12": {"l-1": ("equivalency", "2026-03-01T09:00:00Z", "issued", {"e1": 0})},
    "M15": {"l-1": ("steps", "2025-03-03T09:00:00Z", "issued", {"e1": 100, "e2": 100})},
    "M17": {"l-1": ("steps", "2026-03-02T09:00:00Z", "issued", {"e1": 100})},
    "M18": {"l-1": ("steps", "2026-04-02T09:00:00Z", "issued", {"e1": 100})},
}
"""By learner: completed via what, at what time; the certificate's status; each step's percent."""


def stands(state: dict[str, Any]) -> tuple[str, str | None, str | None, dict[str, int]]:
    """As RIGHT has it."""
    course, certificate = state["course"], state["certificate"]
    percents = {step_id: step["percent"] for step_id, step in state["steps"].items()}
    via = course["completed_via"] or "none"
    return via, course["completed_at"], None if certificate is None else certificate["status"], percents


@pytest.mark.parametrize("name", RIGHT)
def test_it_does_not_happen_here(name: str) -> None:
    ran = CliRunner().invoke(app, ["simulate", str(FILES / f"{name}.jsonl"), "--records"])
    assert ran.exit_code == 0, ran.output
    said = [json.loads(line) for line in ran.stdout.splitlines()]
    records = {one["record"].split("/")[1]: stands(one["state"]) for one in said if "record" in one}
    assert records == RIGHT[name]
    changes = [one["value"] for one in said if one.get("topic") == "course-completion-changed"]
    issued = [change for change in changes if change["certificate"]["action"] == "issue"]
    assert len(issued) == sum(status == "issued" for _, _, status, _ in records.values()), "each once"
    completed = [change for change in changes if change["status"] != change["previous_status"]]
    assert len(completed) == sum(via != "none" for via, *_ in records.values()), "each announced once"
