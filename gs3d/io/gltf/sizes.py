"""Whether a .glb describes far more data than it has."""

from gs3d.io.gltf.container import COMPONENTS, MAX_BYTES, WIDTHS, Glb
from gs3d.io.gltf.scene import placed_primitives

PLACE_BYTES = 128
"""What one place of a primitive counts: its transform."""
MAX_RATIO, SMALL_BYTES = 16, 2**26
"""A file may describe MAX_RATIO times its own length, because accessors may share bytes and meshes
may have several places; every file may describe SMALL_BYTES."""


def check_size(glb: Glb) -> None:
    """UserError if the .glb describes far more data than its own length.

    Call this before arrays of vertices are read. The sum covers all bufferViews, all accessors, and
    what each primitive uses of its accessors, once for each of its places. Malformed numbers count
    as 0 here and are left to the reader. OSError passes through.
    """
    size = glb.path.stat().st_size
    most = max(MAX_RATIO * size, SMALL_BYTES)
    accessors = glb.items(glb.tree, "accessors")
    arrays = [_bytes(accessor) for accessor in accessors]
    described = sum(_count(view, "byteLength") for view in glb.items(glb.tree, "bufferViews"))
    described += sum(arrays)
    _check(glb, described, size, most)
    for placed in placed_primitives(glb):
        described += PLACE_BYTES
        attributes = placed.primitive.get("attributes")
        used = attributes.values() if isinstance(attributes, dict) else ()
        indices, most_rows = placed.primitive.get("indices"), MAX_BYTES
        if type(indices) is int and 0 <= indices < len(arrays):
            # Only the rows that its triangles use are kept.
            most_rows = _count(accessors[indices], "count")
            described += arrays[indices]
        for i in used:
            if type(i) is int and 0 <= i < len(arrays):
                rows = max(_count(accessors[i], "count"), 1)
                described += arrays[i] * min(rows, most_rows) // rows
        _check(glb, described, size, most)


def _check(glb: Glb, described: int, size: int, most: int) -> None:
    if described > most:
        raise glb.fault(
            f"its JSON describes over {most} bytes of numbers, far more than a file of {size} "
            "bytes holds"
        )


def _count(entry: object, name: str) -> int:
    """The number `name` of a JSON object; 0 if it is absent, negative or malformed."""
    value = entry.get(name) if isinstance(entry, dict) else 0
    return max(value, 0) if type(value) is int else 0


def _bytes(accessor: object) -> int:
    """Bytes that an accessor describes; the maximum of all types if its type is unknown."""
    count = _count(accessor, "count")
    if count == 0 or not isinstance(accessor, dict):
        return 0
    kind, code = accessor.get("type"), accessor.get("componentType")
    width = int(COMPONENTS[code][2]) if type(code) is int and code in COMPONENTS else 4
    return count * width * (WIDTHS.get(kind, 16) if type(kind) is str else 16)
