""".spz, writing: byte layout, coordinate system, round trips, and invalid splats."""

import builtins
import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import ClippedValues, load_splats, save_splats
from gs3d.io.splats.spz import read_spz, write_spz
from gs3d.raster.reference import rotations, sh_basis
from tests.io.splats.samples import (
    assert_not_written,
    assert_refused,
    random_directions,
    random_splats,
    spz_header,
    spz_versions,
)


def content(path) -> bytes:
    """The decompressed bytes of a file of version 1 to 3."""
    return gzip.decompress(path.read_bytes())


# Layout


def known_splat() -> Splats:
    """One splat at (0.5, −0.25, 1) in the world, (−0.25, 1, 0.5) in the file.

    Its quaternion is the inverse of the rotation to file coordinates: the identity in the file.
    """
    sh = torch.zeros(1, 4, 3)
    sh[0, 0] = torch.tensor([1.0, 0, -9])
    inverse = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    scales = torch.tensor([[-10.0, -4, 0]]).exp()
    return Splats(torch.tensor([[0.5, -0.25, 1]]), inverse, scales, torch.tensor([0.2]), sh)


@pytest.mark.parametrize(("version", "identity"), [(2, "808080"), (3, "000000c0")])
def test_bytes_of_a_known_splat(tmp_path, version, identity):
    write_spz(tmp_path / "a.spz", known_splat(), version=version)
    expected = spz_header(version, 1, 1, 16) + bytes.fromhex(
        "00c0ff 000001 008000" + "33" + "a68000" + "0060a0" + identity + "80" * 9
    )
    assert content(tmp_path / "a.spz") == expected


def test_version_3_is_the_default_and_files_are_reproducible(tmp_path):
    splats = random_splats(300, sh_scale=0.2)
    for name in ("a.spz", "b.spz"):
        save_splats(tmp_path / name, splats)
    assert (tmp_path / "a.spz").read_bytes() == (tmp_path / "b.spz").read_bytes()
    assert content(tmp_path / "a.spz")[4:8] == b"\x03\x00\x00\x00"


