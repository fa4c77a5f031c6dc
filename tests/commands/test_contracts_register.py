"""`ratchet contracts register` on a real registry, and values that begin with a schema's id, for strangers to read."""

import asyncio
import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError

from contracts import export
from contracts.framing import split_frame
from contracts.reader import Cursor, take
from contracts.topics import DEAD_LETTER, TOPICS
from service.admin.changes import changes
from service.admin.dead_letters import Edit, again, edited, letter_json, spelled
from service.kafka.dead_letters import DeadLetter
from service.kafka.frames import FRAMED, OF_OTHERS
from service.kafka.registry import schema_text
from service.settings import load_settings
from tests.commands.test_commands import ATTENDED, DEFINITION, RESET
from tests.stack import registry as apicurio
from tests.stack.servers import NotAvailable, Server, free_port
from tests.stack.service import World
from tests.stack.wire import Got, Wire, key_of

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]  # the first time, the registry is fetched
SETTING = "RATCHET_SCHEMA_REGISTRY_URL"
VALUE = MessageField.VALUE


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        server = apicurio.from_java(tmp_path_factory.mktemp("registry"))
    except NotAvailable as why:
        pytest.skip(str(why))
    yield server
    server.stop()


@pytest.fixture
def client(registry: Server) -> SchemaRegistryClient:
    """As strangers have it."""
    return SchemaRegistryClient({"url": registry.address})


def registered(world: World, registry: Server) -> list[dict[str, Any]]:
    """What the command says."""
    said: list[dict[str, Any]] = json.loads(
        world.run("contracts", "register", "--url", registry.address, "--json").stdout
    )
    return said


def test_each_topic_of_others_is_registered_once(world: World, registry: Server, client: SchemaRegistryClient) -> None:
    first = registered(world, registry)
    assert [one["subject"] for one in first] == [f"{world.prefix}{topic.name}-value" for topic in OF_OTHERS]
    assert {topic.direction for topic in TOPICS if topic not in OF_OTHERS} == {"internal", "out"}, "and dead letters"
    assert DEAD_LETTER not in OF_OTHERS and all(one["is_new"] for one in first)
    second = registered(world, registry)
    assert second == [{**one, "is_new": False} for one in first]
    for topic, one in zip(OF_OTHERS, first, strict=True):
        found = client.get_latest_version(one["subject"])
        assert (found.schema_id, found.version, found.schema.schema_type) == (one["id"], 1, "JSON")
        assert json.loads(found.schema.schema_str)["$id"] == f"urn:ratchet:{topic.name}"
        level = "FORWARD_TRANSITIVE" if topic.direction == "out" else "NONE"
        assert client.get_compatibility(one["subject"]) == one["compatibility"] == level
    shown = world.run("contracts", "register", RATCHET_SCHEMA_REGISTRY_URL=registry.address).stdout
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines() if "│" in line]
    assert rows == [[one["subject"], "1", str(one["id"]), one["compatibility"], "was known"] for one in first]


@pytest.mark.parametrize("topic", OF_OTHERS, ids=lambda topic: topic.short)
def test_what_is_registered_says_what_the_contract_says(topic: Any) -> None:
    """In draft 7, as another library reads it."""
    schema = json.loads(schema_text(topic))
    jsonschema.Draft7Validator.check_schema(schema)
    then, now = jsonschema.Draft7Validator(schema), jsonschema.Draft202012Validator(export.schema(topic))
    for example in export.examples(topic):
        for value in [example, *({**example, name: 0.5} for name in example), *_without_one(example)]:
            assert then.is_valid(value) == now.is_valid(value), value


