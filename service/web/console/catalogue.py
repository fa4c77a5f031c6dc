"""What the console says, by language: texts/ has one file each."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "texts"
LANGUAGES = tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@cache
def texts(language: str) -> Mapping[str, str]:
    """All sentences of a language by name."""
    return dict(_flat("", yaml.safe_load((FOLDER / f"{language}.yaml").read_text("utf-8"))))


def _flat(prefix: str, node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(f"{path}.", value)
        else:
            yield path, str(value)
