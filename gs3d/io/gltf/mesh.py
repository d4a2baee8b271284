"""The triangles of a glTF scene, with the colors that its materials give them without light."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gs3d.core.errors import UserError, shown
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io.gltf.arrays import read_array
from gs3d.io.gltf.atlas import Atlas
from gs3d.io.gltf.container import Glb, open_glb
from gs3d.io.gltf.extensions import check_extensions, compression_of, unread_extension
from gs3d.io.gltf.images import Pictures
from gs3d.io.gltf.materials import OPAQUE_FROM, Material, material_of
from gs3d.io.gltf.scene import nodes_of, placed_primitives
from gs3d.io.gltf.sizes import check_size
from gs3d.io.gltf.skins import joint_matrices, posed
from gs3d.io.gltf.triangles import normals_under, triangles, unit_normals
from gs3d.io.rounding import lost_in_single
from gs3d.ops.srgb import to_srgb

if TYPE_CHECKING:
    from jaxtyping import Float, Int

LINES, TRIANGLES = (0, 1, 2, 3), (4, 5, 6)
"""Modes of primitives: points and lines; triangles, strips and fans."""
EVEN = 1e-3
"""Vertex colors that differ by no more are one color."""


@dataclass(frozen=True, eq=False)
class Part:
    """The triangles of one primitive, placed in the scene."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    normals: Float[np.ndarray, "V 3"]
    colors: Float[np.ndarray, "V 3"] | None
    """Linear factors of the vertices; None if they are all 1."""
    uvs: tuple[Float[np.ndarray, "V 2"] | None, Float[np.ndarray, "V 2"] | None]
    """In the base image of the material, and in the one that glows; None without one."""
    material: Material

    @property
    def main_uvs(self) -> Float[np.ndarray, "V 2"] | None:
        return self.uvs[0] if self.material.base is not None else self.uvs[1]


def read_glb_mesh(path: Path) -> Mesh | TexturedMesh:
    """The triangles of the scene, in file coordinates.

    Colors are those of the base color: factor × texture × vertex color, plus what the material
    emits, without light. Several materials with textures become one texture. A mesh without any
    texture has vertex colors. Skins are as their joints stand, morph targets at rest. What is not
    as in the file is a warning. UserError if there are no triangles, or if the file needs what is
    not read.
    """
    glb = open_glb(path)
    check_extensions(glb)
    check_size(glb)
    notes: list[str] = []
    parts = list(_parts(glb, notes))
    if not parts:
        raise UserError(f"cannot read {path}: expected triangles, got none.")
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = _in_single(np.concatenate([part.vertices for part in parts]), notes)
    normals = np.concatenate([part.normals for part in parts]).astype(np.float32)
    faces = np.concatenate([p.faces + o for p, o in zip(parts, offsets, strict=False)])
    faces = faces.astype(np.int32)
    textured = any(part.main_uvs is not None for part in parts)
    if textured and all(part.colors is None for part in parts):
        atlas = Atlas(notes)
        places = [atlas.add(part.material, part.main_uvs, len(part.vertices)) for part in parts]
        texture = atlas.texture()
        uvs = np.concatenate([atlas.uvs(place) for place in places]).astype(np.float32)
        mesh = TexturedMesh(vertices, faces, normals, uvs, texture)
    else:
        if textured:
            notes.append(
                "its textures are multiplied by colors of vertices; "
                "colors are kept at the vertices alone, without the detail between them"
            )
        colors = np.concatenate([_vertex_colors(part) for part in parts])
        mesh = Mesh(vertices, faces, normals, colors.astype(np.float32))
    for note, count in Counter(notes).items():
        times = f" ({count} times)" if count > 1 else ""
        warnings.warn(f"{path}: {note}{times}", stacklevel=3)
    return mesh


def _in_single(vertices: np.ndarray, notes: list[str]) -> np.ndarray:
    """Vertices as float32, moved to the origin if they would be rounded where they are."""
    center = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    is_far = np.abs(center).max() > np.ptp(vertices, axis=0).max()
    if is_far and (lost := lost_in_single(vertices)) is not None:
        vertices = vertices - center
        notes.append(
            f"single precision would round its positions by up to {lost:.2g}; "
            f"it is moved by {', '.join(f'{0 - c:.10g}' for c in center)}"
        )
    return vertices.astype(np.float32)


def _vertex_colors(part: Part) -> np.ndarray:
    """sRGB colors [V, 3]."""
    material = part.material
    base = 1.0 if material.base is None else material.base.linear_at(part.uvs[0])
    glow = 1.0 if material.glow is None else material.glow.linear_at(part.uvs[1])
    factors = np.ones((len(part.vertices), 3)) if part.colors is None else part.colors
    linear = base * material.factor * factors + glow * material.emission
    return to_srgb(linear.clip(0, 1))


