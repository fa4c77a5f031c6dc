"""YAML of others: what is deep, or unfolds without end, is refused before it is read; all else is as ever."""

import pytest
import yaml

from rules import bounded_yaml
from rules.tables import TableError
from rules.tables import load as load_table

ATOMS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n" for number in range(1, 12)
)
HARMFUL = {
    "deep": "[" * 200,
    "so deep that the stack would end": "[ " * 90_000,
    "deep, and closed": "{a: " * 101 + "1" + "}" * 101,
    "indented": "".join(f"{' ' * level}a:\n" for level in range(150)),
    "atoms": ATOMS,
    "atoms of texts": f"a: &a {'x' * 1000}\nb: &b [{', '.join(['*a'] * 1000)}]\nc: [{', '.join(['*b'] * 1000)}]",
    "within itself": "&a [*a]",
}


@pytest.mark.parametrize("name", HARMFUL)
def test_what_does_harm_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"deeper than|stands for more"):
        bounded_yaml.load(HARMFUL[name])
    with pytest.raises(TableError):
        load_table(HARMFUL[name], "candidate")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a: &x [1, 2]\nb: *x\nc: {<<: {d: 1}}",
        "[" * 90 + "]" * 90,
        "a: |\n  long\n  text\n",
        "- 2026-01-01\n- ~",
    ],
)
def test_all_else_is_read_as_ever(text: str) -> None:
    assert bounded_yaml.load(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["*nowhere", "a: [", "\0", "{a: 1}: 2", "!!python/object:os.system {}"])
def test_what_is_no_yaml(text: str) -> None:
    with pytest.raises((yaml.YAMLError, ValueError)):
        bounded_yaml.load(text)
