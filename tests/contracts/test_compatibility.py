"""A change that breaks a reader or a writer is found, and named by where it is; what breaks nobody is let pass."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts import export
from contracts.compatibility import DO, breaks, check, newest_release
from contracts.topics import ATTENDANCE_CHANGED, COURSE_COMPLETION_CHANGED, COURSE_DEFINED, DEAD_LETTER, TOPICS, Topic

Schema = dict[str, Any]
RELEASED = export.HERE / "released"
Edit = Callable[[Schema], Any]


def edited(topic: Topic, edit: Edit) -> tuple[Schema, Schema]:
    """Then and now."""
    then = json.loads(json.dumps(export.schema(topic)))
    now = copy.deepcopy(then)
    edit(now)
    return then, now


def at(schema: Schema, pointer: str) -> Any:
    """What stands there."""
    for step in filter(None, pointer.split("/")):
        schema = schema[int(step)] if isinstance(schema, list) else schema[step]
    return schema


def put(pointer: str, value: Any) -> Edit:
    """Something else there."""
    above, _, name = pointer.rpartition("/")
    return lambda schema: at(schema, above).update({name: value})


def drop(pointer: str) -> Edit:
    """Nothing there any more."""
    above, _, name = pointer.rpartition("/")
    return lambda schema: at(schema, above).pop(name)


STRING_OR_NULL = {"anyOf": [{"type": "string"}, {"type": "null"}]}
BREAK_A_READER: dict[str, tuple[Edit, str, str]] = {
    "a field is gone": (drop("/properties/because"), "/properties/because", "is gone"),
    "a field inside one is gone": (
        drop("/$defs/CertificateAction/properties/action"),
        "/properties/certificate/properties/action",
        "is gone",
    ),
    "a field need not be there": (
        lambda schema: schema["required"].remove("attempt"),
        "/required",
        "attempt need not be there any more",
    ),
    "a number is a text": (put("/properties/attempt/type", "string"), "/properties/attempt", "may be string now"),
    "it may be null": (put("/properties/rule_id", STRING_OR_NULL), "/properties/rule_id", "may be null now"),
    "it may be anything": (drop("/properties/rule_id/type"), "/properties/rule_id", "may be anything now"),
    "another value": (
        lambda schema: schema["properties"]["status"]["enum"].append("expired"),
        "/properties/status/enum",
        'may be "expired" now',
    ),
    "any value": (drop("/properties/status/enum"), "/properties/status/enum", "listed in one of both"),
    "a lower bound": (put("/properties/sequence/minimum", 0), "/properties/sequence/minimum", "was 1, is 0"),
    "another pattern": (put("/properties/tenant_id/pattern", "^x$"), "/properties/tenant_id/pattern", "another one"),
}
BREAK_A_WRITER: dict[str, tuple[Edit, str, str]] = {
    "a field is needed": (
        lambda schema: schema["required"].append("source"),
        "/required",
        "source must be there now",
    ),
    "a value is refused": (
        lambda schema: schema["properties"]["source"]["enum"].remove("platform"),
        "/properties/source/enum",
        'may not be "platform" any more',
    ),
    "null is refused": (
        lambda schema: schema["properties"]["session_id"]["anyOf"].pop(),
        "/properties/session_id",
        "may not be null any more",
    ),
    "less is allowed": (
        put("/properties/attended_percent/anyOf/0/maximum", 99),
        "/properties/attended_percent/maximum",
        "was 100, is 99",
    ),
    "a field is passed over": (drop("/properties/upload_id"), "/properties/upload_id", "is gone"),
    "other combinations": (lambda schema: schema["oneOf"].pop(), "/oneOf", "another one"),
}


@pytest.mark.parametrize("name", BREAK_A_READER)
def test_what_breaks_a_reader(name: str) -> None:
    edit, pointer, what = BREAK_A_READER[name]
    (found,) = breaks("t", "out", *edited(COURSE_COMPLETION_CHANGED, edit))
    assert (found.pointer, found.do) == (pointer, DO["out"]) and what in found.what


@pytest.mark.parametrize("name", BREAK_A_WRITER)
def test_what_breaks_a_writer(name: str) -> None:
    edit, pointer, what = BREAK_A_WRITER[name]
    (found,) = breaks("t", "in", *edited(ATTENDANCE_CHANGED, edit))
    assert (found.pointer, found.do) == (pointer, DO["in"]) and what in found.what


def test_what_breaks_nobody() -> None:
    new = {"type": "integer", "title": "New", "description": "More."}
    growing = "/properties/kafka_dlt-exception-fqcn/enum"
    fine: list[tuple[Topic, Edit]] = [
        (COURSE_COMPLETION_CHANGED, put("/properties/new", new)),
        (COURSE_COMPLETION_CHANGED, lambda schema: schema["required"].append("new")),
        (COURSE_COMPLETION_CHANGED, put("/properties/sequence/minimum", 2)),
        (COURSE_COMPLETION_CHANGED, put("/properties/because/description", "Otherwise.")),
        (COURSE_COMPLETION_CHANGED, lambda schema: schema["properties"]["status"]["enum"].reverse()),
        (DEAD_LETTER, lambda schema: at(schema, growing).append("too_heavy")),
        (ATTENDANCE_CHANGED, put("/properties/new", new)),
        (ATTENDANCE_CHANGED, lambda schema: schema["required"].remove("event_id")),
        (ATTENDANCE_CHANGED, lambda schema: schema["properties"]["source"]["enum"].append("import")),
        (COURSE_DEFINED, put("/properties/steps/maxItems", 1000)),
    ]
    for topic, edit in fine:
        assert topic.direction != "internal"
        assert breaks(topic.short, topic.direction, *edited(topic, edit)) == []


def test_inside_lists() -> None:
    found = breaks("t", "in", *edited(COURSE_DEFINED, put("/$defs/StepDefinition/properties/title", {"type": "null"})))
    assert [one.pointer for one in found] == ["/properties/steps/items/properties/title"]


def test_every_topic_of_others_is_in_the_release() -> None:
    release = newest_release(RELEASED)
    told = {path.stem for path in release.iterdir()}
    assert told <= {topic.short for topic in TOPICS if topic.direction != "internal"}
    assert check(export.HERE / "schemas", release) == []


def test_a_topic_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "of-the-past.json").write_text("{}")
    (found,) = check(export.HERE / "schemas", tmp_path)
    assert (found.topic, found.what) == ("of-the-past", "the topic is gone")


def test_the_command_says_so() -> None:
    ran = subprocess.run([sys.executable, "-m", "contracts.compatibility"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, f"0 breaking changes since {newest_release(RELEASED).name}\n")
