"""Writes `schemas/` and `asyncapi.yaml` from the models: `python -m contracts.export`."""

import json
from pathlib import Path
from typing import Any, Literal

import yaml

from contracts.headers import CE_SOURCE
from contracts.topics import TOPICS, Topic, foreign_fields

HERE = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(topic: Topic) -> dict[str, Any]:
    """JSON Schema (2020-12) of a topic's value; of the headers where the value is another topic's."""
    mode: Literal["serialization", "validation"] = "serialization" if topic.direction == "out" else "validation"
    made = topic.model.model_json_schema(mode=mode)
    for name in sorted(foreign_fields(topic)):
        made["properties"][name] = {"type": "null", "description": "A field of another topic; not of this one."}
    return {"$schema": DIALECT, "$id": f"urn:ratchet:{topic.name}", **made, "additionalProperties": True}


def asyncapi() -> dict[str, Any]:
    """The whole as AsyncAPI 3."""
    return {
        "asyncapi": "3.0.0",
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


def _channel(topic: Topic) -> dict[str, Any]:
    message: dict[str, Any] = {"name": topic.short, "summary": topic.summary}
    part = "headers" if topic.carries_others else "payload"
    message[part] = {"$ref": f"./schemas/{topic.short}.json"}
    if topic.direction == "out" and not topic.carries_others:
        message["headers"] = {
            "type": "object",
            "properties": {
                "ce_id": {"type": "string", "description": "the message_id"},
                "ce_source": {"type": "string", "const": CE_SOURCE},
                "ce_type": {"type": "string", "const": topic.name},
                "ce_specversion": {"type": "string", "const": "1.0"},
                "ce_time": {"type": "string", "format": "date-time"},
                "content-type": {"type": "string", "const": "application/json"},
                "traceparent": {"type": "string"},
            },
        }
    return {
        "address": topic.name,
        "messages": {topic.short: message},
        "bindings": {"kafka": {"topic": topic.name, "bindingVersion": "0.5.0"}},
        "description": f"Key: {topic.key}",
    }


def files() -> dict[Path, str]:
    """Every exported file with its text."""
    texts = {HERE / "schemas" / f"{topic.short}.json": json.dumps(schema(topic), indent=2) + "\n" for topic in TOPICS}
    texts[HERE / "asyncapi.yaml"] = yaml.safe_dump(asyncapi(), sort_keys=False, width=110)
    return texts


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