def _without_one(example: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in example:
        yield {other: value for other, value in example.items() if other != name}


Changed = Callable[[dict[str, Any]], object]
ADDED: dict[str, Changed] = {
    "another description": lambda schema: schema["properties"]["tenant_id"].update(description="Whose it is."),
    "a new optional field": lambda schema: schema["properties"].update(new={"type": "string"}),
}
BROKEN: dict[str, Changed] = {
    "a field is gone": lambda schema: schema["required"].remove(schema["properties"].popitem()[0]),
    "a field may be missing": lambda schema: schema["required"].remove("tenant_id"),
    "a field is a number": lambda schema: schema["properties"].update(tenant_id={"type": "integer"}),
    "a field may be null": lambda schema: schema["properties"].update(
        tenant_id={"anyOf": [schema["properties"]["tenant_id"], {"type": "null"}]}
    ),
}


def test_the_registry_lets_evolution_through_and_refuses_what_breaks(
    world: World, registry: Server, client: SchemaRegistryClient
) -> None:
    registered(world, registry)

    def send(topic: Any, change: Changed) -> None:
        schema = copy.deepcopy(json.loads(schema_text(topic)))
        change(schema)
        client.register_schema(f"{world.prefix}{topic.name}-value", Schema(json.dumps(schema), "JSON"))

    for topic in FRAMED.values():
        for name, change in BROKEN.items():
            with pytest.raises(SchemaRegistryError) as refused:
                send(topic, change)
            assert refused.value.http_status_code == 409, (topic.short, name)
        for change in ADDED.values():
            send(topic, change)
    send(next(topic for topic in OF_OTHERS if topic.direction == "in"), ADDED["a new optional field"])
    again_known = registered(world, registry)
    assert not any(one["is_new"] for one in again_known), "older versions are still there"


class _Refusing(BaseHTTPRequestHandler):
    """Wants somebody else."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(f"{self.path} {self.headers['Authorization']}")
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    """A registry's host and port; it takes nobody."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_errors_are_one_line_that_names_the_option_and_not_the_password(
    world: World, registry: Server, client: SchemaRegistryClient, refusing: str
) -> None:
    def refused(url: str, status: int = 2) -> str:
        ran = world.run("contracts", "register", *(["--url", url] if url else []), check=False)
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (status, "", 1)
        assert "geheim" not in ran.stderr
        return ran.stderr.removeprefix("ratchet: --url: ").strip()

    assert refused("") == "say where the schema registry is, like http://registry:8081"
    assert refused("registry:8081") == "must be the address of a schema registry, like http://registry:8081"
    assert refused("http://me:geheim@[::1").startswith("must be the address")
    nobody = f"http://127.0.0.1:{free_port()}"
    away = refused(nobody.replace("//", "//me:geheim@"), 3)
    assert away == f"no schema registry answers at {nobody} (ConnectError): start it, or mend the address"
    elsewhere = registry.address.removesuffix(apicurio.PATH)
    assert refused(elsewhere).startswith(f"what answers at {elsewhere} is no schema registry (404")
    assert "refuses with 401: put user:password@ in front" in refused(f"http://me:gehei%6d@{refusing}/")
    first = f"{world.prefix}{OF_OTHERS[0].name}-value"
    assert _Refusing.asked == [f"/config/{first} Basic bWU6Z2VoZWlt"]
    other = next(f"{world.prefix}{name}-value" for name in FRAMED)
    client.register_schema(
        other, Schema(json.dumps({"$schema": jsonschema.Draft7Validator.META_SCHEMA["$id"], "type": "string"}), "JSON")
    )
    assert f"refuses a schema that is not compatible with those under {other}: delete" in refused(registry.address)


def test_who_writes_ids_needs_a_registry_that_knows_them(world: World, registry: Server) -> None:
    subject = f"{world.prefix}completion.step-completion-changed.v1-value"
    serving = world.serve(**{SETTING: registry.address})
    assert serving.wait(60) == 2
    said = serving.log.read_text()
    assert f"{SETTING}: the schema registry has no schema of this version under " in said and subject in said
    assert "run `ratchet contracts register` first" in said
    nobody = f"http://me:geheim@127.0.0.1:{free_port()}"
    serving = world.serve(**{SETTING: nobody})
    assert serving.wait(60) == 2
    said = serving.log.read_text()
    assert f"{SETTING}: no schema registry answers at http://127.0.0.1:" in said and "geheim" not in said
    erasing = world.run(
        "learner", "erase", "acme", "l-1", "--yes", check=False, RATCHET_SCHEMA_REGISTRY_URL=registry.address
    )
    assert erasing.returncode == 2 and "completion.learner-erased.v1-value: run" in erasing.stderr


