"""How records stand, why, what would be if; lists; a learner's courses, export, and erasure for good."""

from typing import Any

import httpx2
import pytest

from tests.stack.wire import Wire
from tests.web.programs import (
    JSON,
    Json,
    Site,
    accepted,
    attendance,
    definition,
    eventually,
    is_problem,
    post,
    record,
    unique,
)


def about(tenant: str, learner: str, day: int, **more: Any) -> Json:
    """What every fact says."""
    ids = {"message_id": unique("m"), "tenant_id": tenant, "learner_id": learner, "course_id": "c-1"}
    return {**ids, "changed_at": f"2026-02-{day:02d}T09:00:00Z", **more}


@pytest.fixture(scope="module")
def standing(site: Site) -> str:
    """A tenant with a record of every kind."""
    tenant = unique()
    client = site.as_("administrator viewer", tenant)
    accepted(client, definition(tenant), definition(tenant, "c-2"))
    # a worker may have facts before their definition, and then timelines tell of both
    eventually(lambda: len(client.get("/v1/courses").json()["items"]) == 2)
    accepted(
        client,
        attendance(tenant, "by-steps"),
        attendance(tenant, "half", attended_minutes=30),
        ("equivalency-granted", about(tenant, "by-equivalency", 3)),
        ("completion-granted", about(tenant, "by-hand", 4)),
        attendance(tenant, "held-no-more"),
        attendance(tenant, "by-steps", "c-2", attended_minutes=15),
    )
    record(client, tenant, "held-no-more")
    accepted(client, attendance(tenant, "held-no-more", attended_minutes=0, changed_at="2026-02-05T09:00:00Z"))
    for learner in ("by-steps", "by-equivalency", "by-hand"):
        record(client, tenant, learner)
    record(client, tenant, "half", "incomplete")
    record(client, tenant, "by-steps", "incomplete", "c-2")
    eventually(lambda: record(client, tenant, "held-no-more")["course"]["evidence"] == "withdrawn")
    return tenant


@pytest.fixture
def client(site: Site, standing: str) -> httpx2.Client:
    """Who looks at it."""
    return site.as_("viewer", standing)


def test_state(client: httpx2.Client, standing: str) -> None:
    told = client.get(f"/v1/records/{standing}/by-steps/c-1")
    assert told.status_code == 200 and told.headers["Cache-Control"] == "no-store"
    assert told.json() == {
        "record": f"{standing}/by-steps/c-1",
        "attempt": 1,
        "steps": {"e-1": {"percent": 100, "complete": True}},
        "course": {
            "status": "completed",
            "completed_via": "steps",
            "completed_at": "2026-02-01T09:00:00Z",
            "expires_at": None,
            "evidence": "held",
        },
        "certificate": told.json()["certificate"],
    }
    assert told.json()["certificate"]["status"] == "issued"


def test_state_is_told_again_only_once_it_changes(site: Site, tenant: str) -> None:
    client = site.as_("administrator viewer", tenant)
    accepted(client, definition(tenant), attendance(tenant, "l-1"))
    record(client, tenant, "l-1")
    path = f"/v1/records/{tenant}/l-1/c-1"
    tag = client.get(path).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", tag), known
    for unknown in ('"other"', "", tag.strip('"'), f"{tag}x", "\xff,,"):
        assert client.get(path, headers={b"If-None-Match": unknown.encode("latin-1")}).status_code == 200, unknown
    accepted(client, attendance(tenant, "l-1", attended_minutes=0, changed_at="2026-02-05T09:00:00Z"))
    eventually(lambda: client.get(path, headers={"If-None-Match": tag}).status_code == 200)


def test_timeline(client: httpx2.Client, standing: str) -> None:
    told = client.get(f"/v1/records/{standing}/held-no-more/c-1/timeline").json()
    assert told["state"]["course"]["evidence"] == "withdrawn"
    assert [one["changed_at"] for one in told["timeline"]] == ["2026-02-01T09:00:00Z", "2026-02-05T09:00:00Z"]
    for entry in told["timeline"]:
        assert entry["rules"] and entry["message_id"] and entry["decided_at"]
        assert all(rule["rule_id"] and rule["because"] for rule in entry["rules"])
    first, second = told["timeline"]
    assert first["after"]["course"]["status"] == "completed" and second["after"]["course"]["evidence"] == "withdrawn"
    assert [one["sequence"] for entry in told["timeline"] for one in entry["announced"]] == [1, 2, 3]