def _parts(glb: Glb, notes: list[str]) -> Iterator[Part]:
    pictures = Pictures(glb, notes)
    materials: dict[int | None, Material] = {}
    # A primitive is read once, however many places it has.
    known: dict[tuple[int, int | None], Part | None] = {}
    places: dict[int, np.ndarray] = {}
    others = 0
    for placed in placed_primitives(glb):
        primitive = placed.primitive
        _check_compression(glb, primitive)
        mode, attributes = primitive.get("mode", TRIANGLES[0]), primitive.get("attributes")
        if mode not in TRIANGLES:
            others += mode in LINES
            continue
        if not isinstance(attributes, dict) or "POSITION" not in attributes:
            continue
        skin = None if placed.skin is None else glb.integer(placed.skin, 0, "the number of a skin")
        if (id(primitive), skin) not in known:
            index = primitive.get("material")
            if index is not None:
                index = glb.integer(index, 0, "the number of a material")
            if index not in materials:
                materials[index] = material_of(glb, pictures, index)
            joints = None
            if skin is not None:
                places = places or {node.index: node.matrix for node in nodes_of(glb)}
                joints = joint_matrices(glb, skin, places)
            part = _part(glb, primitive, materials[index], joints, notes)
            known[id(primitive), skin] = part
        if (part := known[id(primitive), skin]) is not None:
            yield part if skin is not None else _moved(part, placed.matrix)
    if others:
        notes.append(f"{others} parts are points or lines, which are left out")


def _moved(part: Part, matrix: np.ndarray) -> Part:
    """The part under the transform [4, 4] of its node."""
    rotation, faces = matrix[:3, :3], part.faces
    if np.linalg.det(rotation) < 0:
        faces = faces[:, ::-1]
    vertices = part.vertices @ rotation.T + matrix[:3, 3]
    normals = unit_normals(normals_under(rotation, part.normals), vertices, faces)
    return replace(part, vertices=vertices, faces=faces, normals=normals)


def _part(
    glb: Glb,
    primitive: dict,
    material: Material,
    joints: np.ndarray | None,
    notes: list[str],
) -> Part | None:
    """The triangles of one primitive, before its node moves it; with `joints`, where they do.

    None if it has none, or is not visible.
    """
    attributes = primitive["attributes"]
    position = glb.entry("accessors", attributes["POSITION"])
    count = glb.integer(position.get("count"), 1, "an accessor's count")
    faces = triangles(glb, primitive, count)
    if not len(faces):
        return None
    # Primitives often share one long array, and each uses a few of its rows.
    used, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3)

    def rows(name: str, *widths: int) -> np.ndarray | None:
        return _rows(glb, attributes, name, widths, count, used)

    vertices, colors = rows("POSITION", 3), rows("COLOR_0", 3, 4)
    assert vertices is not None
    alphas = None
    if colors is not None:
        colors = colors.clip(0, 1)
        colors, alphas = colors[:, :3], colors[:, 3] if colors.shape[1] == 4 else None
        if np.ptp(colors, axis=0).max() <= EVEN:
            material, colors = material.times(colors[0]), None
    least, most = material.opacity(alphas)
    if most == 0:
        return None
    if least < OPAQUE_FROM or material.transmission > 0:
        notes.append("a part is transparent, or has transparent places; it is shown as opaque")
    uvs: list[np.ndarray | None] = [None, None]
    for i, texture in enumerate((material.base, material.glow)):
        if texture is not None:
            found = rows(f"TEXCOORD_{texture.texcoord}", 2)
            uvs[i] = None if found is None else texture.placed(found)
            if found is None:
                notes.append("a texture has no coordinates; it is its mean color")
    normals = rows("NORMAL", 3)
    if joints is not None:
        vertices, normals = posed(glb, attributes, used, joints, vertices, normals)
        if np.median(np.linalg.det(joints[:, :3, :3])) < 0:
            faces = faces[:, ::-1]
    normals = unit_normals(normals, vertices, faces)
    return Part(vertices, faces, normals, colors, (uvs[0], uvs[1]), material)


def _rows(
    glb: Glb, attributes: dict, name: str, widths: tuple[int, ...], count: int, used: np.ndarray
) -> np.ndarray | None:
    """The `used` rows of an attribute, float64; None if there is no such attribute."""
    if name not in attributes:
        return None
    length = glb.entry("accessors", attributes[name]).get("count")
    only = used if length == count and len(used) < count else None
    values = read_array(glb, attributes[name], shares=name.startswith("COLOR"), only=only)
    if values.shape[1] not in widths or length != count:
        raise glb.fault(
            f"{name}: expected an array of {count} rows of {' or '.join(map(str, widths))} "
            f"numbers, got {shown(length)} of {values.shape[1]}"
        )
    return values.astype(np.float64)


def _check_compression(glb: Glb, primitive: dict) -> None:
    """UserError for compressed data without a plain copy beside it."""
    name = compression_of(primitive)
    attributes = primitive.get("attributes")
    if name is None:
        return
    if "splat" in name:
        raise unread_extension(glb.path, name)
    if isinstance(attributes, dict):
        position = glb.entry("accessors", attributes.get("POSITION"))
        if "bufferView" not in position:
            raise unread_extension(glb.path, name)
