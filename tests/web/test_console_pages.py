"""Every page, with something on it: axe-core finds nothing in either scheme at either width, and nothing is cut.

With RATCHET_TEST_SCREENSHOTS=FOLDER each is photographed.
"""

import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from tests.stack.service import World
from tests.stack.story import COURSE
from tests.web import content
from tests.web.browser import Console, csv, followed, keep, opened_console, shown, signed_in
from tests.web.content import LONG, PATHS, TENANT, UPLOADS

pytestmark = pytest.mark.full
WIDE, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)
RULES = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
"""All that are on unless said otherwise, and WCAG 2.2's size of what is to be hit."""
ANSWERS = "Failed to load resource: the server responded with a status of 4"
CUT = """() => [...document.querySelectorAll('body *')].filter((one) => {
  const style = getComputedStyle(one);
  const hides = ['hidden', 'clip'].includes(style.overflowX) || style.textOverflow === 'ellipsis';
  return hides && one.scrollWidth > one.clientWidth + 1 && !['svg', 'INPUT', 'SELECT'].includes(one.tagName);
}).map((one) => one.outerHTML.slice(0, 200))"""
WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"


class Mode(NamedTuple):
    """How a page is looked at. `axe`: colours follow the scheme and places the width, so two tell all."""

    name: str
    scheme: Any
    size: ViewportSize
    axe: bool


MODES = (
    Mode("desktop", "light", WIDE, axe=True),
    Mode("dark", "dark", WIDE, axe=False),
    Mode("phone", "light", PHONE, axe=False),
    Mode("phone-dark", "dark", PHONE, axe=True),
)


@pytest.fixture(scope="module")
def console(make_world: Callable[..., World]) -> Iterator[Console]:
    """With every kind of thing in it; three dead letters are a flood."""
    flood = {"RATCHET_FLOOD_WINDOW_MESSAGES": "1", "RATCHET_FLOOD_PERCENT": "1"}
    with opened_console(make_world(RATCHET_MAX_NEW_COMPLETIONS=content.CAP), content.fill, **flood) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(console: Console) -> dict[str, str]:
    """Name and path of each."""
    return content.pages(console)


@pytest.fixture(scope="module")
def page(console: Console) -> Iterator[Page]:
    """One for all that only look: a fresh one for each takes longer than looking."""
    with console.visit(ANSWERS) as opened:
        yield opened


def look(page: Page, name: str) -> None:
    """Nothing is wrong with it in any mode."""
    page.wait_for_load_state()
    found: list[str] = []
    for mode in MODES:
        page.emulate_media(color_scheme=mode.scheme)
        page.set_viewport_size(mode.size)
        keep(page, f"{name}-{mode.name}")
        wrong = Axe().run(page, options=RULES).response["violations"] if mode.axe else []
        found += [f"{mode.name}: {one['id']} {[node['html'][:200] for node in one['nodes'][:3]]}" for one in wrong]
        scrolled, width = page.evaluate(WIDTHS)
        found += [f"{mode.name}: {scrolled} pixels wide"] if scrolled > width else []
        found += [f"{mode.name}: cuts {one}" for one in page.evaluate(CUT)]
    assert not found


@pytest.mark.parametrize("name", [*PATHS, *UPLOADS])
def test_a_page_is_accessible_and_whole(page: Page, pages: dict[str, str], name: str) -> None:
    page.goto(pages[name])
    look(page, name)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("learners-long", ["tenant", "learner"]),
        ("learner-long", ["tenant", "learner", "course"]),
        ("record-long", ["tenant", "learner", "course", "step", "message"]),
        ("course-long", ["tenant", "course", "step"]),
        ("courses", ["tenant", "course"]),
        ("upload", ["learner"]),
        ("letter-long", ["tenant", "learner", "course"]),
    ],
)
def test_an_id_of_128_characters_stands_there_whole(
    console: Console, pages: dict[str, str], name: str, ids: list[str]
) -> None:
    with console.visit(viewport=PHONE) as page:
        page.goto(pages[name])
        text = page.locator("main").inner_text() + "".join(
            page.locator("main [value]").evaluate_all("a => a.map(b => b.value)")
        )
        assert [one for one in ids if LONG[one] not in text] == []
        assert all(len(LONG[one]) == 128 for one in ids)


