"""The API and the console as one application: routes, what every error becomes, how it listens."""

import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Match
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from service.admin.desk import Desk
from service.admin.lag_history import LagHistory
from service.errors import FixConfiguration, WaitAndRetry
from service.web import console
from service.web.api import changes, courses, learners, messages, operations, records, rules, trail, uploads
from service.web.api.messages import Allowance
from service.web.console import choices, look, operate, reassign, tables
from service.web.console import courses as course_pages
from service.web.console import trail as audit_page
from service.web.console import upload as upload_pages
from service.web.console.render import page, reader_of
from service.web.gate import LOOPBACK, Gate, is_for_programs
from service.web.listening import listening
from service.web.problems import Problem, ProblemDetails, answer, not_found
from service.web.sign_in import OneTimeLink, make_router
from service.web.tokens import Tokens

log = logging.getLogger(__name__)
API = (messages, records, learners, uploads, courses, rules, operations, changes, trail)
PAGES = (look, upload_pages, course_pages, reassign, operate, tables, audit_page, choices)
AWAY = "Kafka or the database does not answer; try again in a moment."
AGAIN_SECONDS = 5
UNAUTHORIZED, NOT_FOUND, NO_SUCH_METHOD = 401, 404, 405
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
ABOUT = """\
What administrators and programs do with Ratchet, without Kafka: send messages, ask why a record stands as it stands,
upload, define, reassign, watch. Times are RFC 3339; errors are problem details (RFC 9457). `x-roles` says who may.
"""


SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "ratchet_session",
        "description": "Of the console; what changes something needs the header X-CSRF-Token too.",
    },
}


class Site(FastAPI):
    """Describes its errors as they are."""

    def openapi(self) -> dict[str, Any]:
        """With problem details instead of FastAPI's own, and how to say who one is."""
        if self.openapi_schema is None:
            components = super().openapi().setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            told = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= told.pop("$defs")
            schemas["ProblemDetails"] = told
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            components["securitySchemes"] = SCHEMES
        return super().openapi()


