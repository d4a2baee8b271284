"""Container of binary glTF 2.0 (.glb): a JSON chunk that describes arrays, and a binary chunk.

Little-endian: magic "glTF", version 2, length of the file; then chunks of length, type and data.
Each chunk is padded to 4 bytes, JSON with spaces and binary with zeros. An accessor in the JSON is
an array: rows of 1 to 4 numbers in a bufferView, which is a span of the binary chunk.
"""

import json
import struct
from pathlib import Path

import numpy as np

from gs3d.core.errors import UserError

MAGIC, JSON_CHUNK, BINARY_CHUNK = b"glTF", b"JSON", b"BIN\0"
HEADER_BYTES, MAX_BYTES = 20, 2**32 - 1
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
"""glTF component type → numpy dtype."""
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
"""glTF accessor type → numbers per row."""
ARRAY_BUFFER = 34962
"""The `target` of a bufferView that holds vertex attributes."""


def invalid_glb(path: Path, what: str) -> UserError:
    """The UserError for a .glb that cannot be read, for the reason `what`."""
    return UserError(
        f"cannot read {path}: {what}. Check that the file is a .glb and was copied completely."
    )


def short_text(value: object) -> str:
    """A JSON value for an error message: at most 40 characters, on one line."""
    try:
        return " ".join(str(value)[:40].split())
    # The parser accepts deeper nesting than str() does.
    except RecursionError:
        return "deeply nested lists"


def write_glb(path: Path, tree: dict, arrays: list[np.ndarray]) -> None:
    """Write a .glb with `arrays` [N, 1 to 4] as accessors 0, 1, …

    `tree` is the glTF JSON without buffers. float32 is stored as it is, unsigned integers are
    marked as normalized. The first array is taken for positions and gets the bounds that glTF
    requires. The total must be below MAX_BYTES.
    """
    codes = {np.dtype(code): number for number, code in COMPONENTS.items()}
    names = {width: name for name, width in WIDTHS.items()}
    views, accessors, start = [], [], 0
    for i, array in enumerate(arrays):
        views.append(
            {"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": ARRAY_BUFFER}
        )
        accessors.append(
            {
                "bufferView": i,
                "componentType": codes[array.dtype],
                "count": len(array),
                "type": names[array.shape[1]],
            }
        )
        if array.dtype.kind == "u":
            accessors[-1]["normalized"] = True
        start += array.nbytes + -array.nbytes % 4
    accessors[0] |= {"min": arrays[0].min(axis=0).tolist(), "max": arrays[0].max(axis=0).tolist()}
    text = json.dumps(
        tree | {"accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": start}]},
        separators=(",", ":"),
    )
    text = text.encode() + b" " * (-len(text.encode()) % 4)
    total = HEADER_BYTES + len(text) + 8 + start
    with open(path, "wb") as stream:
        stream.write(MAGIC + struct.pack("<III", 2, total, len(text)) + JSON_CHUNK + text)
        stream.write(struct.pack("<I", start) + BINARY_CHUNK)
        for array in arrays:
            stream.write(np.ascontiguousarray(array).data)
            stream.write(b"\0" * (-array.nbytes % 4))


