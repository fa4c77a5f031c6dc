"""People: signed in at an OpenID provider, or through the link that `ratchet web` prints where there is none.

Who somebody is stands in the signed session cookie; nothing of it is kept here.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

from authlib.integrations.starlette_client import OAuthError, StarletteIntegration, StarletteOAuth2App
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from joserfc.errors import ClaimError
from pydantic import BaseModel, Field, ValidationError

from service.errors import FixConfiguration
from service.settings import Settings
from service.web.access import EVERY_TENANT, ROLES, Caller, claim_at
from service.web.console.render import page
from service.web.problems import Problem
from service.web.tokens import LEEWAY_SECONDS, NAME_CHARACTERS, check_address, rights

log = logging.getLogger(__name__)

WHO_HAS_THE_LINK = "local"
"""The name of whoever opens the printed link."""
SESSION_BYTES = 2800
"""In base64 and signed it must fit a cookie: browsers drop those of more than 4096 bytes."""
PROVIDER_SECONDS = 5
NEXT = "next"
LOCAL_PATH = r"/(?:[^/\\\s]\S{0,500})?"
SIGNED_WITH = "id_token_signing_alg_values_supported"
SIGNATURES = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
DESCRIPTION = {"issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "_loaded_at"}
"""What of it counts: Authlib gives all that the provider says to its HTTP client, where some of it would be options."""
WHY_CHARACTERS = 300
REFUSALS = {"access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required"}
BEGIN_AGAIN = {"mismatching_state", "invalid_grant"}
OPEN: dict[str, Any] = {"openapi_extra": {"x-roles": [], "x-tenants": "none"}, "include_in_schema": False}

How = Literal["session", "link"]
Trouble = Literal["link_used", "no_role", "denied", "state", "provider_away"]
STATUS: dict[Trouble, int] = {"link_used": 403, "no_role": 403, "denied": 403, "state": 400, "provider_away": 502}


class _Session(BaseModel):
    name: str
    roles: frozenset[str]
    tenants: frozenset[str]
    how: How
    csrf: Annotated[str, Field(min_length=1)]
    until: int


def session_caller(session: dict[str, Any]) -> Caller | None:
    """Whose session it is; None where it is nobody's, or over."""
    try:
        found = _Session.model_validate(session)
    except ValidationError:
        return None
    if found.until <= time.time():
        return None
    return Caller(found.name, found.roles & ROLES, found.tenants, found.how, found.csrf)


def begin_session(
    session: dict[str, Any], *, name: str, roles: Collection[str], tenants: Collection[str], how: How, minutes: int
) -> None:
    """From here on it is this person's, and nothing that was in it before counts. Raises Problem: too many tenants."""
    session.clear()
    begun = {
        "name": name[:NAME_CHARACTERS],
        "roles": sorted(roles),
        "tenants": sorted(tenants),
        "how": how,
        "csrf": secrets.token_urlsafe(),
        "until": int(time.time()) + minutes * 60,
    }
    if len(json.dumps(begun)) > SESSION_BYTES:
        raise Problem(403, f"{len(tenants)} tenants are more than a session can hold: be given fewer, or * for all.")
    session.update(begun)


class OneTimeLink:
    """Signs in whoever opens it first. `tell` is given the next one's path once this one is used."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._key = secrets.token_urlsafe()

    @property
    def path(self) -> str:
        """What is good now."""
        return f"/sign-in/link?key={self._key}"

    def use(self, key: str) -> bool:
        """Whether it is the key; if so, it is one no more."""
        if not secrets.compare_digest(key.encode(), self._key.encode()):
            return False
        self._key = secrets.token_urlsafe()
        self._tell(self.path)
        return True


class Provider:
    """The OpenID provider. Raises FixConfiguration where the settings cannot be meant."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.web_oidc_issuer or ""
        self._wanted = (settings.web_roles_claim, settings.web_tenants_claim)
        scope, secret = settings.web_oidc_scope, settings.web_oidc_client_secret
        check_address("RATCHET_WEB_OIDC_ISSUER", self._issuer)
        if "openid" not in scope.split():
            raise FixConfiguration("RATCHET_WEB_OIDC_SCOPE: needs openid, else the provider does not say who it is")
        self._client = StarletteOAuth2App(
            StarletteIntegration("oidc"),
            name="oidc",
            client_id=settings.web_oidc_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            server_metadata_url=f"{self._issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={"scope": scope, "code_challenge_method": "S256", "timeout": PROVIDER_SECONDS},
        )

    async def redirect(self, request: Request, back_to: str) -> Response:
        """To where people sign in. As untrue as the provider may be, raises anything."""
        await self._describe()
        redirect: Response = await self._client.authorize_redirect(request, back_to)
        return redirect

    async def claims(self, request: Request) -> dict[str, Any]:
        """Of whom it sends back to us: as the ID token says, and userinfo where that says nothing of roles or tenants.

        Raises OAuthError and ClaimError, and likewise anything.
        """
        description = await self._describe()
        expected = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._client.client_id},
            "sub": {"essential": True},
        }
        token = await self._client.authorize_access_token(request, claims_options=expected, leeway=LEEWAY_SECONDS)
        if "userinfo" not in token:
            raise OAuthError("no_id_token", "the provider has not said who it is")
        claims: dict[str, Any] = dict(token["userinfo"])
        missing = [path for path in self._wanted if claim_at(claims, path) is None]
        if missing and "userinfo_endpoint" in description:
            told = await self._client.userinfo(token=token)
            if told.get("sub") != claims["sub"]:
                raise OAuthError("wrong_userinfo", "userinfo is about somebody else")
            claims = {**told, **claims} | {path: claim_at(told, path) for path in missing}
        return claims

    async def _describe(self) -> dict[str, Any]:
        """As it describes itself, asked once. Raises OAuthError where it is another issuer."""
        if "issuer" not in self._client.server_metadata:
            told = await self._client.load_server_metadata()
            self._client.server_metadata = {}
            if told.get("issuer") != self._issuer:
                raise OAuthError("wrong_issuer", f"{told.get('issuer')!r} describes itself at {self._issuer!r}")
            signed = [one for one in told.get(SIGNED_WITH, ["RS256"]) if one in SIGNATURES]
            kept = {name: told[name] for name in DESCRIPTION & told.keys()}
            self._client.server_metadata = kept | {SIGNED_WITH: signed}
        description: dict[str, Any] = self._client.server_metadata
        return description


