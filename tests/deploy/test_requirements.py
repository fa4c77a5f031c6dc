"""What the image installs is what was tested: the same versions, each file by its hash."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DEPLOY = Path(__file__).parents[2] / "deploy"


def pinned(name: str) -> dict[str, str]:
    """Package → version of a file."""
    text = (DEPLOY / name).read_text("utf-8")
    found = re.findall(r"^([\w.-]+)(?:\[\w+\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(package): version for package, version in found}


def test_versions_are_those_of_the_constraints() -> None:
    tested = pinned("constraints.txt")
    for name in ("requirements.txt", "build-requirements.txt"):
        installed = pinned(name)
        assert installed and installed.items() <= tested.items(), name


def test_everything_that_is_needed_is_installed() -> None:
    needed = [Requirement(line) for line in requires("ratchet") or []]
    names = {
        canonicalize_name(one.name) for one in needed if one.marker is None or one.marker.evaluate({"extra": "traces"})
    }
    assert len(names) > 30
    assert names <= set(pinned("requirements.txt"))


def test_the_bill_of_materials_lists_what_is_installed() -> None:
    text = (DEPLOY / "sbom.json").read_text("utf-8")
    told = json.loads(text)
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    assert told["metadata"]["component"]["name"] == "ratchet"
    listed = {canonicalize_name(one["name"]): one["version"] for one in told["components"]}
    assert listed == pinned("requirements.txt")
    assert all(one["purl"].startswith("pkg:pypi/") for one in told["components"])
    assert not re.search(r"://(?!cyclonedx\.org)", text), "nobody is told where to download"


@pytest.mark.skipif(not os.environ.get("RATCHET_TEST_DEPLOY"), reason="make deploy-check asks CycloneDX's validator")
def test_the_bill_of_materials_is_valid() -> None:
    check = """if True:
        import sys
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
        sys.exit(JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read()) and 1)
    """
    uv = str(Path(sys.executable).with_name("uv"))
    lib = "cyclonedx-python-lib[json-validation]==11.7.0"
    command = [uv, "run", "--no-project", "--system-certs", "--quiet", "--with", lib, "python", "-c", check]
    text = (DEPLOY / "sbom.json").read_text("utf-8")
    for given, status in ((text, 0), (text.replace('"purl"', '"curl"', 1), 1)):
        ran = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert ran.returncode == status, ran.stderr


def test_each_file_has_a_hash_and_none_an_address() -> None:
    for name in ("requirements.txt", "build-requirements.txt"):
        text = (DEPLOY / name).read_text("utf-8")
        assert "://" not in text
        for block in re.split(r"\n(?=[\w])", text.strip()):
            assert "--hash=sha256:" in block, block
