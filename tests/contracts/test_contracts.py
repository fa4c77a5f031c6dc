"""The exported schemas are those of the models, and the examples are what both say."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid5

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import TypeAdapter, ValidationError

from contracts import export
from contracts.fields import Timestamp, format_timestamp, parse_timestamp
from contracts.inbound import AttendanceChanged, CourseDefined
from contracts.outbound import NAMESPACE, certificate_id, message_id
from contracts.topics import ATTENDANCE_CHANGED, CONSUMED, TOPICS, Topic, foreign_fields
from service.lanes.translate import Unusable, read

HERE = Path(export.__file__).parent


def example(topic: Topic) -> dict[str, Any]:
    """The topic's main one."""
    return export.examples(topic)[0]


def test_exported_files_are_up_to_date() -> None:
    """Stale? `make docs` writes them again."""
    for path, text in export.files().items():
        assert path.read_text("utf-8") == text, path.name


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.short)
def test_examples_fit_schema_and_model(topic: Topic) -> None:
    schema = json.loads((HERE / "schemas" / f"{topic.short}.json").read_text())
    Draft202012Validator.check_schema(schema)
    for one in export.examples(topic):
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(one)
        read = topic.model.model_validate_json(json.dumps(one))
        assert read.model_dump(mode="json", by_alias=True).keys() >= one.keys()


def test_every_example_is_one_of_a_topic() -> None:
    told = {path.name for path in (HERE / "examples").glob("*.json")}
    assert len(told) == sum(len(export.examples(topic)) for topic in TOPICS)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.short)
def test_every_field_has_a_title_a_description_and_an_example(topic: Topic) -> None:
    schema = json.loads((HERE / "schemas" / f"{topic.short}.json").read_text())
    for part in (schema, *schema.get("$defs", {}).values()):
        assert part["title"] and part["description"], part
        for name, field in part["properties"].items():
            assert field.get("description"), (part["title"], name)
            if "$ref" in field or field.get("type") == "null":
                continue  # described where it points to; a field of another topic
            holds_others = any(kind in json.dumps(field) for kind in ('"$ref"', '"array"', '"object"'))
            assert field["title"] and (holds_others or field["examples"]), (part["title"], name)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.short)
def test_schema_and_model_refuse_the_same(topic: Topic) -> None:
    """Each required field taken away, and each field given a wrong type."""
    schema = Draft202012Validator(json.loads((HERE / "schemas" / f"{topic.short}.json").read_text()))
    for name in example(topic):
        wrong = {**example(topic), name: [["no", "field", "is", "this"]]}
        missing = {key: value for key, value in example(topic).items() if key != name}
        for candidate in (wrong, missing):
            try:
                topic.model.model_validate_json(json.dumps(candidate))
                fits = True
            except ValidationError:
                fits = False
            assert schema.is_valid(candidate) == fits, (name, candidate)


NUMBERS = {
    "attendance-changed": ("attended_minutes", "attended_percent"),
    "step-progress-changed": ("progress_percent",),
    "course-defined": ("version", "threshold_percent", "scheduled_minutes"),
    "reevaluation-requested": ("definition_version",),
}
SPELLED = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(-200, 200).map(repr),
    st.sampled_from(["100.0", "1e2", "0.0", "-0.0", "1.0E+1", "99.5", "2147483648.0", "1e300", "true", '"5"', "null"]),
)
"""Numbers as JSON may write them, and what is none."""


@given(data=st.data())
def test_schema_and_model_agree_on_what_an_integer_is(data: st.DataObject) -> None:
    topic = data.draw(st.sampled_from([topic for topic in CONSUMED if topic.short in NUMBERS]))
    field, spelled = data.draw(st.sampled_from(NUMBERS[topic.short])), data.draw(SPELLED)
    value = example(topic)
    for other in ("attended", "attended_minutes", "attended_percent"):
        value.pop(other, None)
    place = value["steps"][0] if field in ("threshold_percent", "scheduled_minutes") else value
    if field == "scheduled_minutes":
        place.pop("sessions", None)
    place[field] = "HERE"
    text = json.dumps(value).replace('"HERE"', spelled)
    schema = Draft202012Validator(json.loads((HERE / "schemas" / f"{topic.short}.json").read_text()))
    try:
        topic.model.model_validate_json(text)
        fits = True
    except ValidationError:
        fits = False
    assert schema.is_valid(json.loads(text)) == fits, (field, spelled)


def test_an_integral_number_is_that_integer() -> None:
    value = {**example(ATTENDANCE_CHANGED), "attended_percent": 100.0}
    value.pop("attended", None)
    value.pop("attended_minutes", None)
    assert AttendanceChanged.model_validate_json(json.dumps(value)).attended_percent == 100


