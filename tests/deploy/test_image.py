"""The image: built from a base made with debootstrap, by buildah, which needs neither registry nor daemon; then run.

The base stands for python:3.11-slim-bookworm, under that name: Debian 12 with its own Python 3.11. `make deploy-check`
runs this; it takes some minutes.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.commands.test_commands import ATTENDED, DEFINITION
from tests.stack.servers import free_port, start_process, stop_process
from tests.stack.service import World
from tests.stack.wire import Wire

ROOT = Path(__file__).parents[2]
BASE = "docker.io/library/python:3.11-slim-bookworm"
EPOCH = "315532800"
MEGABYTE = 1_000_000
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
STORAGE = ["--storage-driver", "vfs"]
READY_SECONDS = 60.0

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        "RATCHET_TEST_DEPLOY" not in os.environ, reason="make deploy-check builds the image; it takes some minutes"
    ),
]


def run(*command: str | Path) -> str:
    """What it prints. Fails with all that it said."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command}: {ran.stdout[-3000:]}{ran.stderr[-3000:]}"
    return ran.stdout.strip()


def buildah(*command: str | Path) -> str:
    """With storage that needs nothing of the kernel."""
    return run("buildah", *STORAGE, *command)


@pytest.fixture(scope="module")
def base() -> str:
    """Under its name, in buildah's own storage."""
    for tool in ("buildah", "debootstrap"):
        assert shutil.which(tool), f"apt-get install {tool}"
    if BASE in buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
        return BASE
    with tempfile.TemporaryDirectory() as folder:
        packages = "--include=python3,python3-venv,ca-certificates,binutils"
        run("debootstrap", "--variant=minbase", packages, "bookworm", folder, _mirror())
        container = buildah("from", "scratch")
        run("tar", "--one-file-system", "--exclude=./var/cache/apt/*", "-cf", f"{folder}.tar", "-C", folder, ".")
        buildah("add", container, f"{folder}.tar", "/")
        Path(f"{folder}.tar").unlink()
        buildah("commit", "--rm", container, BASE)
    return BASE


def _mirror() -> str:
    """Where this machine's own packages come from."""
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(path.read_text() for path in sources if path.is_file())
    found = re.search(r"^(?:URIs:|deb(?: \[.*\])?) *(http\S+/debian)/?(?:\s|$)", text, re.MULTILINE)
    assert found is not None, "no source of Debian packages"
    return found[1]


def build(name: str) -> dict[str, Any]:
    """From this folder, with the machine's own authorities for who has a mirror; gives what it says of itself."""
    trust = ["--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro", "--build-arg", f"PIP_CERT={AUTHORITIES}"]
    fixed = ["--timestamp", EPOCH, "--format", "docker", "--pull-never", "--isolation", "chroot", "--no-cache"]
    files: list[str | Path] = [
        "--file",
        ROOT / "deploy" / "Dockerfile",
        "--ignorefile",
        ROOT / "deploy" / "Dockerfile.dockerignore",
    ]
    buildah("bud", *fixed, *trust, *files, "--tag", name, ROOT)
    config: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", name))["Docker"]["config"]
    return config


@pytest.fixture(scope="module")
def image(base: str) -> dict[str, Any]:
    """Built once."""
    assert base == BASE
    return build("ratchet:check")


@contextmanager
def unpacked(name: str) -> Iterator[Path]:
    """Its files."""
    container = buildah("from", "--pull-never", name)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("umount", container)
        buildah("rm", container)


def inside(root: Path, *command: str) -> list[str]:
    """A command line that runs it as the image would be: user 10001, read-only but for /tmp, the host's network."""
    mounts = f"mount --bind {root} {root} && mount -o remount,ro,bind {root} && mount -t tmpfs tmpfs {root}/tmp"
    program = f'{mounts} && exec chroot --userspec=10001:10001 {root} "$@"'
    return ["unshare", "--mount", "sh", "-c", program, "sh", *command]


class Pushed(NamedTuple):
    """As a registry has it: compressed, in the format of the Open Container Initiative."""

    digest: str
    size_bytes: int


def push(name: str) -> Pushed:
    """Into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        buildah("push", "--format", "oci", "--compression-format", "gzip", name, f"oci:{folder}/image")
        (manifest,) = json.loads(Path(folder, "image", "index.json").read_text())["manifests"]
        return Pushed(manifest["digest"], int(run("du", "-s", "--block-size=1", folder).split()[0]))


def test_it_says_what_it_is_and_how_it_runs(image: dict[str, Any]) -> None:
    config = image
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/opt/ratchet/bin/ratchet"] and config["Cmd"] == ["serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "/opt/ratchet/bin/python"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "Ratchet"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["org.opencontainers.image.version"])


@pytest.mark.usefixtures("image")
def test_the_same_files_make_the_same_image() -> None:
    """In this format; Docker's own puts the random host name of the building container in."""
    build("ratchet:again")
    assert push("ratchet:again").digest == push("ratchet:check").digest


@pytest.mark.usefixtures("image")
def test_it_is_small_and_has_no_compiler() -> None:
    with unpacked("ratchet:check") as root:
        of_ours = int(run("du", "-s", "--bytes", root / "opt" / "ratchet").split()[0])
        assert of_ours < 110 * MEGABYTE
        programs = {path.name for folder in ("usr/bin", "opt/ratchet/bin") for path in (root / folder).iterdir()}
        assert not programs & {"gcc", "cc", "make", "pip", "pip3"}
    assert push("ratchet:check").size_bytes < 200 * MEGABYTE


async def test_a_worker_works_read_only_as_nobody(
    image: dict[str, Any], world: World, wire: Wire, tmp_path: Path
) -> None:
    port = free_port()
    environment = {**world.settings, "RATCHET_HTTP_PORT": str(port), "RATCHET_HTTP_HOST": "127.0.0.1"}
    said = [f"{name}={value}" for name, value in environment.items() if name.startswith("RATCHET_")]
    config = [one for one in image["Env"] if not one.startswith("RATCHET_HTTP")]
    with unpacked("ratchet:check") as root:
        command = ["/usr/bin/env", "-i", *config, *said, "/opt/ratchet/bin/ratchet", "serve"]
        worker = start_process(inside(root, *command), tmp_path / "log")
        try:
            _until_ready(port, tmp_path / "log")
            await wire.send([("course-defined", DEFINITION), ("attendance-changed", ATTENDED)])
            await wire.settled()
            assert len(await wire.read("course-completion-changed")) == 1
            check = image["Healthcheck"]["Test"][1:]
            run(*inside(root, "/usr/bin/env", "-i", f"RATCHET_HTTP_PORT={port}", *check))
        finally:
            stop_process(worker)
        assert worker.returncode == 0, (tmp_path / "log").read_text()


def _until_ready(port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if json.load(answer)["lanes"]:
                    return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])
