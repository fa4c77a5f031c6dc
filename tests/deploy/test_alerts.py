"""The alerts fire when they should, name metrics that there are, and lead to a page of the runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from service import metrics
from tests.deploy.tools import need

DEPLOY = Path(__file__).parents[2] / "deploy"
TRIED = Path(__file__).parent / "alerts_test.yaml"
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text("utf-8")
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]


def samples() -> set[str]:
    """Names of all samples that a worker exposes, whether it has any yet."""
    of_ours = {metrics.LatencyHistogram.NAME + end for end in ("_bucket", "_count", "_sum")}
    return of_ours | set(REGISTRY._names_to_collectors)  # the only list that there is


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_about_metrics_that_there_are(alert: dict[str, Any]) -> None:
    named = set(re.findall(r"\b(?:ratchet|process)_\w+", alert["expr"]))
    assert named and named <= samples()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_leads_to_its_page(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"].endswith((".", "days."))
    assert alert["annotations"]["runbook_url"] == f"RUNBOOK.md#{alert['alert'].lower()}"
    page = RUNBOOK.split(f"\n## {alert['alert']}\n")[1].split("\n## ")[0]
    assert re.findall(r"^\*\*(\w+)\.\*\* \S", page, re.MULTILINE) == ["Means", "Look", "Do", "Worked"]


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^## (Ratchet\w+)$", RUNBOOK, re.MULTILINE)) == {alert["alert"] for alert in ALERTS}


def test_each_alert_is_tried_firing_and_silent() -> None:
    cases = [case for test in yaml.safe_load(TRIED.read_text("utf-8"))["tests"] for case in test["alert_rule_test"]]
    names = {alert["alert"] for alert in ALERTS}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_promtool_sees_them_fire() -> None:
    promtool = need("promtool")
    for command, path in (("check", DEPLOY / "prometheus" / "alerts.yaml"), ("test", TRIED)):
        ran = subprocess.run([promtool, command, "rules", path], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_exit_status_is_explained() -> None:
    table = RUNBOOK.split("# Exit statuses")[1]
    assert set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE)) == {"0", "1", "2", "3", "130", "137"}