async def test_strangers_read_and_write_with_the_registry(
    world: World, wire: Wire, registry: Server, client: SchemaRegistryClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {one["subject"]: one["id"] for one in registered(world, registry)}
    settings = {SETTING: registry.address}
    serving = world.serve(**settings).wait_until_ready()
    write = JSONSerializer(None, client, conf={"auto.register.schemas": False, "use.latest.version": True})
    deserialize = JSONDeserializer(None, schema_registry_client=client)

    async def send(short: str, value: Mapping[str, Any]) -> None:
        framed = write(dict(value), SerializationContext(wire.full_name(short), VALUE))
        assert framed is not None and framed[0] == 0
        await wire.send_all([(short, key_of(value), framed, None)])
        await wire.settled()

    def read(message: Got) -> dict[str, Any]:
        value, name = message.value or b"", wire.full_name(message.topic)
        assert int.from_bytes(value[1:5], "big") == ids[f"{name}-value"]
        said = deserialize(value, SerializationContext(name, VALUE))
        assert isinstance(said, dict) and said == json.loads(split_frame(value)[1])
        return said

    await send("course-defined", DEFINITION)
    await send("attendance-changed", {name: value for name, value in ATTENDED.items() if value is not None})
    await send("attendance-changed", {name: value for name, value in RESET.items() if value is not None})
    told = await wire.read("step-completion-changed", "course-completion-changed", "record-state")
    assert [read(one)["complete"] for one in told if one.topic == "step-completion-changed"] == [True, False]
    assert [read(one)["status"] for one in told if one.topic == "course-completion-changed"] == ["completed"]
    assert [read(one)["sequence"] for one in told if one.topic == "record-state"] == [2, 3]
    cursor, due = Cursor(), list[int]()
    for message in told:
        if message.topic != "record-state":
            given = take(cursor, message.value or b"")
            cursor, due = given.cursor, due + [change.sequence for change in given.changes]
    assert due == [1, 2, 3], "our own reader needs no registry"

    with monkeypatch.context() as environment:
        for name, value in {**world.settings, **settings}.items():
            environment.setenv(name, value)
        loaded = load_settings()
    streamed = list[int]()
    async for event in changes(loaded, "", lambda *_: True):
        streamed += [] if event.value is None else [event.value["sequence"]]
        if len(streamed) == 3:
            break
    assert streamed == [1, 2, 3], "and neither have receivers without Kafka"

    await wire.send_raw("attendance-changed", b"\0\0\1", key_of(ATTENDED), partition=told[0].partition)
    await wire.send_raw("attendance-changed", b"\0\0\0\0\1[]", key_of(ATTENDED), partition=told[0].partition)
    await wire.settled()
    letters = await wire.read("dead-letter")
    assert [(one.value, one.header("kafka_dlt-exception-message")) for one in letters] == [
        (b"\0\0\1", "value: ends amid the id of a schema, which byte 0 announces"),
        (b"\0\0\0\0\1[]", "value: Input should be an object"),
    ], "as they were"
    assert await asyncio.to_thread(serving.stop) == 0

    world.run("learner", "erase", "acme", "l-1", "--yes", RATCHET_SCHEMA_REGISTRY_URL=registry.address)
    (erased,) = await wire.read("learner-erased")
    assert read(erased)["learner_id"] == "l-1"
    assert (await wire.read("record-state"))[-1].value is None, "a tombstone has nothing in front"


def test_a_strangers_reader_refuses_what_is_not_of_the_schema(
    world: World, registry: Server, client: SchemaRegistryClient
) -> None:
    """So the ids above were looked at."""
    (one,) = [one for one in registered(world, registry) if "learner-erased" in one["subject"]]
    value = b"\0" + one["id"].to_bytes(4, "big") + b'{"tenant_id": "acme"}'
    with pytest.raises(SerializationError):
        JSONDeserializer(None, schema_registry_client=client)(value, SerializationContext("t", VALUE))


def test_a_dead_letter_s_time_may_be_any_number() -> None:
    letter = DeadLetter("0-1", 0, "invalid_message", "", "t", "0", "1", 1_774_000_000_000_000_000, b"", b"", ())
    assert letter_json(letter)["timestamp"] == "1774000000000000000"


def test_a_dead_letter_is_mended_behind_its_schemas_id() -> None:
    value = b"\0\0\0\0\7" + json.dumps({**ATTENDED, "event_id": 7}).encode()
    topic = "lms.attendance-changed.v1"
    letter = DeadLetter("0-1", 0, "invalid_message", "", topic, "0", "1", 0, b"wrong", value, ())
    mended = edited(letter, [Edit("event_id", "e1")])
    assert mended is not None and mended[:5] == value[:5] and json.loads(mended[5:]) == ATTENDED
    assert again(letter, [], "").key == key_of(ATTENDED) and again(letter, [], "").value == value
    assert spelled(value) == "\\x00\\x00\\x00\\x00\\x07" + value[5:].decode()