def test_what_if(client: httpx2.Client, standing: str) -> None:
    def ask(learner: str, topic: str, **value: Any) -> Json:
        answer = client.post(f"/v1/records/{standing}/{learner}/c-1/what-if", json={"topic": topic, "value": value})
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        return told

    told = ask("by-steps", "attendance-changed", event_id="e-1", attended_minutes=0)
    assert told["refused"] is None and told["before"]["course"]["evidence"] == "held"
    assert told["after"]["course"]["status"] == "completed" and told["after"]["course"]["evidence"] == "withdrawn"
    assert told["after"]["steps"]["e-1"]["percent"] == 0
    assert told["decision"]["rules"] and told["decision"]["after"]["course"]["evidence"] == "withdrawn"
    told = ask("by-steps", "reassigned")
    assert told["after"]["course"]["status"] == "incomplete" and told["after"]["attempt"] == 2
    kept = ask("by-steps", "reassigned", progress="keep")
    assert kept["after"]["attempt"] == 2 and kept["after"]["steps"]["e-1"]["complete"]
    told = ask("nobody-yet", "attendance-changed", event_id="e-1", attended=True)
    assert told["before"]["course"]["status"] == "incomplete" and told["after"]["course"]["status"] == "completed"
    for wrong in ({}, {"event_id": "e-9", "attended": True}, {"event_id": "e-1", "attended": "yes"}):
        told = ask("by-steps", "attendance-changed", **wrong)
        assert told["refused"] or told["after"]["course"] == told["before"]["course"]
    mine = ask("by-steps", "attendance-changed", event_id="e-1", attended=True, tenant_id="other", learner_id="other")
    assert mine["after"] == mine["before"]


async def test_what_if_sends_nothing_and_changes_nothing(site: Site, standing: str) -> None:
    client = site.as_("viewer", standing)
    path = f"/v1/records/{standing}/by-steps/c-1"

    async def there() -> tuple[int, str]:
        async with Wire(site.world) as wire:
            return len(await wire.read("attendance-changed", "reassigned")), client.get(path).headers["ETag"]

    before = await there()
    for topic, value in (("reassigned", {}), ("attendance-changed", {"event_id": "e-1", "attended_minutes": 0})):
        assert client.post(f"{path}/what-if", json={"topic": topic, "value": value}).status_code == 200
    assert await there() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"topic": "course-defined", "value": {}}',
        b'{"topic": "nothing", "value": {}}',
        b'{"topic": "\\ud800", "value": {}}',
        b'{"topic": "reassigned", "value": []}',
        b'{"topic": "reassigned"}',
        b'{"topic": "reassigned", "value": {}, "more": 1}',
        b'{"topic": "reassigned", "value": {"\\ud800": 1}, "\\ud800": 1}',
        b'{"topic": "reassigned", "value": ' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}",
    ],
)
def test_what_if_of_what_is_no_message(client: httpx2.Client, standing: str, body: bytes) -> None:
    answer = client.post(f"/v1/records/{standing}/by-steps/c-1/what-if", content=body, headers=JSON)
    assert answer.status_code in (400, 422)
    is_problem(answer, answer.status_code)


@pytest.mark.parametrize(
    "value",
    [
        '{"reason": "\\ud800"}',
        '{"reason": NaN}',
        '{"due_at": 1e999}',
        '{"reason": "\\u0000"}',
        '{"x": ' + "[" * 400 + "]" * 400 + "}",
        '{"x": ' + "[" * 900 + "]" * 900 + "}",
        '{"changed_at": null}',
        '{"changed_at": "9999-12-31T23:59:59Z"}',
        '{"changed_at": "0001-01-01T00:00:00Z"}',
    ],
)
def test_what_if_of_what_would_be_a_dead_letter(client: httpx2.Client, standing: str, value: str) -> None:
    content = f'{{"topic": "reassigned", "value": {value}}}'
    answer = client.post(f"/v1/records/{standing}/by-steps/c-1/what-if", content=content, headers=JSON)
    assert answer.status_code in (200, 400, 422), answer.text


