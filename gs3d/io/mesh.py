"""Triangle meshes: .glb, .ply and .obj with vertex colors, and .glb with a texture.

Only this module imports trimesh.

All three formats use glTF's coordinate system: +Y up and the front towards +Z, so file x = world y,
file y = world z and file z = world x. It differs from the one of splat files (`splats/ply.py`) by
half a turn about Z, because splat viewers expect splats that way up. Vertex colors are linear in
glTF and sRGB, like images, in .ply and .obj.
"""

import io
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import trimesh
from PIL import Image
from trimesh.resolvers import Resolver
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from gs3d.core.errors import UserError, shown
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io import MESH_SUFFIXES
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.gltf.images import KEPT_PIXELS, MAX_PIXELS
from gs3d.io.gltf.mesh import read_glb_mesh
from gs3d.ops.srgb import to_linear
from gs3d.ops.transforms import WORLD_TO_GLTF

WORLD_TO_FILE = np.array(WORLD_TO_GLTF)
HEADER_BYTES = 1 << 16
"""More than the header of any .ply with triangles."""
TEXTURES = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF")
"""Formats of textures beside an .obj or a .ply. Pillow reads many more, some of which run other
programs."""
ROUGHNESS = 0.9
MATTE = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}}
"""A glTF mesh without a material is metallic, which renders black without an environment map."""