AWKWARD = [
    ("attendance-changed", {"attended": None}, True),
    ("attendance-changed", {"attended_minutes": None}, False),
    ("attendance-changed", {"attended_minutes": 10**12}, True),
    ("attendance-changed", {"attended_percent": 5}, False),
    ("attendance-changed", {"source": None}, False),
    ("reassigned", {"reason": "", "reassigned_by": "x" * 5000}, True),
    ("reassigned", {"reason": "x" * 1001}, False),
    ("reassigned", {"progress": "keep"}, True),
    ("reassigned", {"progress": "hold"}, False),
    ("attendance-changed", {"attended_minutes": None, "excused": True}, True),
    ("attendance-changed", {"attended_minutes": None, "excused": False}, False),
    ("attendance-changed", {"excused": False}, True),
    ("attendance-changed", {"excused": True}, False),
    ("completion-granted", {"certificate": "issue"}, False),
    ("completion-granted", {"certificate": "issue", "certificate_id": None}, True),
    ("completion-granted", {"certificate": None}, True),
    ("completion-granted", {"certificate": None, "source": "manual"}, False),
    ("completion-granted", {"source": "manual"}, True),
    ("course-defined", {"valid_for": "P1Y6M15D"}, True),
    ("course-defined", {"valid_for": "P010M"}, True),
    ("course-defined", {"valid_for": "P0D"}, False),
    ("course-defined", {"valid_for": "P"}, False),
    ("course-defined", {"valid_for": "P2W"}, False),
    ("course-defined", {"valid_for": "PT24H"}, False),
    ("course-defined", {"valid_for": None, "groups": None}, True),
    ("course-defined", {"groups": [{"group_id": "g", "step_ids": [], "at_least": 1}]}, False),
    ("course-defined", {"groups": [{"group_id": "g", "step_ids": ["forklift-practice"], "at_least": 0}]}, False),
    ("course-defined", {"steps": []}, True),
    ("course-defined", {"steps": [{"step_id": "o", "kind": "other", "scheduled_minutes": 5}]}, False),
    ("course-defined", {"steps": [{"step_id": "o", "kind": "other", "scheduled_minutes": None}]}, True),
    ("course-defined", {"steps": [{"step_id": "e", "kind": "event", "scheduled_minutes": 5, "sessions": None}]}, True),
    (
        "course-defined",
        {
            "steps": [
                {
                    "step_id": "e",
                    "kind": "event",
                    "scheduled_minutes": 5,
                    "sessions": [{"session_id": "s", "scheduled_minutes": 5}],
                }
            ]
        },
        False,
    ),
]


