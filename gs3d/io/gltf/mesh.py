"""The triangles of a glTF scene, with the colors that its materials give them without light."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io.gltf.container import get_entry, invalid_glb, read_array, read_json
from gs3d.io.gltf.extensions import check_extensions, extension, unread_extension
from gs3d.io.gltf.materials import Material, material_of, to_srgb
from gs3d.io.gltf.scene import check_size, placed_primitives
from gs3d.io.gltf.textures import Atlas

if TYPE_CHECKING:
    from jaxtyping import Float, Int

TRIANGLES, STRIP, FAN = 4, 5, 6
DRACO, SPLATS = "KHR_draco_mesh_compression", "KHR_spz_gaussian_splats_compression"
EVEN = 1e-3
"""Vertex colors that differ by no more are one color."""
Read = Callable[..., np.ndarray]
"""Accessor → its rows (`container.read_array`)."""


@dataclass(frozen=True)
class Part:
    """The triangles of one primitive, placed in the scene."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    normals: Float[np.ndarray, "V 3"]
    colors: Float[np.ndarray, "V 3"] | None
    """Linear factors of the vertices; None if they are all 1."""
    uvs: Float[np.ndarray, "V 2"] | None
    """Of the texture of the material; None without one."""
    material: Material


def read_glb_mesh(path: Path) -> Mesh | TexturedMesh:
    """The triangles of the scene, in file coordinates.

    Colors are those of the base color: factor × texture × vertex color, plus what the material
    emits, without light. Several materials with textures become one texture. A mesh without any
    texture has vertex colors. Skins and morph targets are at rest. UserError if there are no
    triangles, or if the file needs what is not read.
    """
    check_size(path)
    tree, start, length = read_json(path)
    check_extensions(path, tree)
    read = partial(read_array, path, tree, start, length)
    parts = list(_parts(path, tree, read, start, length))
    if not parts:
        raise UserError(f"cannot read {path}: expected triangles, got none.")
    if hidden := sum(part.material.is_transparent for part in parts):
        warnings.warn(
            f"{path}: {hidden} of {len(parts)} parts are transparent; they are shown as opaque",
            stacklevel=3,
        )
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices, normals = (
        np.concatenate([getattr(part, name) for part in parts]).astype(np.float32)
        for name in ("vertices", "normals")
    )
    faces = np.concatenate([p.faces + o for p, o in zip(parts, offsets, strict=False)])
    faces = faces.astype(np.int32)
    if any(part.uvs is not None for part in parts):
        if all(part.colors is None for part in parts):
            atlas = Atlas()
            places = [atlas.add(part.material, part.uvs, len(part.vertices)) for part in parts]
            texture = atlas.texture(path)
            uvs = np.concatenate([atlas.uvs(place) for place in places]).astype(np.float32)
            return TexturedMesh(vertices, faces, normals, uvs, texture)
        warnings.warn(
            f"{path}: its textures are multiplied by colors of vertices; "
            "colors are kept at the vertices alone, without the detail between them",
            stacklevel=3,
        )
    colors = [_vertex_colors(part) for part in parts]
    return Mesh(vertices, faces, normals, np.concatenate(colors).astype(np.float32))


def _vertex_colors(part: Part) -> np.ndarray:
    """sRGB colors [V, 3]."""
    factors = 1.0 if part.colors is None else part.colors
    linear = part.material.linear_at(part.uvs, len(part.vertices)) * factors
    return to_srgb(np.clip(linear + part.material.emission, 0, 1))


