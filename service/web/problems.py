"""Errors over HTTP: problem details (RFC 9457), with what is wrong field by field."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """A field, and what is wrong with it."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """What every error is answered with (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    errors: list[FieldError]


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: these are answered with problem details."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


class Problem(HTTPException):
    """What the client must do something about; `detail` says what, `errors` names fields."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.errors = errors


def not_found() -> Problem:
    """The same for what does not exist and for what this caller may not know to exist."""
    return Problem(404, "There is no such thing here.")


def too_many(seconds: int, detail: str) -> Problem:
    """Ask again after so long."""
    return Problem(429, detail, headers={"Retry-After": str(seconds)})


def invalid(field: str, message: str) -> Problem:
    """One field is wrong."""
    return Problem(422, f"{field}: {message}", [(field, message)])


def body_of(problem: HTTPException) -> dict[str, Any]:
    """As RFC 9457 spells it."""
    errors = problem.errors if isinstance(problem, Problem) else ()
    return {
        "type": "about:blank",
        "title": HTTPStatus(problem.status_code).phrase,
        "status": problem.status_code,
        "detail": _sayable(problem.detail),
        "errors": [{"field": _sayable(field), "message": _sayable(message)} for field, message in errors],
    }


def _sayable(text: str) -> str:
    """What is no text (half a character, as JSON can spell it) is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def answer(problem: HTTPException) -> JSONResponse:
    """For programs."""
    headers = dict(problem.headers or {})
    return JSONResponse(body_of(problem), problem.status_code, headers, media_type=MEDIA_TYPE)
