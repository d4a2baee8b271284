"""Splats as .glb with KHR_gaussian_splatting, writing: layout, coordinate system, round trips."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import gs3d
from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, Splats
from gs3d.io import load_asset, load_splats, save_splats
from gs3d.io.mesh import write_mesh
from gs3d.io.splats.gltf import read_glb_splats, write_glb_splats
from gs3d.raster.reference import rotations, sh_basis
from tests.io.splats.samples import (
    GLTF_PREFIX,
    SH_C0,
    assert_not_written,
    assert_refused,
    close,
    glb_attribute,
    glb_chunks,
    random_directions,
    random_splats,
)


def sh_names(degree: int) -> list[str]:
    """Attribute names of all SH coefficients up to `degree`."""
    return [
        f"{GLTF_PREFIX}SH_DEGREE_{band}_COEF_{n}"
        for band in range(degree + 1)
        for n in range(2 * band + 1)
    ]


# Layout


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_json_follows_the_extension(tmp_path, degree):
    write_glb_splats(tmp_path / "a.glb", random_splats(7, degree))
    tree, _ = glb_chunks(tmp_path / "a.glb")
    assert tree["asset"]["version"] == "2.0"
    assert tree["extensionsUsed"] == ["KHR_gaussian_splatting"]
    # Not required, so that a viewer without the extension still shows points.
    assert "extensionsRequired" not in tree
    (primitive,) = tree["meshes"][0]["primitives"]
    assert primitive["mode"] == 0
    assert tree["scenes"][tree["scene"]]["nodes"] == [0] and tree["nodes"][0]["mesh"] == 0
    assert primitive["extensions"]["KHR_gaussian_splatting"] == {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
    }
    types = {
        "POSITION": "VEC3",
        "COLOR_0": "VEC4",
        f"{GLTF_PREFIX}ROTATION": "VEC4",
        f"{GLTF_PREFIX}SCALE": "VEC3",
        f"{GLTF_PREFIX}OPACITY": "SCALAR",
    } | dict.fromkeys(sh_names(degree), "VEC3")
    assert set(primitive["attributes"]) == set(types)
    for name, index in primitive["attributes"].items():
        accessor = tree["accessors"][index]
        assert accessor["count"] == 7 and accessor["type"] == types[name]
        assert accessor["componentType"] == (5123 if name == "COLOR_0" else 5126)


def test_values_of_a_known_splat(tmp_path):
    half = 0.5**0.5
    splats = Splats(
        torch.tensor([[0.25, 0.5, 1.0]]),
        torch.tensor([[2.0, 0, 0, 2]]),  # a quarter turn about world z, which is y of the file
        torch.tensor([[0.1, 0.2, 0.3]]),
        torch.tensor([0.75]),
        torch.tensor([[[0.0, 1.0, -9.0]]]),
    )
    path = tmp_path / "a.glb"
    write_glb_splats(path, splats)
    assert glb_attribute(path, "POSITION").tolist() == [[0.5, 1.0, 0.25]]
    position = glb_chunks(path)[0]["accessors"][0]
    assert position["min"] == position["max"] == [0.5, 1.0, 0.25]
    scales = glb_attribute(path, f"{GLTF_PREFIX}SCALE")
    assert torch.allclose(scales, torch.tensor([[0.1, 0.2, 0.3]]).double())
    assert glb_attribute(path, f"{GLTF_PREFIX}OPACITY").tolist() == [[0.75]]
    assert glb_attribute(path, f"{GLTF_PREFIX}SH_DEGREE_0_COEF_0").tolist() == [[0, 1, -9]]
    xyzw = glb_attribute(path, f"{GLTF_PREFIX}ROTATION")
    file_to_world = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]).double()
    expected = file_to_world.T @ rotations(torch.tensor([[half, 0, 0, half]])).double()
    assert torch.allclose(rotations(xyzw[:, [3, 0, 1, 2]]), expected, atol=1e-6)
    assert abs(xyzw.norm() - 1) < 1e-6
    # COLOR_0 is linear, by the formula of the sRGB standard.
    srgb = 0.5 + SH_C0
    expected = [((0.5 + 0.055) / 1.055) ** 2.4, ((srgb + 0.055) / 1.055) ** 2.4, 0, 0.75]
    color = glb_attribute(path, "COLOR_0")[0]
    assert torch.allclose(color, torch.tensor(expected).double(), atol=1e-5)


def test_bounds_are_those_of_the_stored_positions(tmp_path):
    path = tmp_path / "a.glb"
    write_glb_splats(path, random_splats(500))
    position, rows = glb_chunks(path)[0]["accessors"][0], glb_attribute(path, "POSITION")
    assert position["min"] == rows.amin(0).tolist() and position["max"] == rows.amax(0).tolist()


# The coordinate system and round trips


def test_file_axes(tmp_path):
    """Front +Z, left +X, up +Y. Seen from +Z, left is on the viewer's right: not mirrored."""
    write_glb_splats(tmp_path / "a.glb", replace(random_splats(3), means=torch.eye(3)))
    positions = glb_attribute(tmp_path / "a.glb", "POSITION")
    assert positions.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("degree", [1, 3])
