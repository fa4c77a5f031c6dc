"""Every link within the pages leads somewhere, and every page can be reached from the README."""

import re
from pathlib import Path

from tests.documents.scene import ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PAGE = re.compile(r"(?<![%\w])[a-zA-Z_-]+\.md\b")
ELSEWHERE = ("http://", "https://")


def text_of(page: Path) -> str:
    """Without code."""
    return FENCED.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """As hosts of Markdown make them of headings."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def pages() -> list[Path]:
    """All that are in the repository."""
    return [path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.parts)]


def test_links_lead_somewhere() -> None:
    for page in pages():
        for link in LINK.findall(text_of(page)):
            if link.startswith(ELSEWHERE):
                continue
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.relative_to(ROOT)}: {link}"
            if anchor:
                assert anchor in anchors(target), f"{page.relative_to(ROOT)}: {link}"


def test_what_code_refers_to_is_a_page() -> None:
    named = {page.name for page in pages()}
    for folder in ("rules", "contracts", "service", "tests", "deploy"):
        for path in (path for end in ("py", "yaml", "json") for path in (ROOT / folder).rglob(f"*.{end}")):
            for page in PAGE.findall(path.read_text("utf-8", errors="replace")):
                assert page in named, f"{path.relative_to(ROOT)}: {page}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set[Path](), [ROOT / "README.md"]
    while left:
        page = left.pop().resolve()
        if page.suffix != ".md" or page in reached:
            continue
        reached.add(page)
        left += [page.parent / link.partition("#")[0] for link in LINK.findall(text_of(page)) if "://" not in link]
    assert {page.resolve() for page in pages()} == reached
