"""What is stored in MongoDB: each value as a document, and back.

A document says in which format it is; one without a number is of format 0, which differs from 1 in nothing else. A
field that is added at the end of a packed body, with a default, changes no format: older versions leave it out, newer
ones fill it in. Whatever they would misread takes the next number.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from contracts.fields import course_key_of
from rules.values import Instant, Record
from rules.window import Past
from service.errors import FixConfiguration, RecordTooLarge
from service.lanes.bounds import RECORD_BYTES
from service.lanes.packed import unpack
from service.lanes.ports import Page, Pending, Place, StoredCourse, StoredDefinition, StoredRecord
from service.mongo.driver import Document

FORMAT = 1
"""Written by this version, which reads all before it, too."""


class _Body(Struct, frozen=True, array_like=True):
    """What of a record only Ratchet reads: packed, it takes a tenth of the time and a third of the space."""

    record: Record
    pending: tuple[Pending, ...]
    decisions: bytes
    asked: dict[str, int]
    decided_at: Instant = 0
    restated: Place | None = None


class PageBody(Struct, frozen=True, array_like=True):
    """Likewise of a page of a record's history."""

    past: tuple[Past, ...]
    decisions: bytes


_pack = msgspec.msgpack.Encoder().encode
_unpack_page = msgspec.msgpack.Decoder(PageBody).decode
_unpack = msgspec.msgpack.Decoder(_Body).decode


def record_document(stored: StoredRecord) -> Document:
    """A record as it is stored, with its next revision: what is queried or looked at, and the whole, packed.

    `open`: in progress, which the sweeps take first. `ratchet explain --json` shows the whole. Raises RecordTooLarge.
    """
    record, course = stored.record, stored.record.standing.course
    body = _pack(
        _Body(record, stored.pending, stored.decisions, dict(stored.asked), stored.decided_at, stored.restated)
    )
    if len(body) > RECORD_BYTES:
        raise RecordTooLarge(
            f"the record would have {len(body)} bytes with what it has to announce, at most {RECORD_BYTES}"
        )
    return {
        "_id": stored.key,
        "format": FORMAT,
        "rev": stored.rev + 1,
        "course_key": course_key_of(stored.key),
        "open": record.in_progress,
        "definition_version": record.definition_version,
        "attempt": record.attempt,
        "sequence": record.sequence,
        "status": course.status,
        "completed_via": course.completed_via,
        "completed_at": course.completed_at,
        "evidence": course.evidence,
        "body": body,
    }


def stored_record(document: Mapping[str, Any]) -> StoredRecord:
    """The inverse of `record_document`. Raises FixConfiguration for a newer format."""
    _check_format(document)
    body = _unpack(document["body"])
    return StoredRecord(
        document["_id"],
        document["rev"],
        body.record,
        body.pending,
        body.decisions,
        body.asked,
        body.decided_at or max((one.decision.decided_at for one in unpack(body.decisions)), default=0),
        body.restated,
    )


def page_document(page: Page) -> Document:
    """Of two writers of the same revision each has its own pages; those of a later one come later in order."""
    body = _pack(PageBody(page.past, page.decisions))
    return {
        "_id": f"{page.key}/{page.rev:012d}-{sha256(body).hexdigest()[:16]}",
        "format": FORMAT,
        "facts": [f"{page.key}/{past.fact.message_id}" for past in page.past],
        "body": body,
    }


def page_body(document: Mapping[str, Any]) -> PageBody:
    """What `page_document` has packed. Raises FixConfiguration for a newer format."""
    _check_format(document)
    return _unpack_page(document["body"])


def revision_of(page: Mapping[str, Any]) -> int:
    """The revision of its record that a page moved out of."""
    return int(page["_id"].rpartition("/")[2].partition("-")[0])


def _check_format(document: Mapping[str, Any]) -> None:
    """A version that would misread what a newer one has written must not touch it."""
    if document.get("format", 0) > FORMAT:
        raise FixConfiguration(
            f"RATCHET_MONGODB_DATABASE: has documents of format {document['format']}, and this version reads up to "
            f"{FORMAT}: start the newer version that wrote them"
        )


def course_document(course: StoredCourse) -> Document:
    """A course as it is stored, with its next revision."""
    return {
        "_id": course.key,
        "format": FORMAT,
        "rev": course.rev + 1,
        "lane": course.lane,
        "sweeping": course.sweeping,
        "released": course.released,
        "is_released": course.is_released,
        "would_complete": course.would_complete,
        "would_certify": course.would_certify,
        "newest": [course.newest.version, course.newest.changed_at],
        "versions": msgspec.to_builtins(course.versions),
    }


def stored_course(document: Mapping[str, Any]) -> StoredCourse:
    """The inverse of `course_document`. Raises FixConfiguration for a newer format."""
    _check_format(document)
    versions = msgspec.convert(document["versions"], tuple[StoredDefinition, ...])
    return StoredCourse(
        document["_id"],
        document["rev"],
        document["lane"],
        versions,
        document["sweeping"],
        document["released"],
        document["would_complete"],
        document["would_certify"],
    )
