"""What a reader chooses for themselves: language and time zone, kept in cookies."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.web.access import guarded
from service.web.console.catalogue import LANGUAGES
from service.web.console.forms import form_of, go, text_of
from service.web.console.render import page, zones

router = APIRouter(include_in_schema=False)
YEAR_SECONDS = 365 * 24 * 3600


@router.get("/choices", **guarded("viewer", "administrator", "operator", "privacy", tenants="none"))
async def choices(request: Request, back: Annotated[str, Query(max_length=500)] = "/") -> Response:
    """What there is to choose."""
    return page(request, "choices.html", {"back": back, "languages": LANGUAGES, "zones": zones()})


@router.post("/choices", **guarded("viewer", "administrator", "operator", "privacy", tenants="none"))
async def choose(request: Request) -> Response:
    """Keep them, and go back."""
    form = await form_of(request)
    back = text_of(form, "back")
    answer = go(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/")
    chosen = {"language": (text_of(form, "language"), LANGUAGES), "zone": (text_of(form, "zone"), zones())}
    for name, (value, there) in chosen.items():
        if value in there:
            answer.set_cookie(name, value, max_age=YEAR_SECONDS, samesite="lax", secure=request.url.scheme == "https")
    return answer
