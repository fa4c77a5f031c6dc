"""Which way dependencies point, as data; an arrow that is not in it fails, at the top of a file or in a function."""

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "contracts" / "examples"
RULES_MAY_IMPORT = {"calendar", "collections", "datetime", "importlib", "itertools", "msgspec", "typing", "yaml"}
"""`importlib.resources` reads the tables that come with the package, the calendar tells what a month is; render.py, a
tool, is apart."""
CONTRACTS_MAY_IMPORT = {"collections", "datetime", "functools", "hashlib", "json", "pydantic", "re", "typing", "uuid"}
TOOLS = {
    "rules/render.py": {"sys", "pathlib"},
    "contracts/compatibility.py": {"json", "pathlib", "sys"},
    "contracts/export.py": {"ast", "inspect", "itertools", "pathlib", "textwrap", "yaml"},
}

LANES = {"lanes", "rules", "contracts"}
GROUND = {"settings", "metrics", "errors"}
MAY_USE: dict[str, set[str]] = {
    "commands": {"app", "admin", "mongo", "kafka", *LANES, *GROUND, "logs", "clock"},
    "app": {"web", "admin", "mongo", "kafka", "settings", "traces"},
    "web": {"admin", "mongo", *LANES, *GROUND, "clock"},
    "admin": {"mongo", "kafka", *LANES, *GROUND, "clock"},
    "mongo": {*LANES, *GROUND},
    "kafka": {"lanes", "contracts", *GROUND},
    "lanes": {"rules", "contracts", "metrics", "traces", "errors"},
    "settings_table": {"settings", "rules"},
    "settings_schema": {"settings"},
    "settings": {"errors"},
    "metrics": set(),
    "traces": {"metrics", "errors"},
    "logs": set(),
    "clock": set(),
    "errors": set(),
}
"""What each room of `service`, or file on its ground, may use besides itself. The tools at the end write documents."""
PORTS = {"service.lanes.ports", "service.lanes.packed", "service.lanes.bounds", "service.lanes.progress"}
"""All that `mongo` needs of the lanes."""
VALUES = {"service.mongo.audit", "service.mongo.jobs", "service.mongo.listing"}
"""All that `web` needs of the store: what is kept, as values."""
HOME = {
    "motor": {"mongo"},
    "pymongo": {"mongo"},
    "bson": {"mongo"},
    "aiokafka": {"kafka"},
    "faststream": {"kafka"},
    "starlette": {"web"},
    "fastapi": {"web"},
    "jinja2": {"web"},
    "authlib": {"web"},
    "uvicorn": {"web"},
    "typer": {"commands"},
    "rich": {"commands"},
    "uvloop": {"commands"},
    "openpyxl": {"admin"},
    "xlrd": {"admin"},
    "prometheus_client": {"metrics", "web"},
    "structlog": {"logs"},
    "opentelemetry": {"traces"},
    "pydantic_settings": {"settings"},
    "tests": set(),
}
"""Where these are imported, and nowhere else in `service`."""
INIT_LINES = range(5, 16)


@cache
def parsed(path: Path) -> ast.Module:
    """Each file once. An error that the collector comes upon is told by parsing its line, amid ours."""
    gc.disable()
    try:
        return ast.parse(path.read_text("utf-8"))
    finally:
        gc.enable()


def modules(path: Path) -> Iterator[str]:
    """All that a file imports, wherever in it, by its whole name."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: absolute imports only"
            is_package = (ROOT / node.module.replace(".", "/")).is_dir()
            yield from (f"{node.module}.{alias.name}" if is_package else node.module for alias in node.names)


def imports(path: Path) -> set[str]:
    """Their top-level names."""
    return {module.split(".")[0] for module in modules(path)}


def files(package: str) -> list[Path]:
    """The package's modules."""
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, package
    return found


def room_of(path: Path) -> str:
    """The room of `service` that a file is in, or the file itself on its ground."""
    return path.relative_to(ROOT / "service").parts[0].removesuffix(".py")


def used(path: Path) -> Iterator[tuple[str, str]]:
    """What of this repository a file uses: the module, and the room or package that it is in."""
    for module in modules(path):
        package, *inside = module.split(".")
        if package == "service":
            yield module, inside[0]
        elif package in {"rules", "contracts"}:
            yield module, package


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("rules", RULES_MAY_IMPORT), ("contracts", CONTRACTS_MAY_IMPORT)],
    ids=["rules", "contracts"],
)
def test_the_inner_rooms_import_their_short_lists_only(package: str, allowed: set[str]) -> None:
    for path in files(package):
        if path.is_relative_to(EXAMPLES):
            continue
        extra = TOOLS.get(str(path.relative_to(ROOT)), set())
        assert imports(path) <= allowed | extra | {package}, path.relative_to(ROOT)


def test_the_examples_know_nothing_of_ratchet_but_its_contracts() -> None:
    for path in sorted(EXAMPLES.rglob("*.py")):
        assert {package for _, package in used(path)} <= {"contracts"}, path.relative_to(ROOT)
        assert "tests" not in imports(path), path.relative_to(ROOT)


def test_rules_call_no_clock_and_open_no_file() -> None:
    for path in files("rules"):
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"open", "print", "input", "exec", "eval"}, path


def test_the_table_names_every_room_once() -> None:
    there = {room_of(path) for path in files("service")} - {"__init__"}
    assert set(MAY_USE) == there


@pytest.mark.parametrize("room", MAY_USE)
def test_a_room_uses_what_stands_below_it_only(room: str) -> None:
    for path in (path for path in files("service") if room_of(path) == room):
        for module, other in used(path):
            assert other in {room, *MAY_USE[room]}, f"{path.relative_to(ROOT)} uses {module}"


def test_every_arrow_of_the_table_is_used() -> None:
    """A right that nobody needs is a hole."""
    arrows = {(room_of(path), other) for path in files("service") for _, other in used(path)}
    for room, others in MAY_USE.items():
        for other in others - GROUND:
            assert (room, other) in arrows, f"{room} does not use {other}"


def test_the_store_needs_ports_and_values_of_the_lanes_only() -> None:
    for path in files("service/mongo"):
        assert {module for module, room in used(path) if room == "lanes"} <= PORTS, path


def test_the_web_needs_values_of_the_store_only() -> None:
    """What it does with the store, it does through the administrators' functions or the desk's store."""
    for path in (path for path in files("service") if room_of(path) == "web"):
        assert {module for module, room in used(path) if room == "mongo"} <= VALUES, path


@pytest.mark.parametrize("library", HOME)
def test_a_library_is_imported_where_it_belongs_only(library: str) -> None:
    homes = {room_of(path) for path in files("service") if library in imports(path)}
    assert homes == HOME[library], "elsewhere, or nowhere any more"


@pytest.mark.parametrize("room", [room for room in MAY_USE if (ROOT / "service" / room).is_dir()])
def test_a_room_introduces_itself_and_exports_nothing(room: str) -> None:
    tree = ast.parse((ROOT / "service" / room / "__init__.py").read_text("utf-8"))
    docstring = ast.get_docstring(tree)
    assert docstring is not None and len(docstring.splitlines()) in INIT_LINES, room
    assert len(tree.body) == 1, f"{room}: nothing but a docstring"
    for path in (ROOT / "service" / room).glob("*.py"):
        assert path.stem == "__init__" or path.stem in docstring, f"{room} does not say what {path.stem} is for"


def test_no_module_has_outgrown_one_subject() -> None:
    for package in ("rules", "contracts", "service"):
        for path in files(package):
            assert len(path.read_text("utf-8").splitlines()) <= 400, path
