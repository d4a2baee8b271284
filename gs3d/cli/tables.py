"""Tables of an evaluation for a terminal: they stand upright, so that they fit its width."""

import re
from collections.abc import Mapping, Sequence

SHOWN = ("Methods", "Differences", "Pooled")
"""Titles of the tables that a terminal shows; the report has all."""
GAP = "  "
LONGEST_HEAD = 20
"""Characters of the name of a method in a line, if it can be broken."""


def upright(tables: Mapping[str, Sequence[Sequence[str]]], width: int) -> str:
    """The `SHOWN` tables with a line for each metric and a column for each method.

    Columns that do not fit into `width` characters follow below; one that does not fit by itself is
    wider than that.

    Args:
        tables: Title → rows of cells, the first of them the header, as of `report.tables`.
        width: Columns of the terminal.
    """
    blocks = []
    for title in SHOWN:
        rows = tables.get(title)
        if rows:
            blocks += _blocks(_with_short_heads([list(row) for row in rows]), width)
    if len(tables) > len(set(SHOWN) & set(tables)):
        blocks.append("Kinds and splits: see the report.")
    return "\n\n".join(blocks)


def _with_short_heads(rows: list[list[str]]) -> list[list[str]]:
    """The rows with their first cell, such as the name of a method, in several cells one above the
    other, broken after commas and spaces."""
    heads = [_broken(row[0]) for row in rows]
    tall = max(map(len, heads))
    return [
        [*head, *[""] * (tall - len(head)), *row[1:]] for head, row in zip(heads, rows, strict=True)
    ]


def _broken(name: str) -> list[str]:
    lines = [""]
    for part in re.findall(r"[^, ]+[, ]*", name):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > LONGEST_HEAD:
            lines.append("")
        lines[-1] += part
    return lines


def _blocks(rows: list[list[str]], width: int) -> list[str]:
    names, *others = rows
    first = max(map(len, names))
    blocks, chosen, used = [], [], first
    for column in others:
        needs = len(GAP) + max(map(len, column))
        if chosen and used + needs > width:
            blocks.append(_text([names, *chosen]))
            chosen, used = [], first
        chosen.append(column)
        used += needs
    return [*blocks, _text([names, *chosen])]


def _text(columns: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns, strict=True)
    return "\n".join(
        GAP.join(cell.ljust(wide) for cell, wide in zip(line, widths, strict=True)).rstrip()
        for line in lines
        if any(line)  # heads of another block may be taller
    )
