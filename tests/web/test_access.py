"""Who may do what, in whose name, and from where: every route, every role, every kind of answer."""

import asyncio
import base64
import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import httpx2
import pytest
from fastapi.routing import APIRoute
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.admin.desk import Desk
from service.admin.lag_history import LagHistory
from service.errors import FixConfiguration, WaitAndRetry
from service.settings import Settings
from service.web import gate
from service.web.access import ROLES
from service.web.gate import HEADERS
from service.web.sign_in import OneTimeLink
from service.web.site import make_site, serve_site
from tests.stack.service import Web
from tests.web.programs import (
    Site,
    a_client,
    accepted,
    attendance,
    csv_of,
    definition,
    is_problem,
    job_ended,
    keys_in,
    record,
    token,
    unique,
    uploaded,
)

OPEN = {"/sign-in", "/sign-in/start", "/sign-in/done", "/sign-in/link", "/sign-out", "/livez"}
"""What is for whoever has not said who they are."""
WITHOUT = {"/static", "/openapi.json"}
ALL = " ".join(sorted(ROLES))
YAML = {"Content-Type": "application/yaml"}
Request = tuple[str, str, dict[str, Any]]
"""Method, path with names in it, what else is sent."""
REQUESTS: list[Request] = [
    ("POST", "/v1/messages", {"json": {"messages": [{"topic": "reassigned", "value": {}}]}}),
    ("GET", "/v1/records", {"params": {"tenant": "{tenant_id}"}}),
    ("GET", "/v1/records/{tenant_id}/{learner_id}/{course_id}", {}),
    ("GET", "/v1/records/{tenant_id}/{learner_id}/{course_id}/timeline", {}),
    (
        "POST",
        "/v1/records/{tenant_id}/{learner_id}/{course_id}/what-if",
        {"json": {"topic": "reassigned", "value": {}}},
    ),
    ("GET", "/v1/learners/{tenant_id}", {}),
    ("GET", "/v1/learners/{tenant_id}/{learner_id}", {}),
    ("GET", "/v1/learners/{tenant_id}/{learner_id}/export", {}),
    ("DELETE", "/v1/learners/{tenant_id}/{learner_id}", {}),
    ("POST", "/v1/uploads", {"data": {"tenant_id": "{tenant_id}"}, "files": {"file": ("a.csv", b"")}}),
    ("GET", "/v1/uploads", {}),
    ("GET", "/v1/uploads/{job_id}", {}),
    ("GET", "/v1/uploads/{job_id}/rows", {}),
    ("GET", "/v1/uploads/{job_id}/result", {}),
    ("GET", "/v1/uploads/{job_id}/impact", {}),
    ("POST", "/v1/uploads/{job_id}/confirm", {}),
    (
        "POST",
        "/v1/reassignments",
        {"json": {"tenant_id": "{tenant_id}", "course_id": "c-1", "learners": ["{learner_id}"]}},
    ),
    ("GET", "/v1/reassignments", {}),
    ("GET", "/v1/reassignments/{reassignment_id}", {}),
    ("GET", "/v1/reassignments/{reassignment_id}/result", {}),
    ("GET", "/v1/reassignments/{reassignment_id}/impact", {}),
    ("POST", "/v1/reassignments/{reassignment_id}/confirm", {}),
    ("GET", "/v1/courses", {"params": {"tenant": "{tenant_id}"}}),
    ("GET", "/v1/courses/{tenant_id}/{course_id}", {}),
    ("PUT", "/v1/courses/{tenant_id}/{course_id}", {"json": {"steps": []}}),
    ("POST", "/v1/courses/{tenant_id}/{course_id}/preview", {"json": {"steps": []}}),
    ("POST", "/v1/courses/{tenant_id}/{course_id}/release", {}),
    ("GET", "/v1/rules", {}),
    ("POST", "/v1/rules/check", {"content": b"table: x", "headers": YAML}),
    ("POST", "/v1/rules/diff", {"params": {"tenant": "{tenant_id}"}, "content": b"table: x", "headers": YAML}),
    ("GET", "/v1/lanes", {}),
    ("GET", "/v1/lag", {}),
    ("GET", "/v1/dead-letters", {}),
    ("GET", "/v1/dead-letters/{letter_id}", {}),
    ("POST", "/v1/dead-letters/replay", {"json": {"ids": ["{letter_id}"]}}),
    ("GET", "/v1/changes", {"params": {"tenant": "{tenant_id}"}}),
    ("GET", "/v1/audit", {"params": {"tenant": "{tenant_id}"}}),
]
MADE_UP = {"tenant_id": unique(), "learner_id": "l-1", "course_id": "c-1", "job_id": "0" * 32} | {
    "reassignment_id": "1" * 32,
    "letter_id": "0-0",
}


