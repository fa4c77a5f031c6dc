"""The star schema: dimensions `learner`, `course`, `month`, facts `completion`, a view; and how far Kafka was read.

Times are UTC. The tables that begin with `kafka_` are the service's own.
"""

from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    text,
)

from contracts.examples.reporting.errors import Mend

ID = String(128)
WHEN = DateTime(timezone=True)
metadata = MetaData()

learner = Table(
    "learner",
    metadata,
    Column("learner_key", Integer, primary_key=True),
    Column("tenant_id", ID, nullable=False),
    Column("learner_id", ID, nullable=False),
    UniqueConstraint("tenant_id", "learner_id"),
    sqlite_autoincrement=True,
)
course = Table(
    "course",
    metadata,
    Column("course_key", Integer, primary_key=True),
    Column("tenant_id", ID, nullable=False),
    Column("course_id", ID, nullable=False),
    Column("title", Text, comment="of the newest definition that anything was decided under; null where it has none"),
    Column("definition_version", BigInteger, nullable=False, comment="whose title it is"),
    UniqueConstraint("tenant_id", "course_id"),
    sqlite_autoincrement=True,
)
month = Table(
    "month",
    metadata,
    Column("month_key", Integer, primary_key=True, autoincrement=False, comment="as 202603"),
    Column("month", String(7), nullable=False, comment="as 2026-03"),
    Column("year", Integer, nullable=False),
    Column("quarter", Integer, nullable=False),
    Column("month_of_year", Integer, nullable=False),
)


def _of_record() -> tuple[Column[Any], Column[Any]]:
    return (
        Column("learner_key", ForeignKey(learner.c.learner_key), primary_key=True),
        Column("course_key", ForeignKey(course.c.course_key), primary_key=True, index=True),
    )


completion = Table(
    "completion",
    metadata,
    *_of_record(),
    Column("attempt", BigInteger, primary_key=True, autoincrement=False),
    Column("month_key", ForeignKey(month.c.month_key), index=True, comment="of completed_at; null while incomplete"),
    Column("status", String(16), nullable=False, comment="completed, incomplete"),
    Column("completed_via", String(16), comment="steps, equivalency, granted"),
    Column("completed_at", WHEN),
    Column("expires_at", WHEN),
    Column("evidence", String(16), comment="held, withdrawn; null where the completion rests on no steps"),
    Column("certificate_id", Text, comment="of this attempt's completion"),
    Column("certificate_status", String(16), comment="issued, revoked"),
    Column("definition_version", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("updated_at", WHEN, nullable=False),
)
kafka_record = Table(
    "kafka_record",
    metadata,
    *_of_record(),
    Column("kafka_partition", Integer, nullable=False),
    Column("kafka_offset", BigInteger, nullable=False, comment="of the last state that was taken"),
    Column("sequence", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False, comment="microseconds since 1970 UTC"),
)
kafka_position = Table(
    "kafka_position",
    metadata,
    Column("topic", String(249), primary_key=True),
    Column("kafka_partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
)

VIEW = "completions_by_course_and_month"
_VIEW = f"""
CREATE VIEW {VIEW} AS
WITH attempt_of_month AS (
    SELECT this.*, CASE WHEN this.status = 'completed' AND NOT EXISTS (
        SELECT 1 FROM completion AS later
        WHERE later.learner_key = this.learner_key AND later.course_key = this.course_key
        AND later.attempt > this.attempt AND later.completed_at = this.completed_at
    ) THEN 1 ELSE 0 END AS counts
    FROM completion AS this
)
SELECT course.tenant_id AS tenant, course.course_id AS course, course.title AS title, month.month AS month,
    SUM(counts) AS completed,
    SUM(CASE WHEN evidence = 'withdrawn' THEN counts ELSE 0 END) AS evidence_withdrawn,
    COUNT(*) AS attempts
FROM attempt_of_month
JOIN course ON course.course_key = attempt_of_month.course_key
LEFT JOIN month ON month.month_key = attempt_of_month.month_key
GROUP BY course.tenant_id, course.course_id, course.title, month.month
"""  # noqa: S608  # the name is a constant
"""A completion that a withdrawn reassignment brings back stands in two attempts, with one date: it counts once."""


def opened(url: URL) -> Engine:
    """The database, with all that it lacks of the schema made. What it refuses is told without values. Raises Mend."""
    try:
        engine = create_engine(url, hide_parameters=True)
    except ImportError as missing:
        raise Mend(f"REPORTING_DATABASE_URL: its driver is not installed: {missing}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    with engine.begin() as connection:
        metadata.create_all(connection)
        if VIEW not in inspect(connection).get_view_names():
            connection.execute(text(_VIEW))
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    """What is deleted is overwritten in the file; whoever reads it may keep us waiting for a while."""
    for pragma in ("secure_delete = ON", "foreign_keys = ON", "busy_timeout = 30000"):
        connection.execute(f"PRAGMA {pragma}")
