""".splat: layout to the byte, order, frame, what is lost, and bad files."""

import contextlib
import struct
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats, save_splats
from gs3d.io.splats.splat import read_splat, write_splat
from gs3d.raster.reference import rotations


def random_splats(count: int = 200, degree: int = 0) -> Splats:
    gen = torch.Generator().manual_seed(degree)

    def normal(*shape):
        return torch.randn(*shape, generator=gen)

    sh = 0.3 * normal(count, (degree + 1) ** 2, 3)
    return Splats(
        0.5 * normal(count, 3),
        normal(count, 4),
        (normal(count, 3) - 4).exp(),
        normal(count).mul(2).sigmoid(),
        sh,
    )


def by_size(splats: Splats) -> Splats:
    """In the order of the file."""
    order = torch.argsort(
        splats.scales.double().prod(1) * splats.opacities, descending=True, stable=True
    )
    return splats[order]


def rows_of(path) -> list[tuple]:
    """Rows as another program reads them: six floats, eight bytes."""
    return list(struct.iter_unpack("<6f8B", path.read_bytes()))


def refused(path, message, act=read_splat):
    with pytest.raises(UserError, match=message) as caught:
        act(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_of_a_known_splat(tmp_path):
    """World (1, 2, 3) is file (−2, −3, 1). A quaternion that undoes the turn is the identity there: bytes 255 128 128 128."""
    undo = torch.tensor([[0.5, -0.5, 0.5, -0.5]])  # wxyz of the transposed WORLD_TO_PLY
    color = torch.tensor([[[1.0, 0.5, -3.0]]])
    one = Splats(
        torch.tensor([[1.0, 2, 3]]),
        undo,
        torch.tensor([[0.1, 0.2, 0.4]]),
        torch.tensor([0.4]),
        (color - 0.5) / 0.28209479177387814,
    )
    write_splat(tmp_path / "a.splat", one)
    expected = struct.pack("<6f8B", -2, -3, 1, 0.1, 0.2, 0.4, 255, 128, 0, 102, 255, 128, 128, 128)
    assert (tmp_path / "a.splat").read_bytes() == expected


def test_big_and_opaque_rows_come_first(tmp_path):
    splats = replace(
        random_splats(4), scales=torch.tensor([[0.1], [0.2], [0.1], [0.3]]).repeat(1, 3)
    )
    splats = replace(
        splats, opacities=torch.tensor([0.5, 0.5, 0.9, 0.1])
    )  # volume · opacity · 1000: 0.5, 4, 0.9, 2.7
    write_splat(tmp_path / "a.splat", splats)
    assert [round(row[3], 3) for row in rows_of(tmp_path / "a.splat")] == [0.2, 0.3, 0.1, 0.1]
    assert [row[9] for row in rows_of(tmp_path / "a.splat")] == [128, 26, 230, 128]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree):
    splats = random_splats(degree=degree)
    save_splats(tmp_path / "a.splat", splats)
    back, expected = load_splats(tmp_path / "a.splat"), by_size(splats)
    assert back.sh.shape == (200, 1, 3)  # higher bands are dropped
    assert torch.allclose(back.means, expected.means, atol=1e-6) and torch.allclose(
        back.scales, expected.scales
    )
    assert (back.opacities - expected.opacities).abs().max() <= 0.5 / 255 + 1e-6
    color, got = (
        (0.5 + 0.28209479177387814 * sh[:, 0]).clamp(0, 1) for sh in (expected.sh, back.sh)
    )
    assert (color - got).abs().max() <= 0.5 / 255 + 1e-6
    off = rotations(back.quats.double()) - rotations(expected.quats.double())
    assert off.abs().max() < 0.04 and off.abs().mean() < 0.005
    again = tmp_path / "b.splat"
    write_splat(again, back)
    assert torch.allclose(read_splat(again).means, by_size(back).means, atol=1e-6)


