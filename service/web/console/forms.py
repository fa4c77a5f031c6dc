"""What a form says. Nothing is read of it that did not come from a page of this session."""

import secrets
from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.responses import RedirectResponse

from service.web.access import caller_of
from service.web.problems import Problem, invalid

Said = TypeVar("Said", bound=BaseModel)
FIELDS = 200
FIELD_BYTES = 1024 * 1024


async def form_of(request: Request) -> FormData:
    """Raises Problem where the token is not that of this session."""
    caller = caller_of(request)
    form = await request.form(max_files=2, max_fields=FIELDS, max_part_size=FIELD_BYTES)
    if not secrets.compare_digest(text_of(form, "csrf").encode(), caller.csrf.encode()) or not caller.csrf:
        raise Problem(403, "This did not come from a page of this session; load the page anew and try again.")
    return form


def text_of(form: FormData, name: str) -> str:
    """A field, without blanks around it; "" where it is not there."""
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


async def file_of(form: FormData, name: str) -> tuple[str, bytes] | None:
    """A file and its name; None where none was chosen."""
    value = form.get(name)
    if not isinstance(value, UploadFile) or not value.filename:
        return None
    return value.filename, await value.read()


def texts_of(form: FormData, *names: str) -> dict[str, str]:
    """Those of these fields that say something."""
    return {name: text for name in names if (text := text_of(form, name))}


def said(model: type[Said], given: Mapping[str, Any]) -> Said:
    """As the API would read it. Raises Problem for the first field that is wrong."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise invalid(".".join(map(str, first["loc"])), first["msg"]) from None


def go(path: str) -> RedirectResponse:
    """What a form leads to: a page that can be loaded anew."""
    return RedirectResponse(path, 303)
