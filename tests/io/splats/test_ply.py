"""INRIA .ply, writing: byte layout, coordinate system, round trips, and invalid splats."""

from dataclasses import replace

import numpy as np
import plyfile
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats, save_splats
from gs3d.io.splats.ply import columns, read_ply, write_ply
from gs3d.io.splats.spz import write_spz
from gs3d.raster.reference import rotations, sh_basis
from tests.io.splats.samples import (
    assert_not_written,
    close,
    ply_columns,
    ply_rows,
    random_directions,
    random_splats,
)

# Layout


@pytest.mark.parametrize(("degree", "row_bytes"), [(0, 68), (1, 104), (2, 164), (3, 248)])
def test_header_and_size_are_exact(tmp_path, degree, row_bytes):
    path = tmp_path / "a.ply"
    write_ply(path, random_splats(7, degree))
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(3 * ((degree + 1) ** 2 - 1))]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    header = "ply\nformat binary_little_endian 1.0\ncomment gs3d 0.1 frame=up-y,front+z\n"
    header += "element vertex 7\n"
    header += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    data = path.read_bytes()
    assert data[: len(header)] == header.encode()
    assert len(data) == len(header) + 7 * row_bytes


def test_values_are_logarithms_logits_and_unit_quaternions(tmp_path):
    splats = Splats(
        torch.zeros(1, 3),
        torch.tensor([[2.0, 0, 0, 0]]),
        torch.tensor([[0.1, 0.2, 0.3]]),
        torch.tensor([0.75]),
        torch.ones(1, 1, 3),
    )
    write_ply(tmp_path / "a.ply", splats)
    rows = ply_rows(tmp_path / "a.ply")
    assert rows["scale_1"][0] == pytest.approx(np.log(0.2), rel=1e-6)
    assert rows["opacity"][0] == pytest.approx(np.log(3), rel=1e-6)
    quats = ply_columns(rows, ["rot_0", "rot_1", "rot_2", "rot_3"])
    assert quats.norm() == pytest.approx(1, abs=1e-6)
    assert (rows["nx"][0], rows["ny"][0], rows["nz"][0]) == (0, 0, 0)


def test_opacity_0_and_1_get_finite_logits(tmp_path):
    splats = replace(random_splats(2), opacities=torch.tensor([0.0, 1.0]))
    write_ply(tmp_path / "a.ply", splats)
    logits = ply_rows(tmp_path / "a.ply")["opacity"]
    assert -20 < logits[0] < -10 and 10 < logits[1] < 20
    assert torch.allclose(read_ply(tmp_path / "a.ply").opacities, splats.opacities, atol=1e-6)


@pytest.mark.parametrize(("degree", "pad"), [(0, 3), (1, 3), (2, 2), (0, 1), (3, 1)])
def test_sh_pad_adds_zeros_to_each_channel(tmp_path, degree, pad):
    splats = random_splats(5, degree)
    write_ply(tmp_path / "a.ply", splats, sh_pad=pad)
    assert ply_rows(tmp_path / "a.ply").dtype.names == tuple(columns((max(degree, pad) + 1) ** 2))
    back = read_ply(tmp_path / "a.ply").sh
    count = splats.sh.shape[1]
    assert close(back[:, :count], splats.sh) and not back[:, count:].any()


# Round trips and the coordinate system


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree):
    splats = random_splats(200, degree, seed=degree)
    save_splats(tmp_path / "a.ply", splats)
    back = load_splats(tmp_path / "a.ply")
    for name in ("means", "scales", "opacities", "sh"):
        got, expected = getattr(back, name), getattr(splats, name)
        assert got.dtype == torch.float32 and got.shape == expected.shape
        assert close(got, expected), name
    assert ((back.scales / splats.scales - 1).abs() < 1e-6).all()
    assert close(rotations(back.quats.double()), rotations(splats.quats.double()))


