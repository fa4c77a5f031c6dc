"""Courses: listed, shown, defined, tried, released; the decision tables: shown, checked, held against the records."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

import rules
from service.settings import Settings
from tests.rules.test_bounded_yaml import HARMFUL
from tests.stack.service import World
from tests.stack.wire import Wire
from tests.web.programs import (
    EVENT,
    JSON,
    Json,
    Site,
    accepted,
    attendance,
    course_known,
    definition,
    eventually,
    is_problem,
    open_site,
    record,
    unique,
)

YAML = {"Content-Type": "application/yaml"}
COURSE = (Path(rules.__file__).parent / "course.yaml").read_text("utf-8")
BY_STEPS = "trigger: [step, definition], requirement: met, certificate: any}\n    then: {course: completed_via_steps, "
CANDIDATE = COURSE.replace(f"{BY_STEPS}certificate: issue_if_awarded", f"{BY_STEPS}certificate: keep")
HARDER = {"steps": [{**EVENT, "scheduled_minutes": 120}]}


@pytest.fixture
def client(site: Site, tenant: str) -> httpx2.Client:
    """An administrator of it."""
    return site.as_("administrator viewer", tenant)


def test_defined_shown_listed(site: Site, client: httpx2.Client, tenant: str) -> None:
    path = f"/v1/courses/{tenant}/c-1"
    is_problem(client.get(path), 404)
    answer = client.put(path, json={"steps": [EVENT], "title": "First aid", "tenant_id": "other", "course_id": "other"})
    assert answer.json() == {"course": f"{tenant}/c-1", "version": 1, "sent": True}
    told = course_known(client, tenant)
    assert (told["tenant_id"], told["course_id"], told["version"], told["state"]) == (tenant, "c-1", 1, "done")
    assert told["versions"][0]["title"] == "First aid" and told["standings"] == []
    assert client.put(path, json={"steps": [EVENT], "title": "First aid"}).json()["sent"] is False
    assert client.put(path, json=HARDER).json() == {"course": f"{tenant}/c-1", "version": 2, "sent": True}
    assert [one["version"] for one in course_known(client, tenant, version=2)["versions"]] == [1, 2]
    client.put(f"/v1/courses/{tenant}/c-0", json={"steps": []})
    course_known(client, tenant, "c-0")
    listed = client.get("/v1/courses").json()["items"]
    assert [(one["course_id"], one["version"], one["steps"]) for one in listed] == [("c-0", 1, 0), ("c-1", 2, 1)]
    assert client.get("/v1/courses", params={"tenant": tenant}).json()["items"] == listed
    audit = site.as_("privacy", tenant).get("/v1/audit").json()["items"]
    assert [one["about"]["version"] for one in audit if one["what"] == "define"] == [1, 2, 1], (
        "what is not sent is none"
    )


def test_a_course_is_told_again_once_it_changes(client: httpx2.Client, tenant: str) -> None:
    """A new version is a change, and so is how records stand."""
    path = f"/v1/courses/{tenant}/c-1"
    accepted(client, definition(tenant), attendance(tenant, "l-1", attended_minutes=30))
    record(client, tenant, "l-1", "incomplete")

    def tag() -> str:
        course_known(client, tenant)
        found = client.get(path)
        same = client.get(path, headers={"If-None-Match": found.headers["ETag"]})
        assert (same.status_code, same.content) == (304, b"")
        return found.headers["ETag"]

    first = tag()
    assert client.get(path).json()["standings"] == [{"status": "incomplete", "evidence": None, "records": 1}]
    accepted(client, attendance(tenant, "l-1", changed_at="2026-02-02T09:00:00Z"))
    record(client, tenant, "l-1")
    second = tag()
    assert client.get(path).json()["standings"] == [{"status": "completed", "evidence": "held", "records": 1}]
    client.put(path, json=HARDER)
    course_known(client, tenant, version=2)
    assert len({first, second, tag()}) == 3


async def test_the_same_definition_at_once_counts_once(site: Site, client: httpx2.Client, tenant: str) -> None:
    path = f"/v1/courses/{tenant}/c-1"
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.put(path, json={"steps": [EVENT]}), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    course_known(client, tenant)
    async with Wire(site.world) as wire:
        sent = [got.json for got in await wire.read("course-defined") if got.json["tenant_id"] == tenant]
        assert len({one["message_id"] for one in sent}) == 1
        assert not [got for got in await wire.read("dead-letter") if tenant.encode() in (got.key or b"")]
    assert [one["version"] for one in client.get(path).json()["versions"]] == [1]


async def test_tried_before_it_is_sent(site: Site, client: httpx2.Client, tenant: str) -> None:
    accepted(client, definition(tenant), attendance(tenant, "l-1"), attendance(tenant, "l-2", attended_minutes=45))
    record(client, tenant, "l-1")
    record(client, tenant, "l-2", "incomplete")
    path = f"/v1/courses/{tenant}/c-1/preview"
    easier = {"steps": [{**EVENT, "threshold_percent": 50}]}
    told = client.post(path, json=easier).json()
    assert (told["version"], told["is_new"], told["records"], told["would_pause"]) == (2, True, 2, False)
    assert told["effects"]["gains the course"] == 1 and told["effects"]["gets a certificate"] == 1
    same = client.post(path, json={"steps": [EVENT]}).json()
    assert (same["version"], same["is_new"]) == (1, False)
    assert site.as_("viewer", tenant).post(path, json=easier).json() == told, "who may look may try"
    new = client.post(f"/v1/courses/{tenant}/c-9/preview", json=easier).json()
    assert (new["version"], new["records"]) == (1, 0)
    async with Wire(site.world) as wire:
        sent = [got for got in await wire.read("course-defined") if got.json["tenant_id"] == tenant]
    assert len(sent) == 1, "nothing was"
    is_problem(client.post(f"/v1/courses/{tenant}/c-1/release"), 409)
    is_problem(client.post(f"/v1/courses/{tenant}/c-9/release"), 404)


NO_DEFINITIONS: dict[str, bytes] = {
    "nothing": b"{}",
    "no object": b"[]",
    "no JSON": b"{",
    "empty": b"",
    "steps that are none": b'{"steps": 1}',
    "two of a name": b'{"steps": [{"step_id": "a", "kind": "other"}, {"step_id": "a", "kind": "other"}]}',
    "an unknown kind": b'{"steps": [{"step_id": "a", "kind": "?"}]}',
    "a version that is none": b'{"steps": [], "version": 0}',
    "a version too many": b'{"steps": [], "version": 1e400}',
    "NaN": b'{"steps": [], "version": NaN}',
    "the future": b'{"steps": [], "changed_at": "2999-01-01T00:00:00Z"}',
    "half a character": b'{"steps": [], "title": "\\ud800"}',
    "half a name": b'{"steps": [], "\\ud800": 1}',
    "a field of others": b'{"steps": [], "learner_id": "l-1"}',
    "a field that stands nowhere": b'{"steps": [], "message_id": "a/b"}',
    "too many steps": b'{"steps": ['
    + b",".join(b'{"step_id": "s%d", "kind": "other"}' % n for n in range(501))
    + b"]}",
    "deep": b'{"steps": ' + b"[" * 900 + b"]" * 900 + b"}",
    "deeper": b'{"steps": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
}


@pytest.mark.parametrize("name", NO_DEFINITIONS)
def test_definitions_that_are_none(client: httpx2.Client, tenant: str, name: str) -> None:
    for method, path in (("PUT", ""), ("POST", "/preview")):
        answer = client.request(method, f"/v1/courses/{tenant}/c-1{path}", content=NO_DEFINITIONS[name], headers=JSON)
        told = is_problem(answer, answer.status_code)
        assert answer.status_code in (400, 422), told
    is_problem(client.get(f"/v1/courses/{tenant}/c-1"), 404)


@pytest.mark.parametrize("depth", [63, 64, 65, 200, 400, 600, 800, *range(900, 1000, 3), 5000])
def test_depth_breaks_nothing(client: httpx2.Client, tenant: str, depth: int) -> None:
    """Wherever recursion would end: what is read is read by the levels that are promised, and no others."""
    deep = b'{"steps": [], "more": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    supposed = b'{"topic": "attendance-changed", "value": ' + deep.replace(b'"steps": []', b'"event_id": "e-1"') + b"}"
    for path, content in ((f"courses/{tenant}/c-1/preview", deep), (f"records/{tenant}/l-1/c-1/what-if", supposed)):
        answer = client.post(f"/v1/{path}", content=content, headers=JSON)
        if depth <= 64:
            assert answer.status_code == 200, answer.text
        else:
            assert "levels of lists" in answer.text if answer.status_code == 422 else answer.status_code == 400


@pytest.fixture(scope="module")
def cautious(make_world: Callable[..., World]) -> Iterator[Site]:
    """Every completion by a definition waits there."""
    none = {"RATCHET_MAX_NEW_COMPLETIONS": "0", "RATCHET_MAX_NEW_CERTIFICATES": "0"}
    yield from open_site(make_world(**none))


def test_a_paused_definition_is_released(cautious: Site) -> None:
    tenant = unique()
    client = cautious.as_("administrator viewer", tenant)
    accepted(client, definition(tenant), attendance(tenant, "l-1", attended_minutes=45))
    record(client, tenant, "l-1", "incomplete")
    path, easier = f"/v1/courses/{tenant}/c-1", {"steps": [{**EVENT, "threshold_percent": 50}]}
    assert client.post(f"{path}/preview", json=easier).json()["would_pause"] is True
    assert client.put(path, json=easier).json()["sent"] is True
    paused = eventually(lambda: (told := client.get(path).json())["state"] == "paused" and told)
    assert isinstance(paused, dict) and paused["would_complete_at_least"] == 1
    assert client.get("/v1/courses").json()["items"][0]["state"] == "paused"
    is_problem(cautious.as_("viewer", tenant).post(f"{path}/release"), 403)
    assert client.post(f"{path}/release").json() == {"course": f"{tenant}/c-1", "version": 2, "released": True}
    assert record(client, tenant, "l-1")["course"]["completed_via"] == "steps"
    is_problem(client.post(f"{path}/release"), 409)
    audit = cautious.as_("privacy", tenant).get("/v1/audit").json()["items"]
    assert [one["what"] for one in audit] == ["release", "define", "messages"]


def test_a_course_that_pauses_nothing_by_default() -> None:
    assert Settings().max_new_completions > 0


# The tables.


def test_the_tables_are_shown(client: httpx2.Client) -> None:
    told = client.get("/v1/rules").json()
    assert told.keys() == {"arrival", "step", "course", "evidence"}
    for rows in told.values():
        assert rows and all(row["rule_id"] and row["because"] and row["when"] and row["then"] for row in rows)


def check(client: httpx2.Client, text: str | bytes) -> httpx2.Response:
    """Ask whether it is a table."""
    return client.post("/v1/rules/check", content=text, headers=YAML)


def test_a_candidate_is_checked(client: httpx2.Client) -> None:
    for text in (COURSE, CANDIDATE):
        told = check(client, text).json()
        assert told["table"] == "course" and told["rows"] > 10 and told["combinations"] > told["rows"]
    first = COURSE.index("  - id:")
    gone = COURSE[:first] + COURSE[COURSE.index("  - id:", first + 1) :]
    told = is_problem(check(client, gone), 422)
    assert told["errors"][0]["field"] == "candidate" and "course" in told["detail"]
    is_problem(check(client, COURSE.replace("completed_via_steps", "completed_by_magic")), 422)


@pytest.mark.parametrize("name", HARMFUL)
def test_tables_that_do_harm(client: httpx2.Client, name: str) -> None:
    is_problem(check(client, HARMFUL[name][:199_000]), 422)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"[]",
        b"a",
        b"table: course",
        b"table: course\nrows: 1",
        b"x" * 200_001,
        b"*a",
        b"- !!python/name:os.system",
    ],
)
def test_tables_that_are_none(client: httpx2.Client, text: bytes) -> None:
    is_problem(check(client, text), 422)


def test_a_candidate_is_held_against_the_records(site: Site, client: httpx2.Client, tenant: str) -> None:
    accepted(client, definition(tenant), definition(tenant, "c-2"))
    accepted(client, *(attendance(tenant, f"l-{number}", course) for number in range(3) for course in ("c-1", "c-2")))
    for number in range(3):
        for course in ("c-1", "c-2"):
            record(client, tenant, f"l-{number}", course=course)

    def diff(text: str, asking: httpx2.Client = client, **params: Any) -> httpx2.Response:
        query = {"tenant": tenant, **params}
        return asking.post("/v1/rules/diff", params=query, content=text, headers=YAML)

    told = diff(CANDIDATE).json()
    assert (told["records"], told["differing"]) == (6, 6)
    assert {one["record"] for one in told["facts"]} == {f"{tenant}/l-{n}/c-{c}" for n in range(3) for c in (1, 2)}
    assert all(one["rules_now"] and one["what"] for one in told["facts"])
    assert diff(COURSE).json() == {"records": 6, "differing": 0, "rules": [], "facts": []}
    assert diff(CANDIDATE, course="c-2").json()["records"] == 3
    assert diff(CANDIDATE, sample=2).json()["records"] == 2
    is_problem(diff("nonsense"), 422)
    is_problem(diff(CANDIDATE, sample=0), 422)
    is_problem(client.post("/v1/rules/diff", content=CANDIDATE, headers=YAML), 422)
    is_problem(diff(CANDIDATE, site.as_("viewer", tenant)), 403)
    assert client.get(f"/v1/records/{tenant}/l-1/c-1").json()["certificate"]["status"] == "issued", "nothing was done"


def shown(told: Json) -> list[str]:
    """Ids of courses."""
    return [one["course_id"] for one in told["items"]]


def test_courses_of_all_tenants(site: Site, client: httpx2.Client, tenant: str) -> None:
    other = unique()
    both = site.as_("administrator viewer", tenant, other)
    accepted(both, definition(tenant, "a"), definition(other, "b"))
    course_known(both, tenant, "a")
    course_known(both, other, "b")
    assert sorted(shown(both.get("/v1/courses").json())) == ["a", "b"]
    assert shown(both.get("/v1/courses", params={"tenant": other}).json()) == ["b"]
    assert shown(client.get("/v1/courses").json()) == ["a"]
