"""The rows of a PLY of splats, and conversion between named columns and matrices."""

import mmap
import re
import struct
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from gs3d.core.errors import UserError
from gs3d.io.ply.header import Element, Header, invalid_ply
from gs3d.ops.blocks import blocks

CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}
"""Codes of `struct` for the lengths of lists."""
NAN = re.compile(r"[+-]?(nan\(\w*\)|1\.#(QNAN|SNAN|IND)\d*)", re.IGNORECASE)
INFINITY = re.compile(r"1\.#INF\d*", re.IGNORECASE)
"""How Microsoft's C library prints numbers that are none."""


def row_offset(path: Path, header: Header, name: str) -> int:
    """File offset of the rows of the element `name`, which must exist, in a binary file.

    Rows of the elements before it are skipped. UserError if they are cut short. OSError passes
    through.
    """
    start = header.length
    for element in header.elements:
        if element.name == name:
            break
        if element.lists and element.count:
            start = _after_lists(path, header, element, start)
        else:
            start += element.count * element.min_row_bytes()
    return start


def _after_lists(path: Path, header: Header, element: Element, start: int) -> int:
    """File offset after the rows of an element with lists, which begin at `start`."""
    sign = "<" if header.format == "binary_little_endian" else ">"
    columns = []
    for column in element.order:
        length, number = element.lists.get(column, (None, element.properties.get(column, "")))
        if length is not None and length not in CODES:
            raise invalid_ply(path, f"the list {column[:40]} has lengths that are no integers")
        columns.append((length and struct.Struct(sign + CODES[length]), int(number[1])))
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for _ in range(element.count):
                for length, size in columns:
                    if length:
                        (numbers,) = length.unpack_from(data, start)
                        start += length.size + size * max(numbers, 0)
                    else:
                        start += size
        except struct.error:
            raise invalid_ply(
                path, f"it is cut short within the rows of {element.name[:40]}"
            ) from None
    return start


def read_numbers(
    path: Path, stream: BinaryIO, dtype: DTypeLike, count: int, start: int | None = None
) -> np.ndarray:
    """The next `count` values of `stream`, or those from byte `start`.

    UserError if there are fewer: lists before them may be longer than `check_length` can know.
    OSError passes through.
    """
    if start is not None:
        stream.seek(start)
    values = np.fromfile(stream, dtype, count)
    if len(values) < count:
        raise invalid_ply(path, f"it is cut short: {count} rows were expected, got {len(values)}")
    return values


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
            yield rows, read_numbers(path, stream, dtype, rows.stop - rows.start)


def text_rows(path: Path, header: Header) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of `vertex` of an ASCII file in blocks, as structured arrays of floats.

    A row is a line; empty lines do not count. Numbers may be as Microsoft prints them. UserError if
    a row does not match the header.
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
            lines = [_plain(line) if "#" in line or "(" in line else line for line in lines]
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


def _plain(line: str) -> str:
    return INFINITY.sub("inf", NAN.sub("nan", line))


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
