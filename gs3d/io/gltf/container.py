"""Container of binary glTF 2.0 (.glb): a JSON chunk that describes arrays, and a binary chunk.

Little-endian: magic "glTF", version 2, length of the file; then chunks of length, type and data.
Each chunk is padded to 4 bytes, JSON with spaces and binary with zeros.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gs3d.core.errors import UserError, shown

MAGIC, JSON_CHUNK, BINARY_CHUNK = b"glTF", b"JSON", b"BIN\0"
HEADER_BYTES, MAX_BYTES = 20, 2**32 - 1
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
"""glTF component type → numpy dtype."""
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
"""glTF accessor type → numbers per row."""
ARRAY_BUFFER = 34962
"""The `target` of a bufferView that holds vertex attributes."""


@dataclass(frozen=True)
class Glb:
    """An open .glb: its JSON, and where its binary chunk lies."""

    path: Path
    tree: dict
    start: int
    """Offset of the binary chunk in the file."""
    size: int
    """Length of the binary chunk; 0 if there is none."""
    embedded: dict[int, bytes] = field(default_factory=dict)
    """Buffers that were decoded from the JSON, by their number."""

    def fault(self, what: str) -> UserError:
        """The UserError for a file that cannot be read, for the reason `what`."""
        return invalid_glb(self.path, what)

    def entry(self, kind: str, index: object) -> dict:
        """Entry `index` of the list `kind` of the JSON. UserError if there is no such entry."""
        entries = self.tree.get(kind)
        if (
            type(index) is not int
            or not isinstance(entries, list)
            or not 0 <= index < len(entries)
            or not isinstance(entries[index], dict)
        ):
            raise self.fault(f"its JSON refers to {kind} {shown(index)}, which is missing")
        return entries[index]

    def items(self, entry: dict, name: str) -> list:
        """The list `name` of a JSON object; empty if it is absent."""
        value = entry.get(name, [])
        if not isinstance(value, list):
            raise self.fault(f"expected a list of {name} in its JSON, got {type(value).__name__}")
        return value

    def integer(self, value: object, least: int, what: str) -> int:
        """`value`, if it is an integer of at least `least` that a file can hold."""
        if type(value) is not int or not least <= value <= MAX_BYTES:
            raise self.fault(f"expected {what} of {least} to {MAX_BYTES}, got {shown(value)}")
        return value

    def numbers(
        self, entry: dict, name: str, default: tuple[float, ...] | float, most: float = 1e300
    ) -> np.ndarray:
        """The number, or list of numbers, `name` of a JSON object, float64.

        They have the shape of `default`, and absolute values below `most`.
        """
        value = entry.get(name, default)
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        is_list = isinstance(default, tuple)
        if (
            isinstance(value, (list, tuple)) != is_list
            or len(items) != (len(default) if isinstance(default, tuple) else 1)
            or not all(type(v) in (int, float) and abs(v) < most for v in items)
        ):
            count = f"{len(default)} numbers" if isinstance(default, tuple) else "a number"
            raise self.fault(f"{name}: expected {count} below {most:g}, got {shown(value)}")
        return np.array(items if is_list else items[0], np.float64)


def invalid_glb(path: Path, what: str) -> UserError:
    """The UserError for a .glb that cannot be read, for the reason `what`."""
    return UserError(
        f"cannot read {path}: {what}. Check that the file is a .glb and was copied completely."
    )


def write_glb(
    path: Path, tree: dict, arrays: list[np.ndarray], positions: Sequence[int] = (0,)
) -> None:
    """Write a .glb with `arrays` [N, 1 to 4] as accessors 0, 1, …

    `tree` is the glTF JSON without buffers. float32 is stored as it is, unsigned integers are
    marked as normalized. The arrays that `positions` counts hold positions and get the bounds that
    glTF requires. The total must be below MAX_BYTES.
    """
    codes = {np.dtype(code): number for number, code in COMPONENTS.items()}
    names = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
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
    for i in positions:
        low, high = arrays[i].min(axis=0), arrays[i].max(axis=0)
        accessors[i] |= {"min": low.tolist(), "max": high.tolist()}
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


def open_glb(path: Path) -> Glb:
    """Read the JSON of a .glb, and find its binary chunk.

    UserError for an invalid container. OSError passes through.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(HEADER_BYTES)
        length = _check_header(path, head, size)
        try:
            # Some writers pad the JSON with zeros.
            tree = json.loads(stream.read(length).rstrip(b"\0 ").decode())
        except (ValueError, RecursionError) as error:
            raise invalid_glb(path, f"its JSON cannot be read ({str(error)[:100]})") from None
        head = stream.read(8)
    if not isinstance(tree, dict):
        raise invalid_glb(path, f"expected a JSON object, got {type(tree).__name__}")
    if len(head) < 8 or head[4:] != BINARY_CHUNK:
        return Glb(path, tree, size, 0)
    start, length = HEADER_BYTES + length + 8, int.from_bytes(head[:4], "little")
    if start + length > size:
        raise invalid_glb(
            path, f"it is cut short: the binary chunk has {length} bytes, but {size - start} follow"
        )
    return Glb(path, tree, start, length)


def _check_header(path: Path, head: bytes, size: int) -> int:
    """Length of the JSON chunk of a file with `size` bytes that begins with `head`."""
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
            path, f"it is cut short: the header declares {declared} bytes, the file has {size}"
        )
    return length