def _parts(path: Path, tree: dict, read: Read, start: int, length: int) -> Iterator[Part]:
    materials: dict[object, Material] = {}
    for primitive, transform in placed_primitives(path, tree):
        _check_compression(path, tree, primitive)
        mode = primitive.get("mode", TRIANGLES)
        if mode not in (TRIANGLES, STRIP, FAN):
            continue
        attributes = primitive.get("attributes")
        if not isinstance(attributes, dict) or "POSITION" not in attributes:
            continue
        vertices = _rows(path, read, attributes, "POSITION", 3)
        faces = _faces(path, read, primitive.get("indices"), mode, len(vertices))
        if not len(faces):
            continue
        key = primitive.get("material")
        if key not in materials:
            materials[key] = material_of(path, tree, start, length, key)
        material, colors = materials[key], None
        if "COLOR_0" in attributes:
            colors = _rows(path, read, attributes, "COLOR_0", None, len(vertices))[:, :3]
            if np.ptp(colors, axis=0).max() <= EVEN:
                material, colors = material.times(colors[0]), None
        uvs, name = None, f"TEXCOORD_{material.texcoord}"
        if material.image is not None and name in attributes:
            uvs = material.placed(_rows(path, read, attributes, name, 2, len(vertices)))
        rotation = transform[:3, :3]
        if np.linalg.det(rotation) < 0:
            faces = faces[:, ::-1]
        placed = vertices @ rotation.T + transform[:3, 3]
        normals = None
        if "NORMAL" in attributes:
            normals = _rows(path, read, attributes, "NORMAL", 3, len(vertices))
            normals = _normals(normals, rotation)
        if normals is None:
            normals = _smooth_normals(placed, faces)
        yield Part(placed, faces, normals, colors, uvs, material)


def _check_compression(path: Path, tree: dict, primitive: dict) -> None:
    """UserError for compressed data without a plain copy beside it."""
    if extension(primitive, SPLATS) is not None:
        raise unread_extension(path, SPLATS)
    attributes = primitive.get("attributes")
    if extension(primitive, DRACO) is not None and isinstance(attributes, dict):
        position = get_entry(path, tree, "accessors", attributes.get("POSITION"))
        if "bufferView" not in position:
            raise unread_extension(path, DRACO)


def _rows(
    path: Path, read: Read, attributes: dict, name: str, width: int | None, count: int | None = None
) -> np.ndarray:
    """Rows of an attribute, float64 [V, width]."""
    rows = read(attributes[name])
    if (width is not None and rows.shape[1] != width) or count not in (None, len(rows)):
        raise invalid_glb(
            path,
            f"{name}: expected an array of {count or 'any'} rows of {width or 3} numbers, "
            f"got {list(rows.shape)}",
        )
    rows = rows.astype(np.float64)
    if name.startswith("COLOR") and (largest := rows.max(initial=0)) > 1:
        # Integers without the mark that says that they are fractions of their largest value.
        rows /= 255 if largest <= 255 else 65535
    return rows


def _faces(path: Path, read: Read, indices: object, mode: int, count: int) -> np.ndarray:
    """Vertex indices of the triangles, int64 [F, 3]."""
    order = np.arange(count) if indices is None else read(indices, whole=True)[:, 0]
    if len(order) and not 0 <= order.min() <= order.max() < count:
        raise UserError(
            f"cannot read {path}: its faces refer to vertices that are not in the file. "
            "Use another copy of the file."
        )
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return np.empty((0, 3), np.int64)
    if mode == FAN:
        first = np.full(len(order) - 2, order[0])
        return np.stack([first, order[1:-1], order[2:]], axis=1)
    faces = np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
    faces[1::2] = faces[1::2, ::-1]
    # A strip repeats a vertex to begin another one; that triangle has no area.
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (a != c)]


def _smooth_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3]: means of those of the faces, weighted by their areas."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    sums = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(sums, faces[:, corner], across)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0])
    return np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1), up)


def _normals(normals: np.ndarray, rotation: np.ndarray) -> np.ndarray | None:
    """Unit normals under a node's transform; None if one of them has no direction."""
    try:
        normals = normals @ np.linalg.inv(rotation)
    except np.linalg.LinAlgError:
        return None
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / lengths if (lengths > 0).all() else None
