"""`POST /v1/messages`: what is accepted is in Kafka, once; what is not says why, field by field; nothing breaks it."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from service.kafka.partitioner import partition_of
from tests.stack.service import World
from tests.stack.wire import Got, Wire, key_of
from tests.web.programs import JSON, Site, accepted, attendance, definition, is_problem, open_site, post, record, unique

BODY_BYTES = 200_000
PER_SECOND = 50


@pytest.fixture(scope="module")
def narrow(make_world: Callable[..., World]) -> Iterator[Site]:
    """Little is allowed there."""
    settings = {"RATCHET_WEB_BODY_BYTES": str(BODY_BYTES), "RATCHET_WEB_MESSAGES_PER_SECOND": str(PER_SECOND)}
    yield from open_site(make_world(), **settings)


async def in_kafka(world: World, tenant: str, *topics: str) -> list[Got]:
    """Of a tenant, in the order of each partition."""
    async with Wire(world) as wire:
        return [got for got in await wire.read(*topics) if got.json["tenant_id"] == tenant]


async def test_what_is_accepted_is_in_kafka_and_decided(site: Site, tenant: str) -> None:
    client = site.as_("administrator viewer", tenant)
    messages = [definition(tenant), *(attendance(tenant, f"l-{number}") for number in range(20))]
    told = post(client, *messages)
    assert (told["accepted"], told["sent_before"], told["invalid"]) == (21, 0, 0)
    assert told["items"] == [
        {"status": "accepted", "message_id": value["message_id"], "errors": []} for _, value in messages
    ]
    found = await in_kafka(site.world, tenant, "course-defined", "attendance-changed")
    assert sorted(got.json["message_id"] for got in found) == sorted(value["message_id"] for _, value in messages)
    for got in found:
        assert got.key == key_of(got.json) and got.partition == partition_of(got.key, site.world.partitions)
    sent = {value["message_id"]: value for _, value in messages}
    assert all(got.json == sent[got.json["message_id"]] for got in found)
    for number in range(20):
        assert record(client, tenant, f"l-{number}")["course"]["completed_via"] == "steps"


async def test_a_thousand_and_not_one_more(site: Site, tenant: str) -> None:
    client = site.as_("administrator", tenant)
    messages = [attendance(tenant, f"l-{number}") for number in range(1000)]
    told = post(client, *messages)
    assert told["accepted"] == 1000
    items = [{"topic": topic, "value": value} for topic, value in [*messages, attendance(tenant, "one-more")]]
    is_problem(client.post("/v1/messages", json={"messages": items}), 422)
    is_problem(client.post("/v1/messages", json={"messages": []}), 422)
    assert len(await in_kafka(site.world, tenant, "attendance-changed")) == 1000


async def test_the_order_of_a_record_is_that_of_the_list(site: Site, tenant: str) -> None:
    client = site.as_("administrator", tenant)
    messages = [attendance(tenant, "l-1", attended_minutes=number) for number in range(200)]
    accepted(client, *messages)
    found = await in_kafka(site.world, tenant, "attendance-changed")
    assert [got.json["attended_minutes"] for got in found] == list(range(200))


async def test_the_same_request_again_sends_nothing(site: Site, tenant: str) -> None:
    client, other = site.as_("administrator", tenant), site.as_("administrator", "*")
    messages = [attendance(tenant, f"l-{number}") for number in range(50)]
    accepted(client, *messages[:30])
    told = post(client, *messages)
    assert (told["accepted"], told["sent_before"]) == (20, 30)
    assert [item["status"] for item in told["items"]] == ["sent_before"] * 30 + ["accepted"] * 20
    assert post(other, *messages)["sent_before"] == 50
    assert len(await in_kafka(site.world, tenant, "attendance-changed")) == 50


async def test_an_id_twice_in_one_request(site: Site, tenant: str) -> None:
    client = site.as_("administrator", tenant)
    first, second = attendance(tenant, "l-1"), attendance(tenant, "l-2")
    told = post(client, first, second, first)
    assert [item["status"] for item in told["items"]] == ["accepted", "accepted", "sent_before"]
    same_id = ("attendance-changed", {**second[1], "learner_id": "l-3"})
    told = post(client, attendance(tenant, "l-4"), same_id)
    assert [item["status"] for item in told["items"]] == ["accepted", "invalid"]
    assert [error["field"] for error in told["items"][1]["errors"]] == ["message_id"]
    third = attendance(tenant, "l-5")
    told = post(client, third, ("attendance-changed", {**third[1], "learner_id": "l-6"}))
    assert [item["status"] for item in told["items"]] == ["accepted", "invalid"]
    other_topic = ("reassigned", {name: third[1][name] for name in ("message_id", "tenant_id", "course_id")})
    other_topic[1].update(learner_id="l-5", changed_at="2026-02-01T09:00:00Z")
    assert post(client, other_topic)["items"][0]["errors"][0]["field"] == "message_id"
    learners = [got.json["learner_id"] for got in await in_kafka(site.world, tenant, "attendance-changed")]
    assert sorted(learners) == ["l-1", "l-2", "l-4", "l-5"]
    assert await in_kafka(site.world, tenant, "reassigned") == []


async def test_an_id_of_another_tenant_is_another_id(site: Site, tenant: str) -> None:
    other = unique()
    client = site.as_("administrator", tenant, other)
    first, second = attendance(tenant, "l-1"), attendance(other, "l-1")
    accepted(client, first, ("attendance-changed", {**second[1], "message_id": first[1]["message_id"]}))


async def test_requests_at_the_same_time_send_each_message_once(site: Site, tenant: str) -> None:
    """Two processes, each asked twice at once, forwards and backwards."""
    beside = site.start()
    messages = [attendance(tenant, f"l-{number}") for number in range(400)]
    clients = [site.as_("administrator", tenant, web=web) for web in (site.web, beside) for _ in range(2)]
    asked = [messages, messages[::-1], messages[200:] + messages[:200], messages[::-1]]
    try:
        with ThreadPoolExecutor(4) as threads:
            told = list(threads.map(lambda one: post(one[0], *one[1]), zip(clients, asked, strict=True)))
    finally:
        assert beside.stop() == 0
    assert sum(one["accepted"] for one in told) == 400
    assert sum(one["sent_before"] for one in told) == 1200
    found = [got.json["message_id"] for got in await in_kafka(site.world, tenant, "attendance-changed")]
    assert len(found) == 400 and len(set(found)) == 400


async def test_a_tenant_of_others_is_as_unknown_as_one_that_is_none(site: Site, tenant: str) -> None:
    other = unique()
    accepted(site.as_("administrator", other), definition(other), attendance(other, "l-1"))
    client = site.as_("administrator", tenant)
    real, made_up = (post(client, attendance(one, "l-1")) for one in (other, unique()))
    assert real == made_up
    assert real["items"][0]["status"] == "invalid" and real["items"][0]["errors"][0]["field"] == "tenant_id"
    assert len(await in_kafka(site.world, other, "attendance-changed")) == 1
    told = post(client, attendance(tenant, "l-1"), attendance(other, "l-2"), attendance(tenant, "l-3"))
    assert [item["status"] for item in told["items"]] == ["accepted", "invalid", "accepted"]
    told = post(site.as_("administrator"), attendance(tenant, "l-1"))
    assert told["invalid"] == 1


@pytest.mark.parametrize(
    ("topic", "change", "field"),
    [
        ("nothing", {}, "topic"),
        (None, {}, "topic"),
        (["attendance-changed"], {}, "topic"),
        ("reevaluation-requested", {}, "topic"),
        ("dead-letter", {}, "topic"),
        ("lms.attendance-changed.v1", {}, "topic"),
        ("attendance-changed", {"learner_id": "no slash/here"}, "learner_id"),
        ("attendance-changed", {"learner_id": None}, "learner_id"),
        ("attendance-changed", {"learner_id": "l" * 129}, "learner_id"),
        ("attendance-changed", {"learner_id": "nul\0"}, "learner_id"),
        ("attendance-changed", {"learner_id": "\ud800"}, "value"),
        ("attendance-changed", {"message_id": ""}, "message_id"),
        ("attendance-changed", {"attended": "yes"}, "attended"),
        ("attendance-changed", {"changed_at": "2026-02-01 at nine"}, "changed_at"),
        ("attendance-changed", {"changed_at": "2999-02-01T09:00:00Z"}, "changed_at"),
        ("attendance-changed", {"changed_at": 1.5}, "changed_at"),
        ("attendance-changed", {"source": "\ud800"}, "value"),
        ("attendance-changed", {"event_id": {"\ud800": 1}}, "value"),
        ("attendance-changed", {"progress_percent": 5}, "progress_percent"),
        ("step-progress-changed", {"step_id": "s", "progress_percent": 101}, "progress_percent"),
    ],
)
def test_what_is_invalid_says_which_field(site: Site, tenant: str, topic: Any, change: Any, field: str) -> None:
    client = site.as_("administrator", tenant)
    value = {**attendance(tenant, "l-1")[1], **change}
    told = post(client, (topic, value))
    assert told["invalid"] == 1 and told["items"][0]["status"] == "invalid"
    assert field in [error["field"] for error in told["items"][0]["errors"]], told
    assert all(error["message"] for error in told["items"][0]["errors"])


@pytest.mark.parametrize("value", [None, [], "text", 7, True, {}, {"tenant_id": 1}, {"\ud800": "\ud800", "\0": "\0"}])
def test_values_of_any_kind_are_invalid(site: Site, tenant: str, value: Any) -> None:
    told = post(site.as_("administrator", tenant), ("attendance-changed", value))
    assert told["items"][0]["status"] == "invalid" and told["items"][0]["errors"]


def test_what_is_kept_may_be_any_text(site: Site, tenant: str) -> None:
    client = site.as_("administrator viewer", tenant)
    accepted(client, definition(tenant), attendance(tenant, "l-1", reason="a\0b \u202e <script>", actor="ü" * 1000))
    record(client, tenant, "l-1")
    assert client.get(f"/v1/records/{tenant}/l-1/c-1/timeline").status_code == 200
    told = post(client, attendance(tenant, "l-1", reason="\ud800"))
    assert told["items"][0]["status"] == "invalid", "it cannot be kept"


def deep(levels: int) -> bytes:
    return b'{"messages": [{"topic": "attendance-changed", "value": {"x": ' + b"[" * levels + b"]" * levels + b"}}]}"


BROKEN = {
    "nothing": b"",
    "no JSON": b"{",
    "a text": b'"messages"',
    "a list": b"[]",
    "null": b"null",
    "a number": b"17",
    "NaN": b"NaN",
    "Infinity": b'{"messages": Infinity}',
    "no list": b'{"messages": {}}',
    "an item that is none": b'{"messages": [1]}',
    "an item without a value": b'{"messages": [{"topic": "attendance-changed"}]}',
    "an unknown field": b'{"messages": [{"topic": "a", "value": {}, "key": "k"}]}',
    "an unknown field beside": b'{"messages": [{"topic": "a", "value": {}}], "dry_run": true}',
    "an unknown field that is no text": b'{"messages": [{"topic": "a", "value": {}}], "\\ud800": true}',
    "a field named NUL": b'{"messages": [{"topic": "a", "value": {}}], "\\u0000": true}',
    "not UTF-8": b'{"messages": [{"topic": "\xff", "value": {}}]}',
    "UTF-16": '{"messages": []}'.encode("utf-16"),
    "NUL": b"\0",
    "a mark and nothing": b"\xef\xbb\xbf",
    "very deep": deep(100_000),
    "a very long number": b'{"messages": ' + b"9" * 50_000 + b"}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_is_none(site: Site, tenant: str, name: str) -> None:
    answer = site.as_("administrator", tenant).post("/v1/messages", content=BROKEN[name], headers=JSON)
    assert is_problem(answer, answer.status_code) and answer.status_code in (400, 422)


@pytest.mark.parametrize("levels", [50, 100, 200, 300, 400, 500, 700, 800, 900, 950, 1000, 1500, 3000, 20_000])
def test_depth_breaks_nothing(site: Site, tenant: str, levels: int) -> None:
    """Wherever recursion ends: while it is read, checked, or answered."""
    answer = site.as_("administrator", tenant).post("/v1/messages", content=deep(levels), headers=JSON)
    if answer.status_code == 200:
        assert answer.json()["invalid"] == 1
    else:
        is_problem(answer, answer.status_code)
        assert answer.status_code in (400, 422)


@pytest.mark.parametrize(
    "number", ["NaN", "-Infinity", "1e999", "-1e999", "1" + "0" * 4000, "1" + "0" * 5000, "1e-999"]
)
@pytest.mark.parametrize("field", ["attended_minutes", "attended_percent", "message_id", "more"])
def test_numbers_of_any_size(site: Site, tenant: str, number: str, field: str) -> None:
    _, value = attendance(tenant, "l-1")
    text = json.dumps({"messages": [{"topic": "attendance-changed", "value": {**value, field: "HERE"}}]})
    client = site.as_("administrator", tenant)
    answer = client.post("/v1/messages", content=text.replace('"HERE"', number), headers=JSON)
    if answer.status_code != 200:
        is_problem(answer, answer.status_code)
        assert answer.status_code in (400, 422)
    else:
        assert answer.json()["items"][0]["status"] in ("invalid", "accepted")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "", "application/json; x"])
def test_other_content_types(site: Site, tenant: str, kind: str) -> None:
    body = json.dumps({"messages": [{"topic": "attendance-changed", "value": attendance(tenant, "l-1")[1]}]})
    answer = site.as_("administrator", tenant).post("/v1/messages", content=body, headers={"Content-Type": kind})
    assert answer.status_code < 500
    if answer.status_code != 200:
        is_problem(answer, answer.status_code)


def test_a_body_that_is_too_long(narrow: Site, tenant: str) -> None:
    client = narrow.as_("administrator", tenant)
    filler = b'{"messages": [' + b" " * BODY_BYTES
    told = is_problem(client.post("/v1/messages", content=filler, headers=JSON), 413)
    assert str(BODY_BYTES) in told["detail"]
    pieces = client.post("/v1/messages", content=iter([filler[:1000]] * 300), headers=JSON)
    is_problem(pieces, 413)
    (item,) = [{"topic": topic, "value": value} for topic, value in [attendance(tenant, "l-1")]]
    fits = json.dumps({"messages": [item]}).encode().ljust(BODY_BYTES)
    assert client.post("/v1/messages", content=fits, headers=JSON).json()["accepted"] == 1


def test_too_many_messages_are_told_when_to_come_again(narrow: Site, tenant: str) -> None:
    client, other = narrow.as_("administrator", tenant), narrow.as_("administrator", tenant)

    def ask(asking: httpx2.Client, count: int) -> httpx2.Response:
        items = [{"topic": "attendance-changed", "value": attendance(tenant, "l-1")[1]} for _ in range(count)]
        return asking.post("/v1/messages", json={"messages": items})

    assert ask(client, 600).status_code == 200
    assert ask(client, 400).status_code == 200
    refused = ask(client, 200)
    is_problem(refused, 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= 5
    assert ask(other, 200).status_code == 200, "the allowance is each one's own"
