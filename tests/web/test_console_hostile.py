"""What people and programs say is shown as text, wherever it stands: nothing of it is run, and nothing leads away."""

import json
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from tests.stack.service import World
from tests.stack.story import COURSE
from tests.stack.wire import Wire
from tests.web.browser import Console, csv, followed, on_wire, opened_console
from tests.web.content import TENANT, attended, defined, event, said, upload

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(2)>'
LINK = "javascript:alert(3)"
MORE = "'-alert(4)-'{{7*7}}${7*7}</title></textarea></style><svg/onload=alert(5)>"
EVIL = f"{SCRIPT}{IMAGE}{LINK}{MORE}"
INSERTED = """() => new Promise((done) => {
  const broken = new Set();
  document.addEventListener('securitypolicyviolation', (event) => broken.add(event.effectiveDirective));
  const main = document.querySelector('main');
  main.insertAdjacentHTML('beforeend', '<img src="https://example.org/x" onerror="window.ran = 1">');
  main.insertAdjacentHTML('beforeend', '<p style="color: red">x</p>');
  const script = document.createElement('script');
  script.textContent = 'window.ran = 2';
  main.append(script);
  setTimeout(() => done([window.ran ?? null, [...broken].sort()]), 300);
})"""
"""What a page that was broken into would say."""
LOOK = """() => [
  document.documentElement.innerText,
  [...document.querySelectorAll('img, iframe, object, embed, base, [onerror], [onload], script:not([src]), '
    + 'svg:not(.chart), main b, main i, main u, main s')].map((one) => one.outerHTML),
  [...document.querySelectorAll('[href], [action], [formaction], [src]')].flatMap((one) =>
    ['href', 'action', 'formaction', 'src'].map((name) => one.getAttribute(name)).filter((said) => said !== null)),
]"""
"""What a page shows, what it is made of that no page of ours is, where it leads."""
ELSEWHERE = (
    "https://example.org/",
    "//example.org/",
    "/\\example.org/",
    "\\\\example.org",
    "/\t/example.org",
    "/\n/example.org",
    "/%09/example.org",
    "javascript:alert(1)",
    " //example.org",
    "http:example.org",
    "/..//example.org",
    "/.//example.org",
)
pytestmark = pytest.mark.full
ANSWERS = "Failed to load resource: the server responded with a status of 4"


@pytest.fixture(scope="module")
def console(make_world: Callable[..., World]) -> Iterator[Console]:
    """Where everything that can be said freely is hostile."""
    with opened_console(make_world(), _say) as opened:
        yield opened


def _say(world: World) -> None:
    async def say(wire: Wire) -> None:
        await wire.send([defined(COURSE, 1, event(title=EVIL), title=EVIL)])
        await wire.settled()
        await wire.send(
            [
                attended("eve", 2, 90, reason=EVIL, actor="<b>eve</b>", source="manual"),
                said("reassigned", "eve", 3, reason=EVIL, reassigned_by="<u>eve</u>"),
                said("equivalency-granted", "eve", 4, granted_by="<s>eve</s>", reason=EVIL),
            ]
        )
        await wire.send_raw("attendance-changed", f"{{{EVIL}".encode(), EVIL.encode(), [(SCRIPT, IMAGE.encode())])
        value = {"message_id": EVIL, EVIL: EVIL, "learner_id": EVIL}
        await wire.send_raw("reassigned", json.dumps(value).encode(), EVIL.encode())
        await wire.settled()

    on_wire(world, say)


@pytest.fixture
def page(console: Console) -> Iterator[Page]:
    """Whatever it runs, breaks or asks for elsewhere fails the test."""
    with console.visit(ANSWERS) as page:
        yield page


def harmless(page: Page, *texts: str) -> None:
    """These are shown, as text; no element came of them."""
    page.wait_for_load_state()
    shown, made, leads = page.evaluate(LOOK)
    assert [text for text in texts if " ".join(text.split()) not in " ".join(shown.split())] == []
    assert made == []
    assert [address for address in leads if not address.startswith(("/", "#", "?"))] == []
    assert "49" not in page.title()


def test_titles_reasons_and_actors_are_text(page: Page) -> None:
    page.goto(f"/records/{TENANT}/eve/{COURSE}")
    harmless(page, EVIL, "<b>eve</b>", "<u>eve</u>", "<s>eve</s>")
    page.get_by_role("button", name="Decide").click()
    harmless(page)
    page.goto(f"/courses/{TENANT}/{COURSE}")
    harmless(page, EVIL)
    page.goto("/courses")
    harmless(page)


def test_definitions_are_text(page: Page) -> None:
    page.goto(f"/courses/{TENANT}/{COURSE}/edit")
    assert SCRIPT in page.locator("textarea").input_value()
    harmless(page)
    for text in (EVIL, f"title: {json.dumps(EVIL)}\nsteps: {json.dumps(EVIL)}", f"{json.dumps(EVIL)}: 1\nsteps: []"):
        page.locator("textarea").fill(text)
        page.get_by_role("button", name="See what it would change").click()
        assert page.locator("textarea").input_value() == text
        harmless(page)


