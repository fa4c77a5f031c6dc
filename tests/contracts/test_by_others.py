"""The contracts as others read them: AsyncAPI's own parser, and types in another language made of the schemas."""

import json
import subprocess

import pytest

from contracts.export import HERE, examples
from contracts.topics import TOPICS
from tests.stack.build import built
from tests.stack.servers import NotAvailable

pytestmark = pytest.mark.full


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of the programs that npm brings."""
    try:
        program = built(f"interop/{name}", *arguments)
    except NotAvailable as why:
        pytest.skip(str(why))
    return subprocess.run(program.command, cwd=program.folder, capture_output=True, text=True, check=False)


def test_asyncapi_has_nothing_to_say() -> None:
    ran = run("asyncapi", str(HERE / "asyncapi.yaml"))
    assert [json.loads(line) for line in ran.stdout.splitlines()] == [{"channels": len(TOPICS)}], ran.stdout


@pytest.mark.parametrize("maker", ["typescript", "datamodel", "pojo"])
def test_types_in_other_languages_take_every_example(maker: str) -> None:
    """By json-schema-to-typescript, datamodel-code-generator (Python) and jsonschema2pojo (Java)."""
    ran = run(maker, str(HERE))
    assert ran.returncode == 0, ran.stderr
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {one["schema"]: one["examples"] for one in told} == {topic.short: len(examples(topic)) for topic in TOPICS}
    assert {one["type"] for one in told} == {topic.model.__name__ for topic in TOPICS}


@pytest.mark.parametrize(
    ("maker", "says"),
    [
        ("typescript", "Type 'number' is not assignable to type 'string'"),
        ("datamodel", "reassigned.json: Input should be a valid string"),
        ("pojo", "reassigned.json: Cannot deserialize value of type `java.lang.String` from Array value"),
    ],
)
def test_types_in_other_languages_refuse_what_is_wrong(maker: str, says: str) -> None:
    ran = run(maker, str(HERE), "wrong")
    assert ran.returncode != 0 and says in ran.stderr