@pytest.mark.parametrize(("short", "fields", "fits"), AWKWARD)
def test_schema_and_model_agree_on_what_is_awkward(short: str, fields: dict[str, Any], fits: bool) -> None:
    topic = next(topic for topic in TOPICS if topic.short == short)
    candidate = {**example(topic), **({"groups": None} if "steps" in fields else {}), **fields}
    schema = Draft202012Validator(json.loads((HERE / "schemas" / f"{short}.json").read_text()))
    assert schema.is_valid(candidate) == fits
    try:
        topic.model.model_validate_json(json.dumps(candidate))
        read = True
    except ValidationError:
        read = False
    assert read == fits


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        ([{"group_id": "g", "step_ids": ["forklift-practice", "forklift-practice"], "at_least": 1}], "stands twice"),
        ([{"group_id": "g", "step_ids": ["forklift-practice"], "at_least": 2}], "2 of 1 steps can never be complete"),
        (
            [{"group_id": "g", "step_ids": ["live-1"], "at_least": 1}],
            "groups: g: step live-1 is not a step .* required",
        ),
        ([{"group_id": "g", "step_ids": ["nowhere"], "at_least": 1}], "groups: g: step nowhere is not a step"),
        ([{"group_id": "g", "step_ids": ["forklift-practice"], "at_least": 1}] * 2, "group_id g stands twice"),
    ],
)
def test_groups_that_make_no_sense(groups: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        CourseDefined.model_validate_json(json.dumps({**example_of("course-defined"), "groups": groups}))


INBOUND = [topic for topic in TOPICS if topic.direction == "in"]


@pytest.mark.parametrize("topic", INBOUND, ids=lambda topic: topic.short)
def test_a_field_of_another_topic_is_refused_and_null_says_nothing(topic: Topic) -> None:
    """By service and schema alike; the service names field and topics."""
    schema = Draft202012Validator(json.loads((HERE / "schemas" / f"{topic.short}.json").read_text()))
    foreign = foreign_fields(topic)
    assert foreign
    for name in foreign:
        said = {**example(topic), name: next((example(one)[name] for one in INBOUND if name in example(one)), True)}
        item = read(topic, json.dumps(said).encode(), None)
        assert isinstance(item, Unusable) and item.reason == "invalid_message"
        assert item.explanation.startswith(f"{name}: is a field of lms.") and topic.name in item.explanation
        assert not schema.is_valid(said)
        assert not isinstance(read(topic, json.dumps({**said, name: None}).encode(), None), Unusable)
        assert schema.is_valid({**said, name: None})
    assert not isinstance(read(topic, json.dumps({**example(topic), "weather": 1}).encode(), None), Unusable)


def test_asyncapi_names_every_topic_and_its_schema() -> None:
    page = yaml.safe_load((HERE / "asyncapi.yaml").read_text())
    assert {channel["address"] for channel in page["channels"].values()} == {topic.name for topic in TOPICS}
    for name, channel in page["channels"].items():
        message = channel["messages"][name]
        told = channel["description"]
        assert all(word in told for word in ("Key", "Partition: ", "Order: ", "Delivery: ", "Kept: ")), name
        assert message["bindings"]["kafka"]["key"]["description"] and message["examples"]
        for part in ("payload", "headers"):
            if "$ref" in message.get(part, {}):
                assert (HERE / message[part]["$ref"]).exists()


def test_asyncapi_tells_what_is_kept() -> None:
    channels = yaml.safe_load((HERE / "asyncapi.yaml").read_text())["channels"]
    assert channels["course-defined"]["bindings"]["kafka"]["topicConfiguration"] == {"cleanup.policy": ["compact"]}
    assert "last message of each key" in channels["course-defined"]["description"]
    letters = channels["dead-letter"]
    assert letters["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] == 30 * 24 * 3600 * 1000
    assert "Kept: 30 days." in letters["description"]
    assert "topicConfiguration" not in channels["attendance-changed"]["bindings"]["kafka"]


def test_short_names_are_unique() -> None:
    assert len({topic.short for topic in TOPICS}) == len(TOPICS)
    assert len({topic.name for topic in (*CONSUMED, *TOPICS)}) == len(TOPICS)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("2026-03-01T09:30:00Z", "2026-03-01T09:30:00Z"),
        ("2026-03-01T09:30:00+02:00", "2026-03-01T07:30:00Z"),
        ("2026-03-01t09:30:00.5z", "2026-03-01T09:30:00.500000Z"),
        ("2026-03-01T09:30:00.123456789-01:00", "2026-03-01T10:30:00.123456Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_times(text: str, normal: str) -> None:
    instant = parse_timestamp(text)
    assert isinstance(instant, int)
    assert format_timestamp(instant) == normal
    assert parse_timestamp(normal) == instant


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T09:30:00",
        "2026-03-01",
        "2026-03-01T09:30Z",
        "2026-02-30T09:30:00Z",
        "2026-03-01T09:30:60Z",
        "2026-03-01T09:30:00+2500",
        "20260301T093000Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-10:00",
        "now",
        "",
        1772357400,
        True,
        None,
    ],
)
def test_no_times(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Timestamp).validate_json(json.dumps(value))


@pytest.mark.parametrize("value", ["", "a/b", "a b", "ä", "a" * 129, "a\n", 5, None, ["a"]])
def test_no_ids(value: object) -> None:
    with pytest.raises(ValidationError, match="tenant_id"):
        CourseDefined.model_validate_json(json.dumps({**example_of("course-defined"), "tenant_id": value}))


def example_of(short: str) -> dict[str, Any]:
    """The example of the topic with this short name."""
    return example(next(topic for topic in TOPICS if topic.short == short))


@pytest.mark.parametrize("value", ["5", 5.5, -1, -1.0, True, None, "true"])
def test_numbers_are_not_converted(value: object) -> None:
    with pytest.raises(ValidationError):
        AttendanceChanged.model_validate_json(
            json.dumps({**example_of("attendance-changed"), "attended_minutes": value})
        )


def test_unknown_fields_are_ignored() -> None:
    message = AttendanceChanged.model_validate_json(
        json.dumps({**example_of("attendance-changed"), "weather": {"is": "fine"}})
    )
    assert message.attended_minutes == 0


def test_derived_ids_never_change() -> None:
    """Every id ever sent depends on these; a change here is a break for every reader."""
    assert message_id("acme/l-1/c-1", 1, b"{}") == "ebc7a876-ff5c-5317-9ddd-5b1be7e831d9"
    assert message_id("a/b/c", 7, b"{}") == str(uuid5(NAMESPACE, "message/a/b/c/7/{}"))
    assert certificate_id("acme/l-1/c-1", 1) == "8335de3d-abcd-5818-83a2-c670d23f32bc"
