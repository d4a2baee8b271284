""".splat: byte layout, row order, coordinate system, losses, and invalid files."""

import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import DroppedRows, load_splats, save_splats
from gs3d.io.splats.splat import read_splat, write_splat
from gs3d.raster.reference import rotations
from tests.io.splats.samples import (
    SH_C0,
    assert_not_written,
    assert_refused,
    random_splats,
    read_ignoring_damage,
)


def in_file_order(splats: Splats) -> Splats:
    volumes = splats.scales.double().prod(1)
    return splats[torch.argsort(volumes * splats.opacities, descending=True, stable=True)]


def read_rows(path) -> list[tuple]:
    """The rows as another program reads them: six floats, eight bytes."""
    return list(struct.iter_unpack("<6f8B", path.read_bytes()))


def refused(path, message):
    assert_refused(path, message, read_splat)


def test_bytes_of_a_known_splat(tmp_path):
    """World (1, 2, 3) is (−2, −3, 1) in the file.

    The quaternion is the inverse of the rotation to file coordinates, so it is the identity there:
    bytes 255 128 128 128.
    """
    inverse = torch.tensor([[0.5, -0.5, 0.5, -0.5]])  # wxyz of the transposed WORLD_TO_PLY
    color = torch.tensor([[[1.0, 0.5, -3.0]]])
    splats = Splats(
        torch.tensor([[1.0, 2, 3]]),
        inverse,
        torch.tensor([[0.1, 0.2, 0.4]]),
        torch.tensor([0.4]),
        (color - 0.5) / SH_C0,
    )
    write_splat(tmp_path / "a.splat", splats)
    expected = struct.pack("<6f8B", -2, -3, 1, 0.1, 0.2, 0.4, 255, 128, 0, 102, 255, 128, 128, 128)
    assert (tmp_path / "a.splat").read_bytes() == expected


def test_large_and_opaque_rows_come_first(tmp_path):
    # volume · opacity · 1000: 0.5, 4, 0.9, 2.7
    splats = replace(
        random_splats(4),
        scales=torch.tensor([[0.1], [0.2], [0.1], [0.3]]).repeat(1, 3),
        opacities=torch.tensor([0.5, 0.5, 0.9, 0.1]),
    )
    write_splat(tmp_path / "a.splat", splats)
    rows = read_rows(tmp_path / "a.splat")
    assert [round(row[3], 3) for row in rows] == [0.2, 0.3, 0.1, 0.1]
    assert [row[9] for row in rows] == [128, 26, 230, 128]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree):
    splats = random_splats(200, degree, seed=degree)
    save_splats(tmp_path / "a.splat", splats)
    back, expected = load_splats(tmp_path / "a.splat"), in_file_order(splats)
    assert back.sh.shape == (200, 1, 3)  # higher bands are dropped
    assert torch.allclose(back.means, expected.means, atol=1e-6)
    assert torch.allclose(back.scales, expected.scales)
    assert (back.opacities - expected.opacities).abs().max() <= 0.5 / 255 + 1e-6
    color, got = ((0.5 + SH_C0 * sh[:, 0]).clamp(0, 1) for sh in (expected.sh, back.sh))
    assert (color - got).abs().max() <= 0.5 / 255 + 1e-6
    error = (rotations(back.quats.double()) - rotations(expected.quats.double())).abs()
    assert error.max() < 0.04 and error.mean() < 0.005
    write_splat(tmp_path / "b.splat", back)
    again = read_splat(tmp_path / "b.splat")
    assert torch.allclose(again.means, in_file_order(back).means, atol=1e-6)


