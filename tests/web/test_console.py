"""The console as administrators and operators use it: the scenarios A, B and C and the rest, by clicking only."""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.stack.service import World
from tests.stack.wire import Wire
from tests.web.browser import Console, csv, followed, on_wire, opened_console, shown, signed_in
from tests.web.content import defined, event

TENANT, COURSE = "acme", "safety-101"
TWO_STEPS = """\
title: Safety at work
steps:
  - {step_id: live-1, kind: event, threshold_percent: 100, scheduled_minutes: 90}
  - {step_id: practice, kind: on_the_job_training, threshold_percent: 80}
"""
ONE_STEP = TWO_STEPS.rsplit("  - ", 1)[0]
NOT_FOUND, UNFIT = "status of 404", "status of 422"


@pytest.fixture(scope="module")
def console(make_world: Callable[..., World]) -> Iterator[Console]:
    """The same for all, and one course: each test has learners of its own."""
    with opened_console(make_world(RATCHET_MAX_NEW_COMPLETIONS="2")) as opened:
        opened.send(defined(COURSE, 1, event(), tenant=TENANT))
        yield opened


@pytest.fixture
def page(console: Console) -> Iterator[Page]:
    """Of somebody who may do everything."""
    with console.visit() as page:
        page.goto("/")
        yield page


