"""The trial in compose.yaml: its settings and files are there, and Prometheus itself takes its part."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import PREFIX, Settings
from tests.deploy.tools import need

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, one in SERVICES.items() if "build" in one]


def test_it_has_all_that_a_trial_needs() -> None:
    assert set(SERVICES) == {"kafka", "mongodb", "topics", "worker", "web", "front", "prometheus", "grafana"}
    assert OURS == ["topics", "worker", "web"]
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", OURS)
def test_settings_are_settings(name: str) -> None:
    said = SERVICES[name]["environment"]
    fields = {variable.removeprefix(PREFIX).lower(): value for variable, value in said.items()}
    assert set(fields) <= set(Settings.model_fields)
    Settings(**fields)


def test_volumes_are_files_of_this_folder() -> None:
    binds = [one for service in SERVICES.values() for one in service.get("volumes", []) if one.startswith("./")]
    assert len(binds) >= 5
    for bind in binds:
        assert (DEPLOY / bind.split(":")[0]).exists(), bind


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [one for service in SERVICES.values() for one in service.get("ports", [])]
    assert ports and all(one.startswith("127.0.0.1:") for one in ports)


def test_every_image_has_a_version() -> None:
    for name, service in SERVICES.items():
        assert re.search(r":[\w.-]*\d[\w.-]*$|:trial$", service["image"]), name


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    promtool = need("promtool")
    config = (DEPLOY / "compose" / "prometheus.yaml").read_text("utf-8")
    path = tmp_path / "prometheus.yaml"
    path.write_text(config.replace("/etc/prometheus/alerts.yaml", str(DEPLOY / "prometheus" / "alerts.yaml")))
    ran = subprocess.run([promtool, "check", "config", path], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
