"""What other tools say: compose's own parser, kubeconform and kube-score. `make deploy-check` builds them."""

import json
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.test_chart import CUSTOM, EVERYTHING, MATRIX, run
from tests.deploy.tools import need

DEPLOY = Path(__file__).parents[2] / "deploy"
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / "v1.34.0-local-strict"
KINDS = (
    *("statefulset-apps-v1", "deployment-apps-v1", "job-batch-v1", "service-v1", "serviceaccount-v1", "configmap-v1"),
    *("networkpolicy-networking-v1", "ingress-networking-v1", "poddisruptionbudget-policy-v1"),
)
IGNORED = {
    "container-image-pull-policy": "a tag of a release does not change",
    "container-ephemeral-storage-request-and-limit": "nothing is written but uploads, whose volume has a limit",
    "container-security-context-user-group-id": "the pod's says 10001; the container's need not repeat it",
    "networkpolicy-targets-pod": "the policy's pods are this release's, which kube-score cannot see of hooks",
    "pod-networkpolicy": "likewise",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints do that",
    "statefulset-has-host-podantiaffinity": "likewise",
    "statefulset-has-servicename": "the headless service is there; kube-score wants it first",
    "pod-probes-identical": "web answers the same of both, on purpose: an outage takes no pod out of service",
    "container-cpu-limit": "a limit of CPU throttles; requests share what there is",
    "container-resources": "likewise: memory is limited, CPU is not",
}


def test_compose_itself_reads_the_trial() -> None:
    ran = subprocess.run([need("compose-spec"), DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert set(yaml.safe_load(ran.stdout)["services"]) >= {"worker", "web", "kafka", "mongodb"}


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each kind's schema in one file, as kubeconform wants them."""
    folder = tmp_path_factory.mktemp("schemas")
    definitions = json.loads((SCHEMAS / "_definitions.json").read_text("utf-8"))["$defs"]
    for kind in KINDS:
        schema = json.loads((SCHEMAS / f"{kind}.json").read_text("utf-8")) | {"$defs": definitions}
        (folder / f"{kind}.json").write_text(json.dumps(schema).replace("/api/_definitions.json#/", "#/"))
    return folder


@pytest.mark.parametrize("name", MATRIX)
def test_kubeconform_takes_the_chart(tmp_path: Path, schemas: Path, name: str) -> None:
    ran = run(need("helm"), tmp_path, "template", MATRIX[name])
    where = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    options = ["-strict", "-summary", "-output", "json", "-schema-location", where, "-skip", ",".join(sorted(CUSTOM))]
    told = subprocess.run(
        [need("kubeconform"), *options], input=ran.stdout, capture_output=True, text=True, check=False
    )
    summary = json.loads(told.stdout)["summary"]
    assert (summary["invalid"], summary["errors"]) == (0, 0), told.stdout
    assert summary["valid"] >= 4


def test_kube_score_finds_nothing_that_is_not_explained(tmp_path: Path) -> None:
    ran = run(need("helm"), tmp_path, "template", EVERYTHING)
    options = ["score", "--output-format", "json", *(f"--ignore-test={name}" for name in IGNORED), "-"]
    told = subprocess.run([need("kube-score"), *options], input=ran.stdout, capture_output=True, text=True, check=False)
    findings = [
        (one["object_name"], check["check"]["id"], [comment["summary"] for comment in check["comments"] or []])
        for one in json.loads(told.stdout)
        for check in one["checks"]
        if not check["skipped"] and check["grade"] < 10
    ]
    assert findings == []
