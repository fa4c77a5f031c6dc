"""A person at the console: Chromium, `ratchet web` with a worker behind it, and whatever must not happen, noticed.

The browser is Debian's, found on the path; Playwright downloads none. It reaches this machine only.
"""

import asyncio
import json
import os
import re
import shutil
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from itsdangerous import TimestampSigner
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    FilePayload,
    Page,
    Request,
    expect,
    sync_playwright,
)

from service.web.sign_in import begin_session
from tests.stack.service import Serving, Web, World
from tests.stack.story import Message
from tests.stack.wire import Wire

File = FilePayload
REQUIRED = "RATCHET_TEST_BROWSER"
SCREENSHOTS = "RATCHET_TEST_SCREENSHOTS"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser")
"""The first one takes two thirds of the time of the others."""
HOW_TO = f"no {BROWSERS[0]} on the path; apt-get install {BROWSERS[0]}"
SECRET = "signs the sessions of these tests"
WAIT_MILLISECONDS = 30_000
ALONE = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"]


def chromium() -> str:
    """Where it is. Without one the test is skipped, or fails where a browser is required."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is not None:
        return found
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(HOW_TO)
    pytest.skip(HOW_TO)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """While this lasts the thread has a running event loop, so it must end before other tests of the process begin."""
    path = chromium()
    expect.set_options(timeout=WAIT_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ALONE)
        yield browser
        browser.close()


class Watched:
    """What a page must never do: run what it shows, break its own policy, ask anybody else."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.seen: list[str] = []
        self.expected: list[str] = []
        """Patterns of what a test brings about on purpose: the browser reports answers of 4xx as errors."""
        self._address = address
        context.on("console", self._console)
        context.on("weberror", lambda error: self.seen.append(f"error: {error.error}"))
        context.on("dialog", self._dialog)
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.seen.append(f"console: {message.text} {message.location.get('url', '')}")

    def _dialog(self, dialog: Dialog) -> None:
        self.seen.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._address, "data:")):
            self.seen.append(f"request: {request.url}")

    def unexpected(self) -> list[str]:
        """What nobody brought about on purpose."""
        return [one for one in self.seen if not any(re.search(pattern, one) for pattern in self.expected)]


class Console(NamedTuple):
    """The console in a browser, and the world that it is about."""

    world: World
    serving: Serving
    web: Web
    browser: Browser
    state: Any
    """Cookies of somebody who may do everything."""

    @contextmanager
    def visit(self, *expected: str, signed_in: bool = True, **options: Any) -> Iterator[Page]:
        """A page of a fresh context. When it is closed, nothing may have happened but what is expected (patterns)."""
        state = self.state if signed_in else None
        given: dict[str, Any] = {"locale": "en-GB", "timezone_id": "UTC", "storage_state": state, **options}
        context = self.browser.new_context(base_url=self.web.address, **given)
        context.set_default_timeout(WAIT_MILLISECONDS)
        watched = Watched(context, self.web.address)
        watched.expected += expected
        yield context.new_page()
        context.close()
        if watched.unexpected():
            pytest.fail("\n".join(watched.unexpected()))

    def send(self, *messages: Message) -> None:
        """As other services do, and wait until all is decided."""

        async def sent(wire: Wire) -> None:
            for message in messages:
                await wire.send([message])
            await wire.settled()

        on_wire(self.world, sent)


def on_wire(world: World, work: Callable[[Wire], Coroutine[Any, Any, None]]) -> None:
    """In a thread: this one has Playwright's event loop."""

    async def working() -> None:
        async with Wire(world) as wire:
            await work(wire)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, working()).result()


@contextmanager
def opened_console(world: World, before: Callable[[World], None] = lambda _: None, **web: str) -> Iterator[Console]:
    """A worker, `ratchet web` and a browser. `before`: what is done while the worker runs alone."""
    with open_browser() as browser:
        serving = world.serve().wait_until_ready()
        before(world)
        site = world.web(RATCHET_WEB_SESSION_SECRET=SECRET, **web)
        yield Console(world, serving, site, browser, _signed_in(browser, site))
        site.stop()
        serving.stop()


def _signed_in(browser: Browser, site: Web) -> Any:
    context = browser.new_context()
    context.new_page().goto(site.link())
    state = context.storage_state()
    context.close()
    return state


def signed_in(*, name: str, roles: Sequence[str], tenants: Sequence[str]) -> Any:
    """Cookies of somebody with fewer rights than who has the link: as the session that the provider's answer begins."""
    session: dict[str, Any] = {}
    begin_session(session, name=name, roles=roles, tenants=tenants, how="session", minutes=10)
    value = TimestampSigner(SECRET).sign(b64encode(json.dumps(session).encode())).decode()
    cookie = {"name": "ratchet_session", "value": value, "domain": "127.0.0.1", "path": "/", "expires": -1}
    return {"cookies": [{**cookie, "httpOnly": True, "secure": False, "sameSite": "Lax"}], "origins": []}


def keep(page: Page, name: str) -> None:
    """A picture of the whole page, where pictures are wanted."""
    folder = os.environ.get(SCREENSHOTS)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def csv(*lines: str, name: str = "attendance.csv") -> File:
    """A file to be uploaded."""
    return {"name": name, "mimeType": "text/csv", "buffer": "".join(f"{line}\n" for line in lines).encode()}


def shown(page: Page) -> str:
    """The main part as people read it, each run of blanks as one."""
    return " ".join(page.locator("main").inner_text().split())


def followed(page: Page) -> None:
    """Until the job that the page is about is done."""
    page.wait_for_load_state()
    page.locator("#progress").wait_for(state="detached")
