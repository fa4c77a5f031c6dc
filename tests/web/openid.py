"""An OpenID provider that nobody here wrote (tests/web/provider), on a port of this machine."""

import fcntl
import hashlib
import shutil
from pathlib import Path

import httpx2

from tests.stack import build
from tests.stack.servers import NotAvailable, free_port, start_process, stop_process, wait_for_port

SOURCES = Path(__file__).parent / "provider"
RATCHET = "http://127.0.0.1:8081"
"""Where it sends people back to; nothing need listen there."""


class OpenIdProvider:
    """Runs until stopped. Raises NotAvailable where there is no node or npm, or no package."""

    def __init__(self, log: Path) -> None:
        folder = _installed()
        port = free_port()
        self.issuer = f"http://127.0.0.1:{port}"
        self._process = start_process(["node", str(folder / "server.mjs"), str(port), RATCHET], log)
        wait_for_port(port, self._process, log)

    def stop(self) -> None:
        """It is away."""
        stop_process(self._process)

    async def sign_in(self, url: str, who: str) -> str:
        """As somebody's browser, new each time; gives the address that it is sent back to."""
        async with httpx2.AsyncClient(trust_env=False) as browser:
            while not url.startswith(RATCHET):
                assert url.startswith(self.issuer), url
                answer = await browser.get(url, params={"as": who} if "/interaction/" in url else None)
                assert answer.is_redirect, (url, answer.status_code, answer.text)
                url = str(answer.next_request.url) if answer.next_request else ""
            return url


def _installed() -> Path:
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            raise NotAvailable(f"there is no {command}; e.g. {build.LANGUAGES['interop/node'].needs[command]}")
    sources = sorted(SOURCES.iterdir())
    made_of = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = build._cache() / f"openid-{made_of}"
    with folder.with_name("openid.lock").open("w") as lock:  # several processes of pytest may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            build._build([build.NPM], sources, folder)
    return folder
