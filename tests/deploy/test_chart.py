"""The Helm chart, rendered with values of all kinds: what Kubernetes takes, and what the chart promises of it."""

import json
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import PREFIX, Settings
from service.settings_schema import OF_THE_CHART, settings_schema
from tests.deploy.tools import need

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "ratchet"
OIDC = {"RATCHET_WEB_OIDC_ISSUER": "https://id.example.org", "RATCHET_WEB_OIDC_CLIENT_ID": "ratchet"}
EVERYTHING: dict[str, Any] = {
    "settings": {
        **OIDC,
        "RATCHET_KAFKA_BOOTSTRAP_SERVERS": "kafka:9093",
        "RATCHET_BATCH_BYTES": 8388608,
        "RATCHET_PARTITIONS": 24,
        "RATCHET_MONGODB_TLS": True,
        "RATCHET_SHUTDOWN_SECONDS": 20,
    },
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": [{"name": "registry"}]},
    "certificates": "ratchet-certificates",
    "web": {"enabled": True, "ingress": {"enabled": True, "host": "ratchet.example.org", "tlsSecret": "tls"}},
    "worker": {
        "annotations": {"a": "b"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "priorityClassName": "high",
    },
    "keda": {"enabled": True, "prometheus": "http://prometheus:9090"},
    "monitoring": {
        "podMonitor": True,
        "rules": True,
        "dashboard": True,
        "labels": {"release": "prometheus"},
        "runbook": "https://example.org/",
    },
}
MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": EVERYTHING,
    "web alone": {"settings": OIDC, "web": {"enabled": True}},
    "tokens": {
        "settings": {
            "RATCHET_WEB_JWKS": "/run/certificates/jwks.json",
            "RATCHET_WEB_JWT_ISSUER": "i",
            "RATCHET_WEB_JWT_AUDIENCE": "a",
        },
        "web": {"enabled": True, "replicas": 1},
    },
    "little": {"topics": {"create": False}, "networkPolicy": {"enabled": False}, "worker": {"replicas": 1}},
    "peers": {"networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]}},
}
VERSIONS = ("1.27", "1.34")
CUSTOM = {"PodMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds that other operators bring."""


@pytest.fixture(scope="module")
def helm() -> str:
    """The command."""
    return need("helm")


def run(helm: str, folder: Path, command: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """With these values."""
    path = folder / "values.json"
    path.write_text(json.dumps(values))
    release = ["release"] if command == "template" else []
    return subprocess.run(
        [helm, command, *release, str(CHART), "--kube-version", "1.34.0", "--values", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )


def rendered(helm: str, folder: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The manifests."""
    ran = run(helm, folder, "template", values)
    assert ran.returncode == 0, ran.stderr
    return [one for one in yaml.safe_load_all(ran.stdout) if one]


def of(manifests: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    """The one of this kind, whose name ends so."""
    (found,) = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"].endswith(name)]
    return found


def pods(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Specifications of all pods."""
    for one in manifests:
        if one["kind"] in ("StatefulSet", "Deployment", "Job"):
            yield one["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", MATRIX)
def test_kubernetes_takes_it(helm: str, tmp_path: Path, name: str) -> None:
    assert run(helm, tmp_path, "lint", MATRIX[name]).returncode == 0
    manifests = rendered(helm, tmp_path, MATRIX[name])
    assert len(manifests) >= 4
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            for version in VERSIONS:
                kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("name", MATRIX)
def test_no_pod_may_more_than_it_needs(helm: str, tmp_path: Path, name: str) -> None:
    for pod in pods(rendered(helm, tmp_path, MATRIX[name])):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
        secret = {"name": "secret", "secret": {"secretName": "ratchet", "defaultMode": 0o440}}
        assert secret in pod["volumes"]
        assert not any("secretKeyRef" in json.dumps(one) for one in container["env"]), "secrets are files"


def test_workers_keep_their_names_and_wait_an_outage_out(helm: str, tmp_path: Path) -> None:
    manifests = rendered(helm, tmp_path, EVERYTHING)
    workers = of(manifests, "StatefulSet")["spec"]
    pod = workers["template"]["spec"]
    (container,) = pod["containers"]
    env = {one["name"]: one for one in container["env"]}
    assert env["RATCHET_INSTANCE"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert pod["terminationGracePeriodSeconds"] > 3 * 20
    assert container["livenessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {one["topologyKey"] for one in pod["topologySpreadConstraints"]} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    service = of(manifests, "Service", "-worker")["spec"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"] is True
    assert service["selector"].items() <= workers["template"]["metadata"]["labels"].items()
    assert of(manifests, "PodDisruptionBudget", "-worker")["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_an_outage_takes_no_web_pod_out_of_service(helm: str, tmp_path: Path) -> None:
    (container,) = of(rendered(helm, tmp_path, EVERYTHING), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert {container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("liveness", "readiness", "startup")} == {
        "/livez"
    }


def test_settings_arrive_as_they_were_meant(helm: str, tmp_path: Path) -> None:
    for pod in pods(rendered(helm, tmp_path, EVERYTHING)):
        (container,) = pod["containers"]
        said = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        assert len({one["name"] for one in container["env"]}) == len(container["env"]), "each once"
        assert said["RATCHET_BATCH_BYTES"] == "8388608", "not 8.388608e+06"
        assert said["RATCHET_MONGODB_TLS"] == "true"
        fields = {
            name.removeprefix(PREFIX).lower(): value for name, value in said.items() if name != "RATCHET_SECRETS_DIR"
        }
        assert Settings(**fields).partitions == 24


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"settings": {"RATCHET_PARTITION": 3}}, "RATCHET_PARTITION"),
        ({"settings": {"RATCHET_PARTITIONS": 0}}, "RATCHET_PARTITIONS"),
        ({"settings": {"RATCHET_PARTITIONS": "three"}}, "RATCHET_PARTITIONS"),
        ({"settings": {"RATCHET_KAFKA_SECURITY_PROTOCOL": "TLS"}}, "RATCHET_KAFKA_SECURITY_PROTOCOL"),
        ({"settings": {"RATCHET_KAFKA_SASL_PASSWORD": "hush"}}, "RATCHET_KAFKA_SASL_PASSWORD"),
        ({"settings": {"RATCHET_MONGODB_URI": "mongodb://u:p@h"}}, "RATCHET_MONGODB_URI"),
        ({"workers": {}}, "workers"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"web": {"enabled": True}}, "RATCHET_WEB_OIDC_ISSUER"),
        ({"keda": {"enabled": True}}, "keda.prometheus"),
        ({"settings": OIDC, "web": {"enabled": True, "ingress": {"enabled": True}}}, "web.ingress.host"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_wrong_fails_before_it_reaches_a_cluster(
    helm: str, tmp_path: Path, values: dict[str, Any], says: str
) -> None:
    ran = run(helm, tmp_path, "template", values)
    assert ran.returncode != 0 and says in ran.stderr, ran.stderr
    assert "hush" not in ran.stderr and "u:p" not in ran.stderr


def test_alerts_and_dashboard_are_those_of_this_folder(helm: str, tmp_path: Path) -> None:
    manifests = rendered(helm, tmp_path, EVERYTHING)
    rule = of(manifests, "PrometheusRule")
    ours = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text("utf-8"))
    (group,), (mine,) = rule["spec"]["groups"], ours["groups"]
    assert [one["expr"] for one in group["rules"]] == [one["expr"] for one in mine["rules"]]
    links = {one["annotations"]["runbook_url"] for one in group["rules"]}
    assert all(link.startswith("https://example.org/RUNBOOK.md#ratchet") for link in links)
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    dashboard = json.loads(of(manifests, "ConfigMap")["data"]["ratchet.json"])
    assert dashboard == json.loads((DEPLOY / "grafana" / "ratchet.json").read_text("utf-8"))


def test_keda_adds_workers_up_to_the_partitions_by_seconds(helm: str, tmp_path: Path) -> None:
    manifests = rendered(helm, tmp_path, EVERYTHING)
    scaled = of(manifests, "ScaledObject")["spec"]
    assert scaled["maxReplicaCount"] == 24
    assert "replicas" not in of(manifests, "StatefulSet")["spec"]
    queries = [one["metadata"]["query"] for one in scaled["triggers"]]
    assert queries[0].startswith("max(ratchet_lag_seconds") and queries[1].startswith("sum(ratchet_lag_messages")


def test_the_schema_is_that_of_the_settings() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    assert schema["properties"]["settings"] == settings_schema(), "make docs writes it"
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    secret = {name for name in known if name not in settings_schema()["properties"]} - OF_THE_CHART
    assert secret == {
        "RATCHET_KAFKA_SASL_PASSWORD",
        "RATCHET_MONGODB_URI",
        "RATCHET_SCHEMA_REGISTRY_URL",
        "RATCHET_WEB_OIDC_CLIENT_SECRET",
        "RATCHET_WEB_SESSION_SECRET",
    }


def test_versions_are_one() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["version"] == chart["appVersion"] == version("ratchet")
    assert f"ARG VERSION={version('ratchet')}" in (DEPLOY / "Dockerfile").read_text("utf-8")