def nav(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()


def press(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("button", name=name).click()


def fill(page: Page, name: str, text: str) -> None:
    page.get_by_role("textbox", name=name, exact=True).fill(text)


def follow(page: Page, name: str) -> None:
    page.get_by_role("main").get_by_role("link", name=name, exact=True).first.click()


def define(page: Page, tenant: str, text: str, course: str = COURSE) -> None:
    """A course, from nothing to its page."""
    nav(page, "Courses")
    follow(page, "New course")
    fill(page, "Tenant", tenant)
    fill(page, "Course", course)
    press(page, "Write its definition")
    page.get_by_label("Definition").fill(text)
    press(page, "See what it would change")
    press(page, "Send version 1")
    follow(page, "To the course")


def try_file(page: Page, tenant: str, *lines: str, kind: str = "Attendance", event: str = "live-1") -> None:
    """A file of this course and event."""
    nav(page, "Upload")
    page.get_by_label("File, chosen").set_input_files(csv(*lines))
    page.get_by_label("What the file says").select_option(label=kind)
    fill(page, "Tenant", tenant)
    fill(page, "Course", COURSE)
    fill(page, "Event", event if kind == "Attendance" else "")
    press(page, "Try the file")
    followed(page)


def upload(page: Page, tenant: str, *lines: str, kind: str = "Attendance") -> str:
    """Try a file and send it; gives what the trial said."""
    try_file(page, tenant, *lines, kind=kind)
    told = shown(page)
    press(page, "Send the accepted rows")
    followed(page)
    assert "All are decided; refused: 0." in shown(page)
    return told


def attend(page: Page, tenant: str, learner: str, minutes: int) -> str:
    return upload(page, tenant, "Learner,Attended minutes", f"{learner},{minutes}")


def look(page: Page, tenant: str, learner: str) -> str:
    """Search the record; gives what its page says."""
    nav(page, "Why")
    fill(page, "Tenant", tenant)
    page.get_by_label("begins with").fill(learner[:3])
    press(page, "Search")
    follow(page, learner)
    follow(page, COURSE)
    return shown(page)


def newest(page: Page) -> str:
    """The first entry of the timeline."""
    return " ".join(page.locator(".timeline > li").first.inner_text().split())


def standing(page: Page) -> str:
    return " ".join(page.locator(".standing").first.inner_text().split())


def leads_to_rule(page: Page, rule: str) -> None:
    """The newest entry names the rule, and its link leads to the row."""
    page.locator(".timeline > li").first.get_by_role("link", name=rule, exact=True).click()
    row = page.locator(f"tr[id='{rule}']")
    assert page.url.endswith(f"/rules#{rule}")
    expect(row).to_be_in_viewport()
    expect(row).to_contain_text(rule)


def test_scenario_a_a_reset_after_a_mass_upload_takes_the_step_and_not_the_course(page: Page) -> None:
    define(page, "a", ONE_STEP)
    told = upload(page, "a", "Learner,Attended minutes", "anna,90", "bert,60")
    assert "accepted 2" in told and "step gained 1" in told and "course gained 1" in told
    assert "certificate gained 1" in told and "Nothing has been sent yet." in told
    look(page, "a", "anna")
    stands = standing(page)
    assert "completed by its steps, evidence held" in stands and "Certificate issued" in stands
    assert "live-1 100 %, complete" in stands
    told = attend(page, "a", "anna", 0)
    assert "step lost 1" in told and "course kept, its evidence withdrawn 1" in told and "course lost" not in told
    look(page, "a", "anna")
    stands = standing(page)
    assert "completed by its steps, evidence withdrawn" in stands and "Certificate issued" in stands
    assert "live-1 0 %, incomplete" in stands
    entry = newest(page)
    assert "Attendance of live-1: 0 minutes" in entry and "from: a mass upload" in entry and "upload: " in entry
    assert (
        "A course completion is preserved once it is earned" in entry and "100 %, complete → 0 %, incomplete" in entry
    )
    assert "#3 step live-1: 100 → 0 %, incomplete" in entry
    assert page.locator("svg.chart .mark.completed").count() == 1
    leads_to_rule(page, "completion-preserved")
    look(page, "a", "bert")
    assert "Course incomplete" in standing(page) and "66 %, incomplete" in standing(page)


@pytest.mark.full
def test_scenario_b_a_completion_by_hand_stays_when_attendance_is_reset(page: Page) -> None:
    upload(page, TENANT, "Learner,Attended percent", "ben,100")
    look(page, TENANT, "ben")
    assert "completed by its steps, evidence held" in standing(page)
    attend(page, TENANT, "ben", 0)
    look(page, TENANT, "ben")
    assert "completed by its steps, evidence withdrawn" in standing(page) and "Certificate issued" in standing(page)
    assert "live-1 0 %, incomplete" in standing(page)


@pytest.mark.full
def test_scenario_c_an_equivalency_stands_whatever_becomes_of_the_event(page: Page) -> None:
    told = upload(page, TENANT, "Learner,Equivalent course", "cleo,safety-100", kind="Equivalencies")
    assert "course gained 1" in told and "certificate gained 0" not in told
    attend(page, TENANT, "cleo", 90)
    told = attend(page, TENANT, "cleo", 0)
    assert "step lost 1" in told and "evidence withdrawn" not in told
    look(page, TENANT, "cleo")
    stands = standing(page)
    assert "completed by equivalency" in stands and "Certificate none" in stands and "0 %, incomplete" in stands
    assert "evidence" not in stands
    leads_to_rule(page, "completion-preserved")


@pytest.mark.full
def test_a_reassignment_removes_completion_and_certificate_and_can_be_taken_back(page: Page) -> None:
    attend(page, TENANT, "rita", 90)
    nav(page, "Reassign")
    fill(page, "Tenant", TENANT)
    fill(page, "Course", COURSE)
    page.get_by_label("Learners, one a line").fill("rita")
    fill(page, "Reason", "Do it again")
    press(page, "See what it would do")
    followed(page)
    told = shown(page)
    assert "Learners: 1." in told and "course lost 1" in told and "certificate lost 1" in told
    page.get_by_label("To confirm").fill("1")
    press(page, "Reassign")
    followed(page)
    assert "Sent: 1." in shown(page)
    address = page.url
    look(page, TENANT, "rita")
    stands = standing(page)
    assert "Course incomplete" in stands and "Certificate revoked" in stands and "Attempt 2" in stands
    assert "Only a reassignment removes a course completion" in newest(page) and "reason: Do it again" in newest(page)
    assert "by: local" in newest(page) and page.locator("svg.chart .mark.removed").count() == 1
    page.goto(address)
    follow(page, "Take it back")
    fill(page, "Reason", "A mistake")
    press(page, "See what it would do")
    followed(page)
    assert "course gained 1" in shown(page) and "certificate gained 1" in shown(page)
    page.get_by_label("To confirm").fill("1")
    press(page, "Take it back")
    followed(page)
    look(page, TENANT, "rita")
    stands = standing(page)
    assert "completed by its steps, evidence held" in stands and "Certificate issued" in stands
    assert "Attempt 3" in stands and "reinstate the certificate" in newest(page)


@pytest.mark.full
def test_a_wrong_number_sends_no_reassignment(console: Console) -> None:
    with console.visit(UNFIT) as page:
        page.goto("/")
        attend(page, TENANT, "ruth", 90)
        nav(page, "Reassign")
        fill(page, "Tenant", TENANT)
        fill(page, "Course", COURSE)
        page.get_by_label("Learners, one a line").fill("ruth\nnobody")
        press(page, "See what it would do")
        followed(page)
        assert "Learners without a record in the course: 1, among them nobody" in shown(page)
        page.get_by_label("To confirm").fill("20")
        press(page, "Reassign")
        expect(page.get_by_role("alert")).to_contain_text("That is not the number of learners. Nothing was sent.")
        look(page, TENANT, "ruth")
        assert "completed by its steps" in standing(page)


@pytest.mark.full
def test_what_would_happen_if_is_told_and_changes_nothing(page: Page) -> None:
    attend(page, TENANT, "ina", 90)
    look(page, TENANT, "ina")
    page.get_by_label("If there came").select_option(label="attendance in minutes")
    page.get_by_label("Minutes or percent").fill("0")
    press(page, "Decide")
    supposed = page.locator(".supposed")
    expect(supposed).to_contain_text("Attendance of live-1: 0 minutes")
    expect(supposed).to_contain_text("completed by its steps, evidence withdrawn")
    expect(supposed).to_contain_text("Nothing was sent.")
    expect(supposed).to_be_in_viewport()
    page.get_by_label("If there came").select_option(label="a reassignment")
    press(page, "Decide")
    expect(supposed).to_contain_text("revoke the certificate")
    expect(supposed).to_contain_text("Only a reassignment removes a course completion")
    page.get_by_label("If there came").select_option(label="progress in percent")
    page.get_by_label("Minutes or percent").fill("101")
    press(page, "Decide")
    expect(supposed).to_contain_text("It would be refused")
    look(page, TENANT, "ina")
    assert "evidence held" in standing(page) and page.locator(".timeline > li").count() == 1


@pytest.mark.full
def test_every_row_of_a_file_has_its_verdict_and_the_result_can_be_kept(page: Page) -> None:
    attend(page, TENANT, "vera", 0)
    lines = ("Learner,Event,Attended minutes,Remark", "vera,live-1,90,x", "emil,live-1,ninety,", "emil,live-9,90,")
    try_file(page, TENANT, *lines, event="")
    rows = page.locator("section:has(#rows) tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("accepted")
    expect(rows.nth(0)).to_contain_text("step gained; course gained; certificate gained")
    expect(rows.nth(1)).to_contain_text("invalid")
    expect(rows.nth(1)).to_contain_text("'ninety' must be minutes")
    expect(rows.nth(2)).to_contain_text("unknown event")
    assert "Attended minutes attended_minutes" in shown(page) and "Not read: columns: 'Remark'" in shown(page)
    follow(page, "unknown event")
    expect(rows).to_have_count(1)
    follow(page, "All rows")
    with page.expect_download() as downloading:
        follow(page, "File with verdicts")
    assert "unknown event" in downloading.value.path().read_text("utf-8-sig")
    with page.expect_download() as downloading:
        follow(page, "Impact on each record")
    assert "acme,vera,safety-101,2,gains the step" in downloading.value.path().read_text("utf-8-sig")


@pytest.mark.full
def test_a_file_can_be_read_otherwise(page: Page) -> None:
    try_file(page, TENANT, "Person,Dauer", "olga,90")
    expect(page.get_by_role("alert").last).to_contain_text("Person")
    page.get_by_label("Columns, one a line").fill("learner_id=Person\nattended_minutes=Dauer")
    press(page, "Try the file")
    followed(page)
    assert "accepted 1" in shown(page) and "Person learner_id" in shown(page)


@pytest.mark.full
def test_a_course_is_edited_previewed_applied_compared_and_released(page: Page) -> None:
    define(page, "k", TWO_STEPS)
    upload(page, "k", "Learner,Attended minutes", "anna,90", "ben,90", "cleo,90")
    nav(page, "Courses")
    page.locator("a[href='/courses/k/safety-101']").click()
    assert "completed 0 incomplete 3" in shown(page)
    follow(page, "Change the definition")
    text = page.get_by_label("Definition").input_value()
    assert "step_id: practice" in text and "tenant_id" not in text
    page.get_by_label("Definition").fill(ONE_STEP)
    press(page, "See what it would change")
    told = shown(page)
    assert "This would be version 2." in told and "course gained 3" in told and "certificate gained 3" in told
    assert "So many that it would wait for its release." in told
    press(page, "Send version 2")
    follow(page, "To the course")
    _until(page, "so it waits for its release")
    assert page.locator(".diff .less", has_text="step_id: practice").count() == 1
    nav(page, "Courses")
    expect(page.locator("tbody tr").first).to_contain_text("waits for its release")
    page.locator("a[href='/courses/k/safety-101']").click()
    press(page, "Release it")
    _until(page, "completed 3 incomplete 0")
    page.get_by_label("From").select_option("2")
    press(page, "Compare")
    assert page.locator(".diff .less").count() == 0
    nav(page, "Audit")
    assert "released" in shown(page) and "course: safety-101, version: 2" in shown(page)


def _until(page: Page, text: str) -> None:
    """Load it anew until it says so."""
    for _ in range(60):
        if text in shown(page):
            return
        page.wait_for_timeout(500)
        page.reload()
    raise AssertionError(shown(page))


@pytest.mark.full
def test_a_definition_that_is_none_is_told_what_is_wrong_and_kept(console: Console) -> None:
    with console.visit(UNFIT) as page:
        page.goto("/courses/n/new-one/edit")
        for text, what in (("steps: [", "is no YAML"), ("steps: 5", "steps"), ("- 5", "must be a mapping")):
            page.get_by_label("Definition").fill(text)
            press(page, "See what it would change")
            expect(page.get_by_role("alert")).to_contain_text(what)
            assert page.get_by_label("Definition").input_value() == text


@pytest.mark.full
def test_a_dead_letter_is_looked_at_edited_and_sent_again(console: Console, page: Page) -> None:
    ids = {"tenant_id": TENANT, "learner_id": "lea", "course_id": COURSE, "message_id": "lea-1"}
    value = {**ids, "event_id": "live-1", "changed_at": "2126-01-01T00:00:00Z", "attended_minutes": 90}

    async def sent(wire: Wire) -> None:
        key = b"acme/lea/safety-101"
        await wire.send_raw("attendance-changed", json.dumps(value).encode(), key, [("trace", b"0af7")])
        await wire.send_raw("attendance-changed", b"{", key)
        await wire.settled()

    on_wire(console.world, sent)
    nav(page, "Operations")
    assert "from the future 1" in shown(page) and "no JSON 1" in shown(page)
    follow(page, "from the future")
    expect(page.locator("#letters ~ .scroll tbody tr")).to_have_count(1)
    page.locator("#letters ~ .scroll tbody a").click()
    told = shown(page)
    assert "seconds ahead of the clock" in told and "trace 0af7" in told and '"learner_id": "lea"' in told
    page.get_by_label("Fields to set first").fill("changed_at=2026-03-01T09:00:00Z\nreason=Its clock was wrong")
    press(page, "Send it again")
    expect(page.get_by_role("status")).to_contain_text("Sent again: 1;")
    press(page, "Send it again")
    expect(page.get_by_role("status")).to_contain_text("had been sent again before: 1;")
    console.send()
    for _ in range(20):
        page.goto("/learners?tenant=acme&begins=lea")
        if page.get_by_role("link", name="lea", exact=True).count():
            break
        page.wait_for_timeout(250)
    look(page, TENANT, "lea")
    assert "completed by its steps" in standing(page) and "reason: Its clock was wrong" in newest(page)


@pytest.mark.full
def test_lanes_are_shown_and_renewed(page: Page) -> None:
    nav(page, "Operations")
    expect(page.locator("#lanes tbody tr")).to_have_count(5)
    assert page.locator("#lanes svg.chart polyline").count() == 1
    with page.expect_response("**/operations/lanes"):
        pass
    follow(page, "Stop renewing the lanes")
    assert page.locator("#lanes[hx-get]").count() == 0


@pytest.mark.full
def test_a_learner_is_erased_by_their_own_id_only(console: Console) -> None:
    with console.visit(UNFIT, NOT_FOUND) as page:
        page.goto("/")
        attend(page, TENANT, "erna", 90)
        look(page, TENANT, "erna")
        follow(page, "all courses of this learner")
        follow(page, "Erase for good")
        assert "Records: 1, course completions: 1, certificates: 1." in shown(page)
        page.get_by_label("type the learner's id").fill("erno")
        press(page, "Erase for good")
        expect(page.get_by_role("alert")).to_contain_text("Nothing was erased.")
        page.get_by_label("type the learner's id").fill("erna")
        press(page, "Erase for good")
        assert "Records of erna that were erased: 1." in shown(page)
        page.goto("/learners/acme/erna")
        assert "There is no such thing here." in shown(page)
        nav(page, "Audit")
        first = page.locator("tbody tr").first
        expect(first).to_contain_text("erased a learner")
        expect(first).not_to_contain_text("erna")


@pytest.mark.full
def test_language_and_zone_are_chosen_and_stay(page: Page) -> None:
    attend(page, TENANT, "doris", 90)
    look(page, TENANT, "doris")
    assert " UTC" in newest(page) and page.locator("html").get_attribute("lang") == "en"
    address = page.url
    page.get_by_role("contentinfo").get_by_role("link", name="times in UTC").click()
    page.get_by_label("Language").select_option("de")
    page.get_by_label("Time zone").select_option("America/Sao_Paulo")
    press(page, "Choose")
    assert page.url == address and page.locator("html").get_attribute("lang") == "de"
    assert "abgeschlossen durch die Schritte, Nachweis besteht" in standing(page)
    assert "Anwesenheit bei live-1: 90 Minuten" in newest(page) and " UTC-03" in newest(page)
    assert "Alles, was der Kurs verlangt, ist abgeschlossen" in newest(page)
    page.get_by_role("link", name="completed-by-steps").click()
    assert "abgeschlossen durch die Schritte" in shown(page) and "fact:" not in shown(page)


def test_a_browser_says_language_and_zone_until_they_are_chosen(console: Console) -> None:
    with console.visit(locale="de-AT", timezone_id="Europe/Vienna") as page:
        page.goto("/audit")
        expect(page.locator("footer")).to_contain_text("Europe/Vienna")
        assert page.locator("html").get_attribute("lang") == "de"
        expect(page.locator("time").first).to_contain_text(re.compile("CES?T"))


def test_after_signing_out_nothing_is_shown(console: Console) -> None:
    with console.visit("status of 403", signed_in=False) as page:
        page.goto("/learners")
        assert page.url.endswith("/sign-in?next=/learners")
        link = console.web.link()
        page.goto(link)
        assert page.url.endswith("/learners")
        page.get_by_role("button", name="Sign out").click()
        page.goto("/audit")
        assert "/sign-in" in page.url
        page.goto(link)
        expect(page.get_by_role("alert")).to_contain_text("This link was used already")


@pytest.mark.full
def test_a_page_that_renews_itself_leads_to_the_sign_in_when_the_session_is_over(console: Console) -> None:
    with console.visit() as page:
        page.goto("/operations")
        page.context.clear_cookies()
        page.wait_for_url("**/sign-in?next=/operations")


@pytest.mark.full
def test_without_javascript_an_upload_is_played_to_its_end(console: Console) -> None:
    with console.visit(java_script_enabled=False) as page:
        page.goto("/")
        nav(page, "Upload")
        page.get_by_label("File, chosen").set_input_files(csv("Learner,Attended minutes", "nora,90"))
        fill(page, "Tenant", TENANT)
        fill(page, "Course", COURSE)
        fill(page, "Event", "live-1")
        press(page, "Try the file")
        _look_again(page)
        assert "accepted 1" in shown(page)
        press(page, "Send the accepted rows (1)")
        _look_again(page)
        assert "Rows sent: 1. All are decided; refused: 0." in shown(page)
        look(page, TENANT, "nora")
        assert "completed by its steps" in standing(page)


def _look_again(page: Page) -> None:
    for _ in range(60):
        link = page.get_by_role("link", name="Look again")
        if not link.count():
            return
        page.wait_for_timeout(500)
        link.click()
    raise AssertionError(shown(page))


@pytest.mark.parametrize(("path", "name"), [("/learners", "tenant"), ("/uploads", "file"), ("/reassign", "tenant_id")])
def test_the_keyboard_skips_to_the_form_and_reaches_its_button(page: Page, path: str, name: str) -> None:
    page.goto(path)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="To the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(f"main [name={name}]")).to_be_focused()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('main form button')"):
            return
    raise AssertionError("the button is not reached")


def test_everything_that_can_be_used_shows_where_the_focus_is(page: Page) -> None:
    page.goto("/learners")
    page.keyboard.press("Tab")
    for _ in range(15):
        page.keyboard.press("Tab")
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert page.evaluate("document.activeElement === document.body") or width == "3px"


@pytest.mark.full
def test_a_viewer_looks_and_is_offered_nothing_else(console: Console) -> None:
    state = signed_in(name="vera", roles=["viewer"], tenants=[TENANT])
    with console.visit("status of 403", NOT_FOUND, storage_state=state) as page:
        page.goto("/")
        links = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
        assert links == ["Why", "Upload", "Courses", "Reassign", "Rules"]
        page.goto("/uploads")
        assert page.get_by_role("main").get_by_role("button").count() == 0
        page.goto("/operations")
        assert "Not allowed" in shown(page) and "operator" in shown(page)
        page.goto("/courses/k/safety-101")
        assert "Not found" in shown(page)
