"""The decision tables: shown; a candidate checked, and held against the records."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query

from contracts.fields import format_timestamp
from rules.tables import SHIPPED, Table, TableError, load
from service.admin.rules_diff import Selection, Sums, differing
from service.admin.story import fact_text
from service.web.access import guarded
from service.web.api.common import AtDesk, IdQuery
from service.web.problems import invalid

router = APIRouter()
Json = dict[str, Any]
SHOWN = 100
"""So many facts that differ are told."""
Candidate = Annotated[str, Body(media_type="application/yaml", max_length=200_000, description="One table, as YAML.")]


@router.get("/v1/rules", **guarded("viewer", "administrator", "operator", tenants="none"))
async def rules() -> Json:
    """The decision tables: each row with what it asks, decides and says."""
    return {table.name: [row._asdict() for row in table.rows] for table in SHIPPED}


@router.post("/v1/rules/check", **guarded("viewer", "administrator", tenants="none"))
async def check(candidate: Candidate) -> Json:
    """Whether a candidate is complete, unambiguous, and knows every name that it uses."""
    table = await asyncio.to_thread(_table, candidate)
    return {"table": table.name, "rows": len(table.rows), "combinations": len(table.lookup)}


@router.post("/v1/rules/diff", **guarded("administrator", tenants="query"))
async def diff(
    desk: AtDesk,
    candidate: Candidate,
    tenant: Annotated[str, Query(pattern=r"^[A-Za-z0-9._:@+-]{1,128}$", description="Whose records.")],
    course: IdQuery = None,
    sample: Annotated[int, Query(ge=1, le=10_000, description="So many records at random.")] = 1000,
) -> Json:
    """What a candidate would decide differently about records of a tenant."""
    table, sums = await asyncio.to_thread(_table, candidate), Sums()
    facts: list[Json] = []
    async for key, differences in differing(desk.store, table, Selection(tenant, course or "", sample), sums):
        facts += [
            {
                "record": key,
                "message_id": one.message_id,
                "changed_at": format_timestamp(one.changed_at),
                "what": fact_text(one.fact),
                "rules_now": one.now.rules,
                "rules_then": one.then.rules,
            }
            for one in differences[: SHOWN - len(facts)]
        ]
    rules = [{"now": now, "then": then, "facts": count} for (now, then), count in sums.facts.most_common()]
    return {"records": sums.records, "differing": sums.differing, "rules": rules, "facts": facts}


def _table(text: str) -> Table:
    try:
        return load(text, "candidate")
    except TableError as error:
        raise invalid("candidate", str(error)) from None