def test_version_4_is_a_header_a_table_and_streams(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    write_spz(tmp_path / "a.spz", known_splat(), version=4)
    data = (tmp_path / "a.spz").read_bytes()
    assert data[:16] == b"NGSP" + struct.pack("<IIBBBB", 4, 1, 1, 16, 0, 6)
    assert data[16:32] == struct.pack("<I", 32) + bytes(12)
    table = struct.unpack_from("<12Q", data, 32)
    assert table[1::2] == (9, 1, 3, 3, 4, 9) and 32 + 96 + sum(table[::2]) == len(data)
    first = data[128 : 128 + table[0]]
    assert zstandard.ZstdDecompressor().decompress(first) == bytes.fromhex("00c0ff 000001 008000")
    write_spz(tmp_path / "b.spz", random_splats(300), version=4)
    assert (tmp_path / "b.spz").read_bytes()[15] == 5  # no stream of SH coefficients


def test_word_of_a_rotation(tmp_path):
    """x y z w = (0.1, −0.7, 0.5, −0.5): y is omitted and made positive, which flips all signs."""
    q = torch.tensor([[-0.5, 0.1, -0.7, 0.5]])
    file_to_world = torch.tensor([0.5, 0.5, 0.5, 0.5])
    w, v, bw, bv = q[:, :1], q[:, 1:], file_to_world[0], file_to_world[1:]
    cross = torch.linalg.cross(bv.expand_as(v), v)
    world = torch.cat([bw * w - (v * bv).sum(1, True), bw * v + w * bv + cross], dim=1)
    write_spz(tmp_path / "a.spz", replace(known_splat(), quats=world))
    word = struct.unpack_from("<I", content(tmp_path / "a.spz"), 16 + 16)[0]
    fields = [(1 << 9) | 72, (1 << 9) | 361, 361]  # −0.1, −0.5, +0.5 times 511·√2
    assert word == (1 << 30) | (fields[0] << 20) | (fields[1] << 10) | fields[2]


def test_sh_layout_has_the_channel_fastest(tmp_path):
    """The color along a direction, from the bytes of the file, is the color in the world."""
    splats = random_splats(40, 3, seed=3, sh_scale=0.2)
    write_spz(tmp_path / "a.spz", splats)
    harmonics = list(content(tmp_path / "a.spz")[16 + 40 * 20 :])
    rest = torch.tensor(harmonics, dtype=torch.float64).reshape(40, 15, 3).sub(128).div(128)
    world = random_directions(30, seed=1)
    in_file = world[:, [1, 2, 0]]
    expected = torch.einsum("dk,nkc->ndc", sh_basis(world, 16)[:, 1:], splats.sh[:, 1:].double())
    got = torch.einsum("dk,nkc->ndc", sh_basis(in_file, 16)[:, 1:], rest)
    assert (got - expected).abs().mean() < 0.05 < 0.15 < expected.abs().mean()


# Coordinate system and round trips


def test_file_axes(tmp_path):
    """As in glTF: front +Z, up +Y, the object's left +X, not mirrored."""
    front, left, up = torch.eye(3)
    write_spz(tmp_path / "a.spz", replace(random_splats(3), means=torch.stack([front, left, up])))
    data = np.frombuffer(content(tmp_path / "a.spz"), np.uint8, 27, 16).reshape(9, 3)
    axes = (data @ np.array([1, 256, 65536]) / 2**16).reshape(3, 3)
    assert axes.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert np.linalg.det(axes) == 1


@pytest.mark.parametrize("version", spz_versions())
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree, version):
    splats = random_splats(300, degree, seed=degree, sh_scale=0.2)
    write_spz(tmp_path / "a.spz", splats, version=version)
    back = load_splats(tmp_path / "a.spz")
    assert back.sh.shape == splats.sh.shape and back.means.dtype == torch.float32
    assert (back.means - splats.means).abs().max() <= 2**-17 + 1e-6
    assert (back.scales / splats.scales).log().abs().max() <= 1 / 32 + 1e-5
    assert (back.opacities - splats.opacities).abs().max() <= 0.5 / 255 + 1e-6
    sh_error = back.sh - splats.sh
    assert sh_error[:, 0].abs().max() <= 0.5 / 255 / 0.15 + 1e-5
    # Half a step of 1/16 or 1/8. The rotation between the coordinate systems spreads it over
    # a band.
    for band in range(1, degree + 1):
        size = 2 * band + 1
        half_step = 1 / 32 if band == 1 else 1 / 16
        error = sh_error[:, band**2 : band**2 + size].norm(dim=1).max()
        assert error <= size**0.5 * half_step + 0.01
    error = (rotations(back.quats.double()) - rotations(splats.quats.double())).abs()
    assert error.max() < (0.3 if version == 2 else 0.006)
    assert error.mean() < (0.02 if version == 2 else 0.002)


@pytest.mark.parametrize(
    ("extent", "bits"),
    [(1e-30, 16), (1.0, 16), (127.0, 16), (128.0, 15), (1000.0, 13), (8388607.0, 0)],
)
def test_large_scenes_have_fewer_fractional_bits(tmp_path, extent, bits):
    splats = replace(random_splats(2), means=torch.tensor([[extent, 0, 0], [0, -extent, 0]]))
    write_spz(tmp_path / "a.spz", splats)
    assert content(tmp_path / "a.spz")[13] == bits
    assert (read_spz(tmp_path / "a.spz").means - splats.means).abs().max() <= 0.5 * 2**-bits


def along_a_street(length: float, scale: float) -> Splats:
    splats = random_splats(400)
    means = torch.stack([torch.linspace(-length, length, 400), *splats.means.T[1:]], dim=1)
    return replace(splats, means=means, scales=torch.full((400, 3), scale))


def test_rounding_of_positions_that_shows_is_named(tmp_path, recwarn):
    # Neither splats that are larger than the rounding by far nor all bits give a line.
    for splats in (along_a_street(4e5, 1.0), along_a_street(100, 1e-4)):
        write_spz(tmp_path / "a.spz", splats)
        assert not recwarn.list
    write_spz(tmp_path / "a.spz", along_a_street(4e5, 0.005))
    warning = recwarn.pop(ClippedValues).message
    assert warning.what == "positions" and "rounded by up to 0.031;" in str(warning)


