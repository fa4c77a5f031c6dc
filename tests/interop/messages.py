"""What a cell sends, and what must come of it."""

import base64
from collections.abc import Sequence
from typing import Any

from tests.interop.clients import CLIENTS
from tests.interop.plan import Cell
from tests.kafka.test_unreadable import attended, key_of

Headers = Sequence[tuple[str, bytes | None]]
TRACED: Headers = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
HEADERS: dict[str, Headers] = {
    "a traceparent": TRACED,
    "bytes that are not UTF-8": [("größe", b"\xff\x00\xfe")],
    "no value": [("x-null", None)],
    "a name twice, an empty value": [("x-twice", b"1"), ("x-twice", b"")],
    "a long name": [("x" * 300, b"1")],
    "none at all": [],
}
"""One message of a cell has each of these, in this order."""
PADDING = b" " * 400
"""Clients send as it is what compressing does not make smaller."""


def learners(cell: Cell) -> list[str]:
    """One a message."""
    return [f"{cell.name}.{number}" for number in range(len(HEADERS))]


def behind(cell: Cell) -> list[str]:
    """Learners whose messages are sent behind a transaction that is left open."""
    return [f"{cell.name}.behind-{number}" for number in range(len(HEADERS))] if cell.mode == "open" else []


def counted(cell: Cell) -> list[str]:
    """Learners of whom everybody must hear; nobody may of the others."""
    return behind(cell) if cell.mode in ("open", "abort") else learners(cell)


def headers_of(cell: Cell) -> list[Headers]:
    """Of each message, as far as the client can."""
    cannot = CLIENTS[cell.client].cannot
    return [[] if name in cannot else headers for name, headers in HEADERS.items()]


def messages(cell: Cell, of: Sequence[str]) -> list[dict[str, Any]]:
    """As a program wants them."""
    return [
        {"key": key_of(learner).decode(), "value": (attended(learner) + PADDING).decode(), "headers": spelled(headers)}
        for learner, headers in zip(of, headers_of(cell), strict=True)
    ]


def spelled(headers: Headers) -> list[tuple[str, str | None]]:
    """As JSON can carry it."""
    return [(name, None if value is None else base64.b64encode(value).decode()) for name, value in headers]
