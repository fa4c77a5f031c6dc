"""What time it is, as messages spell it."""

from datetime import UTC, datetime


def now() -> str:
    """RFC 3339, as everywhere here, to the microsecond: of two commands in a row the second comes later."""
    return spelled(datetime.now(UTC))


def spelled(at: datetime) -> str:
    """A time of UTC likewise."""
    return at.isoformat().replace("+00:00", "Z")
