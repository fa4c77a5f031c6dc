"""Makes programs of others' languages: once per machine and source, in the cache, with the packages that they name."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.stack.servers import NotAvailable

TESTS = Path(__file__).parents[1]
BUILD_SECONDS = 400


class Language(NamedTuple):
    """How a folder of sources becomes programs. All is run in a copy of the folder."""

    needs: dict[str, str]
    """Commands, and what to install where they are not there."""
    steps: Sequence[Sequence[str]]
    command: Sequence[str]


NPM = ("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent")
NODE = {"node": "apt-get install nodejs", "npm": "apt-get install npm"}
JAVA = {"javac": "apt-get install openjdk-17-jdk-headless", "mvn": "apt-get install maven"}
JARS = ("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars")
ENVIRONMENT = (
    (sys.executable, "-m", "venv", "environment"),
    ("environment/bin/pip", "install", "-q", "--disable-pip-version-check", "-r", "requirements.txt"),
)
LANGUAGES = {
    "interop/java": Language(
        JAVA,
        (JARS, ("javac", "-cp", "jars/*", "-d", "classes", "Interop.java")),
        ("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", "classes:jars/*", "Interop"),
    ),
    "interop/node": Language(NODE, (NPM,), ("node", "interop.js")),
    "interop/asyncapi": Language(NODE, (NPM,), ("node", "check.js")),
    "interop/badges": Language(NODE, (NPM,), ("node", "check.js")),
    "interop/typescript": Language(NODE, (NPM,), ("node", "check.js")),
    "interop/pojo": Language(
        JAVA,
        (JARS, ("javac", "-cp", "jars/*", "-d", "classes", "Check.java")),
        ("java", "-Xmx256m", "-cp", "classes:jars/*", "Check"),
    ),
    "interop/datamodel": Language({}, ENVIRONMENT, ("environment/bin/python", "check.py")),
    "benchmarks/quix": Language({}, ENVIRONMENT, ("environment/bin/python", "main.py")),
    "benchmarks/streams": Language(
        JAVA,
        (JARS, ("javac", "-cp", "jars/*", "-d", "classes", "Main.java")),
        ("java", "-Xmx512m", "-cp", "classes:jars/*", "Main"),
    ),
    "interop/go": Language(
        {"go": "apt-get install golang"}, (("go", "build", "-gcflags=all=-N -l", "-o", "interop", "."),), ("./interop",)
    ),
}


class Program(NamedTuple):
    """What to run, and where."""

    command: Sequence[str]
    folder: Path


def python(module: str) -> Program:
    """A module of this repository; nothing is built."""
    return Program((sys.executable, "-m", module), TESTS.parent)


def built(name: str, *arguments: str) -> Program:
    """The program of this folder of tests. Raises NotAvailable; its second argument is what the tools said."""
    language = LANGUAGES[name]
    for command, install in language.needs.items():
        if shutil.which(command) is None:
            raise NotAvailable(f"there is no {command}; e.g. {install}")
    sources = sorted(path for path in (TESTS / name).iterdir() if path.is_file())
    made_of = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = _cache() / f"{name.replace('/', '-')}-{made_of}"
    with folder.with_suffix(".lock").open("w") as lock:  # several processes of pytest may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _build(language.steps, sources, folder)
    return Program((*language.command, *arguments), folder)


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ratchet" / "built"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _build(steps: Sequence[Sequence[str]], sources: Sequence[Path], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in sources:
        shutil.copy(path, folder)
    for step in steps:
        print(f"{' '.join(step[:2])} for the tests, once ...", flush=True)
        try:
            ran = subprocess.run(step, cwd=folder, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            raise NotAvailable(f"{' '.join(step[:2])} took more than {BUILD_SECONDS} s") from None
        if ran.returncode:
            raise NotAvailable(f"{' '.join(step[:2])} did not work", (ran.stdout + ran.stderr).strip()[-600:])
    (folder / "complete").touch()
