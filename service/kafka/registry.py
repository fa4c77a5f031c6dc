"""A schema registry that speaks Confluent's protocol: which schema has which id there, and how values begin with it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import httpx2

from contracts.framing import frame
from contracts.topics import Topic
from service.errors import FixConfiguration, WaitAndRetry
from service.kafka.frames import FRAMED, Frames
from service.settings import Settings

SETTING = "RATCHET_SCHEMA_REGISTRY_URL"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
CALL_SECONDS = 10.0
ANSWER_CHARACTERS = 300
"""Of what a registry says is wrong, so much is told."""
CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
NO_SUBJECT, NO_SCHEMA, NO_LEVEL = 40401, 40403, 40408
"""The protocol's codes for what is not there."""


class Registered(NamedTuple):
    """A schema as the registry knows it."""

    id: int
    version: int
    """Of its subject."""


def subject(topic: Topic, prefix: str) -> str:
    """Under which name the schema of a topic's values stands."""
    return f"{prefix}{topic.name}-value"


def schema_text(topic: Topic) -> str:
    """The schema as it is registered, always the same text: in draft 7, which every registry can compare."""
    text = (files("contracts") / "schemas" / f"{topic.short}.json").read_text("utf-8")
    schema = json.loads(text.replace('"#/$defs/', '"#/definitions/'))
    definitions = schema.pop("$defs", None)
    schema["$schema"] = DRAFT_7
    return json.dumps(schema if definitions is None else {**schema, "definitions": definitions})


class Registry:
    """Made by `open_registry`. Every method raises FixConfiguration for what must be mended, else WaitAndRetry."""

    def __init__(self, client: httpx2.AsyncClient, name: str, address: str) -> None:
        self._client = client
        self._name = name
        self._address = address

    async def find(self, subject: str, schema: str) -> Registered | None:
        """The schema under this subject; None where it is not there."""
        found = await self._call("POST", f"subjects/{quote(subject)}", _body(schema), NO_SUBJECT, NO_SCHEMA)
        return None if found is None else Registered(int(found["id"]), int(found["version"]))

    async def register(self, subject: str, schema: str) -> None:
        """As the subject's newest version. Raises FixConfiguration where the registry does not let it in."""
        await self._call("POST", f"subjects/{quote(subject)}/versions", _body(schema))

    async def level(self, subject: str) -> str | None:
        """Which compatibility the subject has of its own."""
        found = await self._call("GET", f"config/{quote(subject)}", None, NO_SUBJECT, NO_LEVEL)
        return None if found is None else str(found.get("compatibilityLevel"))

    async def set_level(self, subject: str, level: str) -> None:
        """Nothing comes of it where a registry wants a schema to be there first."""
        await self._call("PUT", f"config/{quote(subject)}", {"compatibility": level}, NO_SUBJECT)

    async def _call(
        self, method: str, path: str, body: Mapping[str, str] | None, *absent: int
    ) -> dict[str, Any] | None:
        """The answer; None for one of these codes."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                answer = await self._client.request(method, path, json=body)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError) as error:
            raise WaitAndRetry(
                f"{self._name}: no schema registry answers at {self._address} ({type(error).__name__}): start it, or "
                "mend the address"
            ) from None
        said = _json(answer)
        if answer.is_success and said is not None:
            return said
        if said is not None and said.get("error_code") in absent:
            return None
        raise self._refusal(answer.status_code, said, path)

    def _refusal(self, status: int, said: Mapping[str, Any] | None, path: str) -> Exception:
        at = f"{self._name}: the schema registry at {self._address}"
        why = "" if said is None else f": {' '.join(str(said.get('message', '')).split())[:ANSWER_CHARACTERS]}"
        if status in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
            return FixConfiguration(f"{at} refuses with {status}: put user:password@ in front of the host's name")
        if status == httpx2.codes.CONFLICT:
            return FixConfiguration(
                f"{at} refuses a schema that is not compatible with those under {path.split('/')[1]}: delete what "
                f"somebody else has registered there, or use another RATCHET_TOPIC_PREFIX{why}"
            )
        if status >= httpx2.codes.INTERNAL_SERVER_ERROR:
            return WaitAndRetry(f"{at} failed with {status}: look into its log, and try again{why}")
        if said is None or "error_code" not in said:
            return FixConfiguration(
                f"{self._name}: what answers at {self._address} is no schema registry ({status} for {path}): give the "
                "address that Confluent's clients take, for Apicurio as http://registry:8080/apis/ccompat/v7"
            )
        return FixConfiguration(f"{at} refuses {path} with {status}{why}")


def _body(schema: str) -> dict[str, str]:
    return {"schemaType": "JSON", "schema": schema}


def _json(answer: httpx2.Response) -> dict[str, Any] | None:
    try:
        said = answer.json()
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


@asynccontextmanager
async def open_registry(name: str, url: str) -> AsyncIterator[Registry]:
    """The registry at an address, which may have user:password; `name`: what errors call it, and want mended.

    Raises FixConfiguration for what is no address.
    """
    try:
        address, auth = _address_and_auth(url)
        client = httpx2.AsyncClient(base_url=address, auth=auth, timeout=CALL_SECONDS, headers={"Accept": CONTENT_TYPE})
    except (ValueError, httpx2.InvalidURL):
        raise FixConfiguration(f"{name}: must be the address of a schema registry, like http://registry:8081") from None
    async with client:
        yield Registry(client, name, address)


def _address_and_auth(url: str) -> tuple[str, tuple[str, str] | None]:
    """Apart, so that no error and no log has the password. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no address")
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return address, None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))


async def registered_frames(settings: Settings, names: Iterable[str]) -> Frames:
    """How values in these topics begin, as the registry says, which is set. Raises as `frames.frames_of` does."""
    assert settings.schema_registry_url is not None, "else nothing begins so"
    prefix, found = settings.topic_prefix, dict[str, Registered | None]()
    try:
        async with open_registry(SETTING, settings.schema_registry_url.get_secret_value()) as registry:
            for name in sorted(names):
                found[name] = await registry.find(subject(FRAMED[name], prefix), schema_text(FRAMED[name]))
    except WaitAndRetry as error:
        raise FixConfiguration(str(error)) from None
    missing = [subject(FRAMED[name], prefix) for name, one in found.items() if one is None]
    if missing:
        raise FixConfiguration(
            f"{SETTING}: the schema registry has no schema of this version under {', '.join(missing)}: run `ratchet "
            "contracts register` first"
        )
    return {name: frame(one.id) for name, one in found.items() if one is not None}
