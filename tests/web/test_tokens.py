"""Bearer tokens: those of the provider hold, and nothing else does, however it is made."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from service.errors import FixConfiguration
from service.settings import Settings
from service.web import tokens
from service.web.access import Caller
from service.web.problems import Problem
from service.web.tokens import FetchedKeys, Tokens
from tests.stack.servers import free_port

ISSUER = "https://id.example.org"
AUDIENCE = "ratchet"
INVALID = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Signer(NamedTuple):
    """A key of a provider."""

    kid: str
    algorithm: str
    private: Any

    @property
    def public(self) -> dict[str, Any]:
        """As a JWKS shows it."""
        shown: Any = {"RS": RSAAlgorithm, "ES": ECAlgorithm, "Ed": OKPAlgorithm}[self.algorithm[:2]]
        return {**shown.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid}

    @property
    def pem(self) -> bytes:
        """The public key in another way."""
        shown: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return shown


RSA = Signer("rsa", "RS256", rsa.generate_private_key(65537, 2048))
EC = Signer("ec", "ES256", ec.generate_private_key(ec.SECP256R1()))
ED = Signer("ed", "EdDSA", ed25519.Ed25519PrivateKey.generate())
SIGNERS = [RSA, EC, ED]


class Served:
    """What a provider answers, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = jwks()
        self.delay = 0.0
        self.url = ""

    def show(self, *signers: Signer) -> None:
        """From now on these are its keys."""
        self.body = jwks(*signers)


def jwks(*signers: Signer, more: Any = ()) -> bytes:
    """Of these, else of all."""
    return json.dumps({"keys": [one.public for one in signers or SIGNERS] + list(more)}).encode()


@contextmanager
def serving() -> Iterator[Served]:
    """A provider on this machine."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked += 1
            time.sleep(served.delay)
            self.send_response(served.status)
            for name, value in {"Content-Length": str(len(served.body)), **served.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(served.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Not on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}/keys"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def provider() -> Iterator[Served]:
    """With all keys."""
    with serving() as served:
        yield served


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass for what is cached, not for what tokens say."""
    real, passed = time.monotonic, [0.0]
    monkeypatch.setattr("service.web.tokens.time.monotonic", lambda: real() + passed[0])

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    return let_pass


