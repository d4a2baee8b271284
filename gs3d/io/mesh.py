"""Triangle meshes: .glb, .ply and .obj with a color a vertex, .glb with a texture. The only module that uses trimesh.

All three are in glTF's frame, +Y up and the front towards +Z: file x = world y, file y = world z, file z = world x. That is half a turn
about Z from the frame of splat files (ply.py), which lie the way viewers of splats expect. glTF's vertex colors are linear, those of
the others are sRGB as pictures are.
"""

import io
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io import MESH_SUFFIXES
from gs3d.io.atomic import write_atomic
from gs3d.io.gltf.scene import check_size
from gs3d.ops.transforms import WORLD_TO_GLTF

WORLD_TO_FILE = np.array(WORLD_TO_GLTF)
ROUGHNESS = 0.9
MATTE = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}}
"""Without a material glTF means a metal, which is black where nothing surrounds it."""
MOST_PIXELS = 8192**2
"""Of a texture: what `painted.textured` makes at most."""


def write_mesh(path: str | Path, mesh: Mesh | TexturedMesh) -> None:
    """Write `mesh` (world frame) in the format that the suffix of `path` names; read back before it takes its place.

    Raises:
        UserError: Another suffix (a texture goes into .glb alone), a mesh without faces or with numbers that are not finite, or a file
            that cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise UserError(
            f"cannot write {path}: expected a file name that ends in one of {', '.join(MESH_SUFFIXES)}. Change the name."
        )
    if isinstance(mesh, TexturedMesh) and suffix != ".glb":
        raise UserError(
            f"cannot write {path}: a mesh with a texture is one file as .glb only. Change the name."
        )
    if len(mesh.faces) and not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices):
        raise ValueError(
            f"mesh.faces: expected rows of {len(mesh.vertices)} vertices, got {mesh.faces.min()} to {mesh.faces.max()}"
        )
    if not len(mesh.faces):
        raise UserError(f"cannot write {path}: expected at least one triangle, got 0.")
    if not all(np.isfinite(values).all() for values in vars(mesh).values()):
        raise UserError(
            f"cannot write {path}: expected finite numbers, got NaN or infinity in the mesh."
        )
    turned = _turned(mesh)
    if isinstance(mesh, TexturedMesh):
        turned.visual = _texture_of(mesh)
    else:
        turned.visual.vertex_colors = _colors_of(mesh, linear=suffix == ".glb")

    def write(temp: Path) -> None:
        more = (
            {"tree_postprocessor": _paint_matte}
            if suffix == ".glb" and isinstance(mesh, Mesh)
            else {}
        )
        temp.write_bytes(_bytes(turned.export(file_type=suffix[1:], **more)))

    def verify(temp: Path) -> None:
        with open(temp, "rb") as file:
            got = trimesh.load(file, file_type=suffix[1:], force="mesh", process=False)
        if len(got.faces) != len(turned.faces) or not np.allclose(
            got.triangles, turned.triangles, atol=1e-5
        ):
            raise UserError(
                f"cannot write {path}: the file read back differs from the mesh. Try again. Nothing was changed."
            )

    write_atomic(path, write, verify)


def _turned(mesh: Mesh | TexturedMesh) -> trimesh.Trimesh:
    vertices, normals = mesh.vertices @ WORLD_TO_FILE.T, mesh.normals @ WORLD_TO_FILE.T
    return trimesh.Trimesh(
        vertices=vertices, faces=mesh.faces, vertex_normals=normals, process=False
    )


def _colors_of(mesh: Mesh, linear: bool) -> np.ndarray:
    """[V, 3] bytes."""
    colors = np.clip(mesh.colors, 0, 1)
    if linear:
        colors = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return (colors * 255 + 0.5).astype(np.uint8)


def _texture_of(mesh: TexturedMesh) -> trimesh.visual.TextureVisuals:
    picture = Image.fromarray((np.clip(mesh.texture, 0, 1) * 255 + 0.5).astype(np.uint8))
    factors = {
        "metallicFactor": MATTE["pbrMetallicRoughness"]["metallicFactor"],
        "roughnessFactor": ROUGHNESS,
    }
    material = trimesh.visual.material.PBRMaterial(name="gs3d", baseColorTexture=picture, **factors)
    uvs = mesh.uvs * (1, -1) + (
        0,
        1,
    )  # trimesh has v grow upwards, and turns it round again for glTF
    return trimesh.visual.TextureVisuals(uv=uvs, material=material)


def _srgb_of(visual: trimesh.visual.base.Visuals, count: int) -> np.ndarray:
    """[V, 3] in [0, 1]: the vertices' colors, else the material's for all of them."""
    if isinstance(
        visual, trimesh.visual.TextureVisuals
    ):  # what trimesh makes of any material, and beside it keeps the vertices' colors
        own = visual.vertex_attributes
        linear = own["color"] if "color" in own else np.atleast_2d(visual.material.main_color)
    else:
        linear = visual.vertex_colors
    linear = np.asarray(linear)[:, :3]
    linear = np.broadcast_to(
        linear / np.iinfo(linear.dtype).max if linear.dtype.kind == "u" else linear, (count, 3)
    )
    return np.where(
        linear <= 0.0031308,
        linear * 12.92,
        1.055 * np.clip(linear, 1e-9, None) ** (1 / 2.4) - 0.055,
    ).astype(np.float32)


def _paint_matte(tree: dict) -> None:
    tree["materials"] = [MATTE]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0


def _bytes(made: bytes | str) -> bytes:
    return made.encode() if isinstance(made, str) else made


def read_mesh(path: str | Path) -> Mesh | TexturedMesh:
    """A .glb as `write_mesh` leaves it, in the world frame: with a texture or with a color a vertex, gray if it has neither.

    Several meshes in one file are read as one, which has a texture only if there was one mesh.

    Raises:
        UserError: No file, or none that holds triangles; numbers that are not finite, faces of vertices that are not there.
    """
    path = Path(path)
    try:
        check_size(path)
        # From memory, where no more can be asked for than there is, whatever a chunk promises.
        scene = trimesh.load_scene(
            io.BytesIO(path.read_bytes()), file_type=path.suffix[1:].lower(), process=False
        )
        made = _world_of(path, scene)
    except UserError:
        raise
    except (
        Exception
    ) as error:  # the parsers below let through whatever a damaged file makes them stumble over
        what = (
            getattr(error, "strerror", None)
            or f"not a mesh ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        )
        raise UserError(f"cannot read {path}: {what}.") from None
    if not all(np.isfinite(values).all() for values in vars(made).values()):
        raise UserError(
            f"cannot read {path}: expected finite numbers, got NaN or infinity in the mesh. Export it again."
        )
    lengths = {
        len(values) for name, values in vars(made).items() if name not in ("faces", "texture")
    }
    if len(lengths) > 1 or not 0 <= made.faces.min() <= made.faces.max() < min(lengths):
        raise UserError(
            f"cannot read {path}: its faces name vertices that are not there. Take another copy of the file."
        )
    return made


def _world_of(path: Path, scene: trimesh.Scene) -> Mesh | TexturedMesh:
    # Put together, meshes lose their normals.
    alone = len(scene.geometry) == 1 and np.allclose(
        scene.graph.get(scene.graph.nodes_geometry[0])[0], np.eye(4)
    )
    got = next(iter(scene.geometry.values())) if alone else scene.to_mesh()
    if not len(getattr(got, "faces", ())):  # points and lines have none
        raise UserError(f"cannot read {path}: expected triangles, got none.")
    vertices, normals = (
        np.asarray(v, np.float32) @ WORLD_TO_FILE.astype(np.float32)
        for v in (got.vertices, got.vertex_normals)
    )
    faces, visual = np.asarray(got.faces, np.int32), got.visual
    picture = getattr(getattr(visual, "material", None), "baseColorTexture", None)
    if picture is not None and visual.uv is not None:
        uvs = (np.asarray(visual.uv) * (1, -1) + (0, 1)).astype(np.float32)
        if picture.width * picture.height > MOST_PIXELS:  # of one color it takes little in the file
            raise UserError(
                f"cannot read {path}: expected a texture up to 8192 × 8192, got {picture.width} × {picture.height}."
            )
        return TexturedMesh(
            vertices, faces, normals, uvs, np.asarray(picture.convert("RGB"), np.float32) / 255
        )
    return Mesh(vertices, faces, normals, _srgb_of(visual, len(vertices)))
