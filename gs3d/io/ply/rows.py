"""The rows of a PLY of splats, and conversion between named columns and matrices."""

from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from gs3d.core.errors import UserError
from gs3d.io.ply.header import Element, Header, row_offset
from gs3d.ops.blocks import blocks


def row_dtype(header: Header, vertex: Element) -> np.dtype:
    """The structured dtype of the rows of `vertex` in a binary file."""
    order = "<" if header.format == "binary_little_endian" else ">"
    return np.dtype([(name, order + code) for name, code in vertex.properties.items()])


def binary_rows(path: Path, header: Header) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of `vertex` in blocks, as structured arrays.

    The file's columns and length must have been checked. OSError passes through.
    """
    vertex = header.element("vertex")
    assert vertex is not None
    dtype = row_dtype(header, vertex)
    with open(path, "rb") as stream:
        stream.seek(row_offset(path, header, "vertex"))
        for rows in blocks(vertex.count):
            yield rows, np.fromfile(stream, dtype, rows.stop - rows.start)


def text_rows(path: Path, header: Header) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of `vertex` of an ASCII file in blocks, as structured arrays of floats.

    A row is a line; empty lines do not count. UserError if a row does not match the header.
    """
    vertex = header.element("vertex")
    assert vertex is not None
    names = list(vertex.properties)
    before = sum(e.count for e in header.elements[: header.elements.index(vertex)])
    with open(path, "rb") as stream:
        stream.seek(header.length)
        lines = (line for line in TextIOWrapper(stream, "latin-1") if not line.isspace())
        for _ in islice(lines, before):
            pass
        for rows in blocks(vertex.count):
            values = _numbers(path, list(islice(lines, rows.stop - rows.start)), len(names), rows)
            table = np.empty(len(values), [(name, "f8") for name in names])
            fill(table, names, values)
            yield rows, table


def _numbers(path: Path, lines: list[str], columns: int, rows: slice) -> np.ndarray:
    """The numbers of the lines of `rows`, float64 [rows, columns]."""
    count = rows.stop - rows.start
    try:
        if len(lines) == count:
            values = np.loadtxt(lines, np.float64, comments=None, ndmin=2)
            if values.shape == (count, columns):
                return values
            reason = f"expected {columns} numbers a row, got {values.shape[1]}"
        else:
            reason = f"expected {count} rows from row {rows.start}, got {len(lines)}"
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
    raise UserError(
        f"cannot read {path}: the rows do not match the header ({reason}). "
        "Take another copy of the file."
    )


def fill(table: np.ndarray, names: list[str], values: np.ndarray) -> None:
    """Write `values` [N, len(names)] to the named columns of `table` [N]."""
    for i, name in enumerate(names):
        table[name] = values[:, i]


def matrix(table: np.ndarray, names: list[str], dtype: DTypeLike = np.float32) -> np.ndarray:
    """The named columns of `table` [N] as floats [N, len(names)]."""
    out = np.empty((len(table), len(names)), dtype)
    for i, name in enumerate(names):
        out[:, i] = table[name]
    return out
