"""The API's page shows commands that work: each block with `curl` is run as it stands there, one after the other."""

import shutil
import subprocess
from pathlib import Path

import pytest

from service.web.access import ROLES
from tests.documents.blocks import fenced
from tests.documents.scene import ROOT
from tests.web.programs import Site, accepted, definition, eventually, token

PAGE = ROOT / "service" / "web" / "README.md"
STRICT = """set -e
curl() { command curl --silent --show-error --fail-with-body --max-time 5 "$@" || [ $? = 28 ]; }
"""
"""What is refused ends it; a stream has no end, and is left after some seconds (status 28)."""
SAYS = (
    ('"accepted":1',),
    ('"learner_id":"l-1001"', "completed-by-steps", "completion-preserved"),
    ("/v1/uploads/", "/v1/reassignments/"),
    ('"loses the course":0', '"would_pause":false'),
    ('"away":null', '"reasons":{'),
    ("id: c0.",),
    ("evidence-held", '"how":"token"', '"what":"messages"'),
)
"""Of the answers to each block."""


def test_every_block_of_the_page_is_answered(site: Site, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on the path; apt-get install curl")
    client = site.as_(" ".join(ROLES), "acme")
    live = {"step_id": "live-1", "kind": "event", "scheduled_minutes": 90}
    accepted(client, definition("acme", "safety-101", steps=[live]))
    (tmp_path / "attendance.csv").write_text("Learner,Attended minutes\nl-1001,90\n")
    _, names, *blocks = fenced(PAGE.read_text("utf-8"), "sh")
    assert len(blocks) == len(SAYS)
    names = names.replace("http://127.0.0.1:8081", site.web.address)
    for block, says in zip(blocks, SAYS, strict=True):
        script = f"TOKEN={token([*ROLES], ['acme'])}\n{names}{STRICT}{block}"
        ran = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode == 0, (block, ran.stdout, ran.stderr)
        assert [one for one in says if one not in ran.stdout] == [], (block, ran.stdout)
        eventually(lambda: client.get("/v1/records/acme/l-1001/safety-101").status_code == 200 or None)