ALL = {("by-equivalency", "c-1"), ("by-hand", "c-1"), ("by-steps", "c-1"), ("by-steps", "c-2")} | {
    ("half", "c-1"),
    ("held-no-more", "c-1"),
}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ALL),
        ({"course": "c-1"}, ALL - {("by-steps", "c-2")}),
        ({"course": "c-9"}, set()),
        ({"status": "incomplete"}, {("half", "c-1"), ("by-steps", "c-2")}),
        ({"status": "completed", "course": "c-2"}, set()),
        ({"evidence": "withdrawn"}, {("held-no-more", "c-1")}),
        ({"evidence": "held"}, {("by-steps", "c-1")}),
        ({"completed_via": "equivalency"}, {("by-equivalency", "c-1")}),
        ({"completed_via": "granted"}, {("by-hand", "c-1")}),
        ({"completed_via": "steps"}, {("by-steps", "c-1"), ("held-no-more", "c-1")}),
        ({"completed_after": "2026-02-03T09:00:00Z"}, {("by-hand", "c-1")}),
        ({"completed_before": "2026-02-03T09:00:00Z"}, {("by-steps", "c-1"), ("held-no-more", "c-1")}),
        (
            {"completed_after": "2026-02-01T09:00:00Z", "completed_before": "2026-02-04T10:00:00+01:00"},
            {("by-equivalency", "c-1")},
        ),
    ],
)
def test_lists(client: httpx2.Client, standing: str, wanted: dict[str, str], found: set[tuple[str, str]]) -> None:
    told = client.get("/v1/records", params={"tenant": standing, **wanted}).json()
    assert {(one["learner_id"], one["course_id"]) for one in told["items"]} == found
    assert client.get("/v1/records", params=wanted).json() == told, "they are the caller's own anyway"
    assert told["next"] is None


def pages(client: httpx2.Client, path: str, limit: int, **params: str) -> list[list[Json]]:
    """All of them, each of them bounded."""
    found: list[list[Json]] = []
    cursor = ""
    while True:
        answer = client.get(path, params={**params, "limit": limit, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["items"])
        assert len(found[-1]) <= limit
        cursor = answer.json()["next"]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 7, 10, 40, 1000])
def test_pages_have_each_record_once(site: Site, limit: int, many: tuple[str, str]) -> None:
    client = site.as_("viewer", *many)
    keys = [one["key"] for page in pages(client, "/v1/records", limit) for one in page]
    assert keys == sorted(f"{tenant}/l-{number}/c-1" for tenant in many for number in range(20))
    of_one = [one["key"] for page in pages(client, "/v1/records", limit, tenant=many[0], course="c-1") for one in page]
    assert of_one == sorted(f"{many[0]}/l-{number}/c-1" for number in range(20))


@pytest.fixture(scope="module")
def many(site: Site) -> tuple[str, str]:
    """Two tenants with twenty learners each."""
    tenants = (unique(), unique())
    client = site.as_("administrator viewer", *tenants)
    for tenant in tenants:
        accepted(client, definition(tenant), *(attendance(tenant, f"l-{number}") for number in range(20)))
    eventually(lambda: len(client.get("/v1/records", params={"status": "completed"}).json()["items"]) == 40)
    return tenants


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "many"),
        ("cursor", "not base64!"),
        ("cursor", "/w=="),
        ("cursor", "ü"),
        ("cursor", "a" * 2000),
        ("course", "with/slash"),
        ("tenant", "\0"),
        ("status", "both"),
        ("evidence", ""),
        ("completed_via", "magic"),
        ("completed_after", "yesterday"),
        ("completed_after", "2026-02-30T00:00:00Z"),
        ("completed_before", "2026-02-01T00:00:00"),
    ],
)
def test_parameters_that_are_wrong_are_named(client: httpx2.Client, name: str, value: str) -> None:
    answer = client.get("/v1/records", params={name: value})
    if answer.status_code == 404:
        assert name == "tenant", "it is nobody's of this caller's"
        return
    assert [error["field"] for error in is_problem(answer, 422)["errors"]] == [name]


