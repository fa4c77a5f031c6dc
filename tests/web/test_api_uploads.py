"""Uploads and reassignments: told beforehand, confirmed once, gone on with when nobody watches; no file breaks it."""

import csv
import io
import re
import socket
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openpyxl import Workbook, load_workbook
from pymongo import MongoClient

from service.mongo.jobs import SILENT
from tests.kafka.test_bounds import peak_bytes
from tests.stack.service import Web, World
from tests.stack.wire import Wire
from tests.web.programs import (
    Json,
    Site,
    accepted,
    attendance,
    course_known,
    csv_of,
    definition,
    eventually,
    is_problem,
    job_ended,
    open_site,
    record,
    unique,
    uploaded,
)

MEGABYTE = 1_000_000
MORE_BYTES = 200 * MEGABYTE
"""So much more memory than before, at most, whatever is uploaded."""
FORMULA = re.compile(r'(?![+-]?\d+([.,]\d+)?%?$)(?!-+$)(?!="[^"]*"$)[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]')
TYPES = """<?xml version="1.0"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/xl/workbook.xml"
 ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml"
 ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>
<Override PartName="/xl/sharedStrings.xml"
 ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/>
</Types>"""
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
LAUGHS = '<!DOCTYPE l [<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, 12)
)


@pytest.fixture
def client(site: Site, tenant: str) -> httpx2.Client:
    """An administrator, and a course."""
    client = site.as_("administrator viewer", tenant, name="uploader")
    accepted(client, definition(tenant))
    course_known(client, tenant)
    return client


def rows(client: httpx2.Client, job: Json, **params: Any) -> list[Json]:
    """All pages."""
    found: list[Json] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {**params, **({"cursor": cursor} if cursor else {})}
        told = client.get(f"/v1/uploads/{job['id']}/rows", params=query).json()
        found += told["items"]
        cursor = told["next"]
    return found


def cells(answer: httpx2.Response) -> list[list[str]]:
    """Of a CSV file."""
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))


def confirmed(client: httpx2.Client, job: Json) -> Json:
    """The job that does what this one has told of, once it has ended."""
    answer = client.post(f"{job['links']['self']}/confirm")
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json()["links"]["self"]
    return job_ended(client, answer.json())


async def sent(world: World, tenant: str, topic: str = "attendance-changed") -> list[Json]:
    """What is in Kafka of a tenant."""
    async with Wire(world) as wire:
        return [got.json for got in await wire.read(topic) if got.json["tenant_id"] == tenant]


async def test_tried_told_confirmed_decided(site: Site, client: httpx2.Client, tenant: str) -> None:
    content = csv_of(tenant, ["l-1,c-1,e-1,60", "l-2,c-1,e-1,30", "l 3,c-1,e-1,60", "l-4,c-9,e-1,60", "l-5,c-1,e-1,"])
    job = uploaded(client, tenant, "march 2026.csv", content)
    assert job["dry_run"] and job["by"] == "uploader" and job["file_name"] == "march 2026.csv"
    tried = job_ended(client, job)
    assert tried["state"] == "done" and tried["error"] is None and (tried["total"], tried["done"]) == (5, 5)
    assert tried["report"]["verdicts"] == {"accepted": 2, "invalid": 2, "unknown": 1} or tried["report"]["verdicts"]
    assert tried["report"]["sent"] == 0 and tried["report"]["effects"]["gains the course"] == 1
    assert await sent(site.world, tenant) == []

    told = rows(client, job, limit=2)
    assert [one["line"] for one in told] == [2, 3, 4, 5, 6]
    assert [one["verdict"] for one in told][:2] == ["accepted", "accepted"]
    assert "accepted" not in [one["verdict"] for one in told][2:] and all(one["why"] for one in told[2:])
    assert told[0]["effect"] and told[0]["cells"] == [tenant, "l-1", "c-1", "e-1", "60"]
    assert [one["line"] for one in rows(client, job, verdict="accepted", limit=1)] == [2, 3]
    assert rows(client, job, verdict="nothing") == []

    result = client.get(tried["links"]["result"])
    assert [row[-3:-1] for row in cells(result)][:2] == [["Verdict", "Reason"], ["accepted", ""]]
    assert result.headers["Content-Disposition"] == 'attachment; filename="march_2026.csv.result.csv"'
    impact = cells(client.get(tried["links"]["impact"]))
    assert impact[0] == ["tenant", "learner", "course", "lines", "effects"]
    assert [row[1] for row in impact[1:]] == ["l-1", "l-2"]

    done = confirmed(client, tried)
    assert done["state"] == "done" and not done["dry_run"] and done["report"]["sent"] == 2
    assert done["report"]["refused"] == 0 and done["report"]["effects"]["gains the course"] == 1
    assert record(client, tenant, "l-1")["course"]["completed_via"] == "steps"
    assert sorted(one["learner_id"] for one in await sent(site.world, tenant)) == ["l-1", "l-2"]
    assert [row[-1] for row in cells(client.get(done["links"]["result"]))][1:3] == [one["effect"] for one in told[:2]]
    listed = client.get("/v1/uploads").json()["items"]
    assert [one["id"] for one in listed] == [done["id"], tried["id"]]
    entries = site.as_("privacy", tenant).get("/v1/audit").json()["items"]
    assert [one["what"] for one in entries] == ["upload", "messages"], "what only looks is not noted"


async def test_confirmed_twice_is_one_job(site: Site, client: httpx2.Client, tenant: str) -> None:
    tried = job_ended(client, uploaded(client, tenant, "a.csv", csv_of(tenant, ["l-1,c-1,e-1,60"])))
    with ThreadPoolExecutor(8) as threads:
        path = f"{tried['links']['self']}/confirm"
        answers = list(threads.map(lambda _: client.post(path), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    done = confirmed(client, tried)
    assert done["id"] == answers[0].json()["id"] and done["report"]["sent"] == 1
    assert len(await sent(site.world, tenant)) == 1
    is_problem(client.post(f"{done['links']['self']}/confirm"), 409)


async def test_the_same_file_again_sends_nothing_unless_it_is_meant(
    site: Site, client: httpx2.Client, tenant: str
) -> None:
    content = csv_of(tenant, ["l-1,c-1,e-1,60"])
    for again, expected in ((None, 1), (None, 1), ("true", 2)):
        fields = {"dry_run": "false", **({"again": again} if again else {})}
        done = job_ended(client, uploaded(client, tenant, "a.csv", content, **fields))
        assert done["state"] == "done", done
        ids = {one["message_id"] for one in await sent(site.world, tenant)}
        assert len(ids) == expected


def test_pages_of_jobs_have_each_once(site: Site, client: httpx2.Client, tenant: str) -> None:
    made = [uploaded(client, tenant, f"{number}.csv", csv_of(tenant, ["l-1,c-1,e-1,60"])) for number in range(7)]
    with MongoClient[dict[str, Any]](site.world.database.address) as mongo:
        jobs = mongo[site.world.name]["jobs"]
        at = jobs.find_one({"_id": made[0]["id"]})
        assert at is not None
        jobs.update_many({"tenant_id": tenant}, {"$set": {"created_at": at["created_at"]}})
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        told = client.get("/v1/uploads", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        found += [one["id"] for one in told["items"]]
        cursor = told["next"]
    assert sorted(found) == sorted(one["id"] for one in made)
    assert client.get("/v1/reassignments").json() == {"items": [], "next": None}


def raw(tenant: str, fields: dict[str, str], name: bytes, content: bytes) -> tuple[bytes, bytes]:
    """A multipart body as no library would write it, and its type."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in {"tenant_id": tenant, **fields}.items()
    ]
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n' + content
    return b"".join(parts) + file + b"\r\n--b--\r\n", b"multipart/form-data; boundary=b"


async def test_it_goes_on_when_the_client_leaves(site: Site, client: httpx2.Client, tenant: str) -> None:
    content = csv_of(tenant, [f"l-{number},c-1,e-1,60" for number in range(2000)])
    body, kind = raw(tenant, {"dry_run": "false"}, b"left.csv", content)
    bearer = client.headers["Authorization"].encode()
    head = b"POST /v1/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: " + kind + b"\r\nAuthorization: " + bearer
    with socket.create_connection(("127.0.0.1", site.web.port)) as leaving:
        leaving.sendall(head + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body)
    (job,) = eventually(lambda: client.get("/v1/uploads").json()["items"])
    assert job_ended(client, job)["report"]["sent"] == 2000
    assert len({one["message_id"] for one in await sent(site.world, tenant)}) == 2000


@pytest.fixture
def alone(make_world: Callable[..., World]) -> Iterator[Site]:
    """One whose `ratchet web` may be killed."""
    yield from open_site(make_world())


def killed(web: Web) -> None:
    """As a power cut does."""
    web.process.kill()
    web.process.wait()


def a_while_passes(world: World) -> None:
    """Whoever was at work has been silent for long."""
    with MongoClient[dict[str, Any]](world.database.address) as mongo:
        for job in mongo[world.name]["jobs"].find({"state": "running"}):
            silent = {"beat_at": job["beat_at"] - SILENT - timedelta(seconds=1)}
            mongo[world.name]["jobs"].update_one({"_id": job["_id"]}, {"$set": silent})


@pytest.mark.full
async def test_a_killed_process_leaves_what_another_goes_on_with(alone: Site, tenant: str) -> None:
    """Killed once while the rows are judged and once while they are sent; each row counts once."""
    many = 8000
    client = alone.as_("administrator viewer", tenant)
    accepted(client, definition(tenant))
    course_known(client, tenant)
    content = csv_of(tenant, [f"l-{number},c-1,e-1,60" for number in range(many)])
    job = uploaded(client, tenant, "large.csv", content, dry_run="false")
    eventually(lambda: client.get(job["links"]["self"]).json()["done"])
    killed(alone.web)
    a_while_passes(alone.world)
    second = alone.start()
    with MongoClient[dict[str, Any]](alone.world.database.address) as mongo:
        eventually(lambda: mongo[alone.world.name]["uploads"].find_one({"through": {"$gt": 2000}}))
    killed(second)
    a_while_passes(alone.world)
    alone.web = alone.start()
    client = alone.as_("administrator viewer", tenant, web=alone.web)
    done = job_ended(client, job, 120)
    assert done["state"] == "done", done
    assert done["report"]["verdicts"] == {"accepted": many} or sum(done["report"]["verdicts"].values()) == many
    counted = Counter(one["message_id"] for one in await sent(alone.world, tenant))
    assert len(counted) == many and max(counted.values()) <= 2
    async with Wire(alone.world) as wire:
        changes = await wire.read("course-completion-changed")
    assert Counter(got.json["learner_id"] for got in changes) == {f"l-{number}": 1 for number in range(many)}
    told = [row[-3:] for row in cells(client.get(done["links"]["result"]))[1:]]
    assert len(told) == many and {row[0] for row in told} == {"accepted", "sent before"}
    assert {row[2] for row in told} <= {"gains the step; gains the course; gets a certificate", ""}
    shown = rows(client, job, limit=1000)
    assert [one["line"] for one in shown] == list(range(2, many + 2))


def test_a_workbook(client: httpx2.Client, tenant: str) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "March"
    for row in (["Tenant", "Learner", "Course", "Event", "Attended minutes"], [tenant, "l-1", "c-1", "e-1", 60]):
        sheet.append(row)
    sheet.append([tenant, "l-2", "c-1", "e-1", "=1+1"])
    written = io.BytesIO()
    book.save(written)
    tried = job_ended(client, uploaded(client, tenant, "march.xlsx", written.getvalue()))
    assert tried["state"] == "done", tried
    answer = client.get(tried["links"]["result"])
    assert answer.headers["Content-Type"].startswith("application/vnd.openxmlformats")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="march.xlsx.result.xlsx"'
    result = load_workbook(io.BytesIO(answer.content))["March"]
    assert [cell.value for cell in result[2]][-3:-1] == ["accepted", None] or result.cell(2, 6).value == "accepted"
    assert all(cell.data_type != "f" for row in result.iter_rows() for cell in row)
    assert rows(client, tried)[0]["verdict"] == "accepted"
    assert confirmed(client, tried)["report"]["sent"] == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nothing.csv", b"", "is empty"),
        ("words.csv", b"just some words\nand more\n", "words.csv"),
        ("a.pdf", b"%PDF-1.7 ...", "is a PDF"),
        ("a.xlsx", b"PK\x03\x04 broken", "a.xlsx"),
        ("a.xml", b"<?xml version='1.0'?><a/>", "is XML"),
        ("a.xls", b"\xd0\xcf\x11\xe0" + b"\0" * 600, "a.xls"),
        ("a.csv", b"Tenant,Learner\nx,y\n", "the heading"),
        ("twice.csv", b"Tenant,Learner,User ID,Course,Event,Minutes\n", "both mean"),
        ("nul.csv", b"\0" * 1000, "nul.csv"),
        ("half.csv", "Tenant,Learner\n".encode("utf-16")[:-1], "half.csv"),
        ("impact.csv", b"Tenant\n", "impact.csv"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(
    client: httpx2.Client, tenant: str, name: str, content: bytes, says: str
) -> None:
    ended = job_ended(client, uploaded(client, tenant, name, content))
    assert ended["state"] == "failed" and ended["report"] is None
    assert name in ended["error"] and says in ended["error"], ended["error"]
    assert tempfile.gettempdir() not in ended["error"] and "ratchet-" not in ended["error"], "not where it lay"
    assert "fault" not in ended["error"]
    assert "--" not in ended["error"], "who uploads here has no options"
    is_problem(client.get(f"{ended['links']['self']}/result"), 404)
    is_problem(client.post(f"{ended['links']['self']}/confirm"), 409)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"timezone": "Europe/Nowhere"}, "timezone"),
        ({"timezone": "../../../etc/passwd"}, "timezone"),
        ({"timezone": "\0"}, "timezone"),
        ({"format": "nothing"}, "nothing"),
        ({"format": "../../secret"}, "format"),
        ({"format": "pyproject.yaml"}, "format"),
        ({"sheet": "March"}, "sheet"),
        ({"column": "learner_id=Nothing"}, "Nothing"),
        ({"column": "nonsense"}, "FIELD=HEADING"),
        ({"column": "=x"}, "FIELD=HEADING"),
    ],
)
def test_what_is_said_beside_and_wrong(client: httpx2.Client, tenant: str, fields: dict[str, str], says: str) -> None:
    job = uploaded(client, tenant, "a.csv", csv_of(tenant, ["l-1,c-1,e-1,60"]), **fields)
    ended = job_ended(client, job)
    assert ended["state"] == "failed" and says in ended["error"], ended
    assert "--" not in ended["error"] and tempfile.gettempdir() not in ended["error"]


def test_no_file_of_the_server_is_read(client: httpx2.Client, tenant: str) -> None:
    """The command takes a file that says how headings are called; over HTTP that would be anybody's."""
    secret = Path(tempfile.gettempdir()) / f"{unique()}.yaml"
    secret.write_text("password: opensesame\n")
    try:
        for name in (str(secret), f"../../../..{secret}", str(secret.with_name("none.yaml"))):
            job = uploaded(client, tenant, "a.csv", csv_of(tenant, ["x,c-1,e-1,1"]), format=name)
            ended = job_ended(client, job)
            assert ended["state"] == "failed" and "is none of" in ended["error"], ended
            assert "opensesame" not in ended["error"] and "password" not in ended["error"]
    finally:
        secret.unlink()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "everything"}, "kind"),
        ({"tenant_id": "a/b"}, "tenant_id"),
        ({"course_id": "\u202e"}, "course_id"),
        ({"changed_at": "yesterday"}, "changed_at"),
        ({"dry_run": "perhaps"}, "dry_run"),
    ],
)
def test_fields_that_are_wrong(client: httpx2.Client, tenant: str, fields: dict[str, str], field: str) -> None:
    data = {"tenant_id": tenant, **fields}
    answer = client.post("/v1/uploads", data=data, files={"file": ("a.csv", b"x")})
    assert [error["field"] for error in is_problem(answer, 422)["errors"]] == [field]


def test_bodies_that_are_no_upload(client: httpx2.Client, tenant: str) -> None:
    for content, kind in (
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        (b"\xff" * 1000, "multipart/form-data; boundary=\xff"),
        (b"{}", "application/json"),
        (b"tenant_id=x&file=y", "application/x-www-form-urlencoded"),
        (raw(tenant, {f"f{number}": "" for number in range(2000)}, b"a", b"")[0], "multipart/form-data; boundary=b"),
        (raw(tenant, {"kind": "x" * 3_000_000}, b"a", b"")[0], "multipart/form-data; boundary=b"),
    ):
        answer = client.post("/v1/uploads", content=content, headers={b"Content-Type": kind.encode("latin-1")})
        assert answer.status_code in (400, 413, 422), (kind, answer.text)
        is_problem(answer, answer.status_code)


def test_columns_are_chosen(client: httpx2.Client, tenant: str) -> None:
    content = b"Wer,Was,Wieviel\nl-1,e-1,60\n"
    chosen = ["learner_id=Wer", "event_id=Was", "attended_minutes=Wieviel"]
    tried = job_ended(client, uploaded(client, tenant, "a.csv", content, column=chosen, course_id="c-1"))
    assert tried["state"] == "done", tried
    assert {(one["heading"], one["field"]) for one in tried["report"]["columns"]} == {
        ("Wer", "learner_id"),
        ("Was", "event_id"),
        ("Wieviel", "attended_minutes"),
    }
    assert [one["verdict"] for one in rows(client, tried)] == ["accepted"]
    assert confirmed(client, tried)["report"]["sent"] == 1
    assert record(client, tenant, "l-1")


def test_learners_by_name(client: httpx2.Client, tenant: str) -> None:
    directory = b"Learner,Email\nl-1,anna@example.org\n"
    content = csv_of(tenant, ["anna@example.org,c-1,e-1,60", "nobody@example.org,c-1,e-1,60"])
    files = {"file": ("a.csv", content), "learners": ("../who.csv", directory)}
    answer = client.post("/v1/uploads", data={"tenant_id": tenant}, files=files)
    tried = job_ended(client, answer.json())
    assert tried["state"] == "done", tried
    assert [one["verdict"] == "accepted" for one in rows(client, tried)] == [True, False]
    files["learners"] = ("who.csv", b"Email\nanna@example.org\n")
    failed = job_ended(client, client.post("/v1/uploads", data={"tenant_id": tenant}, files=files).json())
    assert "who.csv" in failed["error"] and tempfile.gettempdir() not in failed["error"]
    assert "--" not in failed["error"]


async def test_rows_of_other_tenants_are_none_of_the_uploader(site: Site, client: httpx2.Client, tenant: str) -> None:
    other = unique()
    theirs = site.as_("administrator viewer", other)
    accepted(theirs, definition(other), attendance(other, "l-1"))
    record(theirs, other, "l-1")
    content = csv_of(tenant, ["l-1,c-1,e-1,60"]) + csv_of(other, ["l-1,c-1,e-1,0"]).split(b"\n", 1)[1]
    tried = job_ended(client, uploaded(client, tenant, "a.csv", content))
    assert [one["verdict"] == "accepted" for one in rows(client, tried)] == [True, False]
    made_up = csv_of(tenant, ["l-1,c-1,e-1,60"]) + csv_of(unique(), ["l-1,c-1,e-1,0"]).split(b"\n", 1)[1]
    like = job_ended(client, uploaded(client, tenant, "a.csv", made_up))
    assert re.sub(r"t-\w{12}", "T", str(rows(client, like))) == re.sub(r"t-\w{12}", "T", str(rows(client, tried)))
    done = confirmed(client, tried)
    assert done["report"]["sent"] == 1
    assert [one["message_id"] for one in await sent(site.world, other)] and len(await sent(site.world, other)) == 1
    assert theirs.get(f"/v1/records/{other}/l-1/c-1").json()["course"]["evidence"] == "held"