class SignIn:
    """The routes of signing in and out."""

    def __init__(self, settings: Settings, link: OneTimeLink | None) -> None:
        self._settings = settings
        self._link = link
        self._provider = Provider(settings) if settings.web_oidc_issuer else None

    async def show(self, request: Request) -> Response:
        """How to sign in here."""
        return self._page(request)

    async def start(self, request: Request) -> Response:
        """To the provider, and later back to `next`."""
        if self._provider is None:
            return self._page(request)
        request.session[NEXT] = _local(request.query_params.get(NEXT))
        base = self._settings.web_url or str(request.base_url)
        try:
            return await self._provider.redirect(request, f"{base.rstrip('/')}/sign-in/done")
        except Exception as error:  # noqa: BLE001  # whatever the provider answers, people get a page
            return self._failed(request, error)

    async def done(self, request: Request) -> Response:
        """Back from the provider."""
        if self._provider is None:
            return self._page(request)
        try:
            claims = await self._provider.claims(request)
        except Exception as error:  # noqa: BLE001  # likewise
            return self._failed(request, error)
        roles, tenants = rights(claims, self._settings)
        then = _local(request.session.get(NEXT))
        if not roles:
            request.session.clear()
            return self._page(request, "no_role")
        self._begin(request, _name(claims), roles, tenants, "session")
        return RedirectResponse(then, 303)

    async def use_link(self, request: Request, key: str = "") -> Response:
        """The printed link: who opens it may do everything."""
        if self._link is None or not self._link.use(key):
            return self._page(request, "link_used")
        self._begin(request, WHO_HAS_THE_LINK, ROLES, {EVERY_TENANT}, "link")
        return RedirectResponse("/", 303)

    async def sign_out(self, request: Request, csrf: Annotated[str, Form()] = "") -> Response:
        """Ends the session. Raises Problem where the form is not from one of its pages."""
        caller = session_caller(request.session)
        if caller is not None and not secrets.compare_digest(csrf.encode(), caller.csrf.encode()):
            raise Problem(403, "This form is not from a page of this session: open the page again.")
        request.session.clear()
        return RedirectResponse("/sign-in", 303)

    def _begin(self, request: Request, name: str, roles: Collection[str], tenants: Collection[str], how: How) -> None:
        minutes = self._settings.web_session_minutes
        begin_session(request.session, name=name, roles=roles, tenants=tenants, how=how, minutes=minutes)

    def _failed(self, request: Request, error: Exception) -> Response:
        why = f"{type(error).__name__}: {error}"[:WHY_CHARACTERS]
        log.warning("somebody could not sign in", extra={"why": why})
        return self._page(request, _trouble(error))

    def _page(self, request: Request, problem: Trouble | None = None) -> Response:
        values = {
            "with_provider": self._provider is not None,
            "problem": problem,
            "claim": self._settings.web_roles_claim,
            "next": _local(request.query_params.get(NEXT)),
        }
        return page(request, "sign_in.html", values, STATUS[problem] if problem else 200)


def make_router(settings: Settings, link: OneTimeLink | None) -> APIRouter:
    """What is reached without being anybody. Raises FixConfiguration where the provider's settings cannot be meant."""
    sign_in = SignIn(settings, link)
    router = APIRouter()
    router.add_api_route("/sign-in", sign_in.show, methods=["GET"], **OPEN)
    router.add_api_route("/sign-in/start", sign_in.start, methods=["GET"], **OPEN)
    router.add_api_route("/sign-in/done", sign_in.done, methods=["GET"], **OPEN)
    router.add_api_route("/sign-in/link", sign_in.use_link, methods=["GET"], **OPEN)
    router.add_api_route("/sign-out", sign_in.sign_out, methods=["POST"], **OPEN)
    return router


def _local(path: Any) -> str:
    """Where somebody wanted to go, if it is a page of ours."""
    return path if isinstance(path, str) and re.fullmatch(LOCAL_PATH, path) else "/"


def _name(claims: dict[str, Any]) -> str:
    """What cannot be chosen comes first."""
    sub, known_as = str(claims["sub"]), claims.get("preferred_username")
    return f"{sub} ({known_as})" if isinstance(known_as, str) and known_as != sub else sub


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, ClaimError):
        return "state"
    if isinstance(error, OAuthError) and error.error in REFUSALS:
        return "denied"
    return "state" if isinstance(error, OAuthError) and error.error in BEGIN_AGAIN else "provider_away"