def make(where: str | Path, **more: Any) -> Tokens:
    settings = {"web_jwks": str(where), "web_jwt_issuer": ISSUER, "web_jwt_audience": AUDIENCE}
    return Tokens(Settings(**{**settings, **more}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """With all keys."""
    path = tmp_path / "keys.json"
    path.write_bytes(jwks())
    return path


def claims(**changes: Any) -> dict[str, Any]:
    """Of a good token; None leaves one out."""
    now = int(time.time())
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "importer", "exp": now + 300, "iat": now, "roles": ["viewer"]}
    return {name: value for name, value in {**told, "tenants": ["north"], **changes}.items() if value is not None}


def signed(signer: Signer = RSA, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token; a header that is None is left out."""
    told = {name: value for name, value in {"kid": signer.kid, **(headers or {})}.items() if value is not None}
    return jwt.encode(claims(**changes), signer.private, signer.algorithm, told)


def encoded(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def forged(header: dict[str, Any], sign: Callable[[bytes], bytes] = lambda _: b"", payload: Any = None) -> str:
    """A token as no library makes it."""
    text = f"{encoded(header)}.{encoded(payload if payload is not None else claims())}"
    return f"{text}.{encoded(sign(text.encode()))}"


async def refuses(tokens: Tokens, token: str, why: str) -> bool:
    """Whether it is refused for this, without being quoted."""
    with pytest.raises(Problem) as found:
        await tokens.caller(token)
    problem = found.value
    assert problem.status_code == 401 and problem.headers == INVALID, problem.detail
    assert all(part not in problem.detail for part in token.split(".") if len(part) > 3)
    assert why in problem.detail, problem.detail
    return True


@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer.algorithm)
async def test_tokens_of_every_allowed_algorithm_hold(signer: Signer, file: Path, provider: Served) -> None:
    for where in (file, provider.url):
        caller = await make(where).caller(signed(signer))
        assert caller == Caller("importer", frozenset({"viewer"}), frozenset({"north"}), "token")


async def test_roles_and_tenants_are_what_the_claims_name(file: Path) -> None:
    made = make(file, web_roles_claim="realm_access.roles", web_tenants_claim="https://example.org/tenants")
    access = {"roles": ["viewer", "privacy", "owner", 7]}
    mixed: Any = {
        "realm_access": access,
        "https://example.org/tenants": ["north", "a b", "", "x" * 129, "*", "new\nline"],
    }
    caller = await made.caller(signed(**mixed))
    assert caller.roles == {"viewer", "privacy"} and caller.tenants == {"north", "*"}
    spelled = await make(file).caller(signed(roles="viewer operator", tenants="north south:1"))
    assert spelled.roles == {"viewer", "operator"} and spelled.tenants == {"north", "south:1"}
    nothing = await make(file).caller(signed(roles={"viewer": True}, tenants=None))
    assert not nothing.roles and not nothing.tenants
    assert len((await make(file).caller(signed(sub="s" * 300))).name) == 200


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"nbf": int(time.time()) + 3600}, "not valid yet"),
        ({"iat": int(time.time()) + 3600}, "not valid yet"),
        ({"iss": "https://id.example.com"}, "another issuer"),
        ({"iss": ISSUER + "/"}, "another issuer"),
        ({"aud": "another"}, "another audience"),
        ({"aud": ["another", "ratchet2"]}, "another audience"),
        ({"aud": []}, "no aud"),
        ({"exp": None}, "no exp"),
        ({"aud": None}, "no aud"),
        ({"sub": None}, "no sub"),
        ({"iss": None}, "no iss"),
        ({"sub": ""}, "sub is empty"),
        ({"sub": 7}, "sub is not a text"),
        ({"exp": "never"}, "cannot be read"),
        ({"exp": float("inf")}, "cannot be read"),
        ({"nbf": [1]}, "cannot be read"),
    ],
)
async def test_claims_that_do_not_hold(changes: dict[str, Any], why: str, file: Path) -> None:
    assert await refuses(make(file), signed(**changes), why)


async def test_clocks_may_differ_by_half_a_minute(file: Path) -> None:
    made, now = make(file), int(time.time())
    assert await made.caller(signed(exp=now - 20, nbf=now + 20, iat=now + 20))
    assert await refuses(made, signed(exp=now - 40), "expired")
    assert await refuses(made, signed(nbf=now + 40), "not valid yet")
    assert await made.caller(signed(aud=["another", AUDIENCE]))


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", None, ["RS256"], 7])
async def test_unsigned_tokens(algorithm: Any, file: Path) -> None:
    for kid in ({"kid": "rsa"}, {}):
        assert await refuses(make(file), forged({"alg": algorithm, "typ": "JWT", **kid}), "algorithm is not allowed")
    assert await refuses(make(file), forged({"typ": "JWT"}), "algorithm is not allowed")


@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer.algorithm)
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_what_is_public_is_no_secret_to_sign_with(signer: Signer, algorithm: str, file: Path) -> None:
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    shown = json.dumps(signer.public)
    for secret in (signer.pem, signer.pem.strip(), shown.encode(), shown.replace(" ", "").encode(), b""):
        for header in ({"alg": algorithm, "kid": signer.kid}, {"alg": algorithm}):

            def sign(text: bytes, secret: bytes = secret) -> bytes:
                return hmac.new(secret, text, digest).digest()

            assert await refuses(make(file), forged(header, sign), "algorithm is not allowed")


async def test_a_shared_secret_among_the_keys_is_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    secret = b"s" * 32
    oct_key = {"kty": "oct", "k": encoded(secret), "kid": "shared", "alg": "HS256"}
    path.write_bytes(jwks(RSA, more=[oct_key, {**oct_key, "alg": "RS256"}]))
    token = jwt.encode(claims(), secret, "HS256", {"kid": "shared"})
    assert await refuses(make(path), token, "algorithm is not allowed")
    assert await refuses(make(path), signed(RSA, {"kid": "shared"}), "not among")
    path.write_text(json.dumps({"keys": [oct_key]}))
    with pytest.raises(FixConfiguration, match="RATCHET_WEB_JWKS"):
        make(path)


async def test_an_algorithm_of_another_key(file: Path) -> None:
    made = make(file)
    for signer in SIGNERS:
        for other in SIGNERS:
            if other is not signer:
                assert await refuses(made, signed(signer, {"kid": other.kid}), "not the one of its key")
    stronger = jwt.encode(claims(), RSA.private, "RS512", {"kid": "rsa"})
    assert await refuses(made, stronger, "algorithm is not allowed")
    padded = jwt.encode(claims(), RSA.private, "PS256", {"kid": "rsa"})
    assert await refuses(made, padded, "algorithm is not allowed")
    renamed = f"{encoded({'alg': 'ES256', 'kid': 'rsa'})}.{signed(RSA).split('.', 1)[1]}"
    assert await refuses(made, renamed, "not the one of its key")


async def test_signatures_of_others(file: Path) -> None:
    made = make(file)
    stranger = Signer("rsa", "RS256", rsa.generate_private_key(65537, 2048))
    assert await refuses(made, signed(stranger), "signature is wrong")
    assert await refuses(made, signed(stranger, {"kid": None}), "signature is wrong")
    head, _, signature = signed(RSA).split(".")
    assert await refuses(made, f"{head}.{encoded(claims(roles=['privacy']))}.{signature}", "signature is wrong")
    assert await refuses(made, f"{head}.{encoded(claims())}.", "signature is wrong")
    zeros = forged({"alg": "ES256", "kid": "ec"}, lambda _: bytes(64))
    assert await refuses(made, zeros, "signature is wrong")


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
async def test_keys_that_a_token_brings_along_are_not_followed(header: str, provider: Served) -> None:
    stranger = Signer("evil", "RS256", rsa.generate_private_key(65537, 2048))
    with serving() as attacker:
        attacker.show(stranger)
        brought = {"jku": attacker.url, "x5u": attacker.url, "jwk": stranger.public, "x5c": ["MIIB"]}[header]
        made = make(provider.url)
        assert await refuses(made, signed(stranger, {header: brought}), "not among")
        assert await refuses(made, signed(stranger, {header: brought, "kid": "rsa"}), "signature is wrong")
        assert await refuses(made, signed(stranger, {header: brought, "kid": None}), "signature is wrong")
        assert await made.caller(signed(RSA, {header: brought}))
        assert attacker.asked == 0


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": True}, {"crit": []}])
async def test_what_is_demanded_and_not_understood(header: dict[str, Any], file: Path) -> None:
    def sign(text: bytes) -> bytes:
        return ED.private.sign(text)  # type: ignore[no-any-return]

    assert await refuses(make(file), forged({"alg": "EdDSA", "kid": "ed", **header}, sign), "")
    assert await make(file).caller(forged({"alg": "EdDSA", "kid": "ed"}, sign))


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "secretly opaque",
        "ü.ü.ü",
        "\udcff.a.b",
        "e30.e30.",
        forged({"alg": "RS256", "kid": 7}),
        f"{encoded([])}.{encoded({})}.a",
        f"{encoded(b'[' * 9000)}.e30.a",
        f"{encoded(b'{')}.{encoded({})}.aaaa",
    ],
)
async def test_garbage(token: str, file: Path) -> None:
    assert await refuses(make(file), token, "The token")


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"\xff", b"[" * 9000, b'"text"', b'{"exp":' + b"9" * 5000 + b"}"]
)
async def test_garbage_that_is_signed(payload: bytes, file: Path) -> None:
    token = forged({"alg": "EdDSA", "kid": "ed"}, ED.private.sign, payload)
    assert await refuses(make(file), token, "The token")


async def test_tokens_that_are_too_long(file: Path) -> None:
    made = make(file)
    assert await made.caller(signed(more="a" * 11_000))
    assert await refuses(made, signed(more="a" * 12_500), "longer than 16384")
    assert await refuses(made, "a" * 10_000_000, "longer than 16384")


async def test_a_token_that_names_no_key_holds_where_only_one_fits(file: Path) -> None:
    for signer in SIGNERS:
        assert await make(file).caller(signed(signer, {"kid": None}))
    second = Signer("second", "RS256", rsa.generate_private_key(65537, 2048))
    file.write_bytes(jwks(RSA, EC, second))
    made = make(file)
    assert await made.caller(signed(EC, {"kid": None}))
    assert await refuses(made, signed(RSA, {"kid": None}), "several fit")
    assert await refuses(made, signed(ED, {"kid": None}), "not the one of its key")


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_keys_that_are_not_for_this_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    weak = Signer("weak", "RS256", rsa.generate_private_key(65537, 1024))
    unfit: list[Any] = [
        {**EC.public, "use": "enc"},
        {**EC.public, "alg": "ECDH-ES"},
        {**EC.public, "key_ops": ["encrypt"]},
        {**EC.public, "crv": "P-384"},
        {**EC.public, "x": 7},
        {**ED.public, "x": "AAAA"},
        {"kty": "RSA", "kid": "rsa"},
        {"kid": "none"},
        weak.public,
        None,
        "key",
        [],
    ]
    path.write_bytes(jwks(RSA, more=unfit))
    made = make(path)
    assert await made.caller(signed(RSA))
    for signer in (EC, ED, weak):
        assert await refuses(made, signed(signer), "not among")


async def test_a_file_with_private_keys_works_as_if_it_had_public_ones(file: Path) -> None:
    shown = RSAAlgorithm.to_jwk(RSA.private, as_dict=True) | {"kid": "rsa"}
    assert "d" in shown and shown.pop("key_ops") == ["sign"]
    file.write_text(json.dumps({"keys": [shown]}))
    assert await make(file).caller(signed(RSA))


async def test_a_file_is_read_again_when_it_changes(file: Path) -> None:
    new = Signer("new", "ES256", ec.generate_private_key(ec.SECP256R1()))
    made = make(file)
    assert await refuses(made, signed(new), "not among")
    file.write_bytes(jwks(EC, new))
    assert await made.caller(signed(new))
    assert await refuses(made, signed(RSA), "not among")
    for broken in ("{", "{}", '{"keys": []}'):
        file.write_text(broken)
        assert await made.caller(signed(new))
    file.unlink()
    assert await made.caller(signed(new))
    other = file.with_name("other")
    other.write_bytes(jwks(RSA))
    other.replace(file)
    assert await made.caller(signed(RSA))
    assert await refuses(made, signed(new), "not among")


async def test_rotated_keys_hold_at_once_and_invented_ones_ask_nobody(
    provider: Served, clock: Callable[[float], None]
) -> None:
    new = Signer("new", "EdDSA", ed25519.Ed25519PrivateKey.generate())
    made = make(provider.url)
    assert await made.caller(signed(RSA)) and await made.caller(signed(EC)) and provider.asked == 1
    provider.show(EC, new)
    assert await made.caller(signed(new)) and provider.asked == 2
    assert await refuses(made, signed(RSA), "not among")
    for number in range(100):
        assert await refuses(made, signed(RSA, {"kid": f"invented-{number}"}), "not among")
    assert provider.asked == 2
    clock(tokens.UNKNOWN_KEY_SECONDS + 1)
    asked = (made.caller(signed(RSA, {"kid": f"invented-{number}"})) for number in range(100))
    found = await asyncio.gather(*asked, made.caller(signed(new)), return_exceptions=True)
    assert all(isinstance(one, Problem) for one in found[:100]) and isinstance(found[100], Caller)
    assert provider.asked == 3


async def test_a_hundred_at_once_ask_once(provider: Served) -> None:
    provider.delay = 0.1
    made = make(provider.url)
    callers = await asyncio.gather(*(made.caller(signed(ED)) for _ in range(100)))
    assert len(callers) == 100 and provider.asked == 1


async def test_who_comes_while_new_keys_are_fetched_waits_for_them(provider: Served) -> None:
    new = Signer("new", "EdDSA", ed25519.Ed25519PrivateKey.generate())
    made = make(provider.url)
    assert await made.caller(signed(RSA))
    provider.show(new)
    provider.delay = 0.1
    callers = await asyncio.gather(*(made.caller(signed(new)) for _ in range(20)))
    assert len(callers) == 20 and provider.asked == 2


async def test_keys_are_asked_for_again_after_five_minutes_and_kept_while_the_provider_is_away(
    provider: Served, clock: Callable[[float], None]
) -> None:
    made = make(provider.url)
    assert await made.caller(signed(RSA))
    clock(tokens.KEYS_SECONDS - 10)
    assert await made.caller(signed(RSA)) and provider.asked == 1
    provider.status = 500
    clock(20)
    for _ in range(20):
        assert await made.caller(signed(RSA))
    assert provider.asked == 2
    provider.status = 200
    provider.show(EC)
    clock(tokens.UNKNOWN_KEY_SECONDS + 1)
    assert await made.caller(signed(EC)) and provider.asked == 3
    assert await refuses(made, signed(RSA), "not among")


async def test_without_any_keys_programs_are_told_to_come_again(clock: Callable[[float], None]) -> None:
    made = make(f"http://127.0.0.1:{free_port()}/keys")
    with pytest.raises(Problem) as found:
        await made.caller(signed(RSA))
    assert found.value.status_code == 503 and found.value.headers == {"Retry-After": str(tokens.NO_KEYS_SECONDS)}
    with serving() as provider:
        assert isinstance(made._keys, FetchedKeys)
        made._keys._url = provider.url
        with pytest.raises(Problem):
            await made.caller(signed(RSA))
        assert provider.asked == 0
        clock(tokens.NO_KEYS_SECONDS + 1)
        assert await made.caller(signed(RSA)) and provider.asked == 1


async def test_bad_answers_are_no_keys(provider: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_away() -> bool:
        with pytest.raises(Problem, match="ask again") as found:
            await make(provider.url).caller(signed(RSA))
        return found.value.status_code == 503

    with serving() as elsewhere:
        provider.status, provider.headers = 302, {"Location": elsewhere.url}
        assert await is_away() and elsewhere.asked == 0
    provider.status, provider.headers = 200, {}
    for body in (b"", b"[]", b'{"keys": {}}', b'{"keys": []}', b"[" * 9000, jwks() + b" " * tokens.KEYS_BYTES):
        provider.body = body
        assert await is_away()
    provider.body, provider.delay = jwks(), 1.0
    monkeypatch.setattr(tokens, "FETCH_SECONDS", 0.2)
    assert await is_away()


@pytest.mark.parametrize(
    "where",
    ["nowhere.json", ".", "http://id.example.org/keys", "ftp://127.0.0.1/keys", "https:///keys", "http://[/keys"],
)
def test_what_cannot_be_meant_is_told_of_at_the_start(where: str) -> None:
    with pytest.raises(FixConfiguration, match="RATCHET_WEB_JWKS"):
        make(where)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'])
def test_a_file_without_usable_keys_is_told_of_at_the_start(text: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(FixConfiguration, match="RATCHET_WEB_JWKS"):
        make(path)


def test_a_provider_that_is_away_is_found_out_later() -> None:
    for where in ("https://id.example.org/keys", "http://localhost:1/keys", "http://[::1]:1/keys"):
        make(where)
