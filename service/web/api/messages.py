"""`POST /v1/messages`: the way in for an LMS without Kafka. Each item gets an answer; none is sent twice."""

import time
from collections import OrderedDict
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from service.admin.messages import BY_SHORT, Checked, check, deliver, tenants_of
from service.web.access import Caller, guarded
from service.web.api.common import AnyJson, AtDesk, Who, note
from service.web.problems import FieldError, documented, too_many

router = APIRouter()
MOST = 1000
BURST_SECONDS = 10
CALLERS_KEPT = 10_000


class Item(BaseModel):
    """One message: the short name of its topic, and its value as the topic's schema says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    topic: Any = Field(description=f"One of {', '.join(BY_SHORT)}.", examples=["attendance-changed"])
    value: AnyJson = Field(description="As the topic's JSON Schema says.")


class Messages(BaseModel):
    """Up to a thousand, sent in this order."""

    model_config = ConfigDict(extra="forbid", strict=True)

    messages: list[Item] = Field(min_length=1, max_length=MOST)


class ItemAnswer(BaseModel):
    """`accepted`: it is in Kafka now. `sent_before`: it was already. `invalid`: it is not, and why."""

    status: Literal["accepted", "sent_before", "invalid"]
    message_id: str | None
    errors: list[FieldError]


class Answer(BaseModel):
    """One answer for each message, in their order."""

    accepted: int
    sent_before: int
    invalid: int
    items: list[ItemAnswer]


class Allowance:
    """How many messages each caller may send: so many a second, ten seconds' worth at once."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: Caller, count: int) -> None:
        """Raises Problem where it is too fast."""
        now = time.monotonic()
        left, at = self._spent.pop(caller.name, (float(self._most), now))
        left = min(self._most, left + (now - at) * self._per_second)
        missing = count - left
        self._spent[caller.name] = (left if missing > 0 else left - count, now)
        if len(self._spent) > CALLERS_KEPT:
            self._spent.popitem(last=False)
        if missing > 0:
            seconds = int(missing / self._per_second) + 1
            raise too_many(seconds, f"More than {self._per_second} messages a second; ask again in {seconds} s.")

    @property
    def _most(self) -> int:
        return max(self._per_second * BURST_SECONDS, MOST)


@router.post("/v1/messages", **guarded("administrator", tenants="body", answers=documented(429)))
async def send(request: Request, messages: Messages, desk: AtDesk, caller: Who) -> Answer:
    """Send messages as the LMS would through Kafka.

    What is invalid is told item by item and not sent; the rest is in Kafka, acknowledged, when the answer comes. A
    `message_id` of the last week is not sent again: the same request twice is harmless, and the way to go on after an
    error. Order within a record is that of the list.
    """
    allowance: Allowance = request.app.state.allowance
    allowance.take(caller, len(messages.messages))
    tolerance = desk.settings.future_tolerance_seconds
    checked = [_mine(check(item.topic, item.value, tolerance), caller) for item in messages.messages]
    good = [one for one in checked if isinstance(one, Checked)]
    for tenant_id in sorted(tenants_of(good)):
        number = sum(one.tenant_id == tenant_id for one in good)
        await note(request, caller, "messages", tenant_id, {"messages": number})
    verdicts = iter(await deliver(desk, good) if good else [])
    items = [_answer(*next(verdicts)) if isinstance(one, Checked) else _answer("invalid", None, one) for one in checked]
    counts = {status: sum(item.status == status for item in items) for status in ("accepted", "sent_before", "invalid")}
    return Answer(**counts, items=items)


def _mine(checked: Any, caller: Caller) -> Any:
    """A tenant of others is no tenant here."""
    if isinstance(checked, Checked) and not caller.sees(checked.tenant_id):
        return [("tenant_id", "is none of this caller's tenants")]
    return checked


def _answer(status: str, message_id: str | None, errors: Any) -> ItemAnswer:
    told = [FieldError(field=field, message=message) for field, message in errors]
    return ItemAnswer(status=status, message_id=message_id, errors=told)
