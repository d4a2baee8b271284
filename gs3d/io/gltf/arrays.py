"""The arrays of a glTF file.

An accessor is an array: rows of numbers in a bufferView, which is a span of a buffer. Buffer 0 is
the binary chunk; others may be in the JSON, as data URIs. A sparse accessor replaces some rows.
"""

import base64
import binascii
from urllib.parse import unquote_to_bytes

import numpy as np

from gs3d.core.errors import UserError, shown
from gs3d.io.gltf.container import COMPONENTS, WIDTHS, Glb
from gs3d.io.gltf.extensions import compression_of, unread_extension

MAX_ZEROS = 2**24
"""Numbers in the largest accessor without data that is read."""


def read_array(
    glb: Glb,
    index: object,
    whole: bool = False,
    shares: bool = False,
    only: np.ndarray | None = None,
) -> np.ndarray:
    """Accessor `index` as float32 [count, width], or as int64 if `whole`.

    `only` are the numbers of the rows to read, if not all. With `shares`, integers are shares of
    their largest value even without the mark that says so. UserError unless the accessor lies
    within its buffer. OSError passes through.
    """
    accessor = glb.entry("accessors", index)
    code, kind = accessor.get("componentType"), accessor.get("type")
    if (
        type(code) is not int
        or code not in COMPONENTS
        or type(kind) is not str
        or kind not in WIDTHS
    ):
        raise glb.fault(
            f"accessor {index}: component type {shown(code)} of {shown(kind)} is not supported"
        )
    what, dtype, width = f"accessor {index}", np.dtype(COMPONENTS[code]), WIDTHS[kind]
    count = glb.integer(accessor.get("count"), 1, "an accessor's count")
    if "bufferView" in accessor:
        rows = _rows(glb, what, accessor, dtype, width, count)
    else:
        # glTF: an accessor without a bufferView is zeros.
        if count * width > MAX_ZEROS:
            raise glb.fault(f"{what} describes {count} rows without data")
        rows = np.zeros((count, width), dtype)
    if "sparse" in accessor:
        rows = _replaced(glb, what, accessor["sparse"], rows)
    if only is not None:
        rows = rows[only]
    if whole:
        if dtype.kind != "u":
            raise glb.fault(f"{what}: expected whole numbers, got {code}")
        return rows.astype(np.int64)
    is_share = dtype.kind in "iu" and (shares or accessor.get("normalized") is True)
    return dequantize(rows) if is_share else rows.astype(np.float32)


def dequantize(array: np.ndarray) -> np.ndarray:
    """The values of normalized integers, float32: [0, 1] if unsigned, [−1, 1] if signed."""
    return np.maximum(array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max), -1)


def _rows(glb: Glb, what: str, place: dict, dtype: np.dtype, width: int, count: int) -> np.ndarray:
    """Rows [count, width] at a bufferView and byteOffset, as they are stored."""
    view = glb.entry("bufferViews", place["bufferView"])
    row_bytes = dtype.itemsize * width
    offset = glb.integer(place.get("byteOffset", 0), 0, "an accessor's byteOffset")
    start, length = _span(glb, view)
    stride = glb.integer(view.get("byteStride", row_bytes), row_bytes, "a bufferView's byteStride")
    end, data = offset + stride * (count - 1) + row_bytes, _embedded(glb, view)
    size = glb.size if data is None else len(data)
    if end > length or start + length > size:
        raise glb.fault(
            f"{what} declares {count} rows up to byte {start + end}, "
            f"the data has {min(start + length, size)}"
        )
    if data is None:
        # Map only the bytes of this array, so that memory use stays bounded by its size.
        data = np.memmap(glb.path, np.uint8, "r", glb.start + start + offset, (end - offset,))
        start = offset = 0
    return np.ndarray((count, width), dtype, data, start + offset, (stride, dtype.itemsize))


def _replaced(glb: Glb, what: str, sparse: object, rows: np.ndarray) -> np.ndarray:
    """`rows` with those replaced that a sparse accessor stores."""
    sparse = sparse if isinstance(sparse, dict) else {}
    count = glb.integer(sparse.get("count"), 1, "a sparse accessor's count")
    indices, values = sparse.get("indices"), sparse.get("values")
    code = indices.get("componentType") if isinstance(indices, dict) else None
    if (
        count > len(rows)
        or not isinstance(indices, dict)
        or not isinstance(values, dict)
        or "bufferView" not in indices
        or "bufferView" not in values
        or code not in (5121, 5123, 5125)
    ):
        raise glb.fault(f"{what}: its sparse rows are incomplete")
    where = _rows(glb, what, indices, np.dtype(COMPONENTS[code]), 1, count)[:, 0].astype(np.int64)
    if where.max() >= len(rows):
        raise glb.fault(f"{what}: sparse row {where.max()} of {len(rows)}")
    rows = np.array(rows)
    rows[where] = _rows(glb, what, values, rows.dtype, rows.shape[1], count)
    return rows


def read_bytes(glb: Glb, index: object) -> bytes:
    """The bytes of bufferView `index`. UserError unless it lies within its buffer. OSError passes
    through."""
    view = glb.entry("bufferViews", index)
    start, length = _span(glb, view)
    data = _embedded(glb, view)
    size = glb.size if data is None else len(data)
    if start + length > size:
        raise glb.fault(f"bufferView {index} ends at byte {start + length} of {size}")
    if data is not None:
        return data[start : start + length]
    with open(glb.path, "rb") as stream:
        stream.seek(glb.start + start)
        return stream.read(length)


def _span(glb: Glb, view: dict) -> tuple[int, int]:
    start = glb.integer(view.get("byteOffset", 0), 0, "a bufferView's byteOffset")
    return start, glb.integer(view.get("byteLength"), 1, "a bufferView's byteLength")


def _embedded(glb: Glb, view: dict) -> bytes | None:
    """The buffer of a bufferView, if it is in the JSON; None for the binary chunk."""
    index = view.get("buffer")
    buffer = glb.entry("buffers", index)
    uri = buffer.get("uri")
    if uri is None:
        if index != 0 or not glb.size:
            if (name := compression_of(view)) is not None:
                raise unread_extension(glb.path, name)
            raise glb.fault(f"buffer {index} has no data")
        return None
    assert type(index) is int  # `entry` refuses any other.
    if index not in glb.embedded:
        glb.embedded[index] = data_of(glb, uri, "data")
    return glb.embedded[index]


def data_of(glb: Glb, uri: object, what: str) -> bytes:
    """The bytes of a data URI (RFC 2397). UserError for a link to another file."""
    if not isinstance(uri, str) or not uri.startswith("data:"):
        raise UserError(
            f"cannot read {glb.path}: its {what} is in another file ({shown(uri)}). "
            "Save it as one .glb."
        )
    kind, comma, text = uri.partition(",")
    data = unquote_to_bytes(text)
    try:
        if not comma:
            raise ValueError("no comma")
        return base64.b64decode(data, validate=True) if kind.endswith(";base64") else data
    except (binascii.Error, ValueError) as error:
        raise glb.fault(f"its {what} in a data URI cannot be read ({error})") from None
