"""What the image installs is what was tested: the same versions, each file by its hash."""

import re
from importlib.metadata import requires
from pathlib import Path

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


def test_each_file_has_a_hash_and_none_an_address() -> None:
    for name in ("requirements.txt", "build-requirements.txt"):
        text = (DEPLOY / name).read_text("utf-8")
        assert "://" not in text
        for block in re.split(r"\n(?=[\w])", text.strip()):
            assert "--hash=sha256:" in block, block
