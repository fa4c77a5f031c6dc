"""Which way dependencies point: service → rules, service → contracts, and neither of those to anything with I/O."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RULES_MAY_IMPORT = {"collections", "importlib", "itertools", "msgspec", "typing", "yaml"}
"""`importlib.resources` reads the tables that come with the package; render.py, a tool, is apart."""
CONTRACTS_MAY_IMPORT = {"collections", "datetime", "functools", "hashlib", "pydantic", "re", "typing", "uuid"}
TOOLS = {"rules/render.py": {"sys", "pathlib"}, "contracts/export.py": {"json", "pathlib", "yaml"}}


def imports(path: Path) -> set[str]:
    """Top-level names of all that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            found.add((node.module or "").split(".")[0])
    return found


def files(package: str) -> list[Path]:
    """The package's modules."""
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, package
    return found


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("rules", RULES_MAY_IMPORT), ("contracts", CONTRACTS_MAY_IMPORT)],
    ids=["rules", "contracts"],
)
def test_the_inner_rooms_import_their_short_lists_only(package: str, allowed: set[str]) -> None:
    for path in files(package):
        extra = TOOLS.get(str(path.relative_to(ROOT)), set())
        assert imports(path) <= allowed | extra | {package}, path.relative_to(ROOT)


def test_rules_call_no_clock_and_open_no_file() -> None:
    for path in files("rules"):
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"open", "print", "input", "exec", "eval"}, path


def test_service_does_not_import_tests_and_motor_has_one_home() -> None:
    for path in files("service"):
        assert "tests" not in imports(path), path
        assert ("motor" in imports(path)) == (path.name == "store_mongo.py"), path


def test_no_module_has_outgrown_one_subject() -> None:
    for package in ("rules", "contracts", "service"):
        for path in files(package):
            assert len(path.read_text("utf-8").splitlines()) <= 400, path
