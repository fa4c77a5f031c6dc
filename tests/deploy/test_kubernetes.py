"""A real API server takes the chart: its schemas, its defaults and its admission. `make deploy-check` builds it."""

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.deploy.go import custom_resources
from tests.deploy.test_chart import MATRIX, run
from tests.deploy.tools import need
from tests.stack.servers import Daemon, free_port

TOKEN = "tests"
NAMESPACE = "ratchet"
READY_SECONDS = 120


class Cluster(NamedTuple):
    """An API server and its store; nothing is run by it."""

    address: str
    kubectl: str

    def apply(self, *documents: Any, dry: bool = True) -> subprocess.CompletedProcess[str]:
        """As `kubectl apply`."""
        text = yaml.safe_dump_all(documents)
        options = ["--dry-run=server"] if dry else []
        # Large definitions do not fit the annotation that the client would keep them in.
        command = [*self._kubectl, "apply", *options, "--server-side", "--force-conflicts", "-f", "-"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    @property
    def _kubectl(self) -> list[str]:
        own = ["--server", self.address, "--token", TOKEN, "--insecure-skip-tls-verify", "--kubeconfig", "/dev/null"]
        return [self.kubectl, *own, "--namespace", NAMESPACE]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With a namespace in which pods must be restricted, and the kinds of other operators."""
    etcd, server, kubectl = (need(name) for name in ("etcd-of-kubernetes", "kube-apiserver", "kubectl"))
    folder = tmp_path_factory.mktemp("kubernetes")
    store, peer, port = free_port(), free_port(), free_port()
    own = f"http://127.0.0.1:{store}"
    command = [etcd, "--data-dir", str(folder / "etcd"), "--listen-client-urls", own, "--advertise-client-urls", own]
    kept = Daemon([*command, "--listen-peer-urls", f"http://127.0.0.1:{peer}"], store, folder / "etcd.log")
    asked = Daemon([server, *_options(folder, own, port)], port, folder / "server.log")
    made = Cluster(f"https://127.0.0.1:{port}", kubectl)
    try:
        _wait_until_ready(made.address)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        kinds = [yaml.safe_load(path.read_text("utf-8")) for path in custom_resources()]
        ran = made.apply(namespace, *kinds, dry=False)
        assert ran.returncode == 0, ran.stderr
        yield made
    finally:
        asked.stop()
        kept.stop()


def _options(folder: Path, store: str, port: int) -> list[str]:
    key = rsa.generate_private_key(65537, 2048)
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "accounts.pem").write_bytes(pem)
    (folder / "tokens.csv").write_text(f"{TOKEN},tests,tests,system:masters\n")
    accounts = str(folder / "accounts.pem")
    given = {
        "etcd-servers": store,
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": str(port),
        "cert-dir": str(folder / "certificates"),
        "token-auth-file": str(folder / "tokens.csv"),
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": accounts,
        "service-account-signing-key-file": accounts,
        "service-cluster-ip-range": "10.0.0.0/24",
        "disable-admission-plugins": "ServiceAccount",  # nobody makes the default one here
    }
    return [f"--{name}={value}" for name, value in given.items()]


def _wait_until_ready(address: str) -> None:
    asked = urllib.request.Request(f"{address}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    context = ssl._create_unverified_context()  # it has made its certificate itself
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if urllib.request.urlopen(asked, timeout=5, context=context).status == 200:
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def rendered(folder: Path, name: str) -> list[dict[str, Any]]:
    """The chart, with these values."""
    ran = run(need("helm"), folder, "template", MATRIX[name])
    assert ran.returncode == 0, ran.stderr
    return [document for document in yaml.safe_load_all(ran.stdout) if document]


@pytest.mark.parametrize("name", MATRIX)
def test_the_api_server_takes_all_of_the_chart(cluster: Cluster, tmp_path: Path, name: str) -> None:
    documents = rendered(tmp_path, name)
    ran = cluster.apply(*documents)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("serverside-applied (server dry run)") == len(documents)
    assert "Warning" not in ran.stderr, "neither deprecated nor against the namespace's rules"


@pytest.mark.parametrize("name", ["defaults", "everything"])
def test_its_pods_are_admitted_where_pods_must_be_restricted(cluster: Cluster, tmp_path: Path, name: str) -> None:
    pods = 0
    for document in rendered(tmp_path, name):
        if document["kind"] in {"StatefulSet", "Deployment", "Job"}:
            template = document["spec"]["template"]
            about = {"name": document["metadata"]["name"], "labels": template["metadata"]["labels"]}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}
            pod["spec"].pop("priorityClassName", None)  # the cluster's own to define
            ran = cluster.apply(pod)
            assert ran.returncode == 0, ran.stderr
            pods += 1
    assert pods >= 2


def test_it_would_say_what_is_wrong(cluster: Cluster, tmp_path: Path) -> None:
    worker = next(one for one in rendered(tmp_path, "defaults") if one["kind"] == "StatefulSet")
    wrong = json.loads(json.dumps(worker).replace('"serviceName"', '"servicename"'))
    assert "field not declared in schema" in cluster.apply(wrong).stderr
    spec = worker["spec"]["template"]["spec"]
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    assert "violates PodSecurity" in cluster.apply(pod).stderr
