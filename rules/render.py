"""The decision tables as Markdown, for the docs: `python -m rules.render PAGE` writes them between its marks."""

import sys
from pathlib import Path

from rules.tables import SHIPPED, Row, Table, Tables

BEGIN = "<!-- decision tables: begin -->"
END = "<!-- decision tables: end -->"


def markdown(tables: Tables = SHIPPED) -> str:
    """All tables, a Markdown table each."""
    return "\n".join(map(_table, in_reading_order(tables)))


def in_reading_order(tables: Tables) -> tuple[Table, ...]:
    """All of them: first what becomes of a course."""
    return tables.course, tables.step, tables.arrival, tables.evidence


def cells(table: Table) -> list[list[str]]:
    """The table's cells as texts, the headings first."""
    first = table.rows[0]
    head = [*map(_words, first.when), *(f"→ {_words(name)}" for name in first.then), "because", "rule"]
    domains = {name: {values[number] for values in table.lookup} for number, name in enumerate(first.when)}
    return [head, *(_row(row, domains) for row in table.rows)]


def _row(row: Row, domains: dict[str, set[str]]) -> list[str]:
    when = [
        "any" if len(values) > 1 and set(values) == domains[name] else _words(", ".join(values))
        for name, values in row.when.items()
    ]
    return [*when, *map(_words, row.then.values()), row.because, f"{row.rule_id} ({', '.join(row.source)})"]


def _table(table: Table) -> str:
    head, *rows = cells(table)
    lines = [f"**{table.name}**", "", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def replaced(page: str) -> str:
    """The page with the tables of today between its marks. Raises ValueError where it has no marks."""
    return between(page, BEGIN, markdown(), END)


def between(page: str, begin: str, text: str, end: str) -> str:
    """The page with this text between the two marks. Raises ValueError where it has no marks."""
    before, _, rest = page.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise ValueError(f"the page needs the marks {begin} and {end}")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(replaced(page.read_text("utf-8")), "utf-8")