def filled(value: Any, names: dict[str, str]) -> Any:
    """With these instead of the names."""
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], value)
    if isinstance(value, dict):
        return {name: filled(one, names) for name, one in value.items()}
    return [filled(one, names) for one in value] if isinstance(value, list) else value


def ask(client: httpx2.Client, request: Request, names: dict[str, str]) -> httpx2.Response:
    """Send it; of an answer without end, only its beginning is read."""
    method, path, more = request
    with client.stream(method, filled(path, names), **filled(more, names)) as answer:
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            return answer
        answer.read()
        return answer


def in_process(store: Any = None, link: OneTimeLink | None = None, /, **settings: Any) -> tuple[Any, Any]:
    """A site without servers: the whole of it, and the application inside."""
    site = make_site(Desk(Settings(**settings), store, cast("Any", None)), LagHistory(), link)
    return site, cast("Any", site).app._app


def routes() -> Iterator[Any]:
    """All that the application has, included ones too."""
    _, app = in_process()
    for route in app.routes:
        yield from getattr(getattr(route, "original_router", None), "routes", [route])


def declared(route: Any) -> tuple[frozenset[str], str]:
    """Which roles a route is for, and where its tenant is said."""
    said = route.openapi_extra or {}
    return frozenset(said["x-roles"]), said["x-tenants"]


GUARDED = {
    (method, route.path): declared(route)
    for route in routes()
    if isinstance(route, APIRoute)
    for method in route.methods or ()
}


def test_every_route_says_who_may_use_it() -> None:
    assert {route.path for route in routes() if not isinstance(route, APIRoute)} == WITHOUT
    assert len(GUARDED) > 60
    for (method, path), (roles, tenants) in GUARDED.items():
        assert roles <= ROLES and tenants in {"path", "query", "body", "caller", "none"}
        assert bool(roles) == (path not in OPEN), path
        assert ("{tenant_id}" in path) == (tenants == "path"), (method, path)


def test_every_route_of_the_api_is_asked_here() -> None:
    asked = {(method, path.replace("reassignment_id", "job_id")) for method, path, _ in REQUESTS}
    assert asked == {(method, path) for method, path in GUARDED if path.startswith("/v1/")}
    _, app = in_process()
    document = app.openapi()
    documented = {(method.upper(), path) for path, one in document["paths"].items() for method in one}
    assert documented == asked


def test_the_document_is_openapi_3_1_and_tells_what_is_checked() -> None:
    _, app = in_process()
    document = app.openapi()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, one in operations.items():
            assert (frozenset(one["x-roles"]), one["x-tenants"]) == GUARDED[method.upper(), path]
            assert one["security"] == [{"bearer": []}, {"session": []}]
            for status in ("401", "403", "404", "422", "503"):
                assert list(one["responses"][status]["content"]) == ["application/problem+json"]


class Things(NamedTuple):
    """What a tenant has."""

    names: dict[str, str]
    client: httpx2.Client


@pytest.fixture(scope="module")
def theirs(site: Site) -> Things:
    """A tenant with something of everything."""
    tenant = unique()
    client = site.as_(ALL, tenant)
    accepted(client, definition(tenant), attendance(tenant, "l-1"))
    record(client, tenant, "l-1")
    upload = job_ended(client, uploaded(client, tenant, "a.csv", csv_of(tenant, ["l-1,c-1,e-1,60"])))
    said = {"tenant_id": tenant, "course_id": "c-1", "learners": ["l-1"]}
    reassignment = job_ended(client, client.post("/v1/reassignments", json=said).json())
    ids = {"job_id": upload["id"], "reassignment_id": reassignment["id"], "letter_id": "0-0"}
    return Things({"tenant_id": tenant, "learner_id": "l-1", "course_id": "c-1", **ids}, client)