def test_a_learner(client: httpx2.Client, standing: str) -> None:
    told = client.get(f"/v1/learners/{standing}/by-steps").json()
    assert [(one["course_id"], one["status"]) for one in told["records"]] == [
        ("c-1", "completed"),
        ("c-2", "incomplete"),
    ]
    found = client.get(f"/v1/learners/{standing}").json()["items"]
    assert [one["learner_id"] for one in found] == sorted({learner for learner, _ in ALL})
    for begins, expected in (("by-", 3), ("by-s", 1), ("h", 2), ("zz", 0), ("by-steps/", 1), ("%", 0), (".*", 0)):
        answer = client.get(f"/v1/learners/{standing}", params={"begins": begins})
        assert len(answer.json()["items"]) == expected, begins
    assert len(client.get(f"/v1/learners/{standing}", params={"limit": 2}).json()["items"]) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/v1/records/{}/nobody/c-1",
        "/v1/records/{}/by-steps/c-9",
        "/v1/records/{}/by-steps/c-1/nothing",
        "/v1/records/{}/nobody/c-1/timeline",
        "/v1/records/{}/not%20an%20id/c-1",
        "/v1/records/{}/%00/c-1",
        "/v1/records/{}/%FF/c-1",
        "/v1/records/{}/a%2Fb/c-1",
        "/v1/records/nobodys/by-steps/c-1",
        "/v1/learners/{}/nobody",
        "/v1/learners/nobodys",
        "/v1/nothing",
        "/v1/",
    ],
)
def test_what_does_not_exist(client: httpx2.Client, standing: str, path: str) -> None:
    told = is_problem(client.get(path.format(standing)), 404)
    assert told["detail"] == "There is no such thing here."


def test_methods_that_are_none(client: httpx2.Client, standing: str) -> None:
    answer = client.put(f"/v1/records/{standing}/by-steps/c-1")
    is_problem(answer, 405)
    assert answer.headers["Allow"] == "GET"


def audit_of(site: Site, tenant: str) -> list[Json]:
    """Of a tenant, the oldest first."""
    found: list[Json] = site.as_("privacy", tenant).get("/v1/audit").json()["items"]
    return found[::-1]


def test_export_tells_all(site: Site, tenant: str) -> None:
    client = site.as_("administrator", tenant, name="exporter")
    accepted(client, definition(tenant), attendance(tenant, "secret-learner", reason="ill", actor="boss"))
    record(client, tenant, "secret-learner")
    answer = client.get(f"/v1/learners/{tenant}/secret-learner/export")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="learner.json"'
    told = answer.json()
    assert (told["tenant_id"], told["learner_id"]) == (tenant, "secret-learner")
    (kept,) = told["records"]
    assert kept["facts"][0]["details"] == {"actor": "boss", "reason": "ill", "source": "platform"}
    assert kept["state"]["course"]["status"] == "completed" and kept["timeline"]
    is_problem(client.get(f"/v1/learners/{tenant}/nobody/export"), 404)
    entries = audit_of(site, tenant)
    assert [(one["who"], one["what"]) for one in entries] == [("exporter", "messages"), ("exporter", "export")]
    assert "secret-learner" not in str(entries)


async def test_erasure_is_for_good(site: Site, tenant: str) -> None:
    client, privacy = site.as_("administrator viewer", tenant), site.as_("privacy", tenant, name="officer")
    accepted(client, definition(tenant), definition(tenant, "c-2"))
    accepted(client, *(attendance(tenant, "secret-learner", course) for course in ("c-1", "c-2")))
    accepted(client, attendance(tenant, "secret-learner-2"))
    for course in ("c-1", "c-2"):
        record(client, tenant, "secret-learner", course=course)
    record(client, tenant, "secret-learner-2")
    is_problem(client.delete(f"/v1/learners/{tenant}/secret-learner"), 403)
    assert privacy.delete(f"/v1/learners/{tenant}/secret-learner").json() == {"records": 2}
    assert privacy.delete(f"/v1/learners/{tenant}/secret-learner").json() == {"records": 0}
    for path in ("records/{}/secret-learner/c-1", "learners/{}/secret-learner", "learners/{}/secret-learner/export"):
        is_problem(client.get(f"/v1/{path.format(tenant)}"), 404)
    told = post(client, attendance(tenant, "secret-learner"), attendance(tenant, "later"))
    assert told["accepted"] == 2, "who sends it is not told who is erased"
    record(client, tenant, "later")
    async with Wire(site.world) as wire:
        eventually(lambda: client.get(f"/v1/records/{tenant}/later/c-1").status_code == 200)
        assert not [got for got in await wire.read("dead-letter") if tenant.encode() in (got.key or b"")]
    is_problem(client.get(f"/v1/records/{tenant}/secret-learner/c-1"), 404)
    left = {one["learner_id"] for one in client.get(f"/v1/learners/{tenant}").json()["items"]}
    assert left == {"secret-learner-2", "later"}
    entries = audit_of(site, tenant)
    assert [one["who"] for one in entries if one["what"] == "erase"] == ["officer", "officer"]
    assert "secret-learner" not in str(entries)
