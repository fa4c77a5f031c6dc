"""Programs of Go modules that `go install` alone cannot build: in a module of their own, in the cache."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

KUBERNETES = "v1.34.4"
KEDA = "v2.21.0"
OPERATOR = "v0.85.0"
KEDA_LAG = """\
// What KEDA's own scaler for Kafka makes of a group: one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/kedacore/keda/v2/pkg/scalers"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	config := scalersconfig.ScalerConfig{AuthParams: map[string]string{}, GlobalHTTPTimeout: 10 * time.Second}
	must(json.Unmarshal([]byte(os.Args[1]), &config.TriggerMetadata))
	scaler, err := scalers.NewKafkaScaler(ctx, &config)
	must(err)
	values, active, err := scaler.GetMetricsAndActivity(ctx, "lag")
	must(err)
	fmt.Printf("{\\"lag\\": %d, \\"active\\": %t}\\n", values[0].Value.Value(), active)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
"""


def build_keda_lag(folder: Path, target: Path) -> None:
    """A program around KEDA's scaler."""
    (folder / "main.go").write_text(KEDA_LAG)
    _module(folder, {"github.com/kedacore/keda/v2": KEDA})
    _go(folder, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), ".")


KUBERNETES_PROGRAMS = {
    "etcd-of-kubernetes": "go.etcd.io/etcd/server/v3",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
}


def build_kubernetes(folder: Path, target: Path, program: str) -> None:
    """One of KUBERNETES_PROGRAMS. Each staging module stands for its own release."""
    told = json.loads(_go(folder, "mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}"))
    own = Path(told["GoMod"]).read_text("utf-8")
    staging = re.findall(r"^\s+(k8s\.io/[\w-]+) v0\.0\.0$", own, re.MULTILINE)
    etcd = re.search(r"go\.etcd\.io/etcd/client/v3 (\S+)", own)
    assert staging and etcd, "k8s.io/kubernetes has another go.mod than was known"
    imports = "\n".join(f'\t_ "{path}"' for path in KUBERNETES_PROGRAMS.values())
    (folder / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\nimport (\n{imports}\n)\n")
    release = f"v0.{KUBERNETES.removeprefix('v1.')}"
    replaced = dict.fromkeys(staging, release)
    _module(folder, {"k8s.io/kubernetes": KUBERNETES, "go.etcd.io/etcd/server/v3": etcd[1]}, replaced)
    _go(folder, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), KUBERNETES_PROGRAMS[program])


def custom_resources() -> list[Path]:
    """Definitions of the kinds that KEDA and the Prometheus operator bring."""
    keda = _downloaded("github.com/kedacore/keda/v2", KEDA) / "config" / "crd" / "bases"
    operator = _downloaded("github.com/prometheus-operator/prometheus-operator", OPERATOR)
    monitoring = operator / "example" / "prometheus-operator-crd"
    kinds = ("podmonitors", "prometheusrules")
    return [keda / "keda.sh_scaledobjects.yaml", *(monitoring / f"monitoring.coreos.com_{kind}.yaml" for kind in kinds)]


def _downloaded(module: str, version: str) -> Path:
    return Path(json.loads(_go(Path.home(), "mod", "download", "-json", f"{module}@{version}"))["Dir"])


def _module(folder: Path, requires: Mapping[str, str], replaces: Mapping[str, str] | None = None) -> None:
    """go.mod: what it requires pins all else."""
    lines = ["module built", "", "go 1.24", ""]
    lines += [f"require {module} {version}" for module, version in requires.items()]
    lines += [f"replace {module} => {module} {version}" for module, version in (replaces or {}).items()]
    (folder / "go.mod").write_text("\n".join(lines) + "\n")
    _go(folder, "mod", "tidy")


def _go(folder: Path, *arguments: str) -> str:
    return subprocess.run(["go", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout
