"""A world with something on every page of the console: the scenarios A, B and C, long ids, a paused course, letters."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from playwright.sync_api import Page

from tests.stack.service import World
from tests.stack.story import COURSE, EVENT, Message, story
from tests.stack.wire import Wire
from tests.web.browser import Console, File, csv, followed, on_wire

TENANT = "demo"
CAP = "1"
PAUSES = "first-aid"
LONG = {name: f"{name}-{'0123456789' * 13}"[:128] for name in ("tenant", "learner", "course", "step", "message")}
LONG_RECORD = "/".join(LONG[name] for name in ("tenant", "learner", "course"))
BAD = csv(
    "Tenant,Learner,Course,Event,Attended minutes,Remark",
    "demo,anna,safety-101,live-1,90,was there",
    "demo,dora,safety-101,live-1,90,",
    f"demo,{LONG['learner']},safety-101,live-1,90,",
    "demo,emil,safety-101,live-1,ninety,",
    "demo,emil,safety-101,live-2,90,",
    "demo,fritz,safety-102,live-1,90,",
    "demo,gerda,safety-101,live-1,,",
    "demo,hans,safety-101,live-1,10,",
    "demo,hans,safety-101,live-1,20,",
)


def defined(course: str, version: int, *steps: Mapping[str, Any], tenant: str = TENANT, **more: Any) -> Message:
    """A course definition."""
    at = f"2026-01-{version:02d}T00:00:00Z"
    ids = {"tenant_id": tenant, "course_id": course, "message_id": f"{tenant[:8]}-{course[:20]}-{version}"}
    return "course-defined", {**ids, "changed_at": at, "version": version, "steps": list(steps), **more}


def event(step_id: str = EVENT, **more: Any) -> dict[str, Any]:
    """A step."""
    return {"step_id": step_id, "kind": "event", "scheduled_minutes": 90, **more}


def said(topic: str, learner: str, day: int, course: str = COURSE, tenant: str = TENANT, **more: Any) -> Message:
    """A fact of a day in March."""
    ids = {"tenant_id": tenant, "learner_id": learner, "course_id": course}
    message_id = f"{tenant[:8]}-{learner[:20]}-{course[:20]}-{day}"
    return topic, {"message_id": message_id, **ids, "changed_at": f"2026-03-{day:02d}T09:00:00Z", **more}


def attended(learner: str, day: int, minutes: int, **more: Any) -> Message:
    """Of the event."""
    return said("attendance-changed", learner, day, **{"event_id": EVENT, "attended_minutes": minutes, **more})


def messages() -> Iterator[Message]:
    """In order."""
    definition, acts = story(TENANT)
    yield definition
    for act in acts:
        yield from act.messages
    practice = {"step_id": "practice", "kind": "on_the_job_training", "threshold_percent": 80, "title": "At work"}
    yield defined(COURSE, 2, event(title="Live introduction"), practice, title="Safety at work")
    yield attended("mara", 2, 45)
    yield said(
        "step-progress-changed", "mara", 3, step_id="practice", progress_percent=60, source="manual", actor="kim"
    )
    yield attended("mara", 4, 90, source="mass_upload", upload_id="spring-2026")
    yield said("step-progress-changed", "mara", 5, step_id="practice", progress_percent=85)
    yield attended("mara", 6, 0, reason="She was in the wrong room", actor="kim")
    yield said(
        "reassigned", "mara", 7, reassigned_by="kim", reason="The law has changed", due_at="2026-12-31T00:00:00Z"
    )
    yield attended("mara", 8, 30)
    yield from _long()
    yield defined(PAUSES, 1, event(), event("live-2"), title="First aid")
    for learner in ("anna", "ben", "cleo"):
        yield attended(learner, 2, 90, course=PAUSES)
    yield defined(PAUSES, 2, event(), title="First aid")


def _long() -> Iterator[Message]:
    where = {"course": LONG["course"], "tenant": LONG["tenant"]}
    yield defined(LONG["course"], 1, event(LONG["step"], title="T" * 200), tenant=LONG["tenant"], title="C" * 200)
    topic, value = attended(LONG["learner"], 2, 90, event_id=LONG["step"], reason="R" * 1000, **where)
    yield topic, {**value, "message_id": LONG["message"]}


async def letters(wire: Wire) -> None:
    """Messages that cannot be used."""
    await wire.send_raw("attendance-changed", b"{not json", b"demo/anna/safety-101")
    _, future = attended("anna", 9, 90)
    future = {**future, "changed_at": "2126-03-02T09:00:00Z"}
    await wire.send_raw(
        "attendance-changed", json.dumps(future).encode(), b"demo/anna/safety-101", [("trace", b"0af7")]
    )
    await wire.send_raw("reassigned", b'{"message_id": "m-1"}', LONG_RECORD.encode())
    await wire.settled()


def fill(world: World) -> None:
    """What is there before the console starts."""

    async def filled(wire: Wire) -> None:
        for message in messages():
            await wire.send([message])
            await wire.settled()
        await letters(wire)

    on_wire(world, filled)


def upload(page: Page, file: File, **fields: str) -> None:
    """Try a file; the page then shows what it would do."""
    page.goto("/uploads")
    page.locator("input[name=file]").set_input_files(file)
    for name, text in {"tenant_id": TENANT, **fields}.items():
        page.locator(f"[name={name}]").fill(text)
    page.get_by_role("button", name="Try the file").click()
    followed(page)


def reassign(page: Page, *learners: str, **fields: str) -> None:
    """Look at what it would do."""
    page.goto("/reassign")
    for name, text in {"tenant_id": TENANT, "course_id": COURSE, "learners": "\n".join(learners), **fields}.items():
        page.locator(f"[name={name}]").fill(text)
    page.get_by_role("button", name="See what it would do").click()
    followed(page)


def pages(console: Console) -> dict[str, str]:
    """Every page with something on it: name and path. Uploads and a reassignment are made on the way."""
    found = dict(PATHS)
    with console.visit() as page:

        def note(name: str) -> None:
            found[name] = page.url.removeprefix(console.web.address)

        upload(page, BAD)
        note("upload")
        found["upload-only"] = f"{found['upload']}?verdict=unknown+event"
        upload(page, csv("Colour,Shape", "red,round"))
        note("upload-failed")
        upload(page, csv("Learner,Course,Event,Attended minutes", "ada,safety-101,live-1,90"))
        note("upload-confirmed")
        page.get_by_role("button", name="Send the accepted rows").click()
        followed(page)
        note("upload-sent")
        reassign(page, "anna", "nobody", reason="Once a year")
        note("reassignment")
        reassign(page, "cleo")
        page.locator("[name=typed]").fill("1")
        page.locator("button.danger").click()
        followed(page)
        note("reassignment-sent")
        page.get_by_role("link", name="Take it back").click()
        note("reassign-undo")
        page.goto("/operations?reason=invalid_message")
        page.locator("#letters ~ .scroll tbody a").first.click()
        note("letter-long")
    return found


UPLOADS = (
    "upload",
    "upload-only",
    "upload-failed",
    "upload-confirmed",
    "upload-sent",
    "reassignment",
    "reassignment-sent",
    "reassign-undo",
    "letter-long",
)
"""What `pages` makes besides PATHS."""
PATHS = {
    "learners": "/learners",
    "learners-found": f"/learners?tenant={TENANT}",
    "learners-none": f"/learners?tenant={TENANT}&begins=zz",
    "learner": f"/learners/{TENANT}/anna",
    "record": f"/records/{TENANT}/mara/{COURSE}",
    "record-long": f"/records/{LONG_RECORD}",
    "learner-long": f"/learners/{LONG['tenant']}/{LONG['learner']}",
    "course-long": f"/courses/{LONG['tenant']}/{LONG['course']}",
    "learners-long": f"/learners?tenant={LONG['tenant']}",
    "erase": f"/learners/{TENANT}/anna/erase",
    "uploads": "/uploads",
    "courses": "/courses",
    "course": f"/courses/{TENANT}/{COURSE}",
    "course-paused": f"/courses/{TENANT}/{PAUSES}",
    "course-edit": f"/courses/{TENANT}/{COURSE}/edit",
    "course-new": "/courses/new",
    "reassign": "/reassign",
    "operations": "/operations",
    "letters-of-a-reason": "/operations?reason=invalid_json",
    "letter": "/operations/dead-letters/0-0",
    "rules": "/rules",
    "audit": "/audit",
    "choices": "/choices?back=/rules",
    "not-found": "/learners/demo/nobody-at-all",
    "sign-in": "/sign-in",
}
