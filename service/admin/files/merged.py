"""Merged cells: what stands in the first counts for all of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

COLUMNS = 100
"""No table has more that are read."""


class Range(NamedTuple):
    """Merged cells. Columns from 0, rows from 1."""

    columns: range
    first_row: int
    last_row: int


def merged(first_row: int, last_row: int, first_column: int, column_count: int) -> Range:
    """Such a range, cut to the columns that are read."""
    return Range(range(first_column, first_column + min(column_count, COLUMNS)), first_row, last_row)


def by_first_row(ranges: Iterable[Range]) -> Mapping[int, list[Range]]:
    """As `filled` takes them."""
    begins: dict[int, list[Range]] = {}
    for one in ranges:
        begins.setdefault(one.first_row, []).append(one)
    return begins


def filled(rows: Iterable[tuple[int, list[str]]], begins: Mapping[int, list[Range]]) -> Iterator[tuple[int, list[str]]]:
    """The rows that say something themselves, by number, with the texts of merged cells in all of them.

    `begins` is asked once the row is there, so a reader may learn of them on the way.
    """
    going: list[tuple[Range, str]] = []
    for number, texts in rows:
        for one in begins.get(number, ()):
            first = one.columns.start
            going.append((one, texts[first] if first < len(texts) else ""))
        going = [(one, text) for one, text in going if one.last_row >= number]
        is_empty = not any(texts)
        for one, text in going:
            texts.extend([""] * (one.columns.stop - len(texts)))
            for column in one.columns:
                texts[column] = text
        if not is_empty:
            yield number, texts
