"""Tools that Debian does not have, built once from their Go modules into a cache outside the repository.

`python -m tests.deploy.tools` builds them; tests use those that are there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.deploy import go

MODULES = {
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.2",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
    "kube-score": "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
    "compose-spec": "github.com/compose-spec/compose-go/v2/cmd@v2.9.1",
}

BUILT: Mapping[str, tuple[str, Callable[[Path, Path], None]]] = {
    "keda-lag": (go.KEDA, go.build_keda_lag),
    **{name: (go.KUBERNETES, partial(go.build_kubernetes, program=name)) for name in go.KUBERNETES_PROGRAMS},
}
"""Tools that need a module of their own: version, and how they are built in a folder."""
VERSIONS = {name: module.rpartition("@")[2] for name, module in MODULES.items()} | {
    name: version for name, (version, _) in BUILT.items()
}


def folder() -> Path:
    """Where they are."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ratchet" / "deploy"


def find(name: str) -> str | None:
    """The tool, from the path or the cache."""
    built = folder() / f"{name}@{VERSIONS.get(name)}"
    return str(built) if built.exists() else shutil.which(name)


def need(name: str) -> str:
    """The tool. Where it is missing the test is skipped, and says how to get it."""
    found = find(name)
    if found is None:
        how = "make deploy-check builds it" if name in VERSIONS else "Debian has it in prometheus"
        pytest.skip(f"{name} is not installed; {how}")
    return found


def build(name: str) -> None:
    """Into the cache. Raises CalledProcessError."""
    target = folder() / f"{name}@{VERSIONS[name]}"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"building {name} {VERSIONS[name]} ...", flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        made = Path(place) / "made"
        if name in BUILT:
            BUILT[name][1](Path(place), made)
        else:
            subprocess.run(["go", "install", MODULES[name]], env={**os.environ, "GOBIN": place}, check=True)
            Path(place, MODULES[name].partition("@")[0].rpartition("/")[2]).rename(made)
        made.rename(target)


if __name__ == "__main__":
    if shutil.which("go") is None:
        sys.exit("Go is needed to build helm and others, e.g. apt-get install golang")
    for tool in VERSIONS:
        build(tool)
