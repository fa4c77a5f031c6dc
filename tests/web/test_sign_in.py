"""People sign in: at an OpenID provider that nobody here wrote, and by the link that is printed where there is none."""

import json
import re
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from authlib.integrations.starlette_client import StarletteOAuth2App
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.middleware.sessions import SessionMiddleware

from service.errors import FixConfiguration
from service.settings import Settings
from service.web import sign_in
from service.web.access import EVERY_TENANT, ROLES, Caller
from service.web.problems import Problem, answer
from service.web.sign_in import OneTimeLink, begin_session, make_router, session_caller
from tests.stack.servers import NotAvailable, free_port
from tests.web.openid import RATCHET, OpenIdProvider

SECRET = "between us, thirty-two letters long"
COOKIE_BYTES = 4096


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(autouse=True)
def _plain_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    def page(_: Request, template: str, values: dict[str, Any] | None = None, status: int = 200) -> Response:
        return JSONResponse({"template": template, **(values or {})}, status)

    monkeypatch.setattr(sign_in, "page", page)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """The same for all that leave it running."""
    started = _started(tmp_path_factory.mktemp("openid"))
    yield started
    started.stop()


def _started(folder: Path) -> OpenIdProvider:
    try:
        return OpenIdProvider(folder / "log")
    except NotAvailable as reason:
        pytest.skip(f"no OpenID provider: {reason}")


def settings_for(issuer: str, **more: Any) -> Settings:
    client = {"web_oidc_client_id": "ratchet", "web_oidc_client_secret": SECRET}
    return Settings(**{"web_oidc_issuer": issuer, **client, **more})


@asynccontextmanager
async def browser(settings: Settings, link: OneTimeLink | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody's, at Ratchet."""
    app = FastAPI()
    app.include_router(make_router(settings, link))
    app.add_middleware(SessionMiddleware, secret_key="x" * 32)

    @app.exception_handler(Problem)
    async def _answer(_: Request, problem: Problem) -> Response:
        return answer(problem)

    @app.get("/me")
    async def _me(request: Request) -> Response:
        caller = session_caller(request.session)
        shown = (
            caller._asdict() | {"roles": sorted(caller.roles), "tenants": sorted(caller.tenants)} if caller else None
        )
        return JSONResponse(shown)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=RATCHET) as client:
        yield client


async def me(client: httpx2.AsyncClient) -> Any:
    """Who Ratchet takes this browser for."""
    return (await client.get("/me")).json()


async def start(client: httpx2.AsyncClient, **query: str) -> str:
    """Where Ratchet sends somebody to sign in."""
    found = await client.get("/sign-in/start", params=query)
    assert found.status_code == 302, found.text
    return str(found.headers["location"])


def changed(url: str, **query: str | None) -> str:
    """The address with these in its query, or without."""
    kept = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()} | query
    told = urlencode({name: value for name, value in kept.items() if value is not None})
    return urlsplit(url)._replace(query=told).geturl()


def shows(found: httpx2.Response, status: int, problem: str) -> bool:
    """Whether it is the page with this problem."""
    assert found.status_code == status, found.text
    expected = {"template": "sign_in.html", "problem": problem, "claim": "roles"}
    assert expected.items() <= found.json().items()
    return True


@pytest.mark.parametrize("more", [{}, {"web_oidc_client_id": "ratchet-public", "web_oidc_client_secret": None}])
async def test_somebody_signs_in_and_out(provider: OpenIdProvider, more: dict[str, Any]) -> None:
    async with browser(settings_for(provider.issuer, **more)) as client:
        assert await me(client) is None
        url = await start(client, next="/courses?tenant=north&q=a%20b")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256" and asked["nonce"]
        assert asked["redirect_uri"] == f"{RATCHET}/sign-in/done"
        before = client.cookies["session"]
        back = await client.get(await provider.sign_in(url, "anna"))
        assert back.status_code == 303 and back.headers["location"] == "/courses?tenant=north&q=a%20b"
        assert client.cookies["session"] != before
        caller = await me(client)
        assert caller["name"] == "anna" and caller["how"] == "session"
        assert caller["roles"] == ["administrator", "viewer"] and caller["tenants"] == ["north", "south"]
        refused = await client.post("/sign-out", data={"csrf": "another"})
        assert refused.status_code == 403 and await me(client) == caller
        out = await client.post("/sign-out", data={"csrf": caller["csrf"]})
        assert out.status_code == 303 and out.headers["location"] == "/sign-in"
        assert await me(client) is None
        assert (await client.post("/sign-out")).status_code == 303


async def test_roles_that_only_userinfo_tells_count(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer)) as client:
        await client.get(await provider.sign_in(await start(client), "7f3a"))
        caller = await me(client)
        assert caller["roles"] == ["operator"] and caller["tenants"] == [EVERY_TENANT]
        assert caller["name"] == "7f3a (ben)"


