"""The course table in another engine, zen-engine, to compare with: the same rows, the same answers.

Of the engine's calls (`evaluate` with a dictionary or with JSON, `evaluate_batch`, a decision object; content given at
once or by a loader function), `evaluate` with content given at once is the fastest.
"""

from collections.abc import Mapping
from typing import Any

from zen import ZenEngine

from rules.tables import SHAPES, SHIPPED

KEY = "course"
TABLE = SHIPPED.course
SHAPE = SHAPES[KEY]


def contexts() -> list[dict[str, str]]:
    """Every combination of conditions."""
    return [dict(zip(SHAPE.conditions, combination, strict=True)) for combination in TABLE.lookup]


def engine() -> ZenEngine:
    """Ready to evaluate the table. Raises AssertionError where an answer is not the table's."""
    made = ZenEngine({"loader": {"type": "static", "content": {KEY: _graph()}}})
    for combination, context in zip(TABLE.lookup, contexts(), strict=True):
        row = TABLE.lookup[combination]
        assert made.evaluate(KEY, context)["result"] == {"rule": row.rule_id, **row.then}, combination
    return made


def _graph() -> dict[str, Any]:
    """In the engine's JSON decision model."""
    table = {
        "hitPolicy": "first",
        "inputs": [{"id": name, "name": name, "field": name} for name in SHAPE.conditions],
        "outputs": [{"id": f"to-{name}", "name": name, "field": name} for name in ("rule", *SHAPE.outcomes)],
        "rules": [_rule(row.rule_id, row.when, row.then) for row in TABLE.rows],
    }
    nodes = [
        {"id": "in", "name": "in", "type": "inputNode"},
        {"id": "table", "name": "table", "type": "decisionTableNode", "content": table},
        {"id": "out", "name": "out", "type": "outputNode"},
    ]
    ways = (("in", "table"), ("table", "out"))
    edges = [{"id": f"{a}-{b}", "sourceId": a, "targetId": b, "type": "edge"} for a, b in ways]
    return {"nodes": nodes, "edges": edges}


def _rule(rule_id: str, when: Mapping[str, tuple[str, ...]], then: Mapping[str, str]) -> dict[str, str]:
    conditions = {
        name: "" if values == SHAPE.conditions[name] else ", ".join(f'"{value}"' for value in values)
        for name, values in when.items()
    }
    outcomes = {f"to-{name}": f'"{value}"' for name, value in {"rule": rule_id, **then}.items()}
    return {"_id": rule_id, **conditions, **outcomes}
