"""The scene graph of a glTF file: which primitives are shown, and where."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from gs3d.io.gltf.arrays import read_array
from gs3d.io.gltf.container import Glb
from gs3d.io.gltf.extensions import extension
from gs3d.raster.reference import rotations

MAX_COORDINATE = 1e15
"""Limit for every number of a node's transform; products of larger numbers would overflow."""
TRANSFORM = {"matrix", "translation", "rotation", "scale"}
INSTANCING = "EXT_mesh_gpu_instancing"
INSTANCE_WIDTHS = {"TRANSLATION": 3, "ROTATION": 4, "SCALE": 3}


@dataclass(frozen=True, eq=False)
class Node:
    """A node of the scene."""

    index: int
    entry: dict
    matrix: np.ndarray
    """Its transform [4, 4] to the scene, which applies to column vectors."""
    is_visible: bool
    """Whether it and all above it are (KHR_node_visibility)."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A primitive in one of its places."""

    primitive: dict
    matrix: np.ndarray
    """Its transform [4, 4] to the scene."""
    skin: object = None
    """Index of the skin that takes the place of the transform; None without one."""


def nodes_of(glb: Glb) -> Iterator[Node]:
    """Every node in the scene, in the order of the file; without a scene, every node. UserError
    unless they form a tree."""
    if "scene" in glb.tree or glb.tree.get("scenes"):
        scene = glb.entry("scenes", glb.tree.get("scene", 0))
        roots = glb.items(scene, "nodes")
    else:
        roots = _roots(glb)
    pending = [(index, np.eye(4), True) for index in reversed(roots)]
    seen = set()
    while pending:
        index, parent, is_visible = pending.pop()
        node = glb.entry("nodes", index)
        if index in seen:
            raise glb.fault(f"its scene reaches node {index} twice, expected a tree")
        seen.add(index)
        if (extension(node, "KHR_node_visibility") or {}).get("visible") is False:
            is_visible = False
        matrix = parent
        if TRANSFORM & node.keys():
            matrix = parent @ _node_matrix(glb, node)
            if not np.abs(matrix).max() < MAX_COORDINATE:
                raise glb.fault(f"node {index} lies beyond {MAX_COORDINATE:g}")
        children = reversed(glb.items(node, "children"))
        pending += [(child, matrix, is_visible) for child in children]
        yield Node(index, node, matrix, is_visible)


def _roots(glb: Glb) -> list[int]:
    """Nodes that are not below another one."""
    nodes = glb.items(glb.tree, "nodes")
    lists = [glb.items(node, "children") for node in nodes if isinstance(node, dict)]
    below = {child for children in lists for child in children if type(child) is int}
    return [i for i in range(len(nodes)) if i not in below]


def shown_primitives(glb: Glb) -> Iterator[tuple[Node, list[dict]]]:
    """Every visible node that has a mesh, and its primitives. Reads only the JSON."""
    for node in nodes_of(glb):
        if node.is_visible and "mesh" in node.entry:
            mesh = glb.entry("meshes", node.entry["mesh"])
            yield node, [p for p in glb.items(mesh, "primitives") if isinstance(p, dict)]


def placed_primitives(glb: Glb) -> Iterator[Placed]:
    """Every visible primitive in the scene, once for each place that it has."""
    for node, primitives in shown_primitives(glb):
        for matrix in _places(glb, node):
            for primitive in primitives:
                yield Placed(primitive, matrix, node.entry.get("skin"))


def _places(glb: Glb, node: Node) -> np.ndarray:
    """Transforms [N, 4, 4] of a node's mesh: the node's own, or those of its instances."""
    found = extension(node.entry, INSTANCING)
    attributes = (found or {}).get("attributes")
    if not isinstance(attributes, dict) or not set(attributes) & set(INSTANCE_WIDTHS):
        return node.matrix[None]
    rows = {n: read_array(glb, attributes[n]) for n in INSTANCE_WIDTHS if n in attributes}
    count = len(next(iter(rows.values())))
    for name, values in rows.items():
        if values.shape != (expected := (count, INSTANCE_WIDTHS[name])):
            raise glb.fault(
                f"{INSTANCING}: {name}: expected an array {list(expected)}, "
                f"got {list(values.shape)}"
            )
    matrices = _matrices(count, *(rows.get(name) for name in INSTANCE_WIDTHS))
    with np.errstate(over="ignore", invalid="ignore"):
        matrices = node.matrix @ matrices
    if not np.abs(matrices).max() < MAX_COORDINATE:
        raise glb.fault(f"an instance of node {node.index} lies beyond {MAX_COORDINATE:g}")
    return matrices


def _node_matrix(glb: Glb, node: dict) -> np.ndarray:
    """The transform [4, 4] of one node: translation · rotation · scale, or its own matrix."""
    if "matrix" in node:
        # glTF stores matrices by columns.
        values = glb.numbers(node, "matrix", tuple(np.eye(4).ravel()), MAX_COORDINATE)
        return values.reshape(4, 4).T
    translation = glb.numbers(node, "translation", (0.0,) * 3, MAX_COORDINATE)
    rotation = glb.numbers(node, "rotation", (0.0, 0.0, 0.0, 1.0)) if "rotation" in node else None
    scale = glb.numbers(node, "scale", (1.0,) * 3, MAX_COORDINATE)
    return _matrices(1, translation, rotation, scale)[0]


def _matrices(
    count: int,
    translation: np.ndarray | None,
    rotation: np.ndarray | None,
    scale: np.ndarray | None,
) -> np.ndarray:
    """translation · rotation (x, y, z, w) · scale, float64 [count, 4, 4]."""
    matrices = np.tile(np.eye(4), (count, 1, 1))
    if rotation is not None:
        wxyz = np.asarray(rotation, np.float64).reshape(-1, 4)[:, [3, 0, 1, 2]]
        matrices[:, :3, :3] = rotations(torch.from_numpy(wxyz)).numpy()
    if scale is not None:
        matrices[:, :3, :3] *= scale.reshape(-1, 1, 3)
    if translation is not None:
        matrices[:, :3, 3] = translation
    return matrices
