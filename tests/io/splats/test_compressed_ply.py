"""Compressed .ply, writing: bit layout, coordinate system, precision, chunks, invalid splats."""

import warnings
from dataclasses import replace

import numpy as np
import plyfile
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats, save_splats
from gs3d.io.ply.packing import morton_order
from gs3d.io.splats.compressed_ply import read_compressed, write_compressed
from gs3d.raster.reference import rotations
from tests.io.splats.samples import SH_C0, assert_not_written, random_splats


def row_indices(got: Splats, splats: Splats) -> torch.Tensor:
    """For each of `splats`, the index of the nearest mean in `got`; the file has its own order."""
    rows = torch.cdist(splats.means, got.means).argmin(dim=1)
    assert len(rows.unique()) == len(got) == len(splats)
    return rows


def in_order_of(got: Splats, splats: Splats) -> Splats:
    return got[row_indices(got, splats)]


def written(tmp_path, splats):
    write_compressed(tmp_path / "a.ply", splats)
    return plyfile.PlyData.read(str(tmp_path / "a.ply"))


# Layout


@pytest.mark.parametrize(("degree", "rest"), [(0, 0), (1, 9), (2, 24), (3, 45)])
def test_header_and_size_are_exact(tmp_path, degree, rest):
    write_compressed(tmp_path / "a.ply", random_splats(257, degree))
    names = [
        f"{end}_{name}"
        for group in ("xyz", ("scale_x", "scale_y", "scale_z"), "rgb")
        for end in ("min", "max")
        for name in group
    ]
    header = "ply\nformat binary_little_endian 1.0\ncomment gs3d 0.1 frame=up-y,front+z\n"
    header += "element chunk 2\n"
    header += "".join(f"property float {name}\n" for name in names)
    header += "element vertex 257\n"
    header += "".join(
        f"property uint packed_{name}\n" for name in ("position", "rotation", "scale", "color")
    )
    if rest:
        header += "element sh 257\n" + "".join(f"property uchar f_rest_{i}\n" for i in range(rest))
    header = (header + "end_header\n").encode()
    data = (tmp_path / "a.ply").read_bytes()
    assert data[: len(header)] == header and len(data) == len(header) + 2 * 72 + 257 * (16 + rest)


def test_bits_of_two_known_splats(tmp_path):
    """The second splat has the maximum of most columns, so its bits there are all 1."""
    file_to_world = (-0.5, 0.5, -0.5, 0.5)  # wxyz; the identity in file coordinates
    sh = torch.zeros(2, 4, 3)
    sh[:, 0] = torch.tensor([[0.0, 0, 0], [1, -1, 1]])
    sh[0, 2, 1], sh[1, 3, 0] = 1.0, -5.0
    splats = Splats(
        torch.tensor([[1.0, 0, 0], [1, -2, 3]]),
        torch.tensor([file_to_world, file_to_world]),
        torch.tensor([[0.1, 0.1, 0.1], [0.2, 0.1, 0.05]]),
        torch.tensor([1.0, 0.2]),
        sh,
    )
    with pytest.warns(UserWarning, match="1 SH coefficients lie beyond ±4 and were clamped"):
        ply = written(tmp_path, splats)
    chunk, rows = ply["chunk"][0], ply["vertex"].data
    bounds = [chunk[f"{end}_{axis}"] for axis in "xyz" for end in ("min", "max")]
    assert bounds == [0, 2, -3, 0, 1, 1]
    assert chunk["max_scale_x"] == pytest.approx(np.log(0.2))
    assert chunk["min_scale_z"] == pytest.approx(np.log(0.05))
    assert chunk["min_r"] == 0.5 and chunk["max_r"] == pytest.approx(0.5 + SH_C0)
    assert chunk["min_g"] == pytest.approx(0.5 - SH_C0)
    one, two = (rows[0], rows[1]) if rows["packed_position"][0] < 2**21 else (rows[1], rows[0])
    # z is the same in both, so its bits are 0.
    assert one["packed_position"] == 1023 << 11 and two["packed_position"] == 2047 << 21
    assert one["packed_scale"] == 2047 and two["packed_scale"] == 2047 << 21
    assert one["packed_color"] == 255 << 16 | 255
    assert two["packed_color"] == 255 << 24 | 255 << 8 | 51
    assert load_splats(tmp_path / "a.ply").means.shape == (2, 3)


def test_rotations_store_the_three_smallest_components(tmp_path):
    splats = random_splats(500)
    rows = written(tmp_path, splats)["vertex"].data["packed_rotation"].astype(np.int64)
    largest = rows >> 30
    others = np.stack([rows >> 20, rows >> 10, rows], 1) % 1024
    others = (others / 1023 - 0.5) * 2**0.5
    assert set(largest) == {0, 1, 2, 3} and np.abs(others).max() <= 0.5**0.5 + 1e-6
    quats = np.stack(
        [np.insert(o, k, (1 - (o * o).sum()) ** 0.5) for o, k in zip(others, largest, strict=True)]
    )
    world_to_file = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]).double()
    back = read_compressed(tmp_path / "a.ply")
    in_file = rotations(torch.from_numpy(quats))[row_indices(back, splats)]
    assert torch.allclose(in_file, world_to_file @ rotations(splats.quats.double()), atol=5e-3)
    back = in_order_of(back, splats)
    assert torch.allclose(rotations(back.quats), rotations(splats.quats), atol=5e-3)


