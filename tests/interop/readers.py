"""What the clients read of what goes out, and whether it is the same as what was published."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from contracts.headers import CE_SOURCE
from tests.interop.messages import spelled
from tests.interop.plan import Topics
from tests.interop.program import Refused, Running
from tests.stack.service import World
from tests.stack.wire import NAMES, Got

SCHEMAS = Path(__file__).parents[2] / "contracts" / "schemas"
Json = dict[str, Any]


class Read(NamedTuple):
    """What a client read of a world."""

    topics: Topics
    client: str
    messages: int
    problems: list[str]


def read_all(world: World, topics: Topics, programs: Mapping[str, Running], published: Sequence[Got]) -> list[Read]:
    """One client after the other, each as a group of its own, to the last that was published."""
    if not published:
        return [Read(topics, client, 0, ["nothing was published"]) for client in programs]
    last: dict[str, dict[str, int]] = {}
    for got in published:
        last.setdefault(got.topic, {})[str(got.partition)] = got.offset
    wanted = {
        world.prefix + NAMES[short]: {"schema": json.loads((SCHEMAS / f"{short}.json").read_text()), "last": offsets}
        for short, offsets in last.items()
    }
    reads = []
    for client, program in programs.items():
        address, group = world.broker.address, f"{world.name}-{client}"
        try:
            messages = program.ask("consume", bootstrap=address, group=group, topics=wanted)["messages"]
        except Refused as error:
            reads.append(Read(topics, client, 0, [f"not read: {error}"]))
        else:
            reads.append(Read(topics, client, len(messages), differences(world.prefix, messages, published)))
    return reads


def differences(prefix: str, messages: Sequence[Json], published: Sequence[Got]) -> list[str]:
    """Nothing where they are the same as everybody reads, in order, valid, and CloudEvents."""
    wanted = {(prefix + NAMES[got.topic], got.partition, got.offset): got for got in published}
    problems = [] if len(wanted) == len(messages) else [f"{len(messages)} messages, not {len(wanted)}"]
    newest: dict[tuple[str, int], int] = {}
    for message in messages:
        topic, partition, offset = message["topic"], message["partition"], message["offset"]
        if offset <= newest.get((topic, partition), -1):
            problems.append(f"{topic} {partition}: {offset} came after {newest[topic, partition]}")
        newest[topic, partition] = offset
        said = _differences(message, wanted.get((topic, partition, offset)))
        problems += [f"{topic} {partition} {offset} {problem}" for problem in said]
    return problems


def _differences(message: Json, got: Got | None) -> Iterable[str]:
    if got is None:
        yield f"is seen by nobody else: {message['key']}"
        return
    if (message["key"].encode(), message["value"].encode()) != (got.key, got.value):
        yield f"is {message['key']} {message['value']}"
    if [(name, value) for name, value in message["headers"]] != spelled(got.headers):
        yield f"has headers {message['headers']}"
    if message["invalid"] is not None:
        yield f"is not valid: {message['invalid']}"
    event, value = message["event"], got.json
    told = [event[name] for name in ("id", "source", "type", "specversion", "datacontenttype")]
    if told != [value["message_id"], CE_SOURCE, NAMES[got.topic], "1.0", "application/json"]:
        yield f"is the event {told}"
    if _milliseconds(event["time"]) != _milliseconds(value["decided_at"]) or json.loads(event["data"]) != value:
        yield f"is an event of {event['time']} with {event['data']}"


def _milliseconds(text: str) -> int:
    """No client's times are less exact."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)