def test_dead_letters_are_text(page: Page) -> None:
    page.goto("/operations")
    harmless(page)
    addresses = [link.get_attribute("href") for link in page.locator("#letters ~ .scroll tbody a").all()]
    assert len(addresses) == 2
    for address in addresses:
        page.goto(str(address))
        harmless(page, SCRIPT, IMAGE)
        page.locator("textarea").fill(f"{EVIL}={EVIL}".replace("=x", "").replace("\n", " "))
        page.get_by_role("button", name="Send it again").click()
        harmless(page)
    page.locator("textarea").fill(EVIL.replace("=", ""))
    page.get_by_role("button", name="Send it again").click()
    harmless(page, "is not FIELD=VALUE")


def test_files_names_and_their_headings_and_cells_are_text(page: Page) -> None:
    name = f"{SCRIPT}{IMAGE}.csv".replace("/", "")
    quoted = EVIL.replace('"', '""')
    file = csv(
        f'Learner,Course,Event,Attended minutes,"{quoted}"', f'eve,safety-101,live-1,"{quoted}","{quoted}"', name=name
    )
    upload(page, file)
    harmless(page, "<script>", SCRIPT, IMAGE)
    page.goto("/uploads")
    harmless(page, "<script>")
    upload(page, csv(f'"{quoted}"', "a"))
    harmless(page, SCRIPT)
    page.goto("/uploads")
    page.locator("input[name=file]").set_input_files(csv("Learner", "eve"))
    page.locator("summary").click()
    fields = {"tenant_id": TENANT, "columns": EVIL, "sheet": EVIL[:200], "timezone": EVIL[:60], "changed_at": EVIL}
    for field, text in fields.items():
        page.locator(f"[name={field}]").fill(text)
    page.get_by_role("button", name="Try the file").click()
    followed(page)
    harmless(page)


def test_what_a_reassignment_says_is_text(page: Page) -> None:
    page.goto("/reassign")
    for field, text in {"tenant_id": TENANT, "course_id": COURSE, "learners": "eve", "reason": EVIL}.items():
        page.locator(f"[name={field}]").fill(text)
    page.get_by_role("button", name="See what it would do").click()
    followed(page)
    harmless(page, EVIL)
    page.locator("[name=typed]").fill(EVIL)
    page.get_by_role("button", name="Reassign").click()
    harmless(page, EVIL)
    for field in ("learners", "completed_before", "due_at", "course_id"):
        page.goto("/reassign")
        for name, text in {"tenant_id": TENANT, "course_id": COURSE, "learners": "eve", field: EVIL}.items():
            page.locator(f"[name={name}]").fill(text)
        page.get_by_role("button", name="See what it would do").click()
        harmless(page)


@pytest.mark.parametrize(
    "path",
    [
        "/learners?tenant={}&begins={}",
        f"/learners?tenant={TENANT}&begins={{}}",
        "/operations?reason={}",
        "/operations?live={}",
        "/audit?cursor={}",
        "/reassign?undo={}&tenant={}&course={}",
        "/courses?tenant={}",
        "/courses/new?tenant_id={}",
        "/courses/new?tenant_id={}&course_id={}",
        f"/courses/{TENANT}/{COURSE}?older={{}}&newer={{}}",
        "/choices?back={}",
        "/sign-in?next={}",
        "/sign-in/link?key={}",
        "/learners/{}/{}",
        "/records/{}/{}/{}",
        "/courses/{}/{}/edit",
        "/uploads/{}",
        "/reassign/{}",
        "/operations/dead-letters/{}",
        "/static/{}",
        "/{}",
    ],
)
def test_whatever_an_address_says_is_text(page: Page, path: str) -> None:
    for evil in (SCRIPT, IMAGE, LINK, MORE, "%00", "\u202e", "a" * 130):
        page.goto(path.replace("{}", quote(evil, safe="")))
        harmless(page)


@pytest.mark.parametrize("query", ["verdict={}", "cursor={}", "verdict={}&cursor={}"])
def test_whatever_the_address_of_an_upload_says_is_text(page: Page, query: str) -> None:
    upload(page, csv("Learner,Course,Event,Attended minutes", "eve,safety-101,live-1,1"))
    here = page.url
    for evil in (SCRIPT, IMAGE, LINK, MORE[:39]):
        page.goto(f"{here}?{query.replace('{}', quote(evil, safe=''))}")
        harmless(page, *([evil] if query == "verdict={}" and len(evil) <= 40 else []))


def test_no_choice_leads_away(console: Console, page: Page) -> None:
    for back in ELSEWHERE:
        page.goto(f"/choices?back={quote(back, safe='')}")
        page.get_by_role("button", name="Choose").click()
        page.wait_for_load_state()
        assert page.url.startswith(f"{console.web.address}/"), back


def test_no_sign_in_leads_away(console: Console) -> None:
    with console.visit(ANSWERS, signed_in=False) as page:
        for then in ELSEWHERE:
            page.goto(f"/sign-in?next={quote(then, safe='')}")
            assert page.locator("a[href*='example.org']").count() == 0


def test_the_policy_holds_against_what_would_get_through(console: Console) -> None:
    """The second line: even markup that stood in a page would run nothing."""
    with console.visit("Content Security Policy", "https://example.org/x") as page:
        page.goto("/rules")
        ran, broken = page.evaluate(INSERTED)
    assert ran is None
    assert {"img-src", "script-src-elem", "style-src-attr"} <= set(broken)
