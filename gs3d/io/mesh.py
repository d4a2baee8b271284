"""Triangle meshes: .glb, .ply and .obj with vertex colors, .glb with a texture, and .html pages.

All use glTF's coordinate system: +Y up and the front towards +Z, so file x = world y, file y =
world z and file z = world x. It differs from the one of splat files (`splats/ply.py`) by half a
turn about Z, because splat viewers expect splats that way up. Vertex colors are linear in glTF and
sRGB, like images, in .ply and .obj. A page holds the mesh as .glb.
"""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io import MESH_SUFFIXES, TEXTURED_SUFFIXES
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.gltf.mesh import read_glb_mesh
from gs3d.io.html.mesh import write_html
from gs3d.ops.srgb import to_linear
from gs3d.ops.transforms import WORLD_TO_GLTF

WORLD_TO_FILE = np.array(WORLD_TO_GLTF)
ROUGHNESS = 0.9
MATTE = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}}
"""A glTF mesh without a material is metallic, which renders black without an environment map."""


def write_mesh(path: str | Path, mesh: Mesh | TexturedMesh) -> None:
    """Write `mesh`, in world coordinates, in the format of the suffix of `path`.

    The file is read back and compared before it replaces an older one.

    Raises:
        UserError: The suffix is unknown or cannot hold a texture (.glb and .html can), the mesh
            has no faces or holds NaN or infinity, or the file cannot be written.
        ValueError: A face refers to a vertex that does not exist.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise UserError(
            f"cannot write {path}: expected a file name that ends in one of "
            f"{', '.join(MESH_SUFFIXES)}. Change the name."
        )
    if isinstance(mesh, TexturedMesh) and suffix not in TEXTURED_SUFFIXES:
        raise UserError(
            f"cannot write {path}: a mesh with a texture needs a file name that ends in "
            f"{' or '.join(TEXTURED_SUFFIXES)}, got {suffix}. Change the name."
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
    kind = "glb" if suffix == ".html" else suffix[1:]
    exported = _in_file_coordinates(mesh)
    if isinstance(mesh, TexturedMesh):
        exported.visual = _texture_visual(mesh)
    else:
        visual = cast("ColorVisuals", exported.visual)
        visual.vertex_colors = _color_bytes(mesh, linear=kind == "glb")
    matte = kind == "glb" and isinstance(mesh, Mesh)
    options: dict[str, Any] = {"tree_postprocessor": _set_matte_material} if matte else {}
    data = _to_bytes(cast("bytes | str", exported.export(file_type=kind, **options)))

    def check(written: bytes) -> None:
        loaded = trimesh.load(io.BytesIO(written), file_type=kind, force="mesh", process=False)
        got = cast("trimesh.Trimesh", loaded)
        if len(got.faces) != len(exported.faces) or not np.allclose(
            got.triangles, exported.triangles, atol=1e-5
        ):
            raise UserError(
                f"cannot write {path}: the file read back differs from the mesh. Try again. "
                "Nothing was changed."
            )

    if suffix == ".html":
        check(data)
        write_html(path, data)
    else:
        write_atomic(
            path, lambda temp: temp.write_bytes(data), lambda temp: check(temp.read_bytes())
        )


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
