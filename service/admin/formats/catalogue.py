"""Formats of files: which headings mean which field, where the table is, what a row of it is."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.admin.files.cells import Row
from service.errors import FixConfiguration

FieldName = Literal[
    "tenant_id",
    "learner_id",
    "other_id",
    "name",
    "last_name",
    "course_id",
    "event_id",
    "session_id",
    "step_id",
    "attended_minutes",
    "attended_percent",
    "attended",
    "joined_at",
    "left_at",
    "changed_at",
    "progress_percent",
    "equivalent_course_id",
    "granted_by",
    "excused",
    "completed_at",
    "certificate",
    "certificate_id",
    "reason",
]
"""`other_id`, `name` and `last_name` tell who somebody is by `--learners` only."""
FIELDS: Sequence[FieldName] = get_args(FieldName)
OWN = "ratchet"
Texts = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=200)]
FILE_CHARACTERS = 64 * 1024


class Format(BaseModel):
    """One format. Case, spaces, underscores and hyphens of headings do not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    title: str
    """Which program's which export."""
    about: str = ""
    """Where people find it, and what of it counts."""
    rows: Literal["people", "connections", "connections with times"] = "people"
    """What a row is: a person; one connection of a person; a connection where it has times, otherwise a person."""
    section: Texts = []
    """First cell of the line that names the table, where a file has several; `2. *` is any that begins so."""
    ends: Texts = []
    """First cell of the line that begins what comes after the table."""
    recognised_by: list[FieldName] = []
    """A file whose headings have all of these is unmistakable; none: it must be named."""
    marks: Texts = []
    """Further headings that it must have for that, though nobody reads them."""
    headings: Mapping[FieldName, Texts]
    left_out: Mapping[str, Texts] = {}
    """By heading, in which cells a row is no attendance."""
    yes: Texts = []
    no: Texts = []
    """Words besides those that are known everywhere."""
    yes_counts: bool = True
    """False: a yes says that somebody came at all, so that without minutes it says nothing."""

    @model_validator(mode="after")
    def _headings_differ(self) -> "Format":
        seen: dict[str, str] = {}
        for field, names in self.headings.items():
            for name in names:
                if seen.setdefault(plain(name), field) != field:
                    raise ValueError(f"headings: {name!r} stands for {seen[plain(name)]} and {field}")
        for field in self.recognised_by:
            if field not in self.headings:
                raise ValueError(f"recognised_by: {field} has no headings")
        return self

    @cached_property
    def by_heading(self) -> Mapping[str, FieldName]:
        """The field of each heading in its plain form."""
        names = {plain(name): field for field, names in self.headings.items() for name in names}
        return {**({plain(field): field for field in self.headings} if self.name == OWN else {}), **names}

    def fields_of(self, cells: Sequence[str]) -> set[FieldName]:
        """Those that these cells are headings of."""
        return {self.by_heading[plain(cell)] for cell in cells if plain(cell) in self.by_heading}

    def is_unmistakable(self, headings: Sequence[str]) -> bool:
        """Whether no other program writes such headings."""
        marked = {plain(mark) for mark in self.marks} <= {plain(heading) for heading in headings}
        return bool(self.recognised_by) and marked and self.fields_of(headings) >= set(self.recognised_by)

    def begins_table(self, cells: Sequence[str]) -> bool:
        """Whether a line names the table."""
        return _is_named(cells, self.section)

    def ends_table(self, cells: Sequence[str]) -> bool:
        """Whether what comes from this line on is something else."""
        return _is_named(cells, self.ends)


def plain(heading: str) -> str:
    """What of a heading matters."""
    return "".join(heading.split()).replace("_", "").replace("-", "").casefold()


def _is_named(cells: Sequence[str], names: Iterable[str]) -> bool:
    first, *others = cells or [""]
    if any(other and other != first for other in others):  # merged cells have all the same
        return False
    return any(first.startswith(name[:-1]) if name.endswith("*") else plain(first) == plain(name) for name in names)


class Fit(NamedTuple):
    """A format that a table may be in: the row of its headings, and how many fields they are of."""

    format: Format
    row: Row
    field_count: int
    is_certain: bool


def fit(form: Format, head: Sequence[Row]) -> Fit | None:
    """The row with the most headings, within its section; None where there is none."""
    start = next((number + 1 for number, row in enumerate(head) if form.begins_table(row.cells)), None)
    if form.section and start is None:
        return None
    found = [(len(form.fields_of(row.cells)), row) for row in head[start or 0 :]]
    if not found:
        return None
    count, row = max(found, key=lambda one: one[0])
    return Fit(form, row, count, form.is_unmistakable(row.cells))


def choose(head: Sequence[Row], formats: Sequence[Format]) -> Fit | None:
    """Our own headings before others'; then what is unmistakable. Raises ValueError where two formats are."""
    fits = [found for form in formats if (found := fit(form, head)) is not None]
    own = next((found for found in fits if found.format.name == OWN), None)
    if own is not None and own.is_certain:
        return own
    certain = [found for found in fits if found.is_certain]
    if not certain:
        return own or max(fits, key=lambda found: found.field_count, default=None)
    most = max(map(_weight, certain))
    best = [found for found in certain if _weight(found) == most]
    if len(best) > 1:
        names = ", ".join(found.format.name for found in best)
        raise ValueError(f"could be any of these formats: {names}; say with --format which")
    return best[0]


def _weight(found: Fit) -> tuple[int, int]:
    return found.field_count, bool(found.format.section)


@lru_cache(maxsize=1)
def shipped() -> Sequence[Format]:
    """All that come with Ratchet, our own first."""
    folder = files("service.admin.formats")
    paths = [path for path in folder.iterdir() if path.name.endswith(".yaml")]
    formats = [_read(path.name.removesuffix(".yaml"), path.read_text("utf-8"), path.name) for path in paths]
    return sorted(formats, key=lambda form: (form.name != OWN, form.name))


def chosen(name: str | None) -> Sequence[Format]:
    """Those that `--format` allows: all, one of the shipped, or that of a file. Raises FixConfiguration."""
    if name is None:
        return shipped()
    found = [form for form in shipped() if form.name == name]
    if found:
        return found
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        names = ", ".join(form.name for form in shipped())
        raise FixConfiguration(f"--format: {name!r} is none of {names}, and no file that ends in .yaml")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FixConfiguration(f"--format: {path}: {getattr(error, 'strerror', None) or 'is not UTF-8 text'}") from None
    return [_read(path.stem, text, str(path))]


def _read(name: str, text: str, where: str) -> Format:
    if len(text) > FILE_CHARACTERS:
        raise FixConfiguration(f"{where}: has more than {FILE_CHARACTERS:,} characters")
    try:
        said: Any = yaml.safe_load(text)
        about = said if isinstance(said, dict) else {"title": said}
        return Format.model_validate({"name": name, **about})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        spelled = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems[:5])
        raise FixConfiguration(f"{where}: {spelled.replace('Value error, ', '').removeprefix(': ')}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FixConfiguration(f"{where}: {' '.join(str(error).split())[:300]}") from None