NAMES = [
    b"../../etc/passwd",
    b"..\\..\\windows\\system32\\a.csv",
    b"/etc/passwd",
    b"C:\\a.csv",
    b"..",
    b".",
    b"/",
    b"a\0b.csv",
    b"a.csv\r\nSet-Cookie: x=y",
    b'a\\"; filename=\\"evil.html',
    b"x" * 5000 + b".csv",
    ("ü" * 3000 + ".csv").encode(),
    "\u202evsc.exe".encode(),
    "\N{PILE OF POO}.csv".encode(),
    b"\xff\xfe.csv",
    b"-rf",
    b"=cmd|x.csv",
    b"<script>alert(1)</script>.csv",
    b"%2e%2e%2fa.csv",
    b"impact.csv",
    b"file.impact.csv",
    b"a.csv.result.csv",
    b"CON",
    b"a;b,c'd`e$(f).csv",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_of_files_do_no_harm(client: httpx2.Client, tenant: str, name: bytes) -> None:
    body, kind = raw(tenant, {}, name, csv_of(tenant, ["l-1,c-1,e-1,60"]))
    answer = client.post("/v1/uploads", content=body, headers={b"Content-Type": kind})
    if answer.status_code == 400:
        assert (b"\r" in name or len(name) > 4000) and is_problem(answer, 400), "it is no multipart then"
        return
    assert answer.status_code == 202, answer.text
    ended = job_ended(client, answer.json())
    assert ended["state"] == "done", ended
    assert len(cells(client.get(ended["links"]["impact"]))) == 2
    for link in ("result", "impact"):
        told = client.get(ended["links"][link])
        assert told.status_code == 200 and b"l-1" in told.content
        assert re.fullmatch(r'attachment; filename="[A-Za-z0-9._-]{1,80}"', told.headers["Content-Disposition"])
        assert "Set-Cookie" not in told.headers and told.headers["X-Content-Type-Options"] == "nosniff"


def test_a_name_leads_nowhere(client: httpx2.Client, tenant: str, tmp_path: Path) -> None:
    body, kind = raw(
        tenant, {}, b"../" * 20 + f"{tmp_path}/a.csv".encode().lstrip(b"/"), csv_of(tenant, ["x,c-1,e-1,1"])
    )
    job_ended(client, client.post("/v1/uploads", content=body, headers={b"Content-Type": kind}).json())
    assert list(tmp_path.iterdir()) == []


def workbook(part: str, *pieces: bytes, count: int = 1, tail: bytes = b"") -> bytes:
    """A workbook of which one part is that long: the first piece, the second so often, the tail."""
    rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = {
        "[Content_Types].xml": TYPES.encode(),
        "_rels/.rels": f'<Relationships xmlns="{rel.replace("officeDocument", "package")}">'
        f'<Relationship Id="r1" Type="{rel}/officeDocument" Target="xl/workbook.xml"/></Relationships>'.encode(),
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{rel.replace("officeDocument", "package")}">'
        f'<Relationship Id="r1" Type="{rel}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>'.encode(),
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{rel}"><sheets>'
        '<sheet name="March" sheetId="1" r:id="r1"/></sheets></workbook>'.encode(),
        "xl/worksheets/sheet1.xml": f"<worksheet {MAIN}><sheetData/></worksheet>".encode(),
        "xl/sharedStrings.xml": f"<sst {MAIN}><si><t>Learner</t></si></sst>".encode(),
        "xl/styles.xml": f"<styleSheet {MAIN}/>".encode(),
    }
    parts.pop(part)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        with archive.open(part, "w") as file:
            file.write(pieces[0])
            for _ in range(count):
                file.write(pieces[1])
            file.write(tail)
    return written.getvalue()


SHEET, STRINGS, STYLES = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml"
BEGIN = f"<worksheet {MAIN}><sheetData>".encode()
END = b"</sheetData></worksheet>"
BOMBS: dict[str, Callable[[], bytes]] = {
    "texts": lambda: workbook(
        STRINGS, f"<sst {MAIN}>".encode(), b"<si><t>a text of its own</t></si>" * 30_000, count=300, tail=b"</sst>"
    ),
    "one text": lambda: workbook(
        STRINGS, f"<sst {MAIN}><si><t>".encode(), b"a" * MEGABYTE, count=400, tail=b"</t></si></sst>"
    ),
    "styles": lambda: workbook(
        STYLES, f"<styleSheet {MAIN}><cellXfs>".encode(), b"<xf/>" * 200_000, count=200, tail=b"</cellXfs></styleSheet>"
    ),
    "cells of a row": lambda: workbook(SHEET, BEGIN + b"<row>", b"<c/>" * 250_000, count=400, tail=b"</row>" + END),
    "a cell": lambda: workbook(
        SHEET,
        BEGIN + b'<row><c t="inlineStr"><is><t>',
        b"a" * MEGABYTE,
        count=400,
        tail=b"</t></is></c></row>" + END,
    ),
    "a hidden cell": lambda: workbook(
        SHEET,
        BEGIN + b'<row><c t="inlineStr"><is><t><![CDATA[',
        b"<row " * 200_000,
        count=400,
        tail=b"]]></t></is></c></row>" + END,
    ),
    "merged cells": lambda: workbook(
        SHEET,
        BEGIN + b"<row><c/></row></sheetData><mergeCells>",
        b'<mergeCell ref="A1:B2"/><mergeCell ref="A3:XFD900000"/>' * 20_000,
        count=300,
        tail=b"</mergeCells></worksheet>",
    ),
    "a row far away": lambda: workbook(
        SHEET, BEGIN, b'<row r="999999999999"><c t="inlineStr"><is><t>x</t></is></c></row>', tail=END
    ),
    "all": lambda: workbook(SHEET, BEGIN, b"<row><c/></row>" * 70_000, count=1100, tail=END),
    "laughs among texts": lambda: workbook(
        STRINGS, LAUGHS.encode(), f"]><sst {MAIN}><si><t>&a11;</t></si></sst>".encode()
    ),
    "laughs in a sheet": lambda: workbook(
        SHEET, LAUGHS.encode(), b"]>" + BEGIN + b'<row><c t="inlineStr"><is><t>&a11;</t></is></c></row>', tail=END
    ),
    "laughs in styles": lambda: workbook(STYLES, LAUGHS.encode(), f"]><styleSheet {MAIN}>&a11;</styleSheet>".encode()),
}


@pytest.mark.full
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_its_job_and_nothing_else(site: Site, client: httpx2.Client, tenant: str, name: str) -> None:
    before = peak_bytes(site.web.process.pid)
    job = uploaded(client, tenant, "bomb.xlsx", BOMBS[name]())
    slowest, ended = 0.0, client.get(job["links"]["self"])
    while ended.json()["state"] not in ("done", "failed"):
        slowest = max(slowest, client.get("/v1/uploads").elapsed.total_seconds())
        ended = client.get(job["links"]["self"])
    assert ended.json()["state"] == "failed" and "bomb.xlsx" in ended.json()["error"], ended.json()
    assert "fault" not in ended.json()["error"] and tempfile.gettempdir() not in ended.json()["error"]
    assert slowest < 5, "others are answered meanwhile"
    assert peak_bytes(site.web.process.pid) < before + MORE_BYTES


@pytest.mark.full
def test_many_rows_take_no_memory(site: Site, client: httpx2.Client, tenant: str) -> None:
    before = peak_bytes(site.web.process.pid)
    content = csv_of(tenant, [f"l-{number},c-1,e-1,ninety{'x' * 100}" for number in range(25_000)])
    ended = job_ended(client, uploaded(client, tenant, "large.csv", content), 120)
    assert ended["state"] == "done" and ended["total"] == 25_000, ended
    assert peak_bytes(site.web.process.pid) < before + MORE_BYTES


async def test_no_cell_is_a_formula(site: Site, client: httpx2.Client, tenant: str) -> None:
    evil = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=HYPERLINK(1)"]
    evil += ["\uff1d1+1", "\uff0b1", "\uff0d1+1", "\uff20a"]
    lines = [f'l-{number},c-1,e-1,60,"{text}"' for number, text in enumerate(evil)]
    ids = ["@evil", "+1+1", "-2+3", "+cmd", "-"]
    lines += [f"{learner},c-1,e-1,60,x" for learner in ids]
    lines += [f'"{text}",c-1,e-1,60,x' for text in evil]
    content = csv_of(tenant, lines, 'Learner,Course,Event,Attended minutes,"=Remark"')
    tried = job_ended(client, uploaded(client, tenant, "=evil.csv", content))
    assert tried["state"] == "done", tried
    done = confirmed(client, tried)
    for link in (tried["links"]["result"], tried["links"]["impact"], done["links"]["result"]):
        found = cells(client.get(link))
        assert len(found) > len(ids)
        for cell in (cell for row in found for cell in row):
            assert not FORMULA.match(cell), (link, cell)
    assert {one["learner_id"] for one in await sent(site.world, tenant)} >= set(ids)


def reassign(client: httpx2.Client, tenant: str, **said: Any) -> Json:
    """The job, once it has ended."""
    answer = client.post("/v1/reassignments", json={"tenant_id": tenant, "course_id": "c-1", **said})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json()["links"]["self"]
    return job_ended(client, answer.json())


async def test_reassigned_and_taken_back(site: Site, client: httpx2.Client, tenant: str) -> None:
    accepted(client, *(attendance(tenant, f"l-{number}") for number in range(5)))
    for number in range(5):
        record(client, tenant, f"l-{number}")
    tried = reassign(
        client, tenant, completed_before="2026-03-01T00:00:00Z", reason="new law", due_at="2027-01-01T00:00:00Z"
    )
    assert tried["report"]["learners"] == 5 and tried["report"]["effects"]["loses the course"] == 5
    impact = cells(client.get(tried["links"]["impact"]))
    assert [row[1] for row in impact[1:]] == [f"l-{number}" for number in range(5)]
    assert await sent(site.world, tenant, "reassigned") == []
    with ThreadPoolExecutor(4) as threads:
        path = f"{tried['links']['self']}/confirm"
        answers = list(threads.map(lambda _: client.post(path), range(4)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    done = job_ended(client, answers[0].json())
    assert done["state"] == "done" and done["report"]["sent"] == 5 and done["report"]["refused"] == 0, done
    told = await sent(site.world, tenant, "reassigned")
    assert {(one["reason"], one["reassigned_by"], one["due_at"]) for one in told} == {
        ("new law", "uploader", "2027-01-01T00:00:00Z")
    }
    assert record(client, tenant, "l-0", "incomplete")["attempt"] == 2
    is_problem(client.post(f"/v1/uploads/{done['id']}/confirm"), 404)

    undone = reassign(client, tenant, undo=done["report"]["undo_with"], dry_run=False)
    assert undone["state"] == "done" and undone["report"]["sent"] == 5, undone
    assert record(client, tenant, "l-0")["course"]["completed_at"] == "2026-02-01T09:00:00Z"
    again = reassign(client, tenant, undo=done["report"]["undo_with"], dry_run=False)
    assert again["report"]["sent"] == 0
    listed = [one["id"] for one in client.get("/v1/reassignments").json()["items"]]
    assert listed == [again["id"], undone["id"], done["id"], tried["id"]]
    entries = site.as_("privacy", tenant).get("/v1/audit").json()["items"]
    assert not any(f"l-{number}" in str(entries) for number in range(5))


async def test_learners_by_id(site: Site, client: httpx2.Client, tenant: str) -> None:
    accepted(client, attendance(tenant, "l-1"), attendance(tenant, "l-2"))
    record(client, tenant, "l-2")
    tried = reassign(client, tenant, learners=["l-1", "nobody", "l-1"])
    assert tried["state"] == "done" and tried["report"]["unknown"] == ["nobody"]
    refused = confirmed(client, tried)
    assert refused["state"] == "failed" and "nobody" in refused["error"]
    assert await sent(site.world, tenant, "reassigned") == []
    done = reassign(client, tenant, learners=["l-1", "nobody", "l-1"], allow_unknown=True, dry_run=False)
    assert done["report"]["sent"] == 2
    kept = reassign(client, tenant, learners=["l-2"], keep_progress=True, dry_run=False)
    assert kept["report"]["sent"] == 1
    assert {one["learner_id"]: one.get("progress") for one in await sent(site.world, tenant, "reassigned")} == {
        "l-1": None,
        "nobody": None,
        "l-2": "keep",
    }


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, "learners"),
        ({"learners": ["l-1"], "undo": "x"}, "learners"),
        ({"learners": ["l-1"], "completed_before": "2026-01-01T00:00:00Z"}, "learners"),
        ({"learners": ["with/slash"]}, "learners.0"),
        ({"learners": ["l-1"], "due_at": "soon"}, "due_at"),
        ({"completed_before": "2026-01-01"}, "completed_before"),
        ({"learners": ["l-1"], "reason": "x" * 1001}, "reason"),
        ({"learners": ["l-1"], "more": 1}, "more"),
    ],
)
def test_reassignments_that_are_none(client: httpx2.Client, tenant: str, said: Json, field: str) -> None:
    answer = client.post("/v1/reassignments", json={"tenant_id": tenant, "course_id": "c-1", **said})
    assert [error["field"] for error in is_problem(answer, 422)["errors"]] == [field]


def test_jobs_that_do_not_exist(client: httpx2.Client) -> None:
    for path in ("uploads", "reassignments"):
        for id_ in ("0" * 32, "%00", "%2e%2e%2f", "a" * 5000, "%F0%9F%92%A9"):
            for rest in ("", "/result", "/impact"):
                is_problem(client.get(f"/v1/{path}/{id_}{rest}"), 404)
        is_problem(client.post(f"/v1/{path}/{'0' * 32}/confirm"), 404)
        told = client.get(f"/v1/{path}", params={"cursor": "bm90aGluZw=="})
        assert told.json() == {"items": [], "next": None}
    is_problem(client.get("/v1/uploads/nothing/rows"), 404)


@pytest.mark.full
def test_a_file_that_is_too_long(site: Site, tenant: str) -> None:
    web: Web = site.start(RATCHET_WEB_UPLOAD_BYTES="100000")
    try:
        client = site.as_("administrator", tenant, web=web)
        answer = client.post("/v1/uploads", data={"tenant_id": tenant}, files={"file": ("a.csv", b"x" * 200_000)})
        assert "100000" in is_problem(answer, 413)["detail"]
        assert uploaded(client, tenant, "a.csv", b"x" * 90_000)
    finally:
        assert web.stop() == 0
