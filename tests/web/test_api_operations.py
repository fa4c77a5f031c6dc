"""What operators watch and mend, what is noted of who changes what, and what goes out, as it goes."""

import asyncio
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.stack.service import World
from tests.stack.wire import Wire
from tests.web.programs import (
    Json,
    Site,
    accepted,
    attendance,
    definition,
    eventually,
    is_problem,
    open_site,
    record,
    unique,
)

# Lanes.


def test_lanes_and_lag(site: Site) -> None:
    client = site.as_("operator")
    lanes = eventually(lambda: client.get("/v1/lanes").json()["items"])
    assert [lane["lane"] for lane in lanes] == list(range(site.world.partitions))
    for lane in lanes:
        assert lane["lag_messages"] >= 0 and lane["lag_seconds"] >= 0 and lane["status"]
    told = client.get("/v1/lag").json()
    assert told["total"]["lane"] is None and told["away"] is None and client.get("/v1/lanes").json()["away"] is None
    assert told["history"] and all(point.keys() == {"at", "lag_messages", "lag_seconds"} for point in told["history"])


# Dead letters.


@pytest.fixture(scope="module")
def broken(make_world: Callable[..., World]) -> Iterator[Site]:
    """A world with dead letters of three kinds."""

    async def send(world: World, tenant: str) -> None:
        async with Wire(world) as wire:
            await wire.send([definition(tenant)])
            for number in range(5):
                ahead = attendance(tenant, f"l-{number}", changed_at="2099-01-01T00:00:00Z")
                await wire.send([ahead])
            await wire.send_raw("attendance-changed", b"{broken", f"{tenant}/l/c".encode(), [("note", b"\xff")])
            await wire.send_raw("reassigned", None, None)
            await wire.settled()

    for site in open_site(make_world()):
        asyncio.run(send(site.world, "acme"))
        yield site


def letters(client: httpx2.Client, limit: int, **params: str) -> list[Json]:
    """All pages."""
    found: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        query: dict[str, str | int] = {**params, "limit": limit, **({"cursor": cursor} if cursor else {})}
        told = client.get("/v1/dead-letters", params=query)
        assert told.status_code == 200 and len(told.json()["items"]) <= limit
        found += told.json()["items"]
        cursor = told.json()["next"]
    return found


def test_dead_letters_from_death_to_second_life(broken: Site) -> None:
    client = broken.as_("operator", name="mender")
    told = client.get("/v1/dead-letters").json()
    assert told["reasons"] == {"changed_at_in_future": 5, "invalid_json": 1, "invalid_message": 1}
    everything = letters(client, 1000)
    for limit in (1, 2, 7):
        assert letters(client, limit) == everything
    assert len({one["id"] for one in everything}) == 7
    assert [one["reason"] for one in letters(client, 1, reason="invalid_json")] == ["invalid_json"]
    assert client.get("/v1/dead-letters", params={"reason": "nothing"}).json() == {
        "items": [],
        "next": None,
        "reasons": {},
    }
    assert letters(client, 5, since="2098-01-01T00:00:00Z") == []
    assert len(letters(client, 5, since="0001-01-01T00:00:00Z")) == 7
    one = next(one for one in everything if one["value"] == "{broken")
    assert client.get(f"/v1/dead-letters/{one['id']}").json() == one and one["headers"] == {"note": "\\xff"}

    said = {"reason": "changed_at_in_future", "set": {"changed_at": "2026-02-01T09:00:00Z"}}
    done = client.post("/v1/dead-letters/replay", json=said)
    assert done.json() == {"replayed": 5, "before": 0, "skipped": 0, "why": []}
    assert client.post("/v1/dead-letters/replay", json=said).json()["before"] == 5
    viewer = broken.as_("viewer", "acme")
    for number in range(5):
        assert record(viewer, "acme", f"l-{number}")
    refused = client.post("/v1/dead-letters/replay", json={"ids": [one["id"]], "set": {"attended": True}}).json()
    assert refused["skipped"] == 1 and one["id"] in refused["why"][0]
    audit = broken.as_("privacy", "*").get("/v1/audit").json()["items"]
    assert [(each["who"], each["what"], each["tenant_id"]) for each in audit] == [("mender", "replay", "")] * 3
    assert audit[1]["about"] == {"ids": [], "reason": "changed_at_in_future", "fields": ["changed_at"]}
    assert broken.as_("privacy", "acme").get("/v1/audit").json()["items"] == []


NO_LETTERS = ["nothing", "0-", "-1", "0-0-0", "99-0", "0-99999999", "0-9999999999999999999999", "%D9%A3-%D9%A3"]
BETWEEN = ["0-1", "0-2", "0-3", "0-4", "3-3"]
"""What ends a transaction takes an offset, too, and is no letter."""