def read_json(path: Path) -> tuple[dict, int, int]:
    """The JSON, and the offset and the length (0 if absent) of the binary chunk.

    UserError for an invalid container. OSError passes through.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(HEADER_BYTES)
        if not head:
            raise invalid_glb(path, "the file is empty")
        if head[:4] != MAGIC[: len(head)]:
            raise invalid_glb(path, f"expected a file that begins with 'glTF', got {head[:4]!r}")
        if len(head) < HEADER_BYTES:
            raise invalid_glb(
                path, f"it is cut short: expected a header of {HEADER_BYTES} bytes, got {len(head)}"
            )
        version, total, length = struct.unpack("<III", head[4:16])
        if version != 2 or head[16:] != JSON_CHUNK:
            raise invalid_glb(
                path,
                f"expected glTF 2 that begins with JSON, got version {version} and {head[16:]!r}",
            )
        if (declared := max(total, HEADER_BYTES + length)) > size:
            raise invalid_glb(
                path,
                f"it is cut short: the header declares {declared} bytes, the file has {size}",
            )
        try:
            tree = json.loads(stream.read(length).decode())
        except (ValueError, RecursionError) as error:
            raise invalid_glb(path, f"its JSON cannot be read ({str(error)[:100]})") from None
        head = stream.read(8)
    if not isinstance(tree, dict):
        raise invalid_glb(path, f"expected a JSON object, got {type(tree).__name__}")
    if len(head) < 8 or head[4:] != BINARY_CHUNK:
        return tree, size, 0
    start, length = HEADER_BYTES + length + 8, int.from_bytes(head[:4], "little")
    if start + length > size:
        raise invalid_glb(
            path, f"it is cut short: the binary chunk has {length} bytes, but {size - start} follow"
        )
    return tree, start, length


def read_bytes(path: Path, tree: dict, first: int, size: int, index: object) -> bytes:
    """The bytes of bufferView `index`. UserError unless it lies within the binary chunk, which
    starts at the offset `first` and has `size` bytes. OSError passes through."""
    view = get_entry(path, tree, "bufferViews", index)
    start = _check_integer(path, view.get("byteOffset", 0), 0, "a bufferView's byteOffset")
    length = _check_integer(path, view.get("byteLength"), 1, "a bufferView's byteLength")
    if start + length > size:
        raise invalid_glb(path, f"bufferView {index} ends at byte {start + length} of {size}")
    with open(path, "rb") as stream:
        stream.seek(first + start)
        return stream.read(length)


def get_entry(path: Path, tree: dict, kind: str, index: object) -> dict:
    """Entry `index` of the list `kind` of the JSON. UserError if there is no such entry."""
    entries = tree.get(kind)
    if (
        type(index) is not int
        or not isinstance(entries, list)
        or not 0 <= index < len(entries)
        or not isinstance(entries[index], dict)
    ):
        raise invalid_glb(path, f"its JSON refers to {kind} {short_text(index)}, which is missing")
    return entries[index]


def _check_integer(path: Path, value: object, least: int, what: str) -> int:
    if type(value) is not int or not least <= value <= MAX_BYTES:
        raise invalid_glb(
            path, f"expected {what} of {least} to {MAX_BYTES}, got {short_text(value)}"
        )
    return value


def dequantize(array: np.ndarray) -> np.ndarray:
    """The values of normalized integers, float32: [0, 1] if unsigned, [−1, 1] if signed."""
    return np.maximum(array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max), -1)


def read_array(
    path: Path, tree: dict, first: int, size: int, index: object, whole: bool = False
) -> np.ndarray:
    """Accessor `index` of `tree` as float32 [count, width], or as int64 if `whole`.

    The binary chunk starts at the offset `first` and has `size` bytes. UserError unless the
    accessor lies within it. OSError passes through.
    """
    accessor = get_entry(path, tree, "accessors", index)
    code, kind = accessor.get("componentType"), accessor.get("type")
    if (
        type(code) is not int
        or code not in COMPONENTS
        or type(kind) is not str
        or kind not in WIDTHS
    ):
        raise invalid_glb(
            path,
            f"accessor {index}: component type {short_text(code)} of {short_text(kind)} "
            "is not supported",
        )
    if "sparse" in accessor or "bufferView" not in accessor:
        raise invalid_glb(
            path,
            f"accessor {index} is sparse or without data, expected plain numbers; "
            "it may be compressed",
        )
    view = get_entry(path, tree, "bufferViews", accessor["bufferView"])
    if view.get("buffer") != 0 or "uri" in get_entry(path, tree, "buffers", 0):
        raise invalid_glb(
            path, f"accessor {index}: expected data in the file itself, got another file's"
        )
    dtype, width = np.dtype(COMPONENTS[code]), WIDTHS[kind]
    row_bytes = dtype.itemsize * width
    count = _check_integer(path, accessor.get("count"), 1, "an accessor's count")
    offset = _check_integer(path, accessor.get("byteOffset", 0), 0, "an accessor's byteOffset")
    start = _check_integer(path, view.get("byteOffset", 0), 0, "a bufferView's byteOffset")
    length = _check_integer(path, view.get("byteLength"), 1, "a bufferView's byteLength")
    stride = _check_integer(
        path, view.get("byteStride", row_bytes), row_bytes, "a bufferView's byteStride"
    )
    end = offset + stride * (count - 1) + row_bytes
    if end > length or start + length > size:
        raise invalid_glb(
            path,
            f"accessor {index} declares {count} rows up to byte {start + end}, "
            f"the data has {min(start + length, size)}",
        )
    # Map only the bytes of this array, so that memory use stays bounded by its size.
    data = np.memmap(path, np.uint8, "r", first + start + offset, (end - offset,))
    rows = np.ndarray((count, width), dtype, data, 0, (stride, dtype.itemsize))
    if whole:
        if dtype.kind != "u":
            raise invalid_glb(path, f"accessor {index}: expected whole numbers, got {code}")
        return rows.astype(np.int64)
    normalized = accessor.get("normalized") is True and dtype.kind in "iu"
    return dequantize(rows) if normalized else rows.astype(np.float32)
