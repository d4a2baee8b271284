"""Compressed .ply of PlayCanvas: layout to the bit, the frame, precision, chunks, and every kind of bad file."""

import contextlib
import struct
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

SH_C0 = 0.28209479177387814


def random_splats(count: int = 50, degree: int = 0, seed: int = 0) -> Splats:
    gen = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=gen)

    scales, opacities = (normal(count, 3) - 4).exp(), normal(count).mul(2).sigmoid()
    return Splats(
        0.5 * normal(count, 3),
        normal(count, 4),
        scales,
        opacities,
        0.3 * normal(count, (degree + 1) ** 2, 3),
    )


def matched(got: Splats, splats: Splats) -> Splats:
    """`got` in the order of `splats`, by the means: the file has its own."""
    rows = torch.cdist(splats.means, got.means).argmin(dim=1)
    assert len(rows.unique()) == len(got) == len(splats)
    return got[rows]


def written(tmp_path, splats):
    write_compressed(tmp_path / "a.ply", splats)
    return plyfile.PlyData.read(str(tmp_path / "a.ply"))


# Layout


@pytest.mark.parametrize(("degree", "rest"), [(0, 0), (1, 9), (2, 24), (3, 45)])
def test_header_and_size_are_exact(tmp_path, degree, rest):
    write_compressed(tmp_path / "a.ply", random_splats(257, degree))
    names = [
        f"{e}_{n}"
        for group in ("xyz", ("scale_x", "scale_y", "scale_z"), "rgb")
        for e in ("min", "max")
        for n in group
    ]
    header = "ply\nformat binary_little_endian 1.0\ncomment gs3d 0.1 frame=up-y,front+z\nelement chunk 2\n"
    header += "".join(f"property float {name}\n" for name in names) + "element vertex 257\n"
    header += "".join(
        f"property uint packed_{name}\n" for name in ("position", "rotation", "scale", "color")
    )
    if rest:
        header += "element sh 257\n" + "".join(f"property uchar f_rest_{i}\n" for i in range(rest))
    header = (header + "end_header\n").encode()
    data = (tmp_path / "a.ply").read_bytes()
    assert data[: len(header)] == header and len(data) == len(header) + 2 * 72 + 257 * (16 + rest)


def test_two_known_splats(tmp_path):
    """The second fills the bits of what is larger in it. Its rotation is in the file a quarter turn about z."""
    back = (-0.5, 0.5, -0.5, 0.5)  # of the file's axes to the world's, wxyz
    sh = torch.zeros(2, 4, 3)
    sh[:, 0] = torch.tensor([[0.0, 0, 0], [1, -1, 1]])
    sh[0, 2, 1], sh[1, 3, 0] = 1.0, -5.0
    splats = Splats(
        torch.tensor([[1.0, 0, 0], [1, -2, 3]]),
        torch.tensor([back, back]),
        torch.ones(2, 3),
        torch.tensor([1.0, 0.2]),
        sh,
    )
    splats = replace(splats, scales=torch.tensor([[0.1, 0.1, 0.1], [0.2, 0.1, 0.05]]))
    with pytest.warns(
        UserWarning, match="1 coefficients of the harmonics lie beyond ±4 and were clamped"
    ):
        ply = written(tmp_path, splats)
    chunk, rows = ply["chunk"][0], ply["vertex"].data
    assert [chunk[n] for n in ("min_x", "max_x", "min_y", "max_y", "min_z", "max_z")] == [
        0,
        2,
        -3,
        0,
        1,
        1,
    ]
    assert chunk["max_scale_x"] == pytest.approx(np.log(0.2)) and chunk[
        "min_scale_z"
    ] == pytest.approx(np.log(0.05))
    assert (
        chunk["min_r"] == 0.5
        and chunk["max_r"] == pytest.approx(0.5 + SH_C0)
        and chunk["min_g"] == pytest.approx(0.5 - SH_C0)
    )
    one, two = (rows[0], rows[1]) if rows["packed_position"][0] < 2**21 else (rows[1], rows[0])
    assert (
        one["packed_position"] == 1023 << 11 and two["packed_position"] == 2047 << 21
    )  # z, the same in both, has no bits
    assert one["packed_scale"] == 2047 and two["packed_scale"] == 2047 << 21
    assert (
        one["packed_color"] == 255 << 16 | 255 and two["packed_color"] == 255 << 24 | 255 << 8 | 51
    )
    assert load_splats(tmp_path / "a.ply").means.shape == (2, 3)


