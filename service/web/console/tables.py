"""The decision tables as tables; each row can be linked to."""

from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from rules.render import cells
from rules.tables import SHIPPED
from service.web.access import guarded
from service.web.console.render import page, reader_of
from service.web.console.words import Words

router = APIRouter(include_in_schema=False)


@router.get("/rules", **guarded("viewer", "administrator", "operator", "privacy", tenants="none"))
async def rules(request: Request) -> Response:
    """All of them."""
    words, shown = Words(reader_of(request)), []
    for table in SHIPPED:
        head, *rows = cells(table)
        outcomes = next(number for number, name in enumerate(head) if name.startswith("→"))
        shown.append(
            {
                "name": table.name,
                "rows": [
                    {
                        "rule_id": row.rule_id,
                        "when": _named(words, head[:outcomes], told[:outcomes]),
                        "then": _named(words, head[outcomes:-2], told[outcomes:-2]),
                        "because": words.sentence(row.rule_id, row.because),
                    }
                    for row, told in zip(table.rows, rows, strict=True)
                ],
            }
        )
    return page(request, "rules.html", {"tables": shown})


def _named(words: Words, names: Sequence[str], values: Sequence[str]) -> list[tuple[str, str]]:
    return [(words.cell(name.removeprefix("→ ")), words.cell(value)) for name, value in zip(names, values, strict=True)]
