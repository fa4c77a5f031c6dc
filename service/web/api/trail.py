"""Who changed what: the audit."""

from typing import Any

from fastapi import APIRouter

from service.admin.trail import entry_json
from service.web.access import guarded
from service.web.api.common import AtDesk, Cursor, IdQuery, Limit, Who, after, page

router = APIRouter()


@router.get("/v1/audit", **guarded("administrator", "privacy", tenants="query"))
async def audit(desk: AtDesk, caller: Who, tenant: IdQuery = None, limit: Limit = 100, cursor: Cursor = "") -> Any:
    """Every change that a person or a token made over HTTP, the newest first."""
    found = await desk.store.audit.page(caller.only(tenant), after(cursor), limit)
    return page([entry_json(id_, entry) for id_, entry in found], found[-1][0] if len(found) == limit else None)
