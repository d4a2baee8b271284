"""The container of binary glTF 2.0: a JSON chunk that describes arrays, and a binary chunk that holds them.

Little-endian: magic "glTF", version 2, length of the file; then chunks of length, type and data, each padded to 4 bytes, JSON with spaces
and binary with zeros. An accessor of the JSON is an array: rows of 1 to 4 numbers in a bufferView, a span of the binary chunk.
"""

import json
import struct
from pathlib import Path

import numpy as np

from gs3d.core.errors import UserError

MAGIC, JSON_CHUNK, BINARY_CHUNK = b"glTF", b"JSON", b"BIN\0"
HEADER_BYTES, MAX_BYTES = 20, 2**32 - 1
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
ARRAY_BUFFER = 34962
"""The `target` of a bufferView that holds attributes of vertices."""


def bad(path: Path, what: str) -> UserError:
    return UserError(
        f"cannot read {path}: {what}. Check that the file is a .glb and was copied whole."
    )


def shown(value: object) -> str:
    """A value of the JSON as a message tells it: short, and on one line."""
    try:
        return " ".join(str(value)[:40].split())
    except RecursionError:  # as deep as the parser lets it be is deeper than it can be printed
        return "lists in lists"


def write_glb(path: Path, tree: dict, arrays: list[np.ndarray]) -> None:
    """Write `tree`, the glTF without its buffers, and `arrays` [N, 1 to 4] as accessors 0, 1, … of it.

    float32 as it is, unsigned integers as fractions of their largest value. The first array is taken for positions and gets the bounds that
    glTF asks of those. All must be less than MAX_BYTES, which is what a .glb can count.
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


def read_tree(path: Path) -> tuple[dict, int, int]:
    """The JSON, and where the binary chunk starts and how long it is (0 without one). OSError passes through."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(HEADER_BYTES)
        if head[:4] != MAGIC[: len(head)] or not head:
            raise bad(
                path,
                f"expected a file that begins with 'glTF', got {head[:4]!r}"
                if head
                else "the file is empty",
            )
        if len(head) < HEADER_BYTES:
            raise bad(
                path, f"it is cut short: expected a header of {HEADER_BYTES} bytes, got {len(head)}"
            )
        version, total, length = struct.unpack("<III", head[4:16])
        if version != 2 or head[16:] != JSON_CHUNK:
            raise bad(
                path,
                f"expected glTF 2 that begins with JSON, got version {version} and {head[16:]!r}",
            )
        if max(total, HEADER_BYTES + length) > size:
            raise bad(
                path,
                f"it is cut short: the header promises {max(total, HEADER_BYTES + length)} bytes, the file has {size}",
            )
        try:
            tree = json.loads(stream.read(length).decode())
        except (ValueError, RecursionError) as error:
            raise bad(path, f"its JSON cannot be read ({str(error)[:100]})") from None
        head = stream.read(8)
    if not isinstance(tree, dict):
        raise bad(path, f"expected a JSON object, got {type(tree).__name__}")
    if len(head) < 8 or head[4:] != BINARY_CHUNK:
        return tree, size, 0
    start, length = HEADER_BYTES + length + 8, int.from_bytes(head[:4], "little")
    if start + length > size:
        raise bad(
            path, f"it is cut short: the binary chunk has {length} bytes, but {size - start} follow"
        )
    return tree, start, length


def item(path: Path, tree: dict, kind: str, index: object) -> dict:
    """Entry `index` of the list `kind`. UserError where the JSON names one that is not there."""
    entries = tree.get(kind)
    if (
        type(index) is not int
        or not isinstance(entries, list)
        or not 0 <= index < len(entries)
        or not isinstance(entries[index], dict)
    ):
        raise bad(path, f"its JSON names {kind} {shown(index)}, which it has not")
    return entries[index]


def _whole(path: Path, value: object, least: int, what: str) -> int:
    if type(value) is not int or not least <= value <= MAX_BYTES:
        raise bad(path, f"expected {what} of {least} to {MAX_BYTES}, got {shown(value)}")
    return value


def fractions(array: np.ndarray) -> np.ndarray:
    """What normalized integers stand for: [0, 1], or [−1, 1] with a sign; float32."""
    return np.maximum(array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max), -1)


def read_array(path: Path, tree: dict, first: int, size: int, index: object) -> np.ndarray:
    """Accessor `index` of `tree`, float32 [count, width], out of the `size` bytes of the binary chunk, which starts at `first`.

    UserError unless it lies in them. OSError passes through.
    """
    accessor = item(path, tree, "accessors", index)
    code, kind = accessor.get("componentType"), accessor.get("type")
    if (
        type(code) is not int
        or code not in COMPONENTS
        or type(kind) is not str
        or kind not in WIDTHS
    ):
        raise bad(
            path,
            f"accessor {index}: component type {shown(code)} of {shown(kind)} is not understood",
        )
    if "sparse" in accessor or "bufferView" not in accessor:
        raise bad(
            path,
            f"accessor {index} is sparse or without data, expected plain numbers; it may be compressed",
        )
    view = item(path, tree, "bufferViews", accessor["bufferView"])
    if view.get("buffer") != 0 or "uri" in item(path, tree, "buffers", 0):
        raise bad(
            path, f"accessor {index}: expected numbers in the file itself, got another file's"
        )
    dtype, width = np.dtype(COMPONENTS[code]), WIDTHS[kind]
    count = _whole(path, accessor.get("count"), 1, "an accessor's count")
    offset = _whole(path, accessor.get("byteOffset", 0), 0, "an accessor's byteOffset")
    start = _whole(path, view.get("byteOffset", 0), 0, "a bufferView's byteOffset")
    length = _whole(path, view.get("byteLength"), 1, "a bufferView's byteLength")
    stride = _whole(
        path,
        view.get("byteStride", dtype.itemsize * width),
        dtype.itemsize * width,
        "a bufferView's byteStride",
    )
    end = offset + stride * (count - 1) + dtype.itemsize * width
    if end > length or start + length > size:
        raise bad(
            path,
            f"accessor {index} promises {count} rows up to byte {start + end}, the data has {min(start + length, size)}",
        )
    # Mapped for this array alone, so that no more than it is in memory.
    data = np.memmap(path, np.uint8, "r", first + start + offset, (end - offset,))
    rows = np.ndarray((count, width), dtype, data, 0, (stride, dtype.itemsize))
    return (
        fractions(rows)
        if accessor.get("normalized") is True and dtype.kind in "iu"
        else rows.astype(np.float32)
    )