@pytest.mark.parametrize("id_", NO_LETTERS + BETWEEN)
def test_dead_letters_that_are_none(broken: Site, id_: str) -> None:
    client = broken.as_("operator")
    begun = time.monotonic()
    found = client.get(f"/v1/dead-letters/{id_}")
    assert time.monotonic() - begun < 5
    if found.status_code == 200:
        assert found.json()["id"] == id_
        return
    is_problem(found, 404)
    answer = client.post("/v1/dead-letters/replay", json={"ids": [id_]})
    assert answer.status_code in (200, 404) and answer.json().get("replayed", 0) == 0


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"ids": [], "all": False},
        {"ids": ["0-0"], "all": True},
        {"reason": "x", "all": True},
        {"ids": "0-0"},
        {"ids": ["0-0"], "more": 1},
        {"ids": ["0-0"], "set": []},
        {"reason": "r" * 100_000},
    ],
)
def test_replays_that_are_none(broken: Site, said: Json) -> None:
    is_problem(broken.as_("operator").post("/v1/dead-letters/replay", json=said), 422)


def test_what_cannot_be_text_is_refused(broken: Site) -> None:
    client = broken.as_("operator")
    for body in ('{"ids": ["0-0"], "set": {"\\ud800": 1}}', '{"reason": "\\ud800"}', '{"ids": ["\\ud800"]}'):
        answer = client.post("/v1/dead-letters/replay", content=body, headers={"Content-Type": "application/json"})
        is_problem(answer, answer.status_code)
        assert answer.status_code in (404, 422)


def test_letters_ask_for_wrong_pages(broken: Site) -> None:
    client = broken.as_("operator")
    for params in ({"cursor": "eA=="}, {"cursor": "x"}, {"since": "x"}, {"limit": "0"}, {"cursor": "MS0yLdmj"}):
        answer = client.get("/v1/dead-letters", params=params)
        assert [one["field"] for one in is_problem(answer, 422)["errors"]] == [*params]


# The audit.


