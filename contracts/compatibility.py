"""What of a change to the schemas breaks somebody: `python -m contracts.compatibility` (`make contracts-check`).

`released/<version>/` keeps the schemas of each release. A reader is broken by what is wider than it was told, a writer
by what is narrower; both by a field that is gone. New optional fields and new topics break nobody.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from contracts.topics import TOPICS

Schema = Mapping[str, Any]
HERE = Path(__file__).parent
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
EXACT = ("pattern", "format", "anyOf", "oneOf", "not", "if", "then", "allOf")
"""Whether another one of these is wider or narrower, no program can say."""
GROWS = "x-may-grow"
"""On an enum: readers were told that more values may come."""
DO = {
    "out": "keep it as it was, or send it under a new topic version (.v2) beside this one",
    "in": "keep taking what was taken, or take it from a new topic version (.v2) beside this one",
}


class Change(NamedTuple):
    """Where (JSON Pointer into the schema), what, and whether more or less than before is allowed by it."""

    pointer: str
    what: str
    wider: bool
    narrower: bool


class Break(NamedTuple):
    """A change that somebody cannot live with."""

    topic: str
    pointer: str
    what: str
    do: str


class Part(NamedTuple):
    """Of a schema, and the whole that its references point into."""

    whole: Schema
    schema: Schema

    @classmethod
    def of(cls, whole: Schema, schema: Schema) -> "Part":
        """References followed."""
        reference = schema.get("$ref")
        return cls(whole, schema if reference is None else whole["$defs"][reference.rpartition("/")[2]])

    def below(self, keyword: str) -> dict[str, "Part"]:
        """`properties` by name; what else there is, under the keyword itself."""
        found = self.schema.get(keyword, {})
        named = found if keyword == "properties" else {keyword: found} if isinstance(found, dict) and found else {}
        return {name: Part.of(self.whole, one) for name, one in named.items()}

    @property
    def by_type(self) -> dict[str, "Part"]:
        """Each type that it may have; "" where it may have any."""
        choices = (
            [self] if "type" in self.schema else [Part.of(self.whole, one) for one in self.schema.get("anyOf", [{}])]
        )
        return {str(choice.schema.get("type", "")): choice for choice in choices}


def changes(then: Part, now: Part, pointer: str = "") -> Iterator[Change]:
    """All of them but for titles, descriptions, examples, defaults and new optional fields."""
    was, can_be = then.by_type, now.by_type
    for name in sorted(can_be.keys() - was.keys()):
        yield Change(pointer, f"may be {name or 'anything'} now", wider=True, narrower=False)
    for name in sorted(was.keys() - can_be.keys()):
        yield Change(pointer, f"may not be {name or 'anything'} any more", wider=False, narrower=True)
    for name in sorted(was.keys() & can_be.keys()):
        yield from _values(was[name].schema, can_be[name].schema, pointer)
        yield from _bounds(was[name].schema, can_be[name].schema, pointer)
        yield from _fields(was[name], can_be[name], pointer)


def _values(then: Schema, now: Schema, pointer: str) -> Iterator[Change]:
    was, can_be = _enumerated(then), _enumerated(now)
    if was is None or can_be is None:
        if was != can_be:
            yield Change(f"{pointer}/enum", "is listed in one of both only", wider=can_be is None, narrower=was is None)
        return
    for value in can_be:
        if value not in was and not then.get(GROWS):
            yield Change(f"{pointer}/enum", f"may be {json.dumps(value)} now", wider=True, narrower=False)
    for value in was:
        if value not in can_be:
            yield Change(f"{pointer}/enum", f"may not be {json.dumps(value)} any more", wider=False, narrower=True)


def _enumerated(schema: Schema) -> list[Any] | None:
    values: list[Any] | None = [schema["const"]] if "const" in schema else schema.get("enum")
    return values


def _bounds(then: Schema, now: Schema, pointer: str) -> Iterator[Change]:
    for name in (*LOWER, *UPPER):
        endless = float("-inf") if name in LOWER else float("inf")
        was, is_now = then.get(name, endless), now.get(name, endless)
        if was != is_now:
            wider = is_now < was if name in LOWER else is_now > was
            yield Change(f"{pointer}/{name}", f"was {was}, is {is_now}", wider=wider, narrower=not wider)
    for name in EXACT:
        if then.get(name) != now.get(name):
            told = "is another one; whether it is wider or narrower no program can say"
            yield Change(f"{pointer}/{name}", told, wider=True, narrower=True)


def _fields(then: Part, now: Part, pointer: str) -> Iterator[Change]:
    was, is_now = set(then.schema.get("required", ())), set(now.schema.get("required", ()))
    for name in sorted(was - is_now):
        yield Change(f"{pointer}/required", f"{name} need not be there any more", wider=True, narrower=False)
    for name in sorted(is_now - was):
        yield Change(f"{pointer}/required", f"{name} must be there now", wider=False, narrower=True)
    for keyword in ("properties", "items", "additionalProperties"):
        above = f"{pointer}/properties/" if keyword == "properties" else f"{pointer}/"
        known = now.below(keyword)
        for name, one in then.below(keyword).items():
            where = above + name.replace("~", "~0").replace("/", "~1")
            if name in known:
                yield from changes(one, known[name], where)
            else:
                yield Change(where, "is gone", wider=True, narrower=True)


def breaks(topic: str, direction: Literal["in", "out"], then: Schema, now: Schema) -> list[Break]:
    """Of one topic's schema."""
    found = changes(Part.of(then, then), Part.of(now, now))
    bad = [one for one in found if (one.wider if direction == "out" else one.narrower)]
    return [Break(topic, one.pointer, one.what, DO[direction]) for one in bad]


def check(now: Path, released: Path) -> list[Break]:
    """Of all topics in a release that others send or read."""
    found: list[Break] = []
    for topic in TOPICS:
        path, today = released / f"{topic.short}.json", now / f"{topic.short}.json"
        if topic.direction != "internal" and path.exists():
            schemas = (json.loads(one.read_text("utf-8")) for one in (path, today))
            found += breaks(topic.short, topic.direction, *schemas)
    gone = {path.stem for path in released.glob("*.json")} - {topic.short for topic in TOPICS}
    return found + [Break(name, "", "the topic is gone", "keep it") for name in sorted(gone)]


def newest_release(released: Path) -> Path:
    """By its version."""
    return max(released.iterdir(), key=lambda path: [int(part) for part in path.name.split(".")])


if __name__ == "__main__":
    release = newest_release(HERE / "released")
    broken = check(HERE / "schemas", release)
    for one in broken:
        print(f"contracts/schemas/{one.topic}.json#{one.pointer}: {one.what}; {one.do}")
    print(f"{len(broken)} breaking changes since {release.name}")
    sys.exit(1 if broken else 0)
