"""Meshes of other programs: .obj, and .ply with triangles, read with trimesh.

Their coordinates are as in `gs3d.io.mesh`.
"""

import io
import re
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import trimesh
from PIL import Image
from trimesh.resolvers import Resolver
from trimesh.visual import TextureVisuals

from gs3d.core.errors import UserError, shown
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io.atomic import read_error
from gs3d.io.gltf.images import KEPT_PIXELS, MAX_PIXELS
from gs3d.io.mesh import WORLD_TO_FILE

HEADER_BYTES = 1 << 16
"""More than the header of any .ply with triangles."""
TEXTURES = ("PNG", "JPEG", "WEBP", "BMP", "TGA", "TIFF")
"""Formats of textures beside an .obj or a .ply. Pillow reads many more, some of which run other
programs."""


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