def test_rotations_are_the_three_smaller_numbers(tmp_path):
    splats = random_splats(500)
    rows = written(tmp_path, splats)["vertex"].data["packed_rotation"].astype(np.int64)
    largest, others = (
        rows >> 30,
        (np.stack([rows >> 20, rows >> 10, rows], 1) % 1024 / 1023 - 0.5) * 2**0.5,
    )
    assert set(largest) == {0, 1, 2, 3} and np.abs(others).max() <= 0.5**0.5 + 1e-6
    full = np.stack(
        [np.insert(o, k, (1 - (o * o).sum()) ** 0.5) for o, k in zip(others, largest, strict=True)]
    )
    world_to_file = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]).double()
    in_file = rotations(torch.from_numpy(full))
    back = matched(read_compressed(tmp_path / "a.ply"), splats)
    rows_of = torch.cdist(splats.means, read_compressed(tmp_path / "a.ply").means).argmin(dim=1)
    assert torch.allclose(
        in_file[rows_of], world_to_file @ rotations(splats.quats.double()), atol=5e-3
    )
    assert torch.allclose(rotations(back.quats), rotations(splats.quats), atol=5e-3)


def test_file_axes(tmp_path):
    """As in a plain .ply: front +Z, left −X, up −Y. All three in one chunk, so their bounds are exact."""
    splats = replace(random_splats(3), means=torch.eye(3))
    chunk = written(tmp_path, splats)["chunk"][0]
    assert [chunk[f"{e}_{a}"] for a in "xyz" for e in ("min", "max")] == [-1, 0, -1, 0, 0, 1]
    save_splats(tmp_path / "plain.ply", splats)
    assert torch.allclose(
        matched(load_splats(tmp_path / "a.ply"), splats).means,
        load_splats(tmp_path / "plain.ply").means,
        atol=1e-6,
    )


# Precision


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [1, 255, 256, 700])
def test_round_trip(tmp_path, degree, count):
    splats = random_splats(count, degree, seed=degree)
    save_splats(tmp_path / "a.compressed.ply", splats)
    got = matched(load_splats(tmp_path / "a.compressed.ply"), splats)
    box = (splats.means.amax(0) - splats.means.amin(0)).max()
    assert (got.means - splats.means).abs().max() <= box / 2046 + 1e-6
    assert (got.scales / splats.scales).log().abs().max() <= (
        splats.scales.log().amax() - splats.scales.log().amin()
    ) / 2046 + 1e-5
    assert (got.opacities - splats.opacities).abs().max() <= 0.5 / 255 + 1e-6
    assert (got.sh[:, 0] - splats.sh[:, 0]).abs().max() <= (
        splats.sh[:, 0].amax() - splats.sh[:, 0].amin()
    ) / 510 + 1e-5
    assert (
        got.sh.shape == splats.sh.shape and (got.sh - splats.sh).abs().max() <= 1.6 / 64
    )  # a turn mixes the errors of a band
    assert (rotations(got.quats) - rotations(splats.quats)).abs().max() < 5e-3


def test_chunks_follow_space(tmp_path):
    """Along the curve, a chunk of 10 000 splats in a cube is far smaller than the cube, and so are its steps."""
    splats = replace(
        random_splats(10_000),
        means=torch.rand(10_000, 3, generator=torch.Generator().manual_seed(3)),
    )
    chunks = written(tmp_path, splats)["chunk"].data
    assert np.mean([chunks[f"max_{a}"] - chunks[f"min_{a}"] for a in "xyz"]) < 0.5
    assert (
        matched(read_compressed(tmp_path / "a.ply"), splats).means - splats.means
    ).abs().mean() < 1e-4


def test_the_curve_goes_octant_by_octant():
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
    assert morton_order(corners[::-1]).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    inner = np.concatenate([0.3 * corners, 0.7 + 0.3 * corners])
    assert morton_order(inner).tolist() == list(range(16))


def test_chunks_where_all_is_the_same(tmp_path):
    """No difference to divide by: what is constant comes back exactly."""
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
    assert (
        torch.allclose(got.means, splats.means)
        and torch.allclose(got.scales, splats.scales)
        and (got.opacities == 1).all()
    )
    assert torch.allclose(got.sh, splats.sh, atol=1e-6)


# Files of others


def pieces(tmp_path, count=6, degree=1):
    """Header and rows of a good file."""
    write_compressed(tmp_path / "good.ply", random_splats(count, degree))
    header, _, body = (tmp_path / "good.ply").read_bytes().partition(b"end_header\n")
    return header + b"end_header\n", body


def test_files_without_bounds_of_colors(tmp_path):
    """The format's first version: colors are fractions of 1."""
    header, body = pieces(tmp_path, degree=0)
    for name in ("min_r", "min_g", "min_b", "max_r", "max_g", "max_b"):
        header = header.replace(f"property float {name}\n".encode(), b"")
    rows = bytearray(body[72:])
    rows[12:16] = struct.pack("<I", 255 << 24 | 0 << 16 | 51 << 8 | 102)
    (tmp_path / "a.ply").write_bytes(header + body[:48] + rows)
    got = load_splats(tmp_path / "a.ply")
    assert (
        torch.allclose(0.5 + SH_C0 * got.sh[0, 0], torch.tensor([1, 0, 0.2]), atol=1e-6)
        and abs(got.opacities[0] - 0.4) < 1e-6
    )