async def test_userinfo_about_somebody_else_is_not_believed(
    provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lie(*_: Any, **__: Any) -> dict[str, Any]:
        return {"sub": "anna", "roles": ["operator"], "tenants": ["*"]}

    monkeypatch.setattr(StarletteOAuth2App, "userinfo", lie)
    async with browser(settings_for(provider.issuer)) as client:
        back = await provider.sign_in(await start(client), "7f3a")
        assert shows(await client.get(back), 502, "provider_away")
        assert await me(client) is None


async def test_the_session_holds_neither_token_nor_state(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer)) as client:
        await client.get(await provider.sign_in(await start(client), "anna"))
        held = json.loads(b64decode(client.cookies["session"].split(".")[0] + "=="))
        assert set(held) == {"name", "roles", "tenants", "how", "csrf", "until"}


async def test_the_provider_demands_proof_of_who_began(provider: OpenIdProvider) -> None:
    """PKCE: without a challenge it does not begin, and for another's verifier it gives nothing."""
    async with browser(settings_for(provider.issuer)) as client:
        url = await start(client)
        refused = await provider.sign_in(changed(url, code_challenge=None, code_challenge_method=None), "anna")
        assert parse_qs(urlsplit(refused).query)["error"] == ["invalid_request"]
        assert shows(await client.get(refused), 502, "provider_away")
        back = await provider.sign_in(changed(url, code_challenge="A" * 43), "anna")
        assert shows(await client.get(back), 400, "state")
        assert await me(client) is None


async def test_what_was_not_begun_here_signs_nobody_in(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer)) as client, browser(settings_for(provider.issuer)) as other:
        url = await start(client)
        back = await provider.sign_in(url, "anna")
        assert shows(await client.get(changed(back, state="tampered")), 400, "state")
        assert shows(await client.get(changed(back, state=None)), 400, "state")
        assert shows(await other.get(back), 400, "state")
        assert await me(client) is None and await me(other) is None
        assert shows(await client.get(await provider.sign_in(changed(url, nonce="tampered"), "anna")), 400, "state")
        assert await me(client) is None


async def test_a_code_is_good_once(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer)) as client:
        back = await provider.sign_in(await start(client), "anna")
        begun = client.cookies["session"]
        assert (await client.get(back)).status_code == 303
        client.cookies.clear()
        client.cookies.set("session", begun)
        assert shows(await client.get(back), 400, "state")


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "evil",
        "/\t/evil.example",
        "/a\r\nSet-Cookie: a=b",
        "",
        "/" + "a" * 600,
    ],
)
async def test_nobody_is_sent_elsewhere(provider: OpenIdProvider, path: str) -> None:
    async with browser(settings_for(provider.issuer)) as client:
        assert (await client.get("/sign-in", params={"next": path})).json()["next"] == "/"
        back = await provider.sign_in(await start(client, next=path), "anna")
        assert (await client.get(back)).headers["location"] == "/"


async def test_without_a_role_nobody_is_signed_in(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer)) as client:
        assert shows(await client.get(await provider.sign_in(await start(client), "carl")), 403, "no_role")
        assert await me(client) is None


async def test_tenants_that_do_not_fit_a_cookie_are_told_of(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer)) as client:
        found = await client.get(await provider.sign_in(await start(client), "dora"))
        assert found.status_code == 403 and "300 tenants" in found.json()["detail"]
        assert await me(client) is None


async def test_who_is_denied_gets_a_page(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer)) as client:
        assert shows(await client.get(await provider.sign_in(await start(client), "nobody")), 403, "denied")
        assert await me(client) is None


async def test_a_wrong_client_secret_is_no_traceback(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer, web_oidc_client_secret="another")) as client:
        assert shows(await client.get(await provider.sign_in(await start(client), "anna")), 502, "provider_away")


async def test_a_provider_that_is_away_gets_a_page(tmp_path: Path) -> None:
    provider = _started(tmp_path)
    async with browser(settings_for(provider.issuer)) as client:
        back = await provider.sign_in(await start(client), "anna")
        provider.stop()
        assert shows(await client.get(back), 502, "provider_away")
    async with browser(settings_for(provider.issuer)) as client:
        assert shows(await client.get("/sign-in/start"), 502, "provider_away")


async def test_a_provider_that_says_it_is_another_is_not_believed(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer.replace("127.0.0.1", "localhost"))) as client:
        for _ in range(2):
            assert shows(await client.get("/sign-in/start"), 502, "provider_away")