def letter_f() -> Splats:
    """A letter F on the front of the object.

    It faces +X and is upright. Its stem is on the viewer's left, which is −Y, and extends below
    the lower bar.
    """
    stem = [(1.0, -0.3, z) for z in (-0.6, -0.3, 0.0, 0.3, 0.6)]
    bars = [(1.0, -0.1, 0.6), (1.0, 0.1, 0.6), (1.0, 0.3, 0.6), (1.0, -0.1, 0.1), (1.0, 0.1, 0.1)]
    means = torch.tensor(stem + bars)
    count = len(means)
    identity = torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1)
    return Splats(
        means,
        identity,
        torch.full((count, 3), 0.05),
        torch.full((count,), 0.9),
        torch.zeros(count, 1, 3),
    )


TURN_Z = torch.diag(torch.tensor([-1.0, -1, 1]))
"""What PlayCanvas and SuperSplat do to a .ply."""
TURN_X = torch.diag(torch.tensor([1.0, -1, -1]))
"""What Spark does to a .ply, per its docs."""


def test_file_axes(tmp_path):
    front, left, up = torch.eye(3)
    splats = replace(random_splats(3), means=torch.stack([front, left, up]))
    write_ply(tmp_path / "a.ply", splats)
    axes = ply_columns(ply_rows(tmp_path / "a.ply"), "xyz")
    assert axes.tolist() == [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]


@pytest.mark.parametrize(("turn", "facing"), [(TURN_Z, 1.0), (TURN_X, -1.0)])
def test_letter_f_is_readable_in_viewers(tmp_path, turn, facing):
    """Seen from the front with +Y up, the F is neither mirrored nor upside down."""
    write_ply(tmp_path / "a.ply", letter_f())
    shown = ply_columns(ply_rows(tmp_path / "a.ply"), "xyz").float() @ turn.T
    assert torch.allclose(shown[:, 2], torch.full((10,), facing))  # all on the front
    # A camera at +Z that looks back has +X on its right, one at −Z has −X.
    right = facing * shown[:, 0]
    image = torch.stack([right, shown[:, 1]], dim=1)
    assert torch.allclose(image, letter_f().means[:, 1:])


def test_rotations_follow_the_coordinate_system(tmp_path):
    """A splat's axes in the file are its axes in the world, rotated like its mean."""
    splats = random_splats(20)
    write_ply(tmp_path / "a.ply", splats)
    rows = ply_rows(tmp_path / "a.ply")
    world_to_file = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]], dtype=torch.float64)
    in_file = rotations(ply_columns(rows, ["rot_0", "rot_1", "rot_2", "rot_3"]))
    assert torch.allclose(in_file, world_to_file @ rotations(splats.quats.double()), atol=1e-6)


def file_sh(rows: np.ndarray) -> torch.Tensor:
    """[N, K, 3] SH coefficients of the file, where f_rest is channel-major."""
    rest = [name for name in rows.dtype.names if name.startswith("f_rest_")]
    dc = ply_columns(rows, ["f_dc_0", "f_dc_1", "f_dc_2"])[:, None]
    channels = ply_columns(rows, rest).reshape(len(rows), 3, -1)
    return torch.cat([dc, channels.transpose(1, 2)], dim=1)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_color_along_a_direction_is_the_same_in_the_file(tmp_path, degree):
    splats = random_splats(30, degree)
    write_ply(tmp_path / "a.ply", splats)
    world = random_directions(40, seed=5)
    in_file = torch.stack([-world[:, 1], -world[:, 2], world[:, 0]], dim=1)
    count = splats.sh.shape[1]
    expected = torch.einsum("dk,nkc->ndc", sh_basis(world, count), splats.sh.double())
    coefficients = file_sh(ply_rows(tmp_path / "a.ply"))
    got = torch.einsum("dk,nkc->ndc", sh_basis(in_file, count), coefficients)
    assert torch.allclose(got, expected, atol=1e-6)
    # The test can detect coefficients that were not rotated.
    not_rotated = torch.einsum("dk,nkc->ndc", sh_basis(in_file, count), splats.sh.double())
    assert not torch.allclose(not_rotated, expected, atol=1e-2)


