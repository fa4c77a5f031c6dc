"""Writes `schemas/` and `asyncapi.yaml` from the models: `python -m contracts.export`.

A field's description is the text below it in the source, its example what the topic's example says of it.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml

from contracts.fields import Message
from contracts.headers import CE_SOURCE
from contracts.topics import (
    DAY_MILLISECONDS,
    DEAD_LETTER,
    LEARNER_ERASED,
    RECORD_STATE,
    TOPICS,
    Topic,
    foreign_fields,
)

HERE = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(topic: Topic) -> dict[str, Any]:
    """JSON Schema (2020-12) of a topic's value; of the headers where the value is another topic's."""
    mode: Literal["serialization", "validation"] = "serialization" if topic.direction == "out" else "validation"
    made = topic.model.model_json_schema(mode=mode)
    models = {model.__name__: model for model in _models(Message)}
    for name, part in {topic.model.__name__: made, **made.get("$defs", {})}.items():
        for field, text in _described(models[name]):
            part["properties"][field]["description"] = text
    for example in examples(topic):
        _exemplify(made, made, example)
    for name in sorted(foreign_fields(topic)):
        made["properties"][name] = {"type": "null", "description": "A field of another topic; not of this one."}
    return {"$schema": DIALECT, "$id": f"urn:ratchet:{topic.name}", **made, "additionalProperties": True}


def examples(topic: Topic) -> list[dict[str, Any]]:
    """The main one first."""
    paths = [HERE / "examples" / f"{topic.short}.json", *sorted((HERE / "examples").glob(f"{topic.short}.*.json"))]
    return [json.loads(path.read_text("utf-8")) for path in paths]


def _models(model: type[Message]) -> Iterator[type[Message]]:
    yield model
    for inner in model.__subclasses__():
        yield from _models(inner)


def _described(model: type[Message]) -> Iterator[tuple[str, str]]:
    """Fields by their names on the wire, and the texts below them."""
    for owner in reversed(model.__mro__[: model.__mro__.index(Message)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(tree, ast.ClassDef), "a model is a class"
        for field, below in pairwise(tree.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                text = ast.literal_eval(below.value)
                yield model.model_fields[field.target.id].alias or field.target.id, " ".join(text.split())


def _exemplify(whole: dict[str, Any], part: dict[str, Any], example: Any) -> None:
    """What the example says of each field, wherever it stands in the schema."""
    part = whole["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
    for choice in part.get("anyOf", ()):
        _exemplify(whole, choice, example)
    if isinstance(example, list) and "items" in part:
        for item in example:
            _exemplify(whole, part["items"], item)
    if isinstance(example, dict):
        for value in example.values() if isinstance(part.get("additionalProperties"), dict) else ():
            _exemplify(whole, part["additionalProperties"], value)
        for name, one in part.get("properties", {}).items():
            if name in example:
                if not isinstance(example[name], dict | list):
                    one.setdefault("examples", [example[name]])
                _exemplify(whole, one, example[name])


def asyncapi() -> dict[str, Any]:
    """The whole as AsyncAPI 3."""
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Ratchet",
            "version": "1.0.0",
            "description": "Decides course completions from what the LMS reports, and tells what changed.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.short: _channel(topic) for topic in TOPICS},
        "operations": {
            f"{'send' if topic.direction == 'out' else 'receive'}-{topic.short}": {
                "action": "send" if topic.direction == "out" else "receive",
                "channel": {"$ref": f"#/channels/{topic.short}"},
                "summary": topic.summary,
            }
            for topic in TOPICS
        },
    }


ORDER = {
    "in": "Messages of one key are decided by their changed_at, in whatever order they come.",
    "out": "Within a key in order of sequence, over both topics of changes; for one fact, steps before the course.",
    "internal": "Ratchet's own; nobody else reads or writes it.",
}
DELIVERY = {
    "in": "At least once will do: a message_id counts once.",
    "out": "Exactly once for who reads with isolation.level=read_committed; after a database was restored from a "
    "backup, changes may come again under their old message_id.",
    "internal": "In the transactions of the lanes, or at least once.",
}
ORDER_OF = {
    RECORD_STATE.name: "The last message of a key counts: none is older than one before it.",
    LEARNER_ERASED.name: "None: what was decided just before may still come in the other topics.",
    DEAD_LETTER.name: "None.",
}
DELIVERY_OF = {
    RECORD_STATE.name: "Exactly once for who reads with isolation.level=read_committed; again where an operator asks.",
    LEARNER_ERASED.name: "At least once, always the same.",
}
PARTITIONER = "the default (murmur2) partitioner"


def _channel(topic: Topic) -> dict[str, Any]:
    message: dict[str, Any] = {"name": topic.short, "summary": topic.summary}
    part = "headers" if topic.carries_others else "payload"
    message[part] = {"$ref": f"./schemas/{topic.short}.json"}
    if topic.direction == "out" and not topic.carries_others:
        message["headers"] = _cloud_event(topic)
    key = {"type": "string", "description": topic.key}
    message["bindings"] = {"kafka": {"key": key, "bindingVersion": "0.5.0"}}
    message["examples"] = [{part: example} for example in examples(topic)]
    kafka: dict[str, Any] = {"topic": topic.name, "bindingVersion": "0.5.0"}
    if topic.settings:
        kafka["topicConfiguration"] = {name: _spelled(name, value) for name, value in topic.settings.items()}
    return {
        "address": topic.name,
        "messages": {topic.short: message},
        "bindings": {"kafka": kafka},
        "description": "\n\n".join(_told(topic)),
    }


def _cloud_event(topic: Topic) -> dict[str, Any]:
    """Headers of CloudEvents' Kafka binding, binary mode."""
    return {
        "type": "object",
        "properties": {
            "ce_id": {"type": "string", "description": "The message_id, or what follows from the content likewise."},
            "ce_source": {"type": "string", "const": CE_SOURCE},
            "ce_type": {"type": "string", "const": topic.name},
            "ce_specversion": {"type": "string", "const": "1.0"},
            "ce_time": {"type": "string", "format": "date-time", "description": "When it was decided."},
            "content-type": {"type": "string", "const": "application/json"},
            "traceparent": {"type": "string", "description": "Of the message that caused it, where it had one."},
        },
    }


def _told(topic: Topic) -> Iterator[str]:
    """Key, order, delivery and how long it is kept."""
    key = "Key and value are those of the original message." if topic.carries_others else f"Key: {topic.key}."
    yield f"{key} Partition: by {PARTITIONER} on the key."
    yield f"Order: {ORDER_OF.get(topic.name, ORDER[topic.direction])}"
    yield f"Delivery: {DELIVERY_OF.get(topic.name, DELIVERY[topic.direction])}"
    if topic.settings.get("cleanup.policy") == "compact":
        yield "Kept: compacted, the last message of each key for good; a null value: there is nothing any more."
    elif "retention.ms" in topic.settings:
        yield f"Kept: {int(topic.settings['retention.ms']) // DAY_MILLISECONDS} days."
    else:
        yield "Kept: as long as the broker keeps topics; longer than the longest outage, and than the oldest backup."


def _spelled(name: str, value: str) -> Any:
    """As AsyncAPI's binding for Kafka wants it."""
    return value.split(",") if name == "cleanup.policy" else int(value)


def files() -> dict[Path, str]:
    """Every exported file with its text."""
    texts = {HERE / "schemas" / f"{topic.short}.json": json.dumps(schema(topic), indent=2) + "\n" for topic in TOPICS}
    texts[HERE / "asyncapi.yaml"] = yaml.safe_dump(asyncapi(), sort_keys=False, width=110)
    return texts


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
