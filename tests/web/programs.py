"""Programs that use the API: a world with one worker and one `ratchet web`, and tokens of any roles and tenants."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.stack.service import Web, World
from tests.web.test_tokens import AUDIENCE, ISSUER

KEY = ec.generate_private_key(ec.SECP256R1())
SECONDS = 60.0
EVENT = {"step_id": "e-1", "kind": "event", "scheduled_minutes": 60}
JSON = {"Content-Type": "application/json"}
Json = dict[str, Any]
Files = Mapping[str, tuple[str, bytes]]
Found = TypeVar("Found")


def unique(what: str = "t") -> str:
    """An id that no other test has."""
    return f"{what}-{uuid.uuid4().hex[:12]}"


def eventually(look: Callable[[], Found | None], seconds: float = SECONDS) -> Found:
    """What it gives once it gives anything; AssertionError where it never does."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"never: {found}"
        time.sleep(0.1)
    return found


def keys_in(folder: Path) -> dict[str, str]:
    """Settings of a process that trusts our key."""
    path = folder / f"{unique('keys')}.json"
    path.write_text(json.dumps({"keys": [{**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "ours"}]}))
    return {
        "RATCHET_WEB_JWKS": str(path),
        "RATCHET_WEB_JWT_ISSUER": ISSUER,
        "RATCHET_WEB_JWT_AUDIENCE": AUDIENCE,
    }


def token(roles: Sequence[str], tenants: Sequence[str], name: str = "") -> str:
    """Of a program with this name."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": name or unique("program"), "exp": int(time.time()) + 3600}
    return jwt.encode({**claims, "roles": list(roles), "tenants": list(tenants)}, KEY, "ES256", {"kid": "ours"})


def a_client(address: str, bearer: str | None) -> httpx2.Client:
    """Nothing of the environment counts."""
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    return httpx2.Client(base_url=address, headers=headers, timeout=30, trust_env=False)


class Site:
    """A running `ratchet web`, with a worker behind it, as programs see it."""

    def __init__(self, world: World, **settings: str) -> None:
        self.world = world
        self._settings = {**keys_in(world.folder), **settings}
        self._clients: list[httpx2.Client] = []
        self.web = self.start()

    def start(self, **settings: str) -> Web:
        """One more process of the same world."""
        web = self.world.web(**{**self._settings, **settings})
        web.link()
        return web

    def as_(self, roles: str, *tenants: str, name: str = "", web: Web | None = None) -> httpx2.Client:
        """A client with a token: roles with spaces between, tenants."""
        client = a_client((web or self.web).address, token(roles.split(), tenants, name))
        self._clients.append(client)
        return client

    def nobody(self) -> httpx2.Client:
        """A client without one."""
        self._clients.append(a_client(self.web.address, None))
        return self._clients[-1]

    def close(self) -> None:
        """All of it."""
        for client in self._clients:
            client.close()
        self.web.stop()


def open_site(world: World, serving: Mapping[str, str] = {}, /, **settings: str) -> Iterator[Site]:
    """With a worker; `settings`: of the web process."""
    worker = world.serve(**serving).wait_until_ready()
    site = Site(world, **settings)
    yield site
    site.close()
    worker.stop()


def definition(tenant: str, course: str = "c-1", version: int = 1, **more: Any) -> tuple[str, Json]:
    """A course of one event."""
    ids = {"message_id": unique("m"), "tenant_id": tenant, "course_id": course, "version": version}
    return "course-defined", {**ids, "changed_at": f"2026-01-0{version}T09:00:00Z", "steps": [EVENT], **more}


def attendance(tenant: str, learner: str, course: str = "c-1", **more: Any) -> tuple[str, Json]:
    """Somebody was there, unless `more` says otherwise."""
    ids = {"message_id": unique("m"), "tenant_id": tenant, "learner_id": learner, "course_id": course}
    said = {} if "attended_minutes" in more else {"attended": True}
    return "attendance-changed", {**ids, "changed_at": "2026-02-01T09:00:00Z", "event_id": "e-1", **said, **more}


def post(client: httpx2.Client, *messages: tuple[str, Any]) -> Json:
    """What is answered to these messages."""
    items = [{"topic": topic, "value": value} for topic, value in messages]
    answer = client.post("/v1/messages", content=json.dumps({"messages": items}), headers=JSON)
    assert answer.status_code == 200, answer.text
    told: Json = answer.json()
    return told


def accepted(client: httpx2.Client, *messages: tuple[str, Any]) -> None:
    """All of them are."""
    told = post(client, *messages)
    assert told["accepted"] == len(messages), told


def record(client: httpx2.Client, tenant: str, learner: str, status: str = "completed", course: str = "c-1") -> Json:
    """A record, once it stands so."""

    def look() -> Json | None:
        answer = client.get(f"/v1/records/{tenant}/{learner}/{course}")
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        return told if told["course"]["status"] == status else None

    return eventually(look)


def course_known(client: httpx2.Client, tenant: str, course: str = "c-1", version: int = 1) -> Json:
    """A course, once this version is stored, and all records are decided under it."""

    def look() -> Json | None:
        answer = client.get(f"/v1/courses/{tenant}/{course}")
        found: Json | None = answer.json() if answer.status_code == 200 else None
        return found if found is not None and found["version"] >= version and found["state"] == "done" else None

    return eventually(look)


def job_ended(client: httpx2.Client, job: Json, seconds: float = SECONDS) -> Json:
    """A job, once it is done or failed."""

    def look() -> Json | None:
        answer = client.get(job["links"]["self"])
        assert answer.status_code == 200, answer.text
        told: Json = answer.json()
        return told if told["state"] in ("done", "failed") else None

    return eventually(look, seconds)


def uploaded(client: httpx2.Client, tenant: str, name: str, content: bytes, **fields: Any) -> Json:
    """The job of an upload."""
    answer = client.post("/v1/uploads", data={"tenant_id": tenant, **fields}, files={"file": (name, content)})
    assert answer.status_code == 202, answer.text
    job: Json = answer.json()
    return job


def csv_of(tenant: str, rows: Sequence[str], headings: str = "Learner,Course,Event,Attended minutes") -> bytes:
    """A file about a tenant's learners."""
    return "\n".join([f"Tenant,{headings}", *(f"{tenant},{row}" for row in rows), ""]).encode()


def is_problem(answer: httpx2.Response, status: int) -> Json:
    """The body of a problem detail as RFC 9457 has it."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"] == "application/problem+json"
    told: Json = answer.json()
    assert told.keys() == {"type", "title", "status", "detail", "errors"}
    assert told["type"] == "about:blank" and told["status"] == status and told["title"] and told["detail"]
    assert all(error.keys() == {"field", "message"} for error in told["errors"])
    return told
