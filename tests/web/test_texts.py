"""The catalogues: each has every sentence that the console says, and none besides."""

import hashlib
import re
import string
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import service.lanes.translate
import service.lanes.usual
from contracts.inbound import CompletionGranted, Source, StepDefinition
from contracts.outbound import DeadLetterHeaders
from rules import values
from rules.render import cells
from rules.tables import SHIPPED
from service.admin import rows
from service.admin.courses import PERCENT, Reevaluation
from service.admin.impact import EFFECTS, REFUSED
from service.admin.kinds import KINDS
from service.admin.lag import Status
from service.admin.uploads import NOTHING
from service.mongo.jobs import State
from service.web import console
from service.web.access import Caller
from service.web.console.catalogue import LANGUAGES, texts
from service.web.console.sentences import GROUP
from service.web.sign_in import Trouble

HERE = Path(console.__file__).parent
TABLES = ("because.", "cell.")
"""English takes these from the decision tables."""
GROUPS_OF_CODE = (*TABLES, GROUP)
"""And these from the service."""
TEMPLATES = "".join(path.read_text("utf-8") for path in sorted((HERE / "templates").glob("*.html")))
CODE = "".join(path.read_text("utf-8") for path in sorted(HERE.parent.rglob("*.py")))
TRANSLATE = "".join(
    Path(module.__file__ or "").read_text("utf-8") for module in (service.lanes.translate, service.lanes.usual)
)
CELLS = {
    word
    for table in SHIPPED
    for row in cells(table)
    for cell in row[:-2]
    for word in cell.removeprefix("→ ").split(", ")
}
NOTED = {*re.findall(r'note\(request, caller, "(\w+)"', CODE), "reassignment"}
ABOUT = {
    *re.findall(r'"(\w+)":', "".join(re.findall(r"note\(request.*?(\{.*?\})\)", CODE))),
    *re.findall(r'"(\w+)":', "".join(re.findall(r"about = (\{.*?\})\n", CODE))),
}
RAISED = {*re.findall(r"Problem\((\d{3}),", CODE), *re.findall(r'"(\d{3})"', CODE), "404", "405", "400"}


def said(hint: Any, *more: str) -> set[str]:
    """The values of a Literal, optional or not, and more."""
    return {value for part in (hint, *get_args(hint)) for value in get_args(part) if isinstance(value, str)} | {*more}


BUILT: Mapping[str, Collection[str]] = {
    "language": LANGUAGES,
    "verdict": said(rows.Verdict),
    "effect": {*EFFECTS, PERCENT, NOTHING, REFUSED},
    "reason": said(DeadLetterHeaders.model_fields["reason"].annotation),
    "lane_status": said(Status),
    "state": said(State),
    "kind": {*KINDS, "reassignment"},
    "course_state": said(get_type_hints(vars(Reevaluation)["state"].fget)["return"]),
    "audit_what": NOTED,
    "about": ABOUT,
    "how": said(Caller.__annotations__["how"]),
    "certificate": said(values.CertificateAction) | said(values.Certificate.__annotations__["status"]),
    "value": said(values.Unit, "not_attended") - {"granted"},
    "evidence": said(values.Evidence),
    "course": {f"completed_{via}" for via in said(values.Via)},
    "fact": {
        *(said(values.FactKind) - {"granted"}),
        *(f"granted_{certificate}" for certificate in said(values.GrantedCertificate)),
        "equivalency_step",
    },
    "detail": {*re.findall(r'(?<!Value)\("(\w+)", (?:message\.)?\1\)', TRANSLATE), "due_at"},
    "source": said(Source) | said(CompletionGranted.model_fields["source"].annotation),
    "step_kind": said(StepDefinition.model_fields["kind"].annotation),
    "table": {table.name for table in SHIPPED},
    "sign_in": said(Trouble),
    "problem": RAISED - {"401", "502"},
    "field": re.findall(r"text_field\(t, '(\w+)'", TEMPLATES),
    "picture": {"completed", "reassigned", "removed"},
    "course_page": {"completed", "incomplete", "withdrawn", "older", "newer"},
    "upload": {"result", "impact"},
    "what_if": {"minutes", "progress", "reassigned", "reassigned_keeping"},
    "banner": said(Status) - {"ok", "warning"},
    "because": {row.rule_id for table in SHIPPED for row in table.rows},
    "cell": CELLS,
}
"""Names that are made of values: by group, each value that there is."""
WHOLE = {
    *re.findall(r"'([a-z_]+(?:\.\w+)+)'", TEMPLATES),
    *re.findall(r"\bt\('(\w+)' if \w+(?:\.\w+)* else '(\w+)'\)", TEMPLATES),
    *re.findall(r"""['"]([a-z_]+\.[a-z_]+)['"]""", CODE),
    "locale",
    "yes",
    "no",
}
"""What stands between quotes and may be a name."""


def names(language: str) -> set[str]:
    """Of the sentences that every language must have for itself."""
    return {name for name in texts(language) if not name.startswith(GROUPS_OF_CODE)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_the_same(language: str) -> None:
    assert names(language) == names("en")
    for name in names(language):
        assert _placeholders(language, name) == _placeholders("en", name), name


def _placeholders(language: str, name: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(texts(language)[name]) if field is not None}


@pytest.mark.parametrize("group", BUILT)
def test_every_value_has_its_text(group: str) -> None:
    for language in LANGUAGES:
        if language == "en" and f"{group}." in TABLES:
            continue
        missing = {value for value in BUILT[group] if f"{group}.{value}" not in texts(language)}
        assert not missing, (language, missing)


def test_every_name_that_is_made_of_a_value_is_looked_after_here() -> None:
    made = {*re.findall(r"'(\w+)\.(?:completed_)?' ~", TEMPLATES), *re.findall(r'f"(\w+)\.\{', CODE)}
    made |= set(re.findall(r'_known\("(\w+)"', CODE))
    assert made - {"tests"} <= {*BUILT, "sign_in"}, made - set(BUILT)


def test_every_name_that_is_said_is_there() -> None:
    spoken = {*re.findall(r"\bt\('(\w+(?:\.\w+)*)'(?! ~)", TEMPLATES)}
    spoken |= set(re.findall(r"""\bt\(['"](\w+\.\w+)['"]""", CODE.replace("_t(", "t(")))
    assert len(spoken) > 100
    assert not spoken - names("en")


def test_nothing_is_there_that_nobody_says() -> None:
    built = {f"{group}.{value}" for group, among in BUILT.items() for value in among}
    for language in LANGUAGES:
        found = {name for name in texts(language) if not name.startswith(GROUP)}
        assert not found - built - WHOLE, language


def test_htmx_is_the_one_that_was_looked_at_and_has_its_licence_beside_it() -> None:
    said_sum, name = (HERE / "static" / "htmx.sha256").read_text().split()
    assert hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest() == said_sum
    assert f"/static/{name}" in TEMPLATES
    assert "Zero-Clause BSD" in (HERE / "static" / "htmx-LICENSE.txt").read_text("utf-8")


def test_no_page_brings_script_or_style_of_its_own_or_from_elsewhere() -> None:
    assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|https?://", TEMPLATES)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", TEMPLATES))
    assert "|safe" not in TEMPLATES.replace(" ", "") and "autoescape" not in TEMPLATES
