"""Console blocks of a page: commands, and what each printed; compared without what differs from run to run."""

import re
from collections.abc import Iterator
from typing import NamedTuple

HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = "$ "
DIFFERS = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "(time)"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "(id)"),
    (re.compile(r"is \d+ seconds"), "is (so many) seconds"),
    (re.compile(r"127\.0\.0\.1:\d+"), "(address)"),
    (re.compile(r"[─━│┃┌┏┐┓└┗┘┛├┡┤┩┬┳┴╇┼╋\s]+"), " "),
)
"""What differs from run to run, and the lines and spaces of tables, whose columns are as wide as that."""


class Step(NamedTuple):
    """A command and what it printed."""

    heading: str
    command: str
    printed: str


def fenced(page: str, language: str) -> list[str]:
    """What stands in the page's blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def steps_in(page: str) -> list[Step]:
    """All of a page, in order, each with the heading that it stands under."""
    return [
        Step(HEADING.findall(page, 0, block.start())[-1], *said)
        for block in BLOCK.finditer(page)
        for said in _commands(block[1])
    ]


def _commands(block: str) -> Iterator[tuple[str, str]]:
    for said in f"\n{block}".split(f"\n{PROMPT}")[1:]:
        command, _, printed = said.partition("\n")
        yield command, printed


def masked(printed: str) -> str:
    """Without what differs from run to run."""
    for pattern, instead in DIFFERS:
        printed = pattern.sub(instead, printed)
    return printed.strip()


def rewritten(page: str, printed: Iterator[str]) -> str:
    """The page with what its commands print now, in order."""

    def again(block: re.Match[str]) -> str:
        said = "".join(f"{PROMPT}{command}\n{next(printed)}" for command, _ in _commands(block[1]))
        return "\n".join(["```console", *(line.rstrip() for line in said.splitlines()), "```"])

    return BLOCK.sub(again, page)
