"""A learner: all courses, all that is kept, erased for good."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from service.admin.learners import erase as erased
from service.admin.learners import export as everything
from service.mongo.listing import PAGE_MAX, Wanted
from service.web.access import guarded
from service.web.api.common import AnId, AtDesk, Limit, Who, note
from service.web.api.records import listed_json
from service.web.problems import not_found

router = APIRouter()
ONE = "/v1/learners/{tenant_id}/{learner_id}"
Json = dict[str, Any]


@router.get("/v1/learners/{tenant_id}", **guarded("viewer", "administrator", tenants="path"))
async def learners(
    desk: AtDesk,
    tenant_id: AnId,
    begins: Annotated[str, Query(max_length=128, description="With what their ids begin.")] = "",
    limit: Limit = 100,
) -> Json:
    """Learners of a tenant who have a record, in order of their ids."""
    found = await desk.store.listing.learners(tenant_id, begins, limit)
    return {"items": [{"tenant_id": tenant_id, "learner_id": learner_id} for learner_id in found]}


@router.get(ONE, **guarded("viewer", "administrator", tenants="path"))
async def learner(desk: AtDesk, tenant_id: AnId, learner_id: AnId) -> Json:
    """All courses of a learner."""
    wanted = Wanted([tenant_id], learner_id=learner_id)
    found = await desk.store.listing.records(wanted, "", PAGE_MAX)
    if not found:
        raise not_found()
    return {"tenant_id": tenant_id, "learner_id": learner_id, "records": [listed_json(one) for one in found]}


@router.get(f"{ONE}/export", **guarded("administrator", tenants="path"))
async def export(request: Request, desk: AtDesk, caller: Who, tenant_id: AnId, learner_id: AnId) -> JSONResponse:
    """All that is kept about a learner: records, their stories, every fact."""
    document = await everything(desk.store, tenant_id, learner_id)
    if document is None:
        raise not_found()
    await note(request, caller, "export", tenant_id, {"records": len(document["records"])})
    return JSONResponse(document, headers={"Content-Disposition": 'attachment; filename="learner.json"'})


@router.delete(ONE, **guarded("privacy", tenants="path"))
async def erase(request: Request, desk: AtDesk, caller: Who, tenant_id: AnId, learner_id: AnId) -> Json:
    """Erase a learner for good. Later messages about them are dropped. It cannot be undone."""
    await note(request, caller, "erase", tenant_id, {"learners": 1})
    return {"records": await erased(desk.settings, desk.store, desk.sender, tenant_id, learner_id)}
