"""Commands start quickly: what one of them needs is imported when that one is called."""

import subprocess
import sys

import pytest

LATER = {
    "aiokafka",
    "faststream",
    "motor",
    "msgspec",
    "openpyxl",
    "pydantic",
    "pydantic_core",
    "pymongo",
    "rich",
    "yaml",
}
IMPORTED = """
import atexit, sys
from service.commands.main import main

atexit.register(lambda: print(*sys.modules))
main()
"""


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("--version", 0),
        ("--help", 0),
        ("lag --help", 0),
        ("upload attendance --help", 0),
        ("lag --window soon", 2),
        ("lga", 2),
    ],
)
def test_nothing_large_is_imported_before_a_command_needs_it(command: str, status: int) -> None:
    line = [sys.executable, "-c", IMPORTED, *command.split()]
    ended = subprocess.run(line, capture_output=True, text=True, check=False)
    imported = {name.partition(".")[0] for name in ended.stdout.splitlines()[-1].split()}
    assert ended.returncode == status, ended.stderr
    assert "typer" in imported
    assert imported & LATER == set()
