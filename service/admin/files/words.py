"""What people write in the cells of an attendance file: yes and no, minutes and durations, percents."""

import re
from decimal import Decimal, InvalidOperation

from service.admin.files.cells import AS_TEXT, Doubtful

YES = {"yes", "y", "true", "1", "x", "ja", "j", "oui", "o", "si", "s\u00ed"}
NO = {"no", "n", "false", "0", "nein", "non"}
_NOTHING = {"", "-", "--", "---", "\u2013", "\u2014", "n/a", "na", "null", "none"}
"""Placeholders of programs that have nothing to say."""
SCIENTIFIC = re.compile(r"\d+([.,]\d+)?[eE]\+?\d+")
"""An id that looks like this is a number that a spreadsheet program has shortened."""
DIGITS = 18
LENGTH = 40
"""Characters of a value."""
CELL_SHOWN = 40
_MINUTES_PER = {"h": 60, "m": 1, "s": 0}
_PART = re.compile(
    r"(\d+)\s*(hours?|heures?|horas?|hrs?|stunden?|std|h|minutes?|minuten?|minutos?|mins?|m|seconds?|sekunden?|secs?|sek|s)\.?",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(\d{1,4}):([0-5]?\d)(?::([0-5]?\d)(?:\.\d+)?)?")
_ISO = re.compile(r"P(?:(\d+)D)?T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,]\d+)?S)?", re.IGNORECASE)


def shown(cell: str) -> str:
    """As a message quotes it."""
    return repr(str(cell)) if len(cell) <= CELL_SHOWN else f"{cell[:CELL_SHOWN]!r}… ({len(cell):,} characters)"


def id_problem(cell: str) -> str | None:
    """Why a cell cannot be taken for an id: nobody knows what a person sees in the sheet, or meant."""
    if isinstance(cell, Doubtful):
        return f"{shown(cell)} {cell.why}"
    if len(cell) <= LENGTH and SCIENTIFIC.fullmatch(cell):
        return f"{shown(cell)} is a number that a spreadsheet program has shortened; {AS_TEXT}"
    return None


def is_nothing(cell: str) -> bool:
    """Whether a value is not filled in, as programs say that."""
    return cell.casefold() in _NOTHING


def yes_or_no(cell: str) -> bool:
    """Raises ValueError for any other word."""
    word = cell.casefold()
    if word in YES | NO:
        return word in YES
    raise ValueError("must be yes or no, or 1 or 0")


def minutes(cell: str) -> int:
    """Whole minutes of 90, 90.0, 1 h 30 min, 01:30:00, PT1H30M; what is less does not count. Raises ValueError."""
    if len(cell) > LENGTH:
        raise ValueError("is too long for minutes or a duration")
    for read in (_plain_minutes, _clock_minutes, _iso_minutes, _spelled_minutes):
        found = read(cell)
        if found is not None:
            return found
    raise ValueError("must be minutes (90) or a duration (1 h 30 min, 01:30:00)")


def _plain_minutes(cell: str) -> int | None:
    number = decimal(cell)
    if number is None:
        return None
    if number < 0:
        raise ValueError("must not be negative")
    return int(number)


def _clock_minutes(cell: str) -> int | None:
    """With two parts it could be hours and minutes, or minutes and seconds."""
    found = _CLOCK.fullmatch(cell)
    if found is None:
        return None
    first, second, third = found.groups()
    if third is None:
        raise ValueError("could be hours and minutes, or minutes and seconds; write hh:mm:ss")
    return int(first) * 60 + int(second)


def _iso_minutes(cell: str) -> int | None:
    found = _ISO.fullmatch(cell)
    if found is None or cell.upper().endswith("T"):
        return None
    days, hours, rest, seconds = (int(part or 0) for part in found.groups())
    return days * 1440 + hours * 60 + rest + seconds // 60


def _spelled_minutes(cell: str) -> int | None:
    parts = _PART.findall(cell)
    if not parts or _PART.sub("", cell).strip(" ,;").lower() not in ("", "and", "und", "et", "y"):
        return None
    units = ["h" if unit.lower().startswith("st") else unit[0].lower() for _, unit in parts]
    if units != sorted(units, key="hms".index) or len(set(units)) != len(units):
        return None
    seconds = sum(int(number) for (number, _), unit in zip(parts, units, strict=True) if unit == "s")
    whole = sum(int(number) * _MINUTES_PER[unit] for (number, _), unit in zip(parts, units, strict=True))
    return whole + seconds // 60


def percent(cell: str) -> int:
    """Whole percents, fractions cut off: 99.9 is not 100. Raises ValueError."""
    number = decimal(cell.removesuffix("%").rstrip())
    if number is None:
        raise ValueError("must be a percent, 0 to 100")
    if is_share(cell):
        raise ValueError("could be a percent or a share; write 95 or 95%")
    return int(number)


def refuse_share(cell: str) -> None:
    """Where others of a column are shares, a 1 may be the whole. Raises ValueError."""
    if decimal(cell) == 1:
        raise ValueError("could be a percent or, as others here, a share; write 1% or 100%")


def is_share(cell: str) -> bool:
    """Whether it is a fraction of 1, without a percent sign."""
    number = decimal(cell)
    return number is not None and 0 < number < 1


def decimal(cell: str) -> Decimal | None:
    """A number with a decimal point or comma, without thousands separators; None for anything else."""
    if not re.fullmatch(r"[+-]?\d+([.,]\d+)?", cell, re.ASCII) or len(cell) > DIGITS:
        return None
    if re.fullmatch(r"[+-]?\d{1,3}[.,]\d{3}", cell):
        return None  # thousands, or thousandths
    try:
        return Decimal(cell.replace(",", "."))
    except InvalidOperation:
        return None