def test_rows_of_nan_are_left_out_with_a_count(tmp_path):
    header, body = pieces(tmp_path, count=300)
    with pytest.warns(UserWarning, match="a.ply: 44 of 300 rows hold NaN"):
        (tmp_path / "a.ply").write_bytes(header + body[:72] + b"\xff" * 4 + body[76:])
        assert len(load_splats(tmp_path / "a.ply")) == 256
    (tmp_path / "a.ply").write_bytes(header + b"\xff" * 144 + body[144:])
    refused(tmp_path / "a.ply", "all 300 rows hold NaN")


def refused(path, message):
    with pytest.raises(UserError, match=message) as caught:
        load_splats(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            b"element vertex 6",
            b"element vertex 9999999999",
            "expected 39062500 chunks for 9999999999 splats, got 1",
        ),
        (
            b"element vertex 6",
            b"element vertex 200",
            "expected 200 rows of 9, 24 or 45 harmonics, got 6 of 9",
        ),
        (b"element sh 6", b"element sh 7", "expected 6 rows of .*, got 7 of 9"),
        (b"element vertex 6", b"element vertex 0", "expected at least one splat, got 0"),
        (b"element chunk 1", b"element chunk 99999999999", "expected 1 chunks for 6 splats"),
        (b"element chunk", b"element junk", "expected the element chunk"),
        (
            b"property float max_z\n",
            b"",
            "expected the properties of a compressed PLY in the element chunk",
        ),
        (b"float min_x", b"double min_x", "expected the properties of a compressed PLY"),
        (
            b"uchar f_rest_8",
            b"uchar f_rest_9",
            "expected the properties of a compressed PLY in the element sh",
        ),
        (b"property uchar f_rest_8\n", b"", "got 6 of 8"),
        (
            b"uint packed_scale",
            b"list uchar uint packed_scale",
            "expected one number a row, got the list packed_scale",
        ),
        (
            b"binary_little_endian",
            b"ascii",
            "expected a compressed PLY in binary_little_endian, got ascii",
        ),
        (b"front+z", b"front-z", "of a newer gs3d"),
    ],
)
def test_bad_headers(tmp_path, old, new, message):
    header, body = pieces(tmp_path)
    assert header.count(old) == 1
    (tmp_path / "a.ply").write_bytes(header.replace(old, new) + body)
    refused(tmp_path / "a.ply", message)


def test_a_false_count_is_never_allocated(tmp_path):
    header, body = pieces(tmp_path, degree=0)
    header = header.replace(b"chunk 1", b"chunk 39062500").replace(
        b"vertex 6", b"vertex 9999999999"
    )
    (tmp_path / "a.ply").write_bytes(header + body)
    refused(tmp_path / "a.ply", "cut short: the header promises 39062500 chunk, 9999999999 vertex")


def test_cut_short(tmp_path):
    header, body = pieces(tmp_path)
    for length in (
        0,
        3,
        40,
        len(header) - 1,
        len(header),
        len(header) + 71,
        len(header) + len(body) - 1,
    ):
        (tmp_path / "a.ply").write_bytes((header + body)[:length])
        refused(tmp_path / "a.ply", "cannot read")


def test_random_damage_never_gives_a_traceback(tmp_path):
    header, body = pieces(tmp_path, count=3)
    data, rng = np.frombuffer(header + body, np.uint8), np.random.default_rng(0)
    for _ in range(300):
        hurt = data[: rng.integers(1, len(data) + 1)].copy() if rng.random() < 0.3 else data.copy()
        hurt[rng.integers(0, len(hurt), 3)] = rng.integers(0, 256, 3)
        (tmp_path / "b.ply").write_bytes(hurt.tobytes())
        with warnings.catch_warnings(), contextlib.suppress(UserError):
            warnings.simplefilter("ignore", UserWarning)
            load_splats(tmp_path / "b.ply")


# What is refused when writing


@pytest.mark.parametrize(
    ("splats", "message"),
    [
        (random_splats(0), "expected at least one splat, got 0"),
        (
            replace(random_splats(9), means=torch.full((9, 3), float("nan"))),
            "9 of 9 splats hold NaN",
        ),
        (replace(random_splats(9), scales=torch.zeros(9, 3)), "expected log-scales"),
        (replace(random_splats(9), quats=torch.zeros(9, 4)), "9 of 9 quaternions have no length"),
    ],
)
def test_bad_splats_are_not_written(tmp_path, splats, message):
    (tmp_path / "a.ply").write_bytes(b"old")
    with pytest.raises(UserError, match=message):
        write_compressed(tmp_path / "a.ply", splats)
    assert (tmp_path / "a.ply").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_bits_that_are_packed_wrongly_are_noticed(tmp_path, monkeypatch):
    from gs3d.io.splats import compressed_ply as compressed

    monkeypatch.setattr(compressed, "pack_rotations", lambda quats: np.zeros(len(quats), np.uint32))
    with pytest.raises(UserError, match="the file read back differs from the 50 splats"):
        write_compressed(tmp_path / "a.ply", random_splats())
    assert not list(tmp_path.iterdir())
