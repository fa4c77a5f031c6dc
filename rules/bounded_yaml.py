"""YAML that somebody else wrote: read only where it is neither so deep nor, unfolded, so long that it does harm."""

from typing import Any

import yaml

DEPTH = 100
"""The loader in C descends on the stack of the process, and ends the process where that ends."""
CHARACTERS = 4_000_000
"""Of all values, each as often as it is referred to: a few lines can stand for as many as there are atoms."""


def check(text: str) -> None:
    """Raises ValueError, or yaml.YAMLError where it is no YAML."""
    sizes: dict[str, int] = {}
    parts: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        match event:
            case yaml.CollectionStartEvent():
                parts.append((event.anchor, 1))
                if len(parts) > DEPTH:
                    raise ValueError(f"is deeper than {DEPTH} levels")
                continue
            case yaml.CollectionEndEvent():
                anchor, size = parts.pop()
            case yaml.ScalarEvent():
                anchor, size = event.anchor, len(event.value) + 1
            case yaml.AliasEvent():
                anchor, size = None, sizes.get(event.anchor or "", CHARACTERS)
            case _:
                continue
        _note(sizes, parts, anchor, size)


def _note(sizes: dict[str, int], parts: list[tuple[str | None, int]], anchor: str | None, size: int) -> None:
    """What has ended is part of what is around it."""
    if anchor is not None:
        sizes[anchor] = size
    around, so_far = parts[-1]
    parts[-1] = (around, so_far + size)
    if so_far + size > CHARACTERS:
        raise ValueError(f"stands for more than {CHARACTERS:,} characters")


def load(text: str, loader: type[Any] = yaml.CSafeLoader) -> Any:
    """The value; `loader`: a safe one. Raises ValueError or yaml.YAMLError."""
    check(text)
    return yaml.load(text, loader)  # noqa: S506  # it is a safe one