def make_site(desk: Desk, lag: LagHistory, link: OneTimeLink | None) -> ASGIApp:
    """The application, behind its gate. `link`: how people come in where there is no identity provider."""
    settings = desk.settings
    app = Site(title="Ratchet", version="1", description=ABOUT, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.desk, app.state.lag, app.state.streams = desk, lag, 0
    app.state.allowance = Allowance(settings.web_messages_per_second)
    for part in (*API, *PAGES):
        app.include_router(part.router)
    app.include_router(make_router(settings, link))
    app.mount("/static", StaticFiles(directory=Path(console.__file__).parent / "static"))
    app.add_api_route("/livez", _livez, include_in_schema=False, openapi_extra={"x-roles": [], "x-tenants": "none"})
    app.add_exception_handler(HTTPException, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UnicodeEncodeError, _no_text)
    app.add_exception_handler(FixConfiguration, _unfit)
    app.add_exception_handler(WaitAndRetry, _away)
    app.add_exception_handler(Exception, _fault)
    bearers = Tokens(settings) if settings.web_jwks else None
    gate = Gate(app, settings, bearers, loopback_only=link is not None)
    secret = settings.web_session_secret
    return SessionMiddleware(
        gate,
        secret.get_secret_value() if secret else secrets.token_urlsafe(32),
        session_cookie="ratchet_session",
        max_age=settings.web_session_minutes * 60,
        same_site="lax",
        https_only=(settings.web_url or "").startswith("https://"),
    )


async def _livez() -> Response:
    """The event loop answers."""
    return PlainTextResponse("ok\n")


def _allowed(request: Request) -> str:
    """All methods of this path: a route that has the path knows only of its own."""
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    routes = request.app.routes
    return ", ".join(name for name, one in scopes.items() if any(r.matches(one)[0] == Match.FULL for r in routes))


async def _problem(request: Request, error: Exception) -> Response:
    """For programs as problem details, for people as a page; who has not signed in is sent to do so."""
    assert isinstance(error, HTTPException), "it is registered for them"
    if error.status_code == NO_SUCH_METHOD:
        error.headers = {"Allow": _allowed(request)}
    if is_for_programs(request.scope):
        return answer(not_found() if error.status_code == NOT_FOUND else error)
    if error.status_code == UNAUTHORIZED:
        return _to_sign_in(request)
    t = reader_of(request).t
    detail = t("problem.not_found") if error.status_code == NOT_FOUND else error.detail
    values = {"title": f"{error.status_code}", "detail": detail}
    shown = page(request, "problem.html", values, error.status_code)
    shown.headers.update(error.headers or {})
    return shown


def _to_sign_in(request: Request) -> Response:
    """And later back. What renews a part of a page (`PAGE/part`) makes the browser leave the page."""
    here = request.scope["path"]
    if "HX-Request" in request.headers:
        return Response(headers={"HX-Redirect": f"/sign-in?next={quote(here.rpartition('/')[0])}"})
    return RedirectResponse(f"/sign-in?next={quote(here)}", 303)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "it is registered for them"
    fields = [(_field(problem["loc"]), str(problem["msg"])) for problem in error.errors()]
    if any(problem["loc"][:1] == ("path",) for problem in error.errors()):
        return await _problem(request, not_found())  # what is no id names nothing
    return await _problem(request, Problem(422, "; ".join(f"{name}: {what}" for name, what in fields)[:2000], fields))


def _field(location: Any) -> str:
    """Without the place that it stands in (`body`, `query`)."""
    return ".".join(map(str, location[1:])) or str(location[0])


async def _unfit(request: Request, error: Exception) -> Response:
    """What was asked cannot be done so; where it names a setting, it is ours to mend."""
    said = str(error)
    if said.startswith("RATCHET_"):
        log.error("a request could not be answered", extra={"error": said})
        return await _away(request, error)
    field, colon, what = said.partition(": ")
    return await _problem(request, Problem(422, said, [(field, what)] if colon else []))


async def _no_text(request: Request, error: Exception) -> Response:
    """JSON can spell half of a character, which nothing can be done with."""
    assert isinstance(error, UnicodeEncodeError), "it is registered for them"
    return await _problem(request, Problem(422, "It holds half a character (a lone surrogate), which is no text."))


async def _away(request: Request, error: Exception) -> Response:
    log.warning("a request must wait", extra={"error": str(error)})
    return await _problem(request, Problem(503, AWAY, headers={"Retry-After": str(AGAIN_SECONDS)}))


async def _fault(request: Request, error: Exception) -> Response:
    """A fault of ours: where it was is logged, not what it was about."""
    where = "".join(traceback.format_tb(error.__traceback__)[-6:])
    log.error("a request failed", extra={"error": type(error).__name__, "where": where})
    detail = reader_of(request).t("problem.fault")
    return await _problem(request, Problem(500, detail))


@asynccontextmanager
async def serve_site(desk: Desk, lag: LagHistory, say: Callable[[str], None]) -> AsyncIterator[int]:
    """Listen while the context lasts; gives the port. `say` is told how to get in.

    Raises FixConfiguration where the address is not to be had, or must not be.
    """
    settings = desk.settings
    address = ""
    link = None if settings.web_oidc_issuer or settings.web_jwks else OneTimeLink(lambda path: say(f"{address}{path}"))
    if link is not None and settings.web_host not in LOOPBACK:
        raise FixConfiguration(
            f"RATCHET_WEB_HOST: {settings.web_host} is not this machine alone; without an identity provider "
            "(RATCHET_WEB_OIDC_ISSUER, or RATCHET_WEB_JWKS for programs) only 127.0.0.1, ::1 and localhost are served"
        )
    proxies = settings.web_trusted_proxies
    options = {"proxy_headers": bool(proxies), "forwarded_allow_ips": proxies, "server_header": False}
    site = make_site(desk, lag, link)
    async with listening(site, settings.web_host, settings.web_port, "RATCHET_WEB", **options) as port:
        host = f"[{settings.web_host}]" if ":" in settings.web_host else settings.web_host
        address = settings.web_url or f"http://{host}:{port}"
        say(address + ("" if link is None else link.path))
        yield port
