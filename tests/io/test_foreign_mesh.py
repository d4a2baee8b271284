"""Meshes of other programs as .obj and .ply, and the files that they name."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io.foreign_mesh import read_foreign_mesh

TRIANGLE = """mtllib {}
v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1
usemtl a\nf 1/1 2/2 3/3
"""
GHOSTSCRIPT = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


def write_obj(folder: Path, texture: str, materials: str = "a.mtl") -> Path:
    """An .obj whose material has a texture of this name."""
    folder.mkdir(exist_ok=True)
    (folder / "a.mtl").write_text(f"newmtl a\nKd 1 1 1\nmap_Kd {texture}\n")
    (folder / "a.obj").write_text(TRIANGLE.format(materials))
    return folder / "a.obj"


@pytest.mark.parametrize("name", ["red.png", "red.bmp", "deep/red.png", "deep\\red.png"])
def test_textures_in_its_folder_and_below_are_read(tmp_path, name):
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (4, 4), "red").save(tmp_path / name.replace("\\", "/"))
    mesh = read_foreign_mesh(write_obj(tmp_path, name))
    assert isinstance(mesh, TexturedMesh) and (mesh.texture == (1, 0, 0)).all()


def test_nothing_is_read_from_another_folder(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "private.png")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link.png").symlink_to(tmp_path / "private.png")
    for name in ("../private.png", str(tmp_path / "private.png"), "link.png", "..\\private.png"):
        with pytest.raises(UserError, match="is in another folder"):
            read_foreign_mesh(write_obj(inside, name))
    (tmp_path / "a.mtl").write_text("newmtl a\nmap_Kd private.png\n")
    with pytest.raises(UserError, match=r"a\.mtl is in another folder"):
        read_foreign_mesh(write_obj(inside, "x.png", "../a.mtl"))


def test_a_texture_runs_no_program(tmp_path, monkeypatch):
    """Pillow draws PostScript by starting Ghostscript."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "a.png").write_text(GHOSTSCRIPT)
    with pytest.raises(UserError, match="a.png: expected a texture up to 8192 × 8192 as PNG"):
        read_foreign_mesh(write_obj(tmp_path, "a.png"))
    assert not (tmp_path / "ran").exists()


def test_a_missing_texture_leaves_the_mesh_without_one(tmp_path):
    mesh = read_foreign_mesh(write_obj(tmp_path, "gone.png"))
    assert isinstance(mesh, Mesh) and (mesh.colors == 1).all()


def test_large_textures_are_shrunk_and_larger_ones_refused(tmp_path):
    Image.new("1", (8192, 4096), 1).save(tmp_path / "large.png")
    with pytest.warns(UserWarning, match="8192 × 4096 is shrunk to 5792 × 2896"):
        mesh = read_foreign_mesh(write_obj(tmp_path, "large.png"))
    assert isinstance(mesh, TexturedMesh) and mesh.texture.shape == (2896, 5792, 3)
    assert (mesh.texture[::500, ::500] == 1).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for size in ((8193, 8192), (14_000, 14_000)):
            Image.new("1", size).save(tmp_path / "huge.png")
            with pytest.raises(UserError, match="huge.png: expected a texture up to 8192 × 8192"):
                read_foreign_mesh(write_obj(tmp_path, "huge.png"))


@pytest.mark.parametrize("counts", [(10**12, 1), (3, 10**12), (2**31, 2**31)])
def test_a_ply_with_more_rows_than_bytes_is_refused(tmp_path, counts):
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {counts[0]}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"element face {counts[1]}", "property list uchar int vertex_indices", "end_header"]
    corners, face = np.eye(3, dtype="<f4").tobytes(), b"\x03" + np.arange(3, dtype="<i4").tobytes()
    (tmp_path / "a.ply").write_bytes("\n".join([*lines, ""]).encode() + corners + face)
    with pytest.raises(UserError, match="no mesh that trimesh reads"):
        read_foreign_mesh(tmp_path / "a.ply")