def test_file_axes(tmp_path):
    """As in a plain .ply: front +Z, left −X, up −Y. Bounds of a chunk are exact."""
    splats = replace(random_splats(3), means=torch.eye(3))
    chunk = written(tmp_path, splats)["chunk"][0]
    bounds = [chunk[f"{end}_{axis}"] for axis in "xyz" for end in ("min", "max")]
    assert bounds == [-1, 0, -1, 0, 0, 1]
    save_splats(tmp_path / "plain.ply", splats)
    got = in_order_of(load_splats(tmp_path / "a.ply"), splats)
    assert torch.allclose(got.means, load_splats(tmp_path / "plain.ply").means, atol=1e-6)


# Precision


def value_range(values: torch.Tensor) -> torch.Tensor:
    return values.amax() - values.amin()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [1, 255, 256, 700])
def test_round_trip(tmp_path, degree, count):
    splats = random_splats(count, degree, seed=degree)
    save_splats(tmp_path / "a.compressed.ply", splats)
    got = in_order_of(load_splats(tmp_path / "a.compressed.ply"), splats)
    box = (splats.means.amax(0) - splats.means.amin(0)).max()
    assert (got.means - splats.means).abs().max() <= box / 2046 + 1e-6
    scale_step = value_range(splats.scales.log()) / 2046
    assert (got.scales / splats.scales).log().abs().max() <= scale_step + 1e-5
    assert (got.opacities - splats.opacities).abs().max() <= 0.5 / 255 + 1e-6
    color_step = value_range(splats.sh[:, 0]) / 510
    assert (got.sh[:, 0] - splats.sh[:, 0]).abs().max() <= color_step + 1e-5
    # The rotation between the coordinate systems mixes the errors of a band.
    assert got.sh.shape == splats.sh.shape and (got.sh - splats.sh).abs().max() <= 1.6 / 64
    assert (rotations(got.quats) - rotations(splats.quats)).abs().max() < 5e-3


def test_chunks_are_compact(tmp_path):
    """In Morton order, a chunk of 10 000 splats in a unit cube is far smaller than the cube."""
    means = torch.rand(10_000, 3, generator=torch.Generator().manual_seed(3))
    splats = replace(random_splats(10_000), means=means)
    chunks = written(tmp_path, splats)["chunk"].data
    assert np.mean([chunks[f"max_{axis}"] - chunks[f"min_{axis}"] for axis in "xyz"]) < 0.5
    got = in_order_of(read_compressed(tmp_path / "a.ply"), splats)
    assert (got.means - splats.means).abs().mean() < 1e-4


def test_morton_order_visits_octant_by_octant():
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
    assert morton_order(corners[::-1]).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    inner = np.concatenate([0.3 * corners, 0.7 + 0.3 * corners])
    assert morton_order(inner).tolist() == list(range(16))


def test_constant_columns_come_back_exactly(tmp_path):
    """The bounds of a chunk may be equal: no division by zero, no loss."""
    splats = Splats(
        torch.full((300, 3), 0.1),
        torch.ones(300, 4),
        torch.full((300, 3), 0.02),
        torch.ones(300),
        torch.full((300, 1, 3), 0.7),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_compressed(tmp_path / "a.ply", splats)
        got = read_compressed(tmp_path / "a.ply")
    assert torch.allclose(got.means, splats.means)
    assert torch.allclose(got.scales, splats.scales)
    assert (got.opacities == 1).all()
    assert torch.allclose(got.sh, splats.sh, atol=1e-6)


# Invalid splats


@pytest.mark.parametrize(
    ("splats", "message"),
    [
        (random_splats(0), "expected at least one splat, got 0"),
        (
            replace(random_splats(9), means=torch.full((9, 3), float("nan"))),
            "9 of 9 splats hold NaN",
        ),
        (replace(random_splats(9), scales=torch.full((9, 3), 1e9)), "expected scales up to"),
        (replace(random_splats(9), quats=torch.zeros(9, 4)), "9 of 9 quaternions have zero length"),
    ],
)
def test_invalid_splats_are_not_written(tmp_path, splats, message):
    assert_not_written(tmp_path / "a.ply", message, lambda path: write_compressed(path, splats))


def test_wrong_packing_is_detected(tmp_path, monkeypatch):
    from gs3d.io.splats import compressed_ply

    monkeypatch.setattr(
        compressed_ply, "pack_rotations", lambda quats: np.zeros(len(quats), np.uint32)
    )
    with pytest.raises(UserError, match="the file read back differs from the 50 splats"):
        write_compressed(tmp_path / "a.ply", random_splats())
    assert not list(tmp_path.iterdir())
