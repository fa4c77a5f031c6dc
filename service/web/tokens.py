"""Bearer tokens of programs: JSON Web Tokens (RFC 7519), held against the provider's keys (RFC 7517).

Which keys count, the settings say; nothing that a token's header points at is ever followed.
"""

import asyncio
import ipaddress
import json
import logging
import re
import time
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2
import jwt
from jwt.exceptions import InvalidSubjectError

from contracts.fields import ID_PATTERN
from service.errors import FixConfiguration
from service.settings import Settings
from service.web.access import EVERY_TENANT, ROLES, Caller, claim_at, named
from service.web.problems import Problem

log = logging.getLogger(__name__)

ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""By type and curve of a key: each has the one."""
PUBLIC_MEMBERS = ("kty", "kid", "crv", "n", "e", "x", "y")
TOKEN_CHARACTERS = 16 * 1024
NAME_CHARACTERS = 200
LEEWAY_SECONDS = 30
REQUIRED = ["exp", "iss", "aud", "sub"]
KEYS_BYTES = 256 * 1024
KEYS_SECONDS = 300
"""So long are fetched keys good without asking again."""
UNKNOWN_KEY_SECONDS = 30
"""Between questions for keys that tokens name and nobody knows, at least; and after the provider failed."""
NO_KEYS_SECONDS = 5
"""After it failed and there are no keys at all."""
FETCH_SECONDS = 5
MEANINGS: dict[type[Exception], str] = {
    jwt.InvalidSignatureError: "The token's signature is wrong.",
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidIssuerError: "The token is from another issuer.",
    jwt.InvalidAudienceError: "The token is for another audience.",
    InvalidSubjectError: "The token's sub is not a text.",
}


class Keys(Protocol):
    """Where keys come from."""

    async def known(self) -> list[jwt.PyJWK]:
        """The keys there are. Raises Problem where there are none for now."""

    async def renewed(self) -> list[jwt.PyJWK]:
        """The same, asked again where that may be: a token names a key that is not among them."""


class Tokens:
    """Tells who sends a token. Raises FixConfiguration where the keys that RATCHET_WEB_JWKS names cannot be."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        where = settings.web_jwks or ""
        if "://" in where:
            check_address("RATCHET_WEB_JWKS", where)
            self._keys: Keys = FetchedKeys(where)
        else:
            self._keys = KeysInFile(Path(where))

    async def caller(self, token: str) -> Caller:
        """Whose token it is. Raises Problem: 401 where it does not hold, 503 where no keys can be had."""
        key = await self._key(*_algorithm_and_kid(token))
        claims = self._claims(token, key)
        roles, tenants = rights(claims, self._settings)
        return Caller(claims["sub"][:NAME_CHARACTERS], roles, tenants, "token")

    async def _key(self, algorithm: str, kid: str | None) -> jwt.PyJWK:
        keys = await self._keys.known()
        if not _named(keys, kid):
            keys = await self._keys.renewed()
        candidates = _named(keys, kid)
        if not candidates:
            raise _refused("The token's key is not among the provider's.")
        fitting = [key for key in candidates if key.algorithm_name == algorithm]
        if not fitting:
            raise _refused("The token's algorithm is not the one of its key.")
        if kid is None and len(fitting) > 1:
            raise _refused("The token does not say which key it is signed with (kid), and several fit.")
        return fitting[0]

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._settings.web_jwt_issuer or "",
                audience=self._settings.web_jwt_audience or "",
                leeway=LEEWAY_SECONDS,
                options={"require": REQUIRED},
            )
        except jwt.MissingRequiredClaimError as error:
            raise _refused(f"The token has no {error.claim}.") from None
        except jwt.PyJWTError as error:
            raise _refused(MEANINGS.get(type(error), "The token cannot be read.")) from None
        if not claims["sub"]:
            raise _refused("The token's sub is empty.")
        return claims


def rights(claims: dict[str, Any], settings: Settings) -> tuple[frozenset[str], frozenset[str]]:
    """Roles and tenants in the claims that the settings name; what is neither is left out."""
    roles = ROLES & set(named(claim_at(claims, settings.web_roles_claim)))
    tenants = named(claim_at(claims, settings.web_tenants_claim))
    return frozenset(roles), frozenset(one for one in tenants if one == EVERY_TENANT or re.fullmatch(ID_PATTERN, one))


