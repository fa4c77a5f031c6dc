"""Until when a completion is valid: calendar arithmetic in UTC. Expiry is told, and changes nothing."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta

from rules.values import Instant, ValidFor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def expiry(completed_at: Instant, valid_for: ValidFor | None) -> Instant | None:
    """31 January and a month is the last day of February. None: it does not expire, or not before the year 10000."""
    if valid_for is None:
        return None
    years, months, days = valid_for
    start = _EPOCH + completed_at * _MICROSECOND
    year, month = divmod(start.year * 12 + start.month - 1 + years * 12 + months, 12)
    try:
        in_month = start.replace(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))
        return (in_month + timedelta(days=days) - _EPOCH) // _MICROSECOND
    except (OverflowError, ValueError):
        return None
