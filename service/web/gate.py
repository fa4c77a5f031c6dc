"""Before a request is read: who asks, how long and how slow it may be, from where; and what every answer carries."""

import asyncio
import contextlib
from typing import Protocol

from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import Settings
from service.web.access import Caller, caller_of
from service.web.problems import Problem, answer
from service.web.sign_in import session_caller

BODY_SECONDS = 60.0
"""A request must be here after so long."""
SAFE = {"GET", "HEAD", "OPTIONS"}
LOOPBACK = {"127.0.0.1", "localhost", "::1", "[::1]"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_for_programs(scope: Scope) -> bool:
    """Whether the answer is for a program. Not by the request's URL: that begins with what the client calls us."""
    return f"{scope['path']}/".startswith("/v1/")


class Bearers(Protocol):
    """Tells who a bearer token is of. Raises Problem."""

    async def caller(self, token: str) -> Caller:
        """Of a token that is good."""
        ...


class Gate:
    """ASGI: lets through what is bounded, and says whose request it is (`request.state.caller`)."""

    def __init__(self, app: ASGIApp, settings: Settings, bearers: Bearers | None, *, loopback_only: bool) -> None:
        self._app = app
        self._settings = settings
        self._bearers = bearers
        self._loopback_only = loopback_only
        self._is_https = (settings.web_url or "").startswith("https://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            self._check_host(request)
            request.state.caller = await self._caller(request)
            if is_for_programs(request.scope):
                caller_of(request)  # nothing is read from who is nobody
            self._check_forged(request)
            bounded = Bounded(receive, self._limit(request))
            bounded.check(request.headers)
        except Problem as problem:
            await answer(problem)(scope, receive, self._with_headers(send, request))
            return
        with contextlib.suppress(Exception):  # it is answered and logged, without what it was about
            await self._app(scope, bounded.receive, self._with_headers(send, request))

    def _check_host(self, request: Request) -> None:
        """Where no identity provider is, a page of elsewhere must not reach us by a name that it made up."""
        try:
            host = URL(scope=request.scope).hostname
        except ValueError:
            raise Problem(400, "The Host header names no host.") from None
        if self._loopback_only and (host or "") not in LOOPBACK:
            raise Problem(403, "Without an identity provider, only this machine's own names are answered to.")

    async def _caller(self, request: Request) -> Caller | None:
        given = request.headers.get("Authorization")
        if given is None:
            return session_caller(request.session)
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or self._bearers is None:
            says = "Authorization: only bearer tokens are taken" + ("" if self._bearers else ", and none is set up")
            raise Problem(401, f"{says}.", headers={"WWW-Authenticate": "Bearer"})
        return await self._bearers.caller(token.strip())

    def _check_forged(self, request: Request) -> None:
        """A browser sends its cookie along wherever a page of elsewhere makes it send something."""
        caller = request.state.caller
        if caller is None or caller.how == "token" or request.method in SAFE:
            return
        elsewhere = request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}
        needs_token = is_for_programs(request.scope)
        if elsewhere or (needs_token and request.headers.get("X-CSRF-Token") != caller.csrf):
            raise Problem(403, "This did not come from a page of the console; with a session, send X-CSRF-Token.")

    def _limit(self, request: Request) -> int:
        has_file = request.headers.get("Content-Type", "").startswith("multipart/form-data")
        with_file = has_file and request.state.caller is not None
        return self._settings.web_upload_bytes if with_file else self._settings.web_body_bytes

    def _with_headers(self, send: Send, request: Request) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._is_https:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
                if not request.scope["path"].startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return sending


class Bounded:
    """A body that is neither too long nor too slow."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._read = 0
        self._deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        self._ended = False

    def check(self, headers: Headers) -> None:
        """By what the client says. Raises Problem."""
        said = headers.get("Content-Length", "0")
        if said.isdecimal() and int(said) > self._limit:
            raise self._too_long()

    async def receive(self) -> Message:
        """The next part. Raises Problem."""
        if self._ended:
            return await self._receive()  # it waits for the client to go away
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            late = f"The request was not here after {BODY_SECONDS:.0f} s."
            raise Problem(408, late, headers={"Connection": "close"}) from None
        self._read += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._read > self._limit:
            raise self._too_long()
        return message

    def _too_long(self) -> Problem:
        return Problem(413, f"The request has more than {self._limit} bytes.")
