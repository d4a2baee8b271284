"""The rows of a PLY of splats, and conversion between named columns and matrices."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

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


def fill(table: np.ndarray, names: list[str], values: np.ndarray) -> None:
    """Write `values` [N, len(names)] to the named columns of `table` [N]."""
    for i, name in enumerate(names):
        table[name] = values[:, i]


def matrix(table: np.ndarray, names: list[str]) -> np.ndarray:
    """The named columns of `table` [N] as float32 [N, len(names)]."""
    out = np.empty((len(table), len(names)), np.float32)
    for i, name in enumerate(names):
        out[:, i] = table[name]
    return out