# Invalid splats


def with_value(name: str, rows, value: float) -> Splats:
    """Ten splats with one field set to `value` in some rows."""
    splats = random_splats(10, 1)
    tensor = getattr(splats, name).clone()
    tensor[rows] = value
    return replace(splats, **{name: tensor})


@pytest.mark.parametrize(
    ("splats", "message"),
    [
        (random_splats(0), "expected at least one splat, got 0"),
        (with_value("means", 3, float("nan")), "1 of 10 splats hold NaN or infinity"),
        (with_value("sh", slice(0, 4), float("inf")), "4 of 10 splats hold NaN or infinity"),
        (with_value("opacities", 0, float("nan")), "1 of 10 splats hold NaN or infinity"),
        (with_value("scales", 0, float("nan")), "1 of 10 splats hold NaN or infinity"),
        (with_value("quats", 0, float("inf")), "1 of 10 splats hold NaN or infinity"),
        (with_value("quats", slice(0, 2), 0.0), "2 of 10 quaternions have zero length"),
        (
            with_value("scales", 0, 1e9),
            r"expected scales up to 4.9e\+08, got 1e\+09, 1 of 10 splats larger",
        ),
        (with_value("scales", 0, -3.0), "Are they logarithms"),
        (with_value("opacities", 0, -2.0), "Are they logits"),
    ],
)
def test_invalid_splats_are_refused_and_the_old_file_stays(tmp_path, splats, message):
    assert_not_written(tmp_path / "a.ply", message, lambda path: write_ply(path, splats))


@pytest.mark.parametrize("write", [write_ply, write_spz])
def test_opacities_activated_twice_give_a_warning_and_valid_ones_do_not(tmp_path, write, recwarn):
    path = tmp_path / "a.ply"
    splats = random_splats(1000)
    logits = 4 * torch.randn(1000, generator=torch.Generator().manual_seed(1))
    write(path, replace(splats, opacities=logits.sigmoid().sigmoid()))
    assert "was a sigmoid applied twice?" in str(recwarn.pop(UserWarning).message)
    # At initialization all logits are 0.405.
    write(path, replace(splats, opacities=torch.full((1000,), 0.6)))
    # Logits 0.2 to 0.62.
    write(path, replace(splats, opacities=0.55 + 0.1 * torch.rand(1000)))
    # Three splats are too few to tell.
    write(path, replace(random_splats(3), opacities=torch.tensor([0.501, 0.6, 0.73])))
    assert not recwarn.list


def test_wrong_shapes_raise_value_error(tmp_path):
    splats = random_splats(4)
    message = r"splats.sh: expected \[4, K, 3\] with K one of 1, 4, 9, 16, got \[4, 2, 3\]"
    with pytest.raises(ValueError, match=message):
        write_ply(tmp_path / "a.ply", replace(splats, sh=torch.zeros(4, 2, 3)))
    with pytest.raises(ValueError, match=r"splats.quats: expected shape \[4, 4\], got \[4, 3\]"):
        write_ply(tmp_path / "a.ply", replace(splats, quats=torch.zeros(4, 3)))


def test_bytes_that_change_on_disk_are_detected(tmp_path, monkeypatch):
    write = plyfile.PlyData.write

    def write_damaged(self, stream):
        write(self, stream)
        stream.seek(-5, 2)
        stream.write(b"\x00")

    monkeypatch.setattr(plyfile.PlyData, "write", write_damaged)
    with pytest.raises(UserError, match="the file read back differs from the 50 splats"):
        write_ply(tmp_path / "a.ply", random_splats())
    assert not list(tmp_path.iterdir())