def check_address(variable: str, url: str) -> None:
    """Raises FixConfiguration, naming the variable, for what is neither https nor http on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise FixConfiguration(f"{variable}: {error}") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise FixConfiguration(f"{variable}: an https address, or http on this machine, not {parts.scheme}://{host}")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class KeysInFile:
    """Read again when the file changes; as long as it cannot be read, those from before count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._find_version()
        try:
            self._keys = self._read()
        except (OSError, ValueError) as error:
            raise FixConfiguration(f"RATCHET_WEB_JWKS: {path}: {error}") from None

    async def known(self) -> list[jwt.PyJWK]:
        """As the file says."""
        version = self._find_version()
        if version != self._version:
            self._version = version
            try:
                self._keys = self._read()
            except (OSError, ValueError) as error:
                log.warning("the keys of bearer tokens cannot be read again", extra={"why": str(error)})
        return self._keys

    async def renewed(self) -> list[jwt.PyJWK]:
        """There is nobody else to ask."""
        return self._keys

    def _find_version(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size

    def _read(self) -> list[jwt.PyJWK]:
        with self._path.open("rb") as file:
            return parse_keys(file.read(KEYS_BYTES + 1))


class FetchedKeys:
    """Asked for over HTTP, one question at a time; as long as the provider is away, those from before count."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: list[jwt.PyJWK] = []
        self._asking = asyncio.Lock()
        self._next_question = 0.0
        self._next_renewal = 0.0

    async def known(self) -> list[jwt.PyJWK]:
        """Those of the last five minutes. Raises Problem where the provider has never told any."""
        if self._is_due() or not self._keys:
            async with self._asking:
                if self._is_due():
                    await self._ask()
        if not self._keys:
            retry = {"Retry-After": str(NO_KEYS_SECONDS)}
            raise Problem(503, "The keys of bearer tokens cannot be had for now: ask again.", headers=retry)
        return self._keys

    async def renewed(self) -> list[jwt.PyJWK]:
        """Who comes while others ask waits for their answer."""
        async with self._asking:
            now = time.monotonic()
            if now >= self._next_renewal:
                self._next_renewal = now + UNKNOWN_KEY_SECONDS
                await self._ask()
        return self._keys

    def _is_due(self) -> bool:
        return time.monotonic() >= self._next_question

    async def _ask(self) -> None:
        self._next_question = time.monotonic() + (UNKNOWN_KEY_SECONDS if self._keys else NO_KEYS_SECONDS)
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = parse_keys(await self._fetch())
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError) as error:
            why = str(error) or type(error).__name__
            log.warning("the keys of bearer tokens cannot be fetched", extra={"url": self._url, "why": why})
        else:
            self._next_question = time.monotonic() + KEYS_SECONDS

    async def _fetch(self) -> bytes:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        found = bytearray()
        async with (
            httpx2.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False) as client,
            client.stream("GET", self._url, headers=headers) as response,
        ):
            if response.status_code != httpx2.codes.OK:
                raise ValueError(f"answered with {response.status_code}")
            async for part in response.aiter_raw():
                found += part
                if len(found) > KEYS_BYTES:
                    break
        return bytes(found)


def parse_keys(text: bytes) -> list[jwt.PyJWK]:
    """The public keys of a JWKS that a token may be signed with. Raises ValueError where there are none."""
    if len(text) > KEYS_BYTES:
        raise ValueError(f"longer than {KEYS_BYTES} bytes")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    members = told.get("keys") if isinstance(told, dict) else None
    usable = [key for member in members if (key := _usable(member))] if isinstance(members, list) else []
    if not usable:
        raise ValueError(f"no key for {', '.join(ALGORITHMS.values())} in it")
    return usable


def _usable(member: Any) -> jwt.PyJWK | None:
    try:
        algorithm = ALGORITHMS[member["kty"], member.get("crv")]
        if member.get("use", "sig") != "sig" or member.get("alg", algorithm) != algorithm:
            return None
        if "verify" not in member.get("key_ops", ["verify"]):
            return None
        key = jwt.PyJWK({name: member[name] for name in PUBLIC_MEMBERS if name in member}, algorithm)
        return None if key.Algorithm.check_key_length(key.key) else key
    except (AttributeError, KeyError, TypeError, ValueError, jwt.PyJWTError):
        return None


def _named(keys: list[jwt.PyJWK], kid: str | None) -> list[jwt.PyJWK]:
    return keys if kid is None else [key for key in keys if key.key_id == kid]


def _algorithm_and_kid(token: str) -> tuple[str, str | None]:
    if len(token) > TOKEN_CHARACTERS:
        raise _refused(f"The token is longer than {TOKEN_CHARACTERS} characters.")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError):
        raise _refused("The token cannot be read.") from None
    if "crit" in header:
        raise _refused("The token demands what is not understood here (crit).")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS.values():
        raise _refused(f"The token's algorithm is not allowed; {', '.join(ALGORITHMS.values())} are.")
    return algorithm, kid


def _refused(detail: str) -> Problem:
    return Problem(401, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
