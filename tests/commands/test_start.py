"""Commands start quickly: what one of them needs is imported when that one is called."""

import subprocess
import sys

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


def test_nothing_large_is_imported_before_it_is_known_which_command() -> None:
    names = "import sys, service.commands.main; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True).stdout
    imported = {name.partition(".")[0] for name in said.split()}
    assert "typer" in imported
    assert imported & LATER == set()
