"""Requests of all kinds, made from the API's own document: no answer is a fault, and each is as the document says."""

from typing import Any, cast

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from tests.web.programs import Site, accepted, attendance, definition, record, token
from tests.web.test_access import ALL, in_process

EACH = hypothesis.settings().max_examples // 10
"""Requests of each operation that are as the document says, and so many that are not."""
WALKS, STEPS = 26, 8
"""Walks from operation to operation, with ids that answers gave out; about two thousand requests together."""
TENANT = "schemathesis"
DOCUMENT = in_process()[1].openapi()
Request = Case[Any]
REPLAY = "/v1/dead-letters/replay"
"""A letter's id might be called so too, as far as the path says."""
BEYOND: list[Any] = [positive_data_acceptance]
"""What fits a schema may still be no cursor of ours, or no decision table."""
SETTINGS = hypothesis.settings(
    max_examples=EACH,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path="/v1/changes")
"""A stream has no end: tests of its own read it."""


OPERATIONS: list[Any] = [cast("Any", found).ok() for found in schema.get_all_operations()]


@pytest.fixture(scope="module")
def bearer(site: Site) -> dict[str, str]:
    """Who may do everything, with a tenant that has something."""
    client = site.as_(ALL, TENANT)
    accepted(client, definition(TENANT), attendance(TENANT, "l-1"))
    record(client, TENANT, "l-1")
    return {"Authorization": f"Bearer {token(ALL.split(), [TENANT], 'schemathesis')}"}


def judge(case: Request, response: Any) -> None:
    """By all checks that can be held against it."""
    spelled_out = [*BEYOND, allow_header_conformance] if case.path == REPLAY else BEYOND
    case.validate_response(response, excluded_checks=spelled_out)


@pytest.mark.parametrize(
    "mode",
    [pytest.param(GenerationMode.POSITIVE, marks=pytest.mark.full), GenerationMode.NEGATIVE],
    ids=["positive", "negative"],
)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: str(operation.label))
def test_every_operation(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, site: Site, bearer: dict[str, str]
) -> None:
    @SETTINGS
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def ask(case: Request) -> None:
        judge(case, case.call(base_url=site.web.address, headers=bearer))

    ask()


@pytest.mark.full
def test_walks(site: Site, bearer: dict[str, str]) -> None:
    def options(_: Any, case: Request) -> dict[str, Any]:  # noqa: ARG001
        return {"base_url": site.web.address, "headers": bearer}

    def validate(_: Any, response: Any, case: Request, **__: Any) -> None:
        judge(case, response)

    machine: Any = type(
        "Walk", (schema.as_state_machine(),), {"get_call_kwargs": options, "validate_response": validate}
    )
    machine.run(settings=hypothesis.settings(SETTINGS, max_examples=WALKS, stateful_step_count=STEPS))