def test_file_axes(tmp_path):
    """As in a .ply: front +Z, up −Y, the object's left −X, not mirrored."""
    front, left, up = torch.eye(3)
    splats = replace(
        random_splats(3),
        means=torch.stack([front, left, up]),
        scales=torch.tensor([[0.3], [0.2], [0.1]]).repeat(1, 3),
    )
    write_splat(tmp_path / "a.splat", replace(splats, opacities=torch.ones(3)))
    axes = np.array([row[:3] for row in read_rows(tmp_path / "a.splat")])
    assert axes.tolist() == [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    assert np.linalg.det(axes) == 1


def test_rotations_follow_the_coordinate_system(tmp_path):
    splats = in_file_order(random_splats(30))
    write_splat(tmp_path / "a.splat", splats)
    quats = [row[10:] for row in read_rows(tmp_path / "a.splat")]
    in_file = rotations(torch.tensor(quats, dtype=torch.float64).sub(128).div(128))
    world_to_file = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]], dtype=torch.float64)
    assert torch.allclose(in_file, world_to_file @ rotations(splats.quats.double()), atol=0.04)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.full((5, 3), float("nan"))}, "5 of 5 splats hold NaN or infinity"),
        (
            {"means": torch.full((5, 3), 1e39, dtype=torch.float64)},
            "5 of 5 splats hold NaN or infinity",
        ),
        ({"sh": torch.full((5, 1, 3), float("inf"))}, "5 of 5 splats hold NaN or infinity"),
        ({"scales": torch.full((5, 3), 1e9)}, "expected scales up to"),
        ({"opacities": torch.full((5,), 2.0)}, "Are they logits"),
        ({"quats": torch.zeros(5, 4)}, "5 of 5 quaternions have zero length"),
    ],
)
def test_invalid_splats_are_refused_and_the_old_file_stays(tmp_path, change, message):
    splats = replace(random_splats(5), **change)
    assert_not_written(tmp_path / "a.splat", message, lambda path: write_splat(path, splats))


def test_an_empty_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected at least one splat, got 0"):
        write_splat(tmp_path / "a.splat", random_splats(0))


def test_bytes_that_change_on_disk_are_detected(tmp_path, monkeypatch):
    path_type = type(tmp_path)
    write = path_type.write_bytes
    monkeypatch.setattr(
        path_type, "write_bytes", lambda self, data: write(self, bytes(data[:-1]) + b"\x00")
    )
    message = "the file read back differs from the 5"
    splats = random_splats(5)
    assert_refused(tmp_path / "a.splat", message, lambda path: write_splat(path, splats))
    assert not list(tmp_path.iterdir())


def test_invalid_rows_are_dropped_with_a_warning(tmp_path):
    path = tmp_path / "a.splat"
    good = (0, 0, 0, 0.1, 0.1, 0.1, 9, 9, 9, 255, 255, 128, 128, 128)
    bad = [
        (float("nan"), *good[1:]),
        (*good[:5], float("inf"), *good[6:]),
        (*good[:10], *[128] * 4),
    ]
    path.write_bytes(b"".join(struct.pack("<6f8B", *row) for row in [good, *bad, good]))
    with pytest.warns(DroppedRows, match="3 of 5 rows hold NaN"):
        assert len(read_splat(path)) == 2
    path.write_bytes(b"".join(struct.pack("<6f8B", *row) for row in bad))
    refused(path, "all 3 rows hold NaN")


def test_files_cut_short_empty_or_of_another_format_are_refused(tmp_path):
    path = tmp_path / "a.splat"
    write_splat(path, random_splats(4))
    data = path.read_bytes()
    for length in (1, 31, 33, 127):
        path.write_bytes(data[:length])
        refused(path, f"expected rows of 32 bytes, got {length} bytes: it was cut short")
    path.write_bytes(b"")
    refused(path, "got an empty file")
    for start in (b"ply\n", b"\x1f\x8b\x08\x00", b"NGSP", b"glTF", b"PK\x03\x04"):
        path.write_bytes(start + bytes(60))
        refused(path, "a file of another format")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.splat", "there is no such file")
    (tmp_path / "dir.splat").mkdir()
    refused(tmp_path / "dir.splat", "it is a folder")


def test_random_bytes_never_give_a_traceback(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(100):
        (tmp_path / "a.splat").write_bytes(rng.bytes(32 * rng.integers(1, 5)))
        read_ignoring_damage(tmp_path / "a.splat", read_splat)
