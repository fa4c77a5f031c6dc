"""What is fetched with Maven, once per machine, by one process at a time: Maven's own cache bears no second one."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.stack.servers import NotAvailable


def fetched(name: str, what: str, limit_seconds: int, goal: Callable[[Path], Sequence[str]]) -> Path:
    """The folder of this name in the cache; `goal` gives Maven's arguments that fill it. Raises NotAvailable."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ratchet"
    cache = home / name
    home.mkdir(parents=True, exist_ok=True)
    with cache.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "complete").exists():
            cache.mkdir(exist_ok=True)
            _fetch(what, limit_seconds, goal(cache), cache)
            (cache / "complete").touch()
    return cache


def _fetch(what: str, limit_seconds: int, goal: Sequence[str], folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise NotAvailable(f"there is no mvn to fetch {what} with; install Maven, e.g. apt-get install maven")
    print(f"Fetching {what} with Maven, once ...", flush=True)
    try:
        ran = subprocess.run(
            [maven, "-q", "-B", *goal], cwd=folder, capture_output=True, text=True, check=False, timeout=limit_seconds
        )
    except subprocess.TimeoutExpired:
        raise NotAvailable(f"Maven did not fetch {what} within {limit_seconds} s") from None
    if ran.returncode:
        problem = next((line for line in ran.stdout.splitlines() if "ERROR" in line), "no reason given")
        raise NotAvailable(f"Maven cannot fetch {what}: {problem[:200]}")