def test_color_along_a_direction_is_the_same_in_the_file(tmp_path, degree):
    splats = random_splats(30, degree)
    write_glb_splats(tmp_path / "a.glb", splats)
    world = random_directions(40, seed=5)
    sh = [glb_attribute(tmp_path / "a.glb", name) for name in sh_names(degree)]
    expected = torch.einsum("dk,nkc->ndc", sh_basis(world, len(sh)), splats.sh.double())
    in_file = world[:, [1, 2, 0]]
    got = torch.einsum("dk,nkc->ndc", sh_basis(in_file, len(sh)), torch.stack(sh, 1))
    assert torch.allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree):
    splats = random_splats(200, degree, seed=degree)
    save_splats(tmp_path / "a.glb", splats)
    back = load_splats(tmp_path / "a.glb")
    for name in ("means", "scales", "opacities", "sh"):
        got, expected = getattr(back, name), getattr(splats, name)
        assert got.dtype == torch.float32 and got.shape == expected.shape
        assert close(got, expected), name
    assert close(rotations(back.quats.double()), rotations(splats.quats.double()))


def test_a_glb_is_loaded_as_splats_or_as_a_mesh_by_its_content(tmp_path):
    save_splats(tmp_path / "splats.glb", random_splats(5))
    vertices = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    normals, colors = np.full((4, 3), 3**-0.5, np.float32), np.full((4, 3), 0.5, np.float32)
    write_mesh(tmp_path / "mesh.glb", Mesh(vertices, faces, normals, colors))
    assert len(load_asset(tmp_path / "splats.glb").means) == 5
    assert len(gs3d.load(tmp_path / "splats.glb").splats) == 5
    assert len(load_asset(tmp_path / "mesh.glb").faces) == 4
    message = "expected Gaussian splats .* got a mesh"
    assert_refused(tmp_path / "mesh.glb", message, read_glb_splats)


# Invalid splats


@pytest.mark.parametrize(
    ("splats", "message"),
    [
        (random_splats(0), "expected at least one splat, got 0"),
        (
            replace(random_splats(10), means=torch.full((10, 3), float("nan"))),
            "10 of 10 splats hold NaN",
        ),
        (
            replace(random_splats(10), means=torch.full((10, 3), 1e39, dtype=torch.float64)),
            "10 of 10 splats hold NaN or infinity",
        ),
        (
            replace(random_splats(10), quats=torch.zeros(10, 4)),
            "10 of 10 quaternions have zero length",
        ),
        (replace(random_splats(10), opacities=torch.full((10,), 2.0)), "Are they logits"),
    ],
)
def test_invalid_splats_are_not_written(tmp_path, splats, message):
    assert_not_written(tmp_path / "a.glb", message, lambda path: write_glb_splats(path, splats))


def test_bytes_that_change_on_disk_are_detected(tmp_path, monkeypatch):
    from gs3d.io.splats import gltf

    write = gltf.write_glb

    def write_damaged(path, *content):
        write(path, *content)
        path.write_bytes(path.read_bytes()[:-20] + b"\x01" * 20)

    monkeypatch.setattr(gltf, "write_glb", write_damaged)
    with pytest.raises(UserError, match="the file read back differs from the 50 splats"):
        write_glb_splats(tmp_path / "a.glb", random_splats())
    assert not list(tmp_path.iterdir())
