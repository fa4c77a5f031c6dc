"""Tools of Kubernetes that Debian does not have, built once from their Go modules into a cache outside the repository.

`python -m tests.deploy.tools` builds them; tests use those that are there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = {
    "helm": "helm.sh/helm/v3/cmd/helm@v3.19.2",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
    "kube-score": "github.com/zegl/kube-score/cmd/kube-score@v1.20.0",
    "compose-spec": "github.com/compose-spec/compose-go/v2/cmd@v2.9.1",
}


def folder() -> Path:
    """Where they are."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ratchet" / "deploy"


def find(name: str) -> str | None:
    """The tool, from the path or the cache."""
    built = folder() / f"{name}@{MODULES.get(name, '').rpartition('@')[2]}"
    return str(built) if built.exists() else shutil.which(name)


def need(name: str) -> str:
    """The tool. Where it is missing the test is skipped, and says how to get it."""
    found = find(name)
    if found is None:
        how = "make deploy-check builds it" if name in MODULES else "Debian has it in prometheus"
        pytest.skip(f"{name} is not installed; {how}")
    return found


def build(name: str) -> None:
    """Into the cache. Raises CalledProcessError."""
    module, _, version = MODULES[name].rpartition("@")
    target = folder() / f"{name}@{version}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        print(f"building {name} {version} ...", flush=True)
        place = target.parent / "bin"
        subprocess.run(["go", "install", f"{module}@{version}"], env={**os.environ, "GOBIN": str(place)}, check=True)
        (place / module.rpartition("/")[2]).rename(target)


if __name__ == "__main__":
    if shutil.which("go") is None:
        sys.exit("Go is needed to build helm and others, e.g. apt-get install golang")
    for tool in MODULES:
        build(tool)
