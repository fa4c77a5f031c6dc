"""Templates, and who reads them: language and time zone."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from babel.core import negotiate_locale
from babel.dates import format_datetime
from babel.numbers import format_decimal
from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from contracts.fields import parse_timestamp
from service.admin.lag import LaneLag
from service.admin.lag_history import WINDOW, LagHistory
from service.web.access import Caller
from service.web.console.catalogue import LANGUAGES, texts
from service.web.console.sentences import translated

HERE = Path(__file__).parent
DEFAULT = "en"
LANES_TOLD = 3
DASH = "\N{EN DASH}"


class Reader(NamedTuple):
    """Who reads: language, zone of times."""

    language: str
    zone: str

    def t(self, name: str, **values: object) -> str:
        """A sentence of the catalogue. Raises KeyError for one that is not in it."""
        spelled = {key: self.number(value) if type(value) is int else value for key, value in values.items()}
        return texts(self.language)[name].format(**spelled)

    def has(self, name: str) -> bool:
        """Whether the catalogue has it."""
        return name in texts(self.language)

    def told(self, text: str) -> Markup:
        """What the service tells in English; marked as English where the catalogue does not have it."""
        said = translated(self.language, text) if text else ""
        return escape(said) if said is not None else Markup('<span lang="en">{}</span>').format(text)

    def number(self, value: float) -> str:
        """As people of this language write it."""
        return str(format_decimal(value, locale=self.t("locale")))

    def time(self, text: str | None) -> Markup:
        """A time of a message (RFC 3339) in the reader's zone, with the zone."""
        if text is None:
            return escape(DASH)
        return Markup('<time datetime="{}">{}</time>').format(text, self.time_text(text))

    def time_text(self, text: str) -> str:
        """Likewise, where no markup may stand."""
        instant = parse_timestamp(text)
        assert isinstance(instant, int), "messages have such times only"
        zone = ZoneInfo(self.zone)
        at = datetime.fromtimestamp(instant / 1_000_000, UTC).astimezone(zone)
        named = at.tzname() or self.zone
        named = named if named.isalpha() else f"UTC{named}"
        return f"{format_datetime(at, 'medium', tzinfo=zone, locale=self.t('locale'))} {named}"


def reader_of(request: Request) -> Reader:
    """By their cookies, else by what the browser says; times are UTC until a zone is chosen."""
    language = request.cookies.get("language")
    if language not in LANGUAGES:
        accepted = request.headers.get("Accept-Language", "")[:200]
        wanted = [part.partition(";")[0].strip() for part in accepted.split(",")]
        language = (negotiate_locale(filter(None, wanted), LANGUAGES, sep="-") or DEFAULT).lower()
    zone = request.cookies.get("zone", "UTC").replace("%2F", "/")
    return Reader(language, zone if zone in zones() else "UTC")


@cache
def zones() -> tuple[str, ...]:
    """All that there are, as people choose them."""
    return ("UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/")))


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(request: Request, template: str, values: dict[str, Any] | None = None, status: int = 200) -> Response:
    """A page, in the reader's language."""
    reader, caller = reader_of(request), getattr(request.state, "caller", None)
    said = {
        "t": reader.t,
        "told": reader.told,
        "reader": reader,
        "time": reader.time,
        "time_text": reader.time_text,
        "number": reader.number,
        "who": caller,
        "path": request.url.path,
        "here": _here(request),
        "banners": banners(request, caller),
        "dash": DASH,
    }
    headers = {"Content-Language": reader.language, "Vary": "Accept-Language, Cookie"}
    return HTMLResponse(_templates().get_template(template).render({**said, **(values or {})}), status, headers)


def _here(request: Request) -> str:
    """Where to come back to: what a form led to cannot be loaded anew, but the page that it is on can."""
    url = urlsplit(str(request.url) if request.method == "GET" else request.headers.get("Referer", ""))
    return f"{url.path or '/'}{'?' if url.query else ''}{url.query}"


def _alarming(history: LagHistory) -> list[LaneLag]:
    """Lanes that need somebody. A process that has just begun to look has not seen enough to say so."""
    if len(history.points()) < WINDOW:
        return []
    return [lane for lane in history.judged() if lane.lane is not None and lane.status not in ("ok", "warning")]


def banners(request: Request, caller: Caller | None) -> list[tuple[str, dict[str, object]]]:
    """What every operator must see, whatever page it is: outages, lanes that need somebody, floods."""
    history = getattr(request.app.state, "lag", None)
    if caller is None or history is None or not caller.is_any("operator"):
        return []
    found: list[tuple[str, dict[str, object]]] = []
    if history.away is not None:
        found.append(("banner.away", {}))
    found += [(f"banner.{lane.status}", {"lane": lane.lane}) for lane in _alarming(history)[:LANES_TOLD]]
    if history.flood is not None:
        found.append(("banner.flood", {"letters": history.flood}))
    return found