def test_the_audit_says_who_when_what_and_from_where(site: Site, tenant: str) -> None:
    client = site.as_("administrator", tenant, name="somebody")
    before = time.time()
    accepted(client, definition(tenant), attendance(tenant, "secret-learner"))
    client.put(f"/v1/courses/{tenant}/c-2", json={"steps": []})
    entries = client.get("/v1/audit").json()["items"]
    assert [(one["what"], one["about"]) for one in entries] == [
        ("define", {"course_id": "c-2", "version": 1}),
        ("messages", {"messages": 2}),
    ]
    for one in entries:
        assert (one["who"], one["how"], one["where"], one["tenant_id"]) == ("somebody", "token", "127.0.0.1", tenant)
        assert one["at"].endswith("Z") and one["id"]
    assert sorted(one["at"] for one in entries) == [one["at"] for one in entries][::-1]
    assert entries[0]["at"][:10] in (time.strftime("%Y-%m-%d", time.gmtime(at)) for at in (before, time.time()))
    found: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        told = client.get("/v1/audit", params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json()
        found += told["items"]
        cursor = told["next"]
    assert found == entries
    assert client.get("/v1/audit", params={"cursor": "bm9uZQ=="}).json() == {"items": [], "next": None}
    shown = site.world.run("audit", "--tenant", tenant, COLUMNS="200").stdout
    assert "somebody" in shown and "define" in shown and "127.0.0.1" in shown and "secret-learner" not in shown
    lines = [json.loads(line) for line in site.world.run("audit", "--tenant", tenant, "--json").stdout.splitlines()]
    assert lines == entries
    assert len(site.world.run("audit", "--limit", "1", "--json").stdout.splitlines()) == 1


# Changes.


class Event(NamedTuple):
    """Of a stream; `data` None: nothing new."""

    id: str
    name: str
    data: Any


def events(client: httpx2.Client, last: str | None = None, **params: str) -> Iterator[Event]:
    """As a browser reads them."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with client.stream("GET", "/v1/changes", params=params, headers=headers, timeout=40) as answer:
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            else:
                data = json.loads(fields["data"]) if "data" in fields else None
                yield Event(fields["id"], fields.get("event", ""), data)
                fields = {}


def changes(client: httpx2.Client, count: int, last: str | None = None, **params: str) -> list[Event]:
    """So many of them."""
    found: list[Event] = []
    stream = events(client, last, **params)
    for event in stream:
        if event.data is not None:
            found.append(event)
        if len(found) == count:
            break
    stream.close()  # type: ignore[attr-defined]
    return found


def in_order(found: list[Event]) -> bool:
    """Within each record, and without a gap."""
    sequences: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for one in found:
        sequences[one.data["tenant_id"], one.data["learner_id"], one.data["course_id"]].append(one.data["sequence"])
    return all(told == list(range(1, len(told) + 1)) for told in sequences.values())


LEARNERS = 60
EACH = 3
"""A step, the course, and the step once more."""


@pytest.fixture(scope="module")
def busy(site: Site) -> tuple[str, int]:
    """A tenant of whose records much has changed, and how many changes there are."""
    tenant = unique()
    client = site.as_("administrator viewer", tenant)
    accepted(client, definition(tenant), definition(tenant, "c-2"))
    for course in ("c-1", "c-2"):
        for day, minutes in ((1, 60), (2, 0), (3, 60)):
            at = f"2026-02-0{day}T09:00:00Z"
            told = [
                attendance(tenant, f"l-{n}", course, attended_minutes=minutes, changed_at=at) for n in range(LEARNERS)
            ]
            accepted(client, *told)

    async def there() -> list[bytes]:
        async with Wire(site.world) as wire:
            found = await wire.read("step-completion-changed", "course-completion-changed")
            return [one.value or b"" for one in found if one.json["tenant_id"] == tenant]

    def settled() -> int | None:
        found = asyncio.run(there())
        time.sleep(1)
        return len(found) if len(found) >= LEARNERS * 2 * EACH and len(asyncio.run(there())) == len(found) else None

    return tenant, eventually(settled)


def test_every_change_comes_once_and_in_order(site: Site, busy: tuple[str, int]) -> None:
    tenant, count = busy
    found = changes(site.as_("viewer", tenant), count, begin="earliest")
    assert len({one.data["message_id"] for one in found}) == count and len({one.id for one in found}) == count
    assert {one.name for one in found} == {"step-completion-changed", "course-completion-changed"}
    assert in_order(found)


def test_streams_go_on_behind_the_last_one(site: Site, busy: tuple[str, int]) -> None:
    """Wherever it broke off: nothing is lost, and nothing comes again."""
    tenant, count = busy
    client = site.as_("viewer", tenant)
    found: list[Event] = []
    for size in (1, 2, 3, 50, 7, count - 63):
        last = found[-1].id if found else None
        found += changes(client, size, last, **({} if last else {"begin": "earliest"}))
    assert len({one.data["message_id"] for one in found}) == count == len(found)
    assert in_order(found)


def test_streams_of_a_course(site: Site, busy: tuple[str, int]) -> None:
    tenant, count = busy
    client = site.as_("viewer", tenant, unique())
    found = changes(client, count // 2, begin="earliest", tenant=tenant, course="c-2")
    assert {one.data["course_id"] for one in found} == {"c-2"} and in_order(found)
    assert len({one.data["message_id"] for one in found}) == count // 2


def test_a_stream_has_only_what_its_caller_may_see(site: Site, busy: tuple[str, int]) -> None:
    for client in (site.as_("viewer", unique()), site.as_("viewer"), site.as_("viewer", busy[0][:-1])):
        seen = []
        for event in events(client, begin="earliest"):
            assert event.data is None, event.data
            seen.append(event)
            if len(seen) == 2:
                break
    everything = changes(site.as_("viewer", "*"), busy[1], begin="earliest", tenant=busy[0])
    assert {one.data["tenant_id"] for one in everything} == {busy[0]}


def test_a_stream_tells_what_happens_now(site: Site, tenant: str) -> None:
    client = site.as_("administrator viewer", tenant)
    accepted(client, definition(tenant), attendance(tenant, "before"))
    record(client, tenant, "before")
    heard: list[Event] = []
    connected = threading.Event()

    def listen() -> None:
        for event in events(site.as_("viewer", tenant)):
            connected.set()
            heard.extend([event] if event.data is not None else [])
            if len(heard) == 2:
                return

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    assert connected.wait(30)
    begun = time.monotonic()
    accepted(client, attendance(tenant, "now"))
    listening.join(30)
    assert not listening.is_alive() and time.monotonic() - begun < 10
    assert [(one.data["learner_id"], one.data["sequence"]) for one in heard] == [("now", 1), ("now", 2)]
    course = heard[1].data
    assert course["status"] == "completed" and course["certificate"]["action"] == "issue"


@pytest.mark.parametrize(
    "last", ["nothing", "s0", "s0.", "x0.1", "s-1.5", "s0.1-s0.x", "s" + "0" * 9000 + ".1", "\xff"]
)
def test_an_id_that_is_none(site: Site, tenant: str, last: str) -> None:
    headers = {b"Last-Event-ID": last.encode("latin-1")}
    answer = site.as_("viewer", tenant).get("/v1/changes", headers=headers)
    assert [one["field"] for one in is_problem(answer, 422)["errors"]] == ["Last-Event-ID"]


def test_where_to_begin_is_one_of_two(site: Site, tenant: str) -> None:
    is_problem(site.as_("viewer", tenant).get("/v1/changes", params={"begin": "yesterday"}), 422)


def test_an_id_beyond_the_end_begins_there(site: Site, tenant: str) -> None:
    client = site.as_("administrator viewer", tenant)
    stream = events(client, "s0.999999999-c0.999999999-s1.999999999-c1.999999999-c999.5")
    assert next(stream).data is None


@pytest.mark.full
def test_so_many_streams_and_no_more(broken: Site) -> None:
    """Each reads Kafka for itself; who leaves makes room."""
    client = broken.as_("viewer", "acme")
    streams = [events(client) for _ in range(5)]
    for stream in streams:
        next(stream)
    counted = Counter(next(stream).data is None for stream in streams)
    assert counted == {True: 5}
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]
