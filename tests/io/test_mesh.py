"""Mesh files: trimesh reads them back upright, not mirrored, and in the right colors."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io.mesh import read_mesh, write_mesh

SRGB = np.array([[0.8, 0.2, 0.05], [1, 1, 1], [0, 0, 0], [0.5, 0.5, 0.5]], np.float32)


def tetrahedron() -> Mesh:
    """A tetrahedron of different extent along each world axis.

    Its vertices are the origin, 1 to the front, 2 to the left and 3 up.
    """
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    normals = np.array([[-1, -1, -1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    return Mesh(vertices, faces, normals / np.linalg.norm(normals, axis=1, keepdims=True), SRGB)


def read(path) -> trimesh.Trimesh:
    return trimesh.load(path, force="mesh", process=False)


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".obj", ".GLB"])
def test_front_left_and_up_follow_gltf(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_mesh(path, tetrahedron())
    got = read(path)
    # glTF: +Y up and the front +Z, so the object's left is +X.
    expected = [[0, 0, 0], [0, 0, 1], [2, 0, 0], [0, 3, 0]]
    np.testing.assert_allclose(sorted(got.vertices.tolist()), sorted(expected), atol=1e-6)
    assert got.is_watertight and got.volume == pytest.approx(1)


def gltf(path) -> tuple[dict, bytes]:
    """JSON and binary chunk of a .glb."""
    data = path.read_bytes()
    length = struct.unpack("<I", data[12:16])[0]
    return json.loads(data[20 : 20 + length]), data[20 + length + 8 :]


def test_glb_colors_are_linear(tmp_path):
    write_mesh(tmp_path / "a.glb", tetrahedron())
    tree, binary = gltf(tmp_path / "a.glb")
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    assert accessor["componentType"] == 5121 and accessor["type"] == "VEC4"  # unsigned bytes
    start = tree["bufferViews"][accessor["bufferView"]]["byteOffset"]
    colors = np.frombuffer(binary, np.uint8, 16, start).reshape(4, 4)[:, :3] / 255
    linear = np.where(SRGB > 0.04045, ((SRGB + 0.055) / 1.055) ** 2.4, SRGB / 12.92)
    np.testing.assert_allclose(colors, linear, atol=0.003)


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
def test_ply_and_obj_colors_are_srgb(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_mesh(path, tetrahedron())
    got = read(path)
    origin = int(np.abs(got.vertices).sum(1).argmin())
    np.testing.assert_allclose(got.visual.vertex_colors[origin, :3] / 255, SRGB[0], atol=0.005)


def test_glb_material_is_not_metallic(tmp_path):
    write_mesh(tmp_path / "a.glb", tetrahedron())
    tree, _ = gltf(tmp_path / "a.glb")
    (primitive,) = tree["meshes"][0]["primitives"]
    assert tree["materials"][primitive["material"]]["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert {"POSITION", "NORMAL", "COLOR_0"} <= set(primitive["attributes"])


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("a.stl", {}, "ends in one of .glb, .obj, .ply"),
        ("a", {}, "ends in one of"),
        ("a.glb", {"faces": np.zeros((0, 3), np.int32)}, "at least one triangle, got 0"),
        ("a.ply", {"vertices": np.full((4, 3), np.nan, np.float32)}, "NaN or infinity"),
        ("missing/a.ply", {}, "does not exist"),
    ],
)
def test_failed_writes_raise_and_leave_no_file(tmp_path, name, change, expected):
    mesh = replace(tetrahedron(), **change)
    with pytest.raises(UserError, match=expected):
        write_mesh(tmp_path / name, mesh)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("textured", [False, True])
def test_glb_round_trip_in_world_coordinates(tmp_path, textured):
    mesh = tetrahedron()
    if textured:
        uvs = np.array([[0.1, 0.2], [0.9, 0.2], [0.5, 0.8], [0.3, 0.6]], np.float32)
        texture = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
        mesh = TexturedMesh(mesh.vertices, mesh.faces, mesh.normals, uvs, texture)
    write_mesh(tmp_path / "a.glb", mesh)
    got = read_mesh(tmp_path / "a.glb")
    assert type(got) is type(mesh)
    for name, value in vars(mesh).items():
        # A byte of linear color is a coarse step for dark colors.
        np.testing.assert_allclose(
            getattr(got, name), value, atol=0.03 if name == "colors" else 0.003, err_msg=name
        )


def test_damaged_files_raise_errors_of_one_line(tmp_path):
    write_mesh(tmp_path / "a.glb", tetrahedron())
    intact = (tmp_path / "a.glb").read_bytes()
    cases = {
        "short": intact[:-40],
        "head": intact[:10],
        "empty": b"",
        "noise": b"\x00" * 400,
        "text": b"not a mesh",
    }
    for name, data in cases.items():
        (tmp_path / f"{name}.glb").write_bytes(data)
        with pytest.raises(UserError, match=f"cannot read .*{name}.glb") as caught:
            read_mesh(tmp_path / f"{name}.glb")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot read .*none.glb: there is no such file"):
        read_mesh(tmp_path / "none.glb")