def guard_of(request: Request) -> tuple[frozenset[str], str]:
    return GUARDED[request[0], request[1].replace("reassignment_id", "job_id")]


IDS = [f"{method} {path}" for method, path, _ in REQUESTS]


@pytest.mark.parametrize("request_", REQUESTS, ids=IDS)
def test_without_a_token_nobody_and_without_the_role_nobody_either(
    site: Site, theirs: Things, request_: Request
) -> None:
    answer = ask(site.nobody(), request_, theirs.names)
    is_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    roles, _ = guard_of(request_)
    for role in ROLES - roles:
        told = is_problem(ask(site.as_(role, "*"), request_, theirs.names), 403)
        assert all(one in told["detail"] for one in roles)
    is_problem(ask(site.as_(" ".join(ROLES - roles), "*"), request_, theirs.names), 403)
    is_problem(ask(site.as_("", "*"), request_, theirs.names), 403)
    is_problem(ask(site.as_("admin Administrator root *", "*"), request_, theirs.names), 403)


def seen(answer: httpx2.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that a program sees of an answer, but for the time."""
    streams = answer.headers.get("Content-Type", "").startswith("text/event-stream")
    headers = [(name, value) for name, value in answer.headers.multi_items() if name != "date"]
    return answer.status_code, headers, b"" if streams else answer.content


TENANTS = [one for one in REQUESTS if guard_of(one)[1] != "none"]


@pytest.mark.parametrize("request_", TENANTS, ids=[f"{one[0]} {one[1]}" for one in TENANTS])
def test_what_is_of_others_looks_like_what_is_not(site: Site, theirs: Things, request_: Request) -> None:
    """Byte for byte, whoever asks with whichever role."""
    before = ask(theirs.client, ("GET", "/v1/records/{tenant_id}/{learner_id}/{course_id}", {}), theirs.names).json()
    for tenants in ((unique(),), (), ("*extra", theirs.names["tenant_id"][:-1], "", "**")):
        stranger = site.as_(ALL, *tenants)
        real, made_up = (seen(ask(stranger, request_, names)) for names in (theirs.names, MADE_UP))
        assert real == made_up
        lists = guard_of(request_)[1] in ("caller", "body") and real[0] == 200
        assert real[0] == 404 or lists, real
        assert theirs.names["tenant_id"].encode() not in real[2]
    after = ask(theirs.client, ("GET", "/v1/records/{tenant_id}/{learner_id}/{course_id}", {}), theirs.names).json()
    assert after == before


@pytest.mark.parametrize("path", ["/v1/records", "/v1/courses", "/v1/uploads", "/v1/reassignments", "/v1/audit"])
def test_every_tenant_must_be_spelled_out(site: Site, theirs: Things, path: str) -> None:
    mine = theirs.client.get(path).json()["items"]
    assert mine and {one["tenant_id"] for one in mine} == {theirs.names["tenant_id"]}
    assert site.as_(ALL).get(path).json()["items"] == []
    assert site.as_(ALL, unique()).get(path).json()["items"] == []
    everything = site.as_(ALL, "*").get(path, params={"limit": 1000} if path != "/v1/courses" else {}).json()["items"]
    assert theirs.names["tenant_id"] in {one["tenant_id"] for one in everything}


CONSOLE = [
    (method, path)
    for (method, path), (roles, _) in GUARDED.items()
    if not path.startswith("/v1/") and roles and method in ("GET", "POST")
]


@pytest.mark.parametrize(("method", "path"), CONSOLE)
def test_pages_too(site: Site, theirs: Things, method: str, path: str) -> None:
    """Whom a page is not for is told so; a tenant of others is none there either."""
    roles, tenants = GUARDED[method, path]
    names = {**theirs.names, "name": "result"} | (
        {"job_id": theirs.names["reassignment_id"]} if path.startswith("/reassign") else {}
    )
    nobody = site.nobody().request(method, filled(path, names))
    assert nobody.status_code == 303 and nobody.headers["Location"].startswith("/sign-in?next=/")
    for role in ROLES - roles:
        assert site.as_(role, "*").request(method, filled(path, names)).status_code == 403
    if tenants in ("path", "caller") and "{" in path:
        stranger = site.as_(ALL, unique())
        answers = [stranger.request(method, filled(path, one)) for one in (names, {**names, **MADE_UP})]
        if method == "POST":
            assert {answer.status_code for answer in answers} <= {403, 404}
        else:
            assert [answer.status_code for answer in answers] == [404, 404]
        bodies = [answer.text.replace(names["tenant_id"], "T").replace(MADE_UP["tenant_id"], "T") for answer in answers]
        for one in ("job_id", "reassignment_id"):
            bodies = [body.replace(names[one], "J").replace(MADE_UP["job_id"], "J") for body in bodies]
        assert bodies[0] == bodies[1]


# Sessions.


@pytest.fixture(scope="module")
def local(site: Site) -> Iterator[Web]:
    """For this machine alone, without an identity provider."""
    web = site.world.web()
    web.link()
    yield web
    web.stop()


@pytest.fixture
def person(local: Web) -> Iterator[httpx2.Client]:
    """Who has opened the link."""
    with a_client(local.address, None) as client:
        link = local.link()
        assert client.get(link).status_code == 303
        while local.link() == link:
            time.sleep(0.05)
        yield client


def csrf_of(client: httpx2.Client) -> str:
    """As pages carry it."""
    payload = client.cookies["ratchet_session"].split(".")[0]
    told: str = json.loads(base64.b64decode(payload))["csrf"]
    return told


def test_a_session_writes_only_what_its_own_pages_send(person: httpx2.Client) -> None:
    def check(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = person.post("/v1/rules/check", content=b"nonsense", headers={**YAML, **sent})
        is_problem(answer, answer.status_code)
        return answer.status_code

    token_ = csrf_of(person)
    assert check() == 403
    assert check(X_CSRF_Token="") == 403
    assert check(X_CSRF_Token=token_[:-1]) == 403
    assert check(X_CSRF_Token=token_) == 422, "it is let through, and is no table"
    assert check(X_CSRF_Token=token_, Sec_Fetch_Site="same-origin") == 422
    for elsewhere in ("cross-site", "same-site", "anything"):
        assert check(X_CSRF_Token=token_, Sec_Fetch_Site=elsewhere) == 403
    for method in ("PUT", "DELETE", "PATCH"):
        assert person.request(method, "/v1/courses/a/b", json={"steps": []}).status_code == 403
    assert person.get("/v1/rules").status_code == 200
    assert person.get("/v1/rules", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200, "it changes nothing"
    assert person.get("/v1/rules", headers={"Authorization": "Bearer x"}).status_code == 401, "what is said counts"
    assert person.get("/v1/rules", headers={"Authorization": "Basic eDp5"}).status_code == 401


def test_a_session_that_was_meddled_with_is_nobody_s(person: httpx2.Client) -> None:
    cookie = person.cookies["ratchet_session"]
    payload, rest = cookie.split(".", 1)
    other = base64.b64encode(json.dumps({**json.loads(base64.b64decode(payload)), "name": "root"}).encode()).decode()
    for forged in (f"{other}.{rest}", payload, f"{payload}.{rest[:-2]}", "", "x" * 5000):
        with a_client(str(person.base_url), None) as client:
            assert client.get("/v1/rules", headers={"Cookie": f"ratchet_session={forged}"}).status_code == 401


async def test_attributes_of_cookies() -> None:
    for url, is_secure in ((None, False), ("https://ratchet.example.org", True)):
        link = OneTimeLink(lambda _: None)
        site, _ = in_process(None, link, web_url=url)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(site), base_url="http://localhost") as client:
            answer = await client.get(link.path)
        (cookie,) = answer.headers.get_list("Set-Cookie")
        parts = {part.strip().lower() for part in cookie.split(";")}
        assert "httponly" in parts and "samesite=lax" in parts and "path=/" in parts
        assert ("secure" in parts) == is_secure
        assert ("Strict-Transport-Security" in answer.headers) == is_secure


# From where.


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "0.0.0.0"]
)
def test_a_stranger_s_name_for_this_machine_is_not_answered_to(person: httpx2.Client, host: str) -> None:
    for path in ("/v1/rules", "/", "/sign-in", "/static/console.css", "/livez"):
        answer = person.get(path, headers={"Host": host})
        is_problem(answer, 403)
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1234", "[::1]", "[::1]:80", "LOCALHOST"])
def test_its_own_names_are(person: httpx2.Client, host: str) -> None:
    assert person.get("/v1/rules", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["[", "[::1", "a b", "a/b?c", "x]", "\xff", "@", "127.0.0.1@evil.example", ""])
def test_a_host_that_is_none(site: Site, local: Web, host: str) -> None:
    for address in (local.address, site.web.address):
        with a_client(address, None) as client:
            answer = client.get("/v1/rules", headers={b"Host": host.encode("latin-1")})
        assert answer.status_code in (400, 401, 403)
        if answer.headers["Content-Type"].startswith("application"):
            is_problem(answer, answer.status_code)


@pytest.mark.full
def test_others_are_served_only_with_an_identity_provider(site: Site) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        ran = site.world.run_process("web", check=False, RATCHET_WEB_HOST=host, RATCHET_WEB_PORT="0")
        assert ran.returncode == 2 and "RATCHET_WEB_HOST" in ran.stderr and "RATCHET_WEB_OIDC_ISSUER" in ran.stderr
        assert "Traceback" not in ran.stderr


# Every kind of answer.


def carries_headers(answer: httpx2.Response) -> bool:
    return all(answer.headers.get_list(name) == [value] for name, value in HEADERS.items())


def test_every_answer_carries_the_headers(site: Site, person: httpx2.Client, theirs: Things) -> None:
    client, nobody = site.as_(ALL, theirs.names["tenant_id"]), site.nobody()
    asked: list[tuple[int, httpx2.Response]] = [
        (200, client.get("/v1/rules")),
        (200, nobody.get("/sign-in")),
        (200, nobody.get("/static/console.css")),
        (200, nobody.get("/openapi.json")),
        (200, nobody.get("/livez")),
        (200, person.get("/rules")),
        (303, nobody.get("/rules")),
        (401, nobody.get("/v1/rules")),
        (401, nobody.get("/v1/nothing")),
        (403, site.as_("privacy", "*").get("/v1/lag")),
        (403, site.as_("privacy", "*").get("/operations")),
        (403, person.get("/", headers={"Host": "evil.example"})),
        (404, client.get("/v1/nothing")),
        (404, nobody.get("/nothing")),
        (404, nobody.get("/static/nothing")),
        (405, client.delete("/v1/rules")),
        (405, nobody.put("/sign-in")),
        (413, client.post("/v1/messages", content=b" " * 9_000_000)),
        (422, client.post("/v1/messages", json={})),
        (200, client.get(f"/v1/uploads/{theirs.names['job_id']}/result")),
    ]
    for status, answer in asked:
        assert answer.status_code == status, (answer.request.url, answer.status_code)
        assert carries_headers(answer), (answer.request.url, dict(answer.headers))
        is_static = answer.request.url.path.startswith("/static/")
        assert (answer.headers.get("Cache-Control") == "no-store") != is_static
        assert "Server" not in answer.headers and "X-Powered-By" not in answer.headers


class Broken:
    """A store of which every part raises this."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("courses", "listing", "records", "jobs", "audit"):
            return self
        raise self._error


async def asked(store: Any, path: str, folder: Any) -> httpx2.Response:
    """Of a site whose store is that."""
    names = {name.removeprefix("RATCHET_").lower(): value for name, value in keys_in(folder).items()}
    site, _ = in_process(store, **names)
    headers = {"Authorization": f"Bearer {token([*ROLES], ['*'])}"}
    transport = httpx2.ASGITransport(site)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        return await client.get(path)


@pytest.mark.parametrize("path", ["/v1/records/t/secret-learner/c-1", "/records/t/secret-learner/c-1", "/v1/uploads/x"])
async def test_a_fault_tells_nothing(path: str, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await asked(Broken(RuntimeError("about secret-learner, with a password")), path, tmp_path)
    assert answer.status_code == 500 and carries_headers(answer)
    if path.startswith("/v1/"):
        is_problem(answer, 500)
    assert "password" not in answer.text and "secret-learner" not in answer.text.replace(path, "")
    assert "RuntimeError" not in answer.text and "Traceback" not in answer.text
    told = [(one.getMessage(), one.__dict__) for one in caplog.records if one.name.startswith("service")]
    assert [message for message, _ in told] == ["a request failed"]
    assert "RuntimeError" in str(told) and "getattr" in str(told), "where it was"
    ours = [one for one in caplog.records if not one.name.startswith("httpx2")]
    everything = " ".join(f"{one.getMessage()} {one.__dict__}" for one in ours)
    assert "secret-learner" not in everything and "password" not in everything


@pytest.mark.parametrize("error", [WaitAndRetry("x"), FixConfiguration("RATCHET_MONGODB_URI: refused for secret")])
async def test_what_is_away_is_told_so(error: Exception, tmp_path: Any) -> None:
    answer = await asked(Broken(error), "/v1/records/t/l/c", tmp_path)
    told = is_problem(answer, 503)
    assert answer.headers["Retry-After"] and "secret" not in told["detail"] and carries_headers(answer)


# Slow clients.

GIVES_UP_SECONDS = 20


async def test_slow_bodies_are_cut_off_and_hold_up_nobody(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 1.5)
    names = {name.removeprefix("RATCHET_").lower(): value for name, value in keys_in(tmp_path).items()}
    desk = Desk(Settings(web_port=0, **cast("Any", names)), cast("Any", None), cast("Any", None))
    bearer = f"Authorization: Bearer {token([*ROLES], ['*'])}\r\n".encode()

    async def slowly(port: int, path: bytes, kind: bytes, begin: bytes) -> tuple[float, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nContent-Type: " + kind
        writer.write(head + b"\r\n" + bearer + b"\r\n" + begin)
        begun, answer = time.monotonic(), bytearray()

        async def hear() -> None:
            with contextlib.suppress(ConnectionResetError):  # what we say after its last word is not heard
                while part := await reader.read(1000):
                    answer.extend(part)

        hearing = asyncio.create_task(hear())
        while not hearing.done() and time.monotonic() < begun + GIVES_UP_SECONDS:
            writer.write(b" ")
            await asyncio.sleep(0.1)
        writer.close()
        await hearing
        return time.monotonic() - begun, bytes(answer)

    async with serve_site(desk, LagHistory(), lambda _: None) as port:
        part = b'--x\r\nContent-Disposition: form-data; name="tenant_id"\r\n\r\n'
        kinds = [
            (b"/v1/messages", b"application/json", b""),
            (b"/v1/uploads", b"multipart/form-data; boundary=x", part),
        ]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            slow = [asyncio.create_task(slowly(port, *kind)) for kind in kinds * 20]
            others = 0
            while True:
                assert (await client.get("/livez")).status_code == 200
                if any(one.done() for one in slow):
                    break
                others += 1
                await asyncio.sleep(0.1)
        ended = [await one for one in slow]
    assert others, "answered while all of them were waited for"
    assert all(1 < seconds < GIVES_UP_SECONDS for seconds, _ in ended), "cut off, and the connection closed"
    heard = [answer for _, answer in ended if answer]
    assert len(heard) > len(ended) / 2
    assert all(answer.startswith(b"HTTP/1.1 408") and b"application/problem+json" in answer for answer in heard)


async def test_nothing_is_read_from_nobody(tmp_path: Any) -> None:
    """Who has no token is answered before the body is here."""
    names = {name.removeprefix("RATCHET_").lower(): value for name, value in keys_in(tmp_path).items()}
    site, _ = in_process(None, **names)
    reads = 0

    async def body() -> Any:
        nonlocal reads
        reads += 1
        yield b"x"

    transport = httpx2.ASGITransport(site)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        is_problem(await client.post("/v1/messages", content=body()), 401)
    assert reads == 0
