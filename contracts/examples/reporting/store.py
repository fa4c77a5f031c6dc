"""Takes a batch in and notes how far Kafka was read, in one transaction: it takes effect whole and once, or not at all.

So it does not matter when the process dies. And because each record has the offset of the last state that was taken, it
does not matter either what is read again.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Table, and_, delete, insert, select, update

from contracts.examples.reporting.errors import Mend
from contracts.examples.reporting.messages import Counts, Erased, Place, Positions, Read
from contracts.examples.reporting.schema import completion, course, kafka_position, kafka_record, learner, month
from contracts.outbound import RecordState

Row = Mapping[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Store:
    """The database as one process writes it. A second one on the same database is found out by `take`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._positions: dict[Place, int] = {}

    def positions(self, places: Iterable[Place]) -> Positions:
        """Where to go on in these partitions; 0 where nothing was read."""
        with self._engine.begin() as connection:
            noted = {(row.topic, row.kafka_partition): row.next_offset for row in connection.execute(_NOTED)}
            for topic, partition in set(places) - noted.keys():
                row = {"topic": topic, "kafka_partition": partition, "next_offset": 0}
                connection.execute(insert(kafka_position).values(row))
            self._positions = {place: noted.get(place, 0) for place in places}
        return dict(self._positions)

    def take(self, batch: Sequence[Read]) -> Counts:
        """All of it, in order. Raises Mend where somebody else has moved the positions meanwhile."""
        ahead = {(read.topic, read.partition): read.offset + 1 for read in batch}
        counts = Counts()
        with self._engine.begin() as connection:
            self._move(connection, ahead)
            for read in batch:
                counts = counts.with_one(_take(connection, read))
        self._positions.update(ahead)
        return counts

    def _move(self, connection: Connection, ahead: Positions) -> None:
        for (topic, partition), offset in sorted(ahead.items()):
            is_as_left = _is(
                kafka_position,
                topic=topic,
                kafka_partition=partition,
                next_offset=self._positions[topic, partition],
            )
            moved = connection.execute(update(kafka_position).where(is_as_left).values(next_offset=offset))
            if moved.rowcount != 1:
                raise Mend("somebody else has changed kafka_position; let one process write here, and start it again")


_NOTED = select(kafka_position)


def _take(connection: Connection, read: Read) -> str:
    """Gives the name of what it counts as."""
    said = read.said
    if said is None:
        return "unusable"
    if isinstance(said, Erased):
        if _is_known(connection, read, said):
            return "known"
        _forget(connection, said)
        return "erasures"
    if _is_known(connection, read, said):
        return "known"
    _keep(connection, read, said)
    return "states"


def _is_known(connection: Connection, read: Read, said: RecordState | Erased) -> bool:
    """Whether what was taken of this record last was as new.

    Where partitions were added a record goes on in another one, whose offsets tell nothing: then its numbers do.
    """
    record = _record(connection, said)
    if record is None:
        return False
    if record["kafka_partition"] == read.partition:
        return bool(read.offset <= record["kafka_offset"])
    return isinstance(said, RecordState) and (said.sequence, said.updated_at) <= (
        record["sequence"],
        record["updated_at"],
    )


def _record(connection: Connection, said: RecordState | Erased) -> RowMapping | None:
    asked = (
        select(kafka_record)
        .join(learner)
        .join(course)
        .where(_is(learner, tenant_id=said.tenant_id, learner_id=said.learner_id))
        .where(_is(course, tenant_id=said.tenant_id, course_id=said.course_id))
    )
    return connection.execute(asked).mappings().first()


def _forget(connection: Connection, said: Erased) -> None:
    """All of the learner. Courses and months are not about anybody."""
    is_theirs = _is(learner, tenant_id=said.tenant_id, learner_id=said.learner_id)
    key = connection.execute(select(learner.c.learner_key).where(is_theirs)).scalar()
    for table in (completion, kafka_record, learner):
        connection.execute(delete(table).where(_is(table, learner_key=key)))


def _keep(connection: Connection, read: Read, state: RecordState) -> None:
    """The attempt's row; those of earlier attempts stay, but for what becomes of their certificate."""
    record = {
        "learner_key": _key(connection, learner, tenant_id=state.tenant_id, learner_id=state.learner_id),
        "course_key": _course_key(connection, state),
    }
    _put(
        connection,
        kafka_record,
        record,
        kafka_partition=read.partition,
        kafka_offset=read.offset,
        sequence=state.sequence,
        updated_at=state.updated_at,
    )
    certificate = state.certificate if state.status == "completed" else None
    _put(
        connection,
        completion,
        {**record, "attempt": state.attempt},
        month_key=_month_key(connection, state.completed_at),
        status=state.status,
        completed_via=state.completed_via,
        completed_at=_time(state.completed_at),
        expires_at=_time(state.expires_at),
        evidence=state.evidence,
        certificate_id=certificate and _text(certificate.certificate_id),
        certificate_status=certificate and certificate.status,
        definition_version=state.definition_version,
        sequence=state.sequence,
        updated_at=_time(state.updated_at),
    )
    if state.certificate and state.attempt > 1:
        has_it = _is(completion, **record, certificate_id=_text(state.certificate.certificate_id))
        connection.execute(update(completion).where(has_it).values(certificate_status=state.certificate.status))


def _course_key(connection: Connection, state: RecordState) -> int:
    """Its title is that of the newest definition, whichever record tells of it."""
    ids = {"tenant_id": state.tenant_id, "course_id": state.course_id}
    told = {"title": _text(state.course_title), "definition_version": state.definition_version}
    known = connection.execute(select(course).where(_is(course, **ids))).mappings().first()
    if known is None:
        return _key(connection, course, told, **ids)
    if known["definition_version"] < state.definition_version:
        is_this = _is(course, course_key=known["course_key"])
        connection.execute(update(course).where(is_this).values(told))
    return int(known["course_key"])


def _month_key(connection: Connection, instant: int | None) -> int | None:
    when = _time(instant)
    if when is None:
        return None
    return _key(
        connection,
        month,
        {
            "month": f"{when.year:04}-{when.month:02}",
            "year": when.year,
            "quarter": (when.month + 2) // 3,
            "month_of_year": when.month,
        },
        month_key=when.year * 100 + when.month,
    )


def _key(connection: Connection, table: Table, others: Row | None = None, /, **known: Any) -> int:
    """The key of this row of a dimension; it is made, with the others, where there is none."""
    (key,) = table.primary_key.columns
    found = connection.execute(select(key).where(_is(table, **known))).scalar()
    if found is not None:
        return int(found)
    made = connection.execute(insert(table).values({**(others or {}), **known})).inserted_primary_key
    assert made is not None, "one row was inserted"
    return int(made[0])


def _put(connection: Connection, table: Table, key: Row, **values: Any) -> None:
    if not connection.execute(update(table).where(_is(table, **key)).values(values)).rowcount:
        connection.execute(insert(table).values({**key, **values}))


def _is(table: Table, **values: Any) -> Any:
    return and_(*(table.c[name] == value for name, value in values.items()))


def _time(instant: int | None) -> datetime | None:
    return None if instant is None else _EPOCH + timedelta(microseconds=instant)


def _text(said: str | None) -> str | None:
    """PostgreSQL keeps no NUL."""
    return None if said is None else said.replace("\0", "")
