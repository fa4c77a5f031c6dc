"""Who changed what."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.admin.trail import entry_json
from service.web.access import guarded
from service.web.api.common import AtDesk, Who, after
from service.web.api.common import page as paged
from service.web.console.render import page, reader_of
from service.web.console.words import Words

router = APIRouter(include_in_schema=False)
ENTRIES = 100


@router.get("/audit", **guarded("administrator", "privacy", tenants="caller"))
async def audit(
    request: Request, desk: AtDesk, caller: Who, cursor: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """The newest first."""
    found = await desk.store.audit.page(caller.only(None), after(cursor), ENTRIES)
    words = Words(reader_of(request))
    entries = [{**entry_json(id_, entry), "about": words.about(entry.about)} for id_, entry in found]
    following = paged([], found[-1][0] if len(found) == ENTRIES else None)["next"]
    return page(request, "audit.html", {"entries": entries, "next": following})
