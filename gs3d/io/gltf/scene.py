"""The scene graph of a glTF file: transforms of its primitives, and splats under a transform."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io.gltf.container import COMPONENTS, get_entry, invalid_glb, read_json
from gs3d.ops.transforms import rotate_splats
from gs3d.raster.reference import rotations

MAX_COORDINATE = 1e15
"""Limit for every number of a node's transform; products of larger numbers would overflow."""
SCALE_TOLERANCE = 1e-3
"""Relative difference up to which the three scales of a node count as uniform."""
MAX_SIZE_RATIO, SMALL_BYTES = 16, 2**24
"""A file may describe MAX_SIZE_RATIO times its own length, because accessors may share bytes;
every file may describe SMALL_BYTES."""
NUMBERS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
"""glTF accessor type → numbers per row."""


def placed_primitives(path: Path, tree: dict) -> Iterator[tuple[dict, np.ndarray]]:
    """Every primitive in the scene and its transform [4, 4], which applies to column vectors.

    UserError unless the nodes form a tree.
    """
    scene = get_entry(path, tree, "scenes", tree.get("scene", 0))
    pending = [(index, np.eye(4)) for index in _get_list(path, scene, "nodes")]
    seen = set()
    while pending:
        index, parent = pending.pop()
        node = get_entry(path, tree, "nodes", index)
        if index in seen:
            raise invalid_glb(path, f"its scene reaches node {index} twice, expected a tree")
        seen.add(index)
        matrix = parent @ _node_matrix(path, node)
        if not np.abs(matrix).max() < MAX_COORDINATE:
            raise invalid_glb(path, f"node {index} lies beyond {MAX_COORDINATE:g}")
        pending += [(child, matrix) for child in _get_list(path, node, "children")]
        if "mesh" in node:
            mesh = get_entry(path, tree, "meshes", node["mesh"])
            for primitive in _get_list(path, mesh, "primitives"):
                if isinstance(primitive, dict):
                    yield primitive, matrix


def _get_list(path: Path, entry: dict, name: str) -> list:
    value = entry.get(name, [])
    if not isinstance(value, list):
        raise invalid_glb(
            path, f"expected a list of {name} in its JSON, got {type(value).__name__}"
        )
    return value


def _get_numbers(path: Path, node: dict, name: str, default: tuple[float, ...]) -> np.ndarray:
    value = node.get(name, default)
    valid = isinstance(value, (list, tuple)) and len(value) == len(default)
    if not valid or not all(type(v) in (int, float) and abs(v) < MAX_COORDINATE for v in value):
        raise invalid_glb(
            path, f"a node's {name}: expected {len(default)} numbers below {MAX_COORDINATE:g}"
        )
    return np.array(value, np.float64)


def _node_matrix(path: Path, node: dict) -> np.ndarray:
    """The transform [4, 4] of one node: translation · rotation · scale, or its own matrix."""
    if "matrix" in node:
        # glTF stores matrices by columns.
        return _get_numbers(path, node, "matrix", tuple(np.eye(4).ravel())).reshape(4, 4).T
    matrix = np.eye(4)
    if "rotation" in node:
        x, y, z, w = _get_numbers(path, node, "rotation", (0.0, 0.0, 0.0, 1.0))
        matrix[:3, :3] = rotations(torch.tensor([[w, x, y, z]], dtype=torch.float64))[0].numpy()
    matrix[:3, :3] *= _get_numbers(path, node, "scale", (1.0,) * 3)
    matrix[:3, 3] = _get_numbers(path, node, "translation", (0.0,) * 3)
    return matrix


def apply_transform(path: Path, splats: Splats, matrix: np.ndarray) -> Splats:
    """`splats` rotated, scaled and translated by `matrix` [4, 4].

    UserError if the matrix stretches or mirrors. `path` is the file being read, for messages.
    """
    if np.array_equal(matrix, np.eye(4)):
        return splats
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    scale = lengths.mean()
    rotation = matrix[:3, :3] / scale if scale > 0 else np.zeros((3, 3))
    deviation = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if deviation > 2 * SCALE_TOLERANCE or np.linalg.det(rotation) < 0:
        raise UserError(
            f"cannot read {path}: a node stretches, mirrors or flattens its splats, "
            "expected a rotation and a uniform scale. "
            "Apply the node's transform in the program that wrote the file."
        )
    # u @ v is the nearest exact rotation.
    u, _, v = np.linalg.svd(rotation)
    rotated = rotate_splats(splats, torch.from_numpy(u @ v))
    means = rotated.means * scale + torch.from_numpy(matrix[:3, 3]).to(rotated.means.dtype)
    return Splats(means, rotated.quats, rotated.scales * scale, rotated.opacities, rotated.sh)


def check_size(path: Path) -> None:
    """UserError if the .glb at `path` describes far more data than its own length.

    Call this before a parser that allocates what the JSON describes. The sum covers all
    bufferViews, all accessors, and the accessors of every primitive once per node that places it.
    Malformed numbers count as 0 here and are left to the parser. OSError passes through.
    """
    tree, _, _ = read_json(path)
    views = [_get_count(view, "byteLength") for view in _get_list(path, tree, "bufferViews")]
    arrays = [_accessor_bytes(accessor) for accessor in _get_list(path, tree, "accessors")]
    described = sum(views) + sum(arrays)
    for primitive, _ in placed_primitives(path, tree):
        attributes = primitive.get("attributes")
        used = [
            primitive.get("indices"),
            *(attributes.values() if isinstance(attributes, dict) else ()),
        ]
        described += sum(arrays[i] for i in used if type(i) is int and 0 <= i < len(arrays))
    size = path.stat().st_size
    if described > max(MAX_SIZE_RATIO * size, SMALL_BYTES):
        raise invalid_glb(
            path,
            f"its JSON describes {str(described)[:20]} bytes of numbers, "
            f"far more than a file of {size} bytes holds",
        )


def _get_count(entry: object, name: str) -> int:
    """The number `name` of a JSON object; 0 if it is absent, negative or malformed."""
    value = entry.get(name) if isinstance(entry, dict) else 0
    return max(value, 0) if type(value) is int else 0


def _accessor_bytes(accessor: object) -> int:
    """Bytes that an accessor describes; the maximum of all types if its type is unknown."""
    count = _get_count(accessor, "count")
    if count == 0 or not isinstance(accessor, dict):
        return 0
    kind, code = accessor.get("type"), accessor.get("componentType")
    width = int(COMPONENTS[code][2]) if type(code) is int and code in COMPONENTS else 4
    return count * width * (NUMBERS.get(kind, 16) if type(kind) is str else 16)
