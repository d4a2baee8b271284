"""Where the nodes of a glTF scene place its primitives, and splats moved there."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io.gltf.container import COMPONENTS, bad, item, read_tree
from gs3d.ops.transforms import rotate_splats
from gs3d.raster.reference import rotations

FAR = 1e15
"""Beyond it, no number of a node's place makes sense, and products of them would overflow."""
STRETCH = 1e-3
"""How far, relatively, the three scales of a node may differ and still be taken for one."""
MOST_RATIO, SMALL_BYTES = 16, 2**24
"""How many times its own length a file may describe, where accessors share their bytes; and what any file may."""
NUMBERS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


def placed_primitives(path: Path, tree: dict) -> Iterator[tuple[dict, np.ndarray]]:
    """Every primitive in the scene and its matrix [4, 4], column vectors. UserError if the nodes are no tree."""
    scene = item(path, tree, "scenes", tree.get("scene", 0))
    waiting = [(index, np.eye(4)) for index in _list(path, scene, "nodes")]
    seen = set()
    while waiting:
        index, parent = waiting.pop()
        node = item(path, tree, "nodes", index)
        if index in seen:
            raise bad(path, f"its scene reaches node {index} twice, expected a tree")
        seen.add(index)
        matrix = parent @ _matrix(path, node)
        if not np.abs(matrix).max() < FAR:
            raise bad(path, f"node {index} lies beyond {FAR:g}")
        waiting += [(child, matrix) for child in _list(path, node, "children")]
        if "mesh" in node:
            for primitive in _list(path, item(path, tree, "meshes", node["mesh"]), "primitives"):
                if isinstance(primitive, dict):
                    yield primitive, matrix


def _list(path: Path, entry: dict, name: str) -> list:
    value = entry.get(name, [])
    if not isinstance(value, list):
        raise bad(path, f"expected a list of {name} in its JSON, got {type(value).__name__}")
    return value


def _numbers(path: Path, node: dict, name: str, default: tuple[float, ...]) -> np.ndarray:
    value = node.get(name, default)
    sound = isinstance(value, (list, tuple)) and len(value) == len(default)
    if not sound or not all(type(v) in (int, float) and abs(v) < FAR for v in value):
        raise bad(path, f"a node's {name}: expected {len(default)} numbers below {FAR:g}")
    return np.array(value, np.float64)


def _matrix(path: Path, node: dict) -> np.ndarray:
    """[4, 4] of one node: its matrix, which is stored by columns, or translation · rotation · scale."""
    if "matrix" in node:
        return _numbers(path, node, "matrix", tuple(np.eye(4).ravel())).reshape(4, 4).T
    matrix = np.eye(4)
    if "rotation" in node:
        x, y, z, w = _numbers(path, node, "rotation", (0.0, 0.0, 0.0, 1.0))
        matrix[:3, :3] = rotations(torch.tensor([[w, x, y, z]], dtype=torch.float64))[0].numpy()
    matrix[:3, :3] *= _numbers(path, node, "scale", (1.0,) * 3)
    matrix[:3, 3] = _numbers(path, node, "translation", (0.0,) * 3)
    return matrix


def in_scene(path: Path, splats: Splats, matrix: np.ndarray) -> Splats:
    """`splats` moved by `matrix` [4, 4]: turned, made larger or smaller, shifted. UserError for one that stretches or mirrors."""
    if np.array_equal(matrix, np.eye(4)):
        return splats
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    scale = lengths.mean()
    rotation = matrix[:3, :3] / scale if scale > 0 else np.zeros((3, 3))
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > 2 * STRETCH or np.linalg.det(rotation) < 0:
        what = "a node stretches, mirrors or flattens its splats, expected a turn and one scale"
        raise UserError(
            f"cannot read {path}: {what}. Apply the node's transform in the program that wrote it."
        )
    u, _, v = np.linalg.svd(rotation)  # the nearest exact rotation
    turned = rotate_splats(splats, torch.from_numpy(u @ v))
    means = turned.means * scale + torch.from_numpy(matrix[:3, 3]).to(turned.means.dtype)
    return Splats(means, turned.quats, turned.scales * scale, turned.opacities, turned.sh)


def check_size(path: Path) -> None:
    """UserError unless what the .glb at `path` describes is of the order of what it holds, so that a parser may be let at it.

    Counted are all spans of bytes, all accessors, and the accessors of every primitive again wherever a node places it. Numbers that are no
    numbers are left to the parser. OSError passes through.
    """
    tree, _, _ = read_tree(path)
    views = [_natural(view, "byteLength") for view in _list(path, tree, "bufferViews")]
    arrays = [_bytes_of(accessor) for accessor in _list(path, tree, "accessors")]
    described = sum(views) + sum(arrays)
    for primitive, _ in placed_primitives(path, tree):
        attributes = primitive.get("attributes")
        used = [
            primitive.get("indices"),
            *(attributes.values() if isinstance(attributes, dict) else ()),
        ]
        described += sum(arrays[i] for i in used if type(i) is int and 0 <= i < len(arrays))
    size = path.stat().st_size
    if described > max(MOST_RATIO * size, SMALL_BYTES):
        raise bad(
            path,
            f"its JSON describes {str(described)[:20]} bytes of numbers, far more than {size} bytes of a file hold",
        )


def _natural(entry: object, name: str) -> int:
    value = entry.get(name) if isinstance(entry, dict) else 0
    return max(value, 0) if type(value) is int else 0


def _bytes_of(accessor: object) -> int:
    """What its numbers take; of types that are not known, the most that any does."""
    count = _natural(accessor, "count")
    if count == 0:
        return 0
    kind, code = accessor.get("type"), accessor.get("componentType")
    width = int(COMPONENTS[code][2]) if type(code) is int and code in COMPONENTS else 4
    return count * width * (NUMBERS.get(kind, 16) if type(kind) is str else 16)