def write_mesh(path: str | Path, mesh: Mesh | TexturedMesh) -> None:
    """Write `mesh`, in world coordinates, in the format of the suffix of `path`.

    The file is read back and compared before it replaces an older one.

    Raises:
        UserError: The suffix is unknown or cannot hold a texture (only .glb can), the mesh has no
            faces or holds NaN or infinity, or the file cannot be written.
        ValueError: A face refers to a vertex that does not exist.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise UserError(
            f"cannot write {path}: expected a file name that ends in one of "
            f"{', '.join(MESH_SUFFIXES)}. Change the name."
        )
    if isinstance(mesh, TexturedMesh) and suffix != ".glb":
        raise UserError(
            f"cannot write {path}: a mesh with a texture needs a file name that ends in .glb, "
            f"got {suffix}. Change the name."
        )
    if len(mesh.faces) and not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices):
        raise ValueError(
            f"mesh.faces: expected indices of {len(mesh.vertices)} vertices, "
            f"got {mesh.faces.min()} to {mesh.faces.max()}"
        )
    if not len(mesh.faces):
        raise UserError(f"cannot write {path}: expected at least one triangle, got 0.")
    if not all(np.isfinite(values).all() for values in vars(mesh).values()):
        raise UserError(
            f"cannot write {path}: expected finite numbers, got NaN or infinity in the mesh."
        )
    exported = _in_file_coordinates(mesh)
    if isinstance(mesh, TexturedMesh):
        exported.visual = _texture_visual(mesh)
    else:
        visual = cast("ColorVisuals", exported.visual)
        visual.vertex_colors = _color_bytes(mesh, linear=suffix == ".glb")

    def write(temp: Path) -> None:
        options: dict[str, Any] = (
            {"tree_postprocessor": _set_matte_material}
            if suffix == ".glb" and isinstance(mesh, Mesh)
            else {}
        )
        data = exported.export(file_type=suffix[1:], **options)
        temp.write_bytes(_to_bytes(cast("bytes | str", data)))

    def verify(temp: Path) -> None:
        with open(temp, "rb") as file:
            loaded = trimesh.load(file, file_type=suffix[1:], force="mesh", process=False)
        got = cast("trimesh.Trimesh", loaded)
        if len(got.faces) != len(exported.faces) or not np.allclose(
            got.triangles, exported.triangles, atol=1e-5
        ):
            raise UserError(
                f"cannot write {path}: the file read back differs from the mesh. Try again. "
                "Nothing was changed."
            )

    write_atomic(path, write, verify)


def _in_file_coordinates(mesh: Mesh | TexturedMesh) -> trimesh.Trimesh:
    vertices, normals = mesh.vertices @ WORLD_TO_FILE.T, mesh.normals @ WORLD_TO_FILE.T
    return trimesh.Trimesh(
        vertices=vertices, faces=mesh.faces, vertex_normals=normals, process=False
    )


def _color_bytes(mesh: Mesh, linear: bool) -> np.ndarray:
    """Vertex colors as uint8 [V, 3], linear or sRGB."""
    colors = np.clip(mesh.colors, 0, 1)
    if linear:
        colors = to_linear(colors)
    return (colors * 255 + 0.5).astype(np.uint8)


def _texture_visual(mesh: TexturedMesh) -> TextureVisuals:
    image = Image.fromarray((np.clip(mesh.texture, 0, 1) * 255 + 0.5).astype(np.uint8))
    factors: dict[str, Any] = {
        "metallicFactor": MATTE["pbrMetallicRoughness"]["metallicFactor"],
        "roughnessFactor": ROUGHNESS,
    }
    material = PBRMaterial(name="gs3d", baseColorTexture=image, **factors)
    # In trimesh v points up. It flips v again when it writes glTF.
    uvs = mesh.uvs * (1, -1) + (0, 1)
    return TextureVisuals(uv=uvs, material=material)


def _set_matte_material(tree: dict) -> None:
    tree["materials"] = [MATTE]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0


def _to_bytes(data: bytes | str) -> bytes:
    return data.encode() if isinstance(data, str) else data


def read_mesh(path: str | Path) -> Mesh | TexturedMesh:
    """Read the mesh in a .glb file, in world coordinates, its colors as without light.

    See `gltf.mesh.read_glb_mesh`.

    Raises:
        UserError: The file is missing, holds no triangles, holds NaN or infinity, has a texture of
            more than 8192² pixels, has faces that refer to missing vertices, or needs an extension
            that is not read.

    What is shown in another way than the file says is a warning.
    """
    path = Path(path)
    try:
        mesh = read_glb_mesh(path)
    except OSError as error:
        raise read_error(path, error) from error
    to_world = WORLD_TO_FILE.astype(np.float32)
    mesh = replace(mesh, vertices=mesh.vertices @ to_world, normals=mesh.normals @ to_world)
    if not all(np.isfinite(values).all() for values in vars(mesh).values()):
        raise UserError(
            f"cannot read {path}: expected finite numbers, got NaN or infinity in the mesh. "
            "Export it again."
        )
    return mesh


def is_foreign_mesh(path: str | Path) -> bool:
    """Whether a file is an .obj, or a .ply with triangles and without splats."""
    path = Path(path)
    if path.suffix.lower() != ".ply":
        return path.suffix.lower() == ".obj"
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_BYTES).partition(b"end_header")[0]
    except OSError as error:
        raise read_error(path, error) from error
    triangles = re.search(rb"element +face +[1-9]", header)
    return triangles is not None and b"scale_0" not in header


def read_foreign_mesh(path: str | Path) -> Mesh | TexturedMesh:
    """Read a mesh in an .obj or .ply file with trimesh, in world coordinates.

    Without a texture, its colors are those at its vertices; without any it is gray. Files that it
    names are read from its own folder and those below alone.

    Raises:
        UserError: The file cannot be read, holds no triangles or numbers that are not finite, its
            faces name vertices that it does not have, or a texture is too large, not one of
            `TEXTURES`, or in another folder.
    """
    path = Path(path)
    beside = _Beside(path)
    try:
        loaded = cast(Any, trimesh.load(path, force="mesh", process=False, resolver=beside))
        if beside.fault:
            raise ValueError(beside.fault)
        vertices, faces = np.asarray(loaded.vertices), np.asarray(loaded.faces, np.int32)
        finite = len(faces) and np.isfinite(vertices).all()
        if not finite or faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError("expected triangles between its vertices, with finite positions")
        normals, visual = np.asarray(loaded.vertex_normals), loaded.visual
        is_textured = isinstance(visual, TextureVisuals)
        texture = _texture_of(visual) if is_textured else None
        bytes_of_colors = getattr(visual, "vertex_colors", None)
        if is_textured and texture is None:
            bytes_of_colors = np.tile(cast(Any, visual.material).main_color, (len(vertices), 1))
        colors = None if texture else np.asarray(bytes_of_colors, np.float32)[:, :3] / 255
    except OSError as error:
        raise read_error(path, error) from error
    # trimesh raises errors of many kinds for files that it cannot read.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"cannot read {path}: no mesh that trimesh reads ({reason})") from None
    to_world = WORLD_TO_FILE.astype(np.float32)
    vertices, normals = (v.astype(np.float32) @ to_world for v in (vertices, normals))
    if texture:
        return TexturedMesh(vertices, faces, normals, *texture)
    if colors is None or len(colors) != len(vertices):
        colors = np.full((len(vertices), 3), 0.5, np.float32)
    return Mesh(vertices, faces, normals, colors)


class _Beside(Resolver):
    """The files that a mesh names, of materials and textures.

    trimesh goes on without one that cannot be read; `fault` says why one was refused.
    """

    def __init__(self, path: Path) -> None:
        self._folder, self.fault = path.parent, ""

    def get(self, key: str) -> bytes:
        """The content of a file. ValueError if it is refused, OSError if it cannot be read."""
        name = str(key).strip()
        try:
            place = (self._folder / name.replace("\\", "/")).resolve()
            if not place.is_relative_to(self._folder.resolve()):
                raise ValueError(f"{shown(name)} is in another folder")
            if not place.is_file():
                raise FileNotFoundError(name)
            data = place.read_bytes()
            if place.suffix.lower() != ".mtl":
                self._check_texture(name, data)
        except ValueError as error:
            self.fault = self.fault or str(error)
            raise
        return data

    def _check_texture(self, name: str, data: bytes) -> None:
        # As trimesh opens it. Nothing is decoded yet.
        try:
            with Image.open(io.BytesIO(data)) as image:
                fits = image.format in TEXTURES and image.width * image.height <= MAX_PIXELS
        except (OSError, Image.DecompressionBombError, SyntaxError):
            fits = False
        if not fits:
            kinds = ", ".join(TEXTURES)
            raise ValueError(f"{shown(name)}: expected a texture up to 8192 × 8192 as {kinds}")

    def write(self, name: str, data: object) -> None:
        """A reader writes nothing."""
        raise io.UnsupportedOperation(f"{name}: only read here")

    def namespaced(self, namespace: str) -> "_Beside":
        """The files in a folder."""
        return _Beside(self._folder / namespace / "of")

    def keys(self) -> tuple[str, ...]:
        """The names are those that the mesh has."""
        return ()


def _texture_of(visual: TextureVisuals) -> tuple[np.ndarray, np.ndarray] | None:
    """UVs as in `TexturedMesh` and the texture, of what trimesh has read; None without an image."""
    material = cast(Any, visual.material)
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if image is None or visual.uv is None:
        return None
    uvs = np.asarray(visual.uv, np.float64) * [1, -1] + [0, 1]
    if (share := (KEPT_PIXELS / (image.width * image.height)) ** 0.5) < 1:
        size = (max(int(image.width * share), 1), max(int(image.height * share), 1))
        warnings.warn(
            f"its texture of {image.width} × {image.height} is shrunk to {size[0]} × {size[1]}",
            stacklevel=3,
        )
        image = image.convert("RGB").resize(size, Image.Resampling.BOX)
    return uvs, np.asarray(image.convert("RGB"), np.float32) / 255