async def test_browsers_reach_it_by_the_address_that_is_set(provider: OpenIdProvider) -> None:
    async with browser(settings_for(provider.issuer, web_url="https://ratchet.example.org")) as client:
        asked = parse_qs(urlsplit(await start(client)).query)
        assert asked["redirect_uri"] == ["https://ratchet.example.org/sign-in/done"]


@pytest.mark.parametrize(
    ("more", "variable"),
    [
        ({"web_oidc_issuer": "http://id.example.org"}, "RATCHET_WEB_OIDC_ISSUER"),
        ({"web_oidc_issuer": "id.example.org"}, "RATCHET_WEB_OIDC_ISSUER"),
        ({"web_oidc_scope": "profile"}, "RATCHET_WEB_OIDC_SCOPE"),
    ],
)
def test_a_provider_that_cannot_be_meant_is_told_of_at_the_start(more: dict[str, str], variable: str) -> None:
    with pytest.raises(FixConfiguration, match=variable):
        make_router(settings_for(more.pop("web_oidc_issuer", "https://id.example.org"), **more), None)


async def test_the_page_says_whether_there_is_a_provider() -> None:
    async with browser(settings_for(f"http://127.0.0.1:{free_port()}")) as client:
        found = await client.get("/sign-in", params={"next": "/courses"})
        values = {"with_provider": True, "problem": None, "claim": "roles", "next": "/courses"}
        assert found.json() == {"template": "sign_in.html", **values}
    async with browser(Settings()) as client:
        assert (await client.get("/sign-in")).json()["with_provider"] is False
        for path in ("/sign-in/start", "/sign-in/done"):
            found = await client.get(path)
            assert found.status_code == 200 and found.json()["with_provider"] is False


async def test_the_printed_link_opens_the_console_once() -> None:
    printed: list[str] = []
    link = OneTimeLink(printed.append)
    first = link.path
    async with browser(Settings(), link) as client, browser(Settings(), link) as other:
        for wrong in ("/sign-in/link", "/sign-in/link?key=", "/sign-in/link?key=%C3%BC", first[:-1]):
            assert shows(await client.get(wrong), 403, "link_used")
        assert not printed and link.path == first
        opened = await client.get(first)
        assert opened.status_code == 303 and opened.headers["location"] == "/"
        caller = await me(client)
        assert caller["how"] == "link" and caller["roles"] == sorted(ROLES) and caller["tenants"] == [EVERY_TENANT]
        assert printed == [link.path] and link.path != first
        assert re.fullmatch(r"/sign-in/link\?key=[A-Za-z0-9_-]{40,}", link.path)
        assert shows(await other.get(first), 403, "link_used")
        assert await me(other) is None
        assert (await other.get(link.path)).status_code == 303 and await me(other)


async def test_where_no_link_is_printed_none_is_good() -> None:
    async with browser(Settings()) as client:
        assert shows(await client.get("/sign-in/link?key="), 403, "link_used")


def test_all_routes_say_that_they_are_open_and_are_not_documented() -> None:
    app = FastAPI()
    app.include_router(make_router(Settings(), None))
    assert app.openapi()["paths"] == {}
    for route in make_router(Settings(), None).routes:
        assert vars(route)["openapi_extra"] == {"x-roles": [], "x-tenants": "none"}


def begun(**changes: Any) -> dict[str, Any]:
    """A session of Anna's."""
    session: dict[str, Any] = {"left": "over"}
    begin_session(session, name="anna", roles={"viewer"}, tenants={"north"}, how="session", minutes=5)
    assert "left" not in session
    return session | changes


def test_a_session_tells_whose_it_is_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    session = begun()
    caller = session_caller(session)
    assert caller == Caller("anna", frozenset({"viewer"}), frozenset({"north"}), "session", session["csrf"])
    assert len(session["csrf"]) >= 40 and session["csrf"] != begun()["csrf"]
    later = time.time() + 5 * 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert session_caller(session) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"name": None},
        {"roles": "viewer"},
        {"tenants": [1]},
        {"how": "token"},
        {"csrf": ""},
        {"until": "soon"},
    ],
)
def test_a_malformed_session_is_nobodys(changes: dict[str, Any]) -> None:
    assert session_caller({}) is None
    assert session_caller(begun(**changes)) is None


def test_roles_of_an_older_version_do_not_count() -> None:
    caller = session_caller(begun(roles=["viewer", "owner"]))
    assert caller and caller.roles == {"viewer"}


async def test_a_full_session_is_a_cookie_that_browsers_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "WHO_HAS_THE_LINK", "n" * 200)
    monkeypatch.setattr(sign_in, "EVERY_TENANT", "t" * 2400)
    link = OneTimeLink(lambda _: None)
    async with browser(Settings(), link) as client:
        cookie = (await client.get(link.path)).headers["set-cookie"]
        assert COOKIE_BYTES - 400 < len(cookie) <= COOKIE_BYTES