def test_frame(tmp_path):
    """The front is the file's +Z, up its −Y, the object's left its −X: as .ply files are, and not mirrored."""
    front, left, up = torch.eye(3)
    splats = replace(
        random_splats(3),
        means=torch.stack([front, left, up]),
        scales=torch.tensor([[0.3], [0.2], [0.1]]).repeat(1, 3),
    )
    write_splat(tmp_path / "a.splat", replace(splats, opacities=torch.ones(3)))
    axes = np.array([row[:3] for row in rows_of(tmp_path / "a.splat")])
    assert axes.tolist() == [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    assert np.linalg.det(axes) == 1


def test_rotations_turn_with_the_frame(tmp_path):
    splats = by_size(random_splats(30))
    write_splat(tmp_path / "a.splat", splats)
    quats = (
        torch.tensor([row[10:] for row in rows_of(tmp_path / "a.splat")], dtype=torch.float64)
        .sub(128)
        .div(128)
    )
    world_to_file = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]], dtype=torch.float64)
    assert torch.allclose(
        rotations(quats), world_to_file @ rotations(splats.quats.double()), atol=0.04
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.full((5, 3), float("nan"))}, "5 of 5 splats hold NaN or infinity"),
        (
            {"means": torch.full((5, 3), 1e39, dtype=torch.float64)},
            "5 of 5 splats hold NaN or infinity",
        ),
        ({"sh": torch.full((5, 1, 3), float("inf"))}, "5 of 5 splats hold NaN or infinity"),
        ({"scales": torch.zeros(5, 3)}, "expected log-scales"),
        ({"opacities": torch.full((5,), 2.0)}, "Are they logits"),
        ({"quats": torch.zeros(5, 4)}, "5 of 5 quaternions have no length"),
    ],
)
def test_bad_splats_are_refused_and_the_old_file_stays(tmp_path, change, message):
    path = tmp_path / "a.splat"
    path.write_bytes(b"old")
    refused(path, message, lambda path: write_splat(path, replace(random_splats(5), **change)))
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(UserError, match="expected at least one splat, got 0"):
        write_splat(path, random_splats(0))


def test_written_bytes_that_change_on_disk_are_noticed(tmp_path, monkeypatch):
    path = type(tmp_path)
    whole = path.write_bytes
    monkeypatch.setattr(
        path, "write_bytes", lambda self, data: whole(self, bytes(data[:-1]) + b"\x00")
    )
    refused(
        tmp_path / "a.splat",
        "the file read back differs from the 5",
        lambda file: write_splat(file, random_splats(5)),
    )
    assert not list(tmp_path.iterdir())


def test_bad_rows_are_left_out_with_a_count(tmp_path):
    path = tmp_path / "a.splat"
    good = (0, 0, 0, 0.1, 0.1, 0.1, 9, 9, 9, 255, 255, 128, 128, 128)
    bad = [
        (float("nan"), *good[1:]),
        (*good[:4], -1.0, *good[5:]),
        (*good[:5], float("inf"), *good[6:]),
        (*good[:10], *[128] * 4),
    ]
    path.write_bytes(b"".join(struct.pack("<6f8B", *row) for row in [good, *bad, good]))
    with pytest.warns(UserWarning, match="4 of 6 rows hold NaN"):
        assert len(read_splat(path)) == 2
    path.write_bytes(b"".join(struct.pack("<6f8B", *row) for row in bad))
    refused(path, "all 4 rows hold NaN")


def test_cut_short_empty_and_other_kinds(tmp_path):
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
        refused(path, "a file of another kind")
    refused(tmp_path / "none.splat", "there is no such file")
    (tmp_path / "dir.splat").mkdir()
    refused(tmp_path / "dir.splat", "it is a folder")


def test_random_bytes_never_give_a_traceback(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(100):
        (tmp_path / "a.splat").write_bytes(rng.bytes(32 * rng.integers(1, 5)))
        with warnings.catch_warnings(), contextlib.suppress(UserError):
            warnings.simplefilter("ignore", UserWarning)
            assert torch.isfinite(read_splat(tmp_path / "a.splat").means).all()