def test_values_beyond_a_byte_are_clipped(tmp_path):
    splats = replace(
        random_splats(2),
        sh=torch.tensor([[[20.0, -20, 0]] * 4] * 2),
        scales=torch.full((2, 3), 1e-8),
        opacities=torch.tensor([0.0, 1.0]),
    )
    with pytest.warns(UserWarning) as caught:
        write_spz(tmp_path / "a.spz", splats)
    beyond = [str(warning.message).partition(" have ")[2] for warning in caught]
    assert beyond == [
        "an axis below 4.5e-05, which is written as that",
        "a color beyond ±3.33, which is written as that",
        "a harmonic beyond ±1, which is written as that",
    ]
    back = read_spz(tmp_path / "a.spz")
    limits = torch.tensor([1 / 0.3, -1 / 0.3]).expand(2, 2)
    assert torch.allclose(back.sh[:, 0, :2], limits, atol=1e-4)
    assert back.sh[:, 1:].abs().max() <= 1 + 1e-6
    assert torch.allclose(back.scales, torch.full((2, 3), -10.0).exp())
    assert back.opacities.tolist() == [0, 1]


# Invalid splats


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.full((5, 3), float("nan"))}, "5 of 5 splats hold NaN or infinity"),
        (
            {"means": torch.full((5, 3), 1e7)},
            r"within ±8388607, got one of 1e\+07. .* `gs3d clean --center --radius 1` shrinks all",
        ),
        ({"sh": torch.full((5, 4, 3), float("inf"))}, "5 of 5 splats hold NaN or infinity"),
        ({"scales": torch.full((5, 3), 1e9)}, "expected scales up to"),
        ({"opacities": torch.full((5,), 2.0)}, "Are they logits"),
        ({"quats": torch.zeros(5, 4)}, "5 of 5 quaternions have zero length"),
    ],
)
def test_invalid_splats_are_refused_and_the_old_file_stays(tmp_path, change, message):
    splats = replace(random_splats(5), **change)
    assert_not_written(tmp_path / "a.spz", message, lambda path: write_spz(path, splats))


def test_an_empty_set_and_an_unknown_version_are_refused(tmp_path):
    with pytest.raises(UserError, match="expected at least one splat, got 0"):
        write_spz(tmp_path / "a.spz", random_splats(0))
    with pytest.raises(UserError, match="expected 2, 3 or 4 of .spz, got 5"):
        write_spz(tmp_path / "a.spz", random_splats(5), version=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", [2, 3])
def test_files_that_were_inflated_on_their_way_are_read(tmp_path, version):
    write_spz(tmp_path / "a.spz", random_splats(20, 1), version=version)
    plain = gzip.decompress((tmp_path / "a.spz").read_bytes())
    (tmp_path / "b.spz").write_bytes(plain)
    assert torch.equal(read_spz(tmp_path / "b.spz").sh, read_spz(tmp_path / "a.spz").sh)
    for damaged in (plain[:-1], plain + b"x", plain[:10]):
        (tmp_path / "b.spz").write_bytes(damaged)
        assert_refused(tmp_path / "b.spz", "cannot read", read_spz)


def test_bytes_that_change_on_disk_are_detected(tmp_path, monkeypatch):
    path_type = type(tmp_path)
    write = path_type.write_bytes
    other = tmp_path / "other.spz"
    write_spz(other, random_splats(5, 1))
    data = other.read_bytes()
    for damaged, message in (
        (data[:-3], "cannot be read back"),
        (data, "the file read back differs from the 5 splats"),
    ):
        monkeypatch.setattr(
            path_type, "write_bytes", lambda self, _, damaged=damaged: write(self, damaged)
        )
        with pytest.raises(UserError, match=message):
            write_spz(tmp_path / "a.spz", random_splats(5))
    assert [file.name for file in tmp_path.iterdir()] == ["other.spz"]


def test_version_4_without_zstandard_is_one_line(tmp_path, monkeypatch):
    real_import = builtins.__import__

    def import_without_zstandard(name, *args, **kwargs):
        if name == "zstandard":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_without_zstandard)
    message = "cannot write .* needs the package zstandard, which is not installed. Install it"
    with pytest.raises(UserError, match=message):
        write_spz(tmp_path / "a.spz", random_splats(5), version=4)
    assert not list(tmp_path.iterdir())
    head = b"NGSP" + struct.pack("<IIBBBBI12x", 4, 1, 0, 12, 0, 5, 32)
    (tmp_path / "b.spz").write_bytes(head + bytes(200))
    assert_refused(tmp_path / "b.spz", "needs the package zstandard", read_spz)
