"""Topics → store: each change once and in order, whatever comes again; an erased learner is forgotten.

A store that is new begins with where records stand (completion.record-state.v1), and not with years of changes; what
these say of the time before is known then, by the state's sequence.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer

from contracts.examples.certificates import badges
from contracts.examples.certificates.badges import Earned, Issuer
from contracts.examples.certificates.signing import Signer
from contracts.examples.certificates.store import Store
from contracts.outbound import CourseCompletionChanged, LearnerErased, RecordState
from contracts.reader import Change, Cursor, take
from contracts.topics import COURSE_COMPLETION_CHANGED, LEARNER_ERASED, STEP_COMPLETION_CHANGED

log = logging.getLogger(__name__)
STARTED = "started from states"
POLL_MILLISECONDS = 500
CHANGES = STEP_COMPLETION_CHANGED.name, COURSE_COMPLETION_CHANGED.name
Message = Any
"""Of aiokafka, which is not typed."""


class Desk:
    """What a change does: issues, revokes, reinstates."""

    def __init__(self, store: Store, issuer: Issuer, signer: Signer) -> None:
        self._store = store
        self._issuer = issuer
        self._signer = signer

    def hear(self, topic: str, key: bytes, value: bytes) -> None:
        """One message. Raises ValueError where it is not what it should be; then it has done nothing."""
        if topic == LEARNER_ERASED.name:
            erased = LearnerErased.model_validate_json(value)
            self._store.forget(f"{erased.tenant_id}/{erased.learner_id}")
            return
        record = key.decode()
        read = take(self._store.cursor(record), value)
        for change in read.changes:
            self._apply(record, change)
        self._store.keep(record, read.cursor)

    def begin_with(self, key: bytes, value: bytes | None) -> None:
        """Where a record stands, for a store that begins. Raises ValueError likewise.

        Until Kafka has compacted them, earlier states of a record come before: what they made valid may not be so now.
        """
        record = key.decode()
        self._store.revoke_all(record)
        if value is None:
            return
        state = RecordState.model_validate_json(value)
        certificate = state.certificate
        if certificate is not None and certificate.status == "issued":
            self._issue(record, certificate.certificate_id, state)
        self._store.keep(record, Cursor.after(state.sequence))

    def _apply(self, record: str, change: Change) -> None:
        if not isinstance(change, CourseCompletionChanged) or change.certificate.certificate_id is None:
            return
        certificate_id = change.certificate.certificate_id
        match change.certificate.action:
            case "issue":
                self._issue(record, certificate_id, change)
            case "revoke":
                self._store.mark(certificate_id, revoked=True)
            case "reinstate":
                self._store.mark(certificate_id, revoked=False)

    def _issue(self, record: str, certificate_id: str, said: CourseCompletionChanged | RecordState) -> None:
        about = json.loads(said.model_dump_json())
        earned = Earned(
            certificate_id,
            said.tenant_id,
            said.learner_id,
            said.course_id,
            said.course_title or said.course_id,
            about["completed_at"],
            about["expires_at"],
        )

        def make(place: int) -> dict[str, Any]:
            return self._signer.signed(badges.credential(self._issuer, earned, place), now())

        self._store.issue(record, certificate_id, make)


def now() -> str:
    """RFC 3339, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def start_from_states(store: Store, desk: Desk, consumer: AIOKafkaConsumer) -> None:
    """Once in the life of a store. Interrupted, it begins again. Where no states are told there is nothing to read."""
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            fetched = await consumer.getmany(timeout_ms=POLL_MILLISECONDS)
            with store.transaction():
                _hear_all(fetched.values(), lambda message: desk.begin_with(message.key or b"", message.value))
        with store.transaction():
            store.note(STARTED, now())
    finally:
        await consumer.stop()


async def follow(store: Store, desk: Desk, consumer: AIOKafkaConsumer, prefix: str) -> None:
    """Changes and erasures, batch by batch, for as long as it lasts."""
    while True:
        fetched = await consumer.getmany(timeout_ms=POLL_MILLISECONDS)
        if not fetched:
            continue
        with store.transaction():
            told = _hear_all(
                fetched.values(),
                lambda message: desk.hear(message.topic.removeprefix(prefix), message.key or b"", message.value or b""),
            )
        await consumer.commit()  # where to go on; what comes again nevertheless is known
        log.info("read %(read)d messages, %(useless)d of them no use", told)


def _hear_all(fetched: Iterable[Iterable[Message]], hear: Callable[[Message], None]) -> Counter[str]:
    """Each message; one that is not what it should be harms none of the others."""
    told = Counter({"read": 0, "useless": 0})
    for messages in fetched:
        for message in messages:
            told["read"] += 1
            try:
                hear(message)
            except ValueError:
                told["useless"] += 1
                log.warning("%s-%d at %d is not what it should be", message.topic, message.partition, message.offset)
    return told
