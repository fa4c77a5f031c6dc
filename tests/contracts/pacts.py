"""What services downstream rely on (`contracts/examples/*/relies-on.json`, as Pact 4 has it), held against messages."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from contracts.export import HERE

Json = dict[str, Any]
MISSING = object()


@cache
def relied_on() -> dict[str, list[tuple[str, Mapping[str, Json]]]]:
    """By topic: who relies on it, and the rules for the paths of its body."""
    found: dict[str, list[tuple[str, Mapping[str, Json]]]] = {}
    for path in sorted((HERE / "examples").glob("*/relies-on.json")):
        pact = json.loads(path.read_text("utf-8"))
        for one in pact["interactions"]:
            assert one["type"] == "Asynchronous/Messages" and one["contents"]["contentType"] == "application/json"
            rules = one["matchingRules"]["body"]
            topic = one["metadata"]["kafka_topic"]
            assert not list(_broken(rules, one["contents"]["content"])), f"{path}: its own example breaks {topic}"
            found.setdefault(topic, []).append((pact["consumer"]["name"], rules))
    return found


def broken(topic: str, value: Json) -> list[str]:
    """Which rules a message breaks: who, path, and what stands there."""
    return [f"{who}: {what}" for who, rules in relied_on().get(topic, ()) for what in _broken(rules, value)]


def _broken(rules: Mapping[str, Json], value: Json) -> Iterator[str]:
    for path, rule in rules.items():
        *above, name = path.removeprefix("$.").split(".")
        parent = _at(value, above)
        if parent is None:
            continue  # what may be null has its own rule
        said = _at(parent, [name])
        matches = [_matches(one, said) for one in rule["matchers"]]
        if not (any(matches) if rule["combine"] == "OR" else all(matches)):
            yield f"{path} is {'missing' if said is MISSING else json.dumps(said)}"


def _at(value: Any, path: list[str]) -> Any:
    """What stands there."""
    for name in path:
        value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
    return value


def _matches(matcher: Json, said: Any) -> bool:
    match matcher["match"]:
        case "null":
            return said is None
        case "integer":
            return isinstance(said, int) and not isinstance(said, bool)
        case "regex":
            return isinstance(said, str) and re.fullmatch(matcher["regex"], said) is not None
        case "type":
            return said is not MISSING and said is not None
    raise AssertionError(f"no such matcher here: {matcher}")
