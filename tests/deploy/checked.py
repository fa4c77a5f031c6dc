"""What `make deploy-check` found, as a page: `python -m tests.deploy.checked JUNIT.xml > deploy/CHECKED.md`."""

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.deploy.tools import VERSIONS as TOOLS
from tests.deploy.tools import find

VERSIONS: dict[str, Sequence[str]] = {
    "buildah": ["buildah", "--version"],
    "prometheus": ["promtool", "--version"],
    "debootstrap": ["debootstrap", "--version"],
}


def page(junit: Path) -> str:
    """Date, tools and a line for each file of tests."""
    counts: dict[str, Counter[str]] = {}
    for case in ET.parse(junit).iter("testcase"):  # pytest has just written it
        counts.setdefault(case.attrib["classname"].rpartition(".")[2], Counter())[_outcome(case)] += 1
    tools = [f"{name} {_first_line(command)}" for name, command in VERSIONS.items()]
    tools += [f"{name} {version}" for name, version in TOOLS.items() if find(name)]
    tools += [f"kubernetes-validate {version('kubernetes-validate')}"]
    rows = [
        f"| `{name}` | {count['passed']} | {count['failed']} | {count['skipped']} |" for name, count in counts.items()
    ]
    return "\n".join(
        [
            "# What of this folder was checked, and with what",
            "",
            f"Made by `make deploy-check` on {datetime.now(UTC):%Y-%m-%d}; do not edit. {', '.join(tools)}.",
            "",
            "| tests | passed | failed | skipped |",
            "| --- | ---: | ---: | ---: |",
            *rows,
            "",
        ]
    )


def _outcome(case: ET.Element) -> str:
    if case.find("skipped") is not None:
        return "skipped"
    return "passed" if case.find("failure") is None and case.find("error") is None else "failed"


def _first_line(command: Sequence[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "is not there"
    words = (said.stdout or said.stderr).split()
    return next((word.strip(",") for word in words if word[0].isdigit()), "of unknown version")


if __name__ == "__main__":
    print(page(Path(sys.argv[1])), end="")