def test_every_page_is_there_in_german_and_fits_a_phone(console: Console, pages: dict[str, str]) -> None:
    wide, english = [], {}
    with console.visit(ANSWERS, locale="de-DE", timezone_id="Europe/Vienna", viewport=PHONE) as page:
        for name, path in pages.items():
            page.goto(path)
            keep(page, f"{name}-phone-german")
            assert page.locator("html").get_attribute("lang") == "de"
            scrolled, width = page.evaluate(WIDTHS)
            wide += [name] if scrolled > width else []
            english[name] = page.locator("[lang=en]").all_inner_texts()
    assert not wide
    assert {name: texts for name, texts in english.items() if texts} == {"choices": ["English"]}


def test_what_forms_lead_to_is_accessible_too(console: Console) -> None:
    with console.visit(ANSWERS) as page:
        page.goto(f"/records/{TENANT}/mara/{COURSE}")
        page.get_by_role("button", name="Decide").click()
        look(page, "what-if")
        page.goto(f"/courses/{TENANT}/{COURSE}/edit")
        page.get_by_role("button", name="See what it would change").click()
        look(page, "course-edit-known")
        page.locator("textarea").fill("title: Safety\nsteps: [{step_id: live-1, kind: event, scheduled_minutes: 30}]")
        page.get_by_role("button", name="See what it would change").click()
        look(page, "course-edit-tried")
        page.locator("textarea").fill("steps: [")
        page.get_by_role("button", name="See what it would change").click()
        look(page, "course-edit-unfit")
        page.goto("/operations/dead-letters/0-0")
        page.get_by_role("button", name="Send it again").click()
        look(page, "letter-replayed")
        page.goto("/uploads")
        page.locator("input[name=file]").set_input_files(csv("Learner", "anna"))
        page.locator("[name=tenant_id]").fill("no id")
        page.get_by_role("button", name="Try the file").click()
        assert "tenant_id: is not an id" in shown(page)
        look(page, "unfit")


def test_a_course_and_a_learner_that_come_and_go_are_accessible_too(console: Console) -> None:
    with console.visit(ANSWERS) as page:
        page.goto(f"/courses/{TENANT}/new-one/edit")
        page.get_by_role("button", name="See what it would change").click()
        page.get_by_role("button", name="Send version 1").click()
        look(page, "course-applied")
        console.send(content.attended("gone", 2, 90))
        page.goto(f"/learners/{TENANT}/gone/erase")
        page.locator("[name=typed]").fill("somebody else")
        page.get_by_role("button", name="Erase for good").click()
        look(page, "erase-wrong")
        page.locator("[name=typed]").fill("gone")
        page.get_by_role("button", name="Erase for good").click()
        look(page, "erased")


def test_a_job_that_is_under_way_is_accessible_too(console: Console) -> None:
    with console.visit(ANSWERS) as page:
        content.upload(page, csv("Learner,Course,Event,Attended minutes", "uwe,safety-101,live-1,90"))
        console.serving.process.send_signal(signal.SIGSTOP)
        try:
            page.get_by_role("button", name="Send the accepted rows").click()
            page.get_by_text("messages are not decided yet").wait_for()
            look(page, "upload-running")
        finally:
            console.serving.process.send_signal(signal.SIGCONT)
        followed(page)


def test_pages_without_a_session_or_a_right_are_accessible_too(console: Console) -> None:
    with console.visit(ANSWERS, signed_in=False) as page:
        page.goto("/sign-in/link?key=wrong")
        look(page, "sign-in-link-used")
    viewer = signed_in(name="vera", roles=["viewer"], tenants=[TENANT, "other"])
    with console.visit(ANSWERS, storage_state=viewer) as page:
        page.goto("/operations")
        look(page, "forbidden")
        page.goto("/uploads")
        look(page, "uploads-viewer")
        page.goto("/learners")
        look(page, "learners-viewer")


def test_a_flood_is_told_on_every_page_to_operators_only(console: Console) -> None:
    with console.visit() as page:
        page.goto("/rules")
        assert "Dead letters flood in" in page.get_by_role("alert").inner_text()
    administrator = signed_in(name="ada", roles=["administrator"], tenants=["*"])
    with console.visit(storage_state=administrator) as page:
        page.goto("/rules")
        assert page.get_by_role("alert").count() == 0
