""".spz: layout to the byte, frame, round trips within its rounding, versions 1 to 4 of others, and bad files."""

import builtins
import contextlib
import gzip
import struct
import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats, save_splats
from gs3d.io.splats.spz import read_spz, write_spz
from gs3d.raster.reference import rotations, sh_basis

SIZES = {0: 0, 1: 9, 2: 24, 3: 45, 4: 72}


def random_splats(count: int = 300, degree: int = 0) -> Splats:
    gen = torch.Generator().manual_seed(degree)

    def normal(*shape):
        return torch.randn(*shape, generator=gen)

    sh = 0.2 * normal(count, (degree + 1) ** 2, 3)
    return Splats(
        0.5 * normal(count, 3),
        normal(count, 4),
        (normal(count, 3) - 4).exp(),
        normal(count).mul(2).sigmoid(),
        sh,
    )


def versions():
    return [
        2,
        3,
        pytest.param(4, marks=pytest.mark.skipif(not has_zstandard(), reason="no zstandard")),
    ]


def has_zstandard() -> bool:
    with contextlib.suppress(ImportError):
        import zstandard  # noqa: F401

        return True
    return False


def refused(path, message):
    with pytest.raises(UserError, match=message) as caught:
        read_spz(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def header(version=3, count=1, degree=0, bits=12, flags=0, mark=b"NGSP") -> bytes:
    return mark + struct.pack("<IIBBBB", version, count, degree, bits, flags, 0)


def streams(version=3, count=1, degree=0) -> bytes:
    """Of splats at the origin, opaque, with the identity as their rotation."""
    rotation = b"\x00\x00\x00\xc0" if version >= 3 else b"\x80\x80\x80"
    position = bytes(6 if version == 1 else 9)
    parts = (position, b"\xff", b"\x80\x80\x80", b"\x60\x60\x60", rotation, b"\x80" * SIZES[degree])
    return b"".join(part * count for part in parts)


# Layout


def known_splat() -> Splats:
    """World (0.5, −0.25, 1) is file (−0.25, 1, 0.5); the quaternion undoes the turn of the frame, so that it is the identity there."""
    sh = torch.zeros(1, 4, 3)
    sh[0, 0] = torch.tensor([1.0, 0, -9])
    undo = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    scales = torch.tensor([[-10.0, -4, 0]]).exp()
    return Splats(torch.tensor([[0.5, -0.25, 1]]), undo, scales, torch.tensor([0.2]), sh)


@pytest.mark.parametrize(("version", "identity"), [(2, "808080"), (3, "000000c0")])
def test_bytes_of_a_known_splat(tmp_path, version, identity):
    write_spz(tmp_path / "a.spz", known_splat(), version=version)
    expected = header(version, 1, 1, 16) + bytes.fromhex(
        "00c0ff 000001 008000" + "33" + "a68000" + "0060a0" + identity + "80" * 9
    )
    assert gzip.decompress((tmp_path / "a.spz").read_bytes()) == expected


def test_version_3_is_the_default_and_files_are_the_same_each_time(tmp_path):
    for name in ("a.spz", "b.spz"):
        save_splats(tmp_path / name, random_splats())
    data = (tmp_path / "a.spz").read_bytes()
    assert data == (tmp_path / "b.spz").read_bytes()
    assert gzip.decompress(data)[4:8] == b"\x03\x00\x00\x00"


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
    write_spz(tmp_path / "b.spz", random_splats(), version=4)
    assert (tmp_path / "b.spz").read_bytes()[15] == 5  # no stream of harmonics


def test_word_of_a_rotation(tmp_path):
    """x y z w = (0.1, −0.7, 0.5, −0.5): y is left out and made positive, so the signs of the others turn."""
    q = torch.tensor([[-0.5, 0.1, -0.7, 0.5]])
    back_to_world = torch.tensor([0.5, 0.5, 0.5, 0.5])
    w, v, bw, bv = q[:, :1], q[:, 1:], back_to_world[0], back_to_world[1:]
    world = torch.cat(
        [bw * w - (v * bv).sum(1, True), bw * v + w * bv + torch.linalg.cross(bv.expand_as(v), v)],
        dim=1,
    )
    write_spz(tmp_path / "a.spz", replace(known_splat(), quats=world))
    word = struct.unpack_from("<I", gzip.decompress((tmp_path / "a.spz").read_bytes()), 16 + 16)[0]
    fields = [(1 << 9) | 72, (1 << 9) | 361, 361]  # −0.1, −0.5, +0.5 times 511·√2
    assert word == (1 << 30) | (fields[0] << 20) | (fields[1] << 10) | fields[2]


def test_harmonics_go_coefficient_by_coefficient_with_the_channel_fastest(tmp_path):
    """The color that file directions see, by the file's own bytes, is the color of the world's directions."""
    splats = random_splats(40, 3)
    write_spz(tmp_path / "a.spz", splats)
    data = gzip.decompress((tmp_path / "a.spz").read_bytes())
    rest = (
        torch.tensor(list(data[16 + 40 * 20 :]), dtype=torch.float64)
        .reshape(40, 15, 3)
        .sub(128)
        .div(128)
    )
    directions = torch.nn.functional.normalize(
        torch.randn(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), dim=1
    )
    in_file = torch.stack([directions[:, 1], directions[:, 2], directions[:, 0]], dim=1)
    expected = torch.einsum(
        "dk,nkc->ndc", sh_basis(directions, 16)[:, 1:], splats.sh[:, 1:].double()
    )
    got = torch.einsum("dk,nkc->ndc", sh_basis(in_file, 16)[:, 1:], rest)
    assert (got - expected).abs().mean() < 0.05 < 0.15 < expected.abs().mean()


# Frame and round trips


def test_frame(tmp_path):
    """The front is the file's +Z, up its +Y, the object's left its +X: glTF's frame, and not mirrored."""
    front, left, up = torch.eye(3)
    write_spz(tmp_path / "a.spz", replace(random_splats(3), means=torch.stack([front, left, up])))
    data = np.frombuffer(
        gzip.decompress((tmp_path / "a.spz").read_bytes()), np.uint8, 27, 16
    ).reshape(9, 3)
    axes = (data @ np.array([1, 256, 65536]) / 2**16).reshape(3, 3)
    assert axes.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert np.linalg.det(axes) == 1


@pytest.mark.parametrize("version", versions())
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree, version):
    splats = random_splats(degree=degree)
    write_spz(tmp_path / "a.spz", splats, version=version)
    back = load_splats(tmp_path / "a.spz")
    assert back.sh.shape == splats.sh.shape and back.means.dtype == torch.float32
    assert (back.means - splats.means).abs().max() <= 2**-17 + 1e-6
    assert (back.scales / splats.scales).log().abs().max() <= 1 / 32 + 1e-5
    assert (back.opacities - splats.opacities).abs().max() <= 0.5 / 255 + 1e-6
    assert (back.sh[:, 0] - splats.sh[:, 0]).abs().max() <= 0.5 / 255 / 0.15 + 1e-5
    # Half a step of 1/16 or 1/8, spread over a band by the turn between the frames.
    assert (
        degree == 0 or (back.sh[:, 1:4] - splats.sh[:, 1:4]).norm(dim=1).max() <= 3**0.5 / 32 + 0.01
    )
    for first, last, band in ((4, 9, 2), (9, 16, 3)):
        assert (
            degree < band
            or (back.sh[:, first:last] - splats.sh[:, first:last]).norm(dim=1).max()
            <= (last - first) ** 0.5 / 16 + 0.01
        )
    off = (rotations(back.quats.double()) - rotations(splats.quats.double())).abs()
    assert off.max() < (0.3 if version == 2 else 0.006) and off.mean() < (
        0.02 if version == 2 else 0.002
    )


@pytest.mark.parametrize(
    ("extent", "bits"),
    [(1e-30, 16), (1.0, 16), (127.0, 16), (128.0, 15), (1000.0, 13), (8388607.0, 0)],
)
def test_far_splats_have_fewer_fractional_bits(tmp_path, extent, bits):
    splats = replace(random_splats(2), means=torch.tensor([[extent, 0, 0], [0, -extent, 0]]))
    write_spz(tmp_path / "a.spz", splats)
    assert gzip.decompress((tmp_path / "a.spz").read_bytes())[13] == bits
    assert (read_spz(tmp_path / "a.spz").means - splats.means).abs().max() <= 0.5 * 2**-bits


def test_what_a_byte_cannot_hold_is_clipped(tmp_path):
    splats = random_splats(2, 1)
    sh = torch.tensor([[[20.0, -20, 0]] * 4] * 2)
    write_spz(
        tmp_path / "a.spz",
        replace(splats, sh=sh, scales=torch.full((2, 3), 1e-8), opacities=torch.tensor([0.0, 1.0])),
    )
    back = read_spz(tmp_path / "a.spz")
    assert torch.allclose(
        back.sh[:, 0, :2], torch.tensor([1 / 0.3, -1 / 0.3]).expand(2, 2), atol=1e-4
    )
    assert back.sh[:, 1:].abs().max() <= 1 + 1e-6 and torch.allclose(
        back.scales, torch.full((2, 3), -10.0).exp()
    )
    assert back.opacities.tolist() == [0, 1]


# What is refused when writing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.full((5, 3), float("nan"))}, "5 of 5 splats hold NaN or infinity"),
        (
            {"means": torch.full((5, 3), 1e7)},
            r"expected coordinates within ±8388607, got one of 1e\+07",
        ),
        ({"sh": torch.full((5, 4, 3), float("inf"))}, "5 of 5 splats hold NaN or infinity"),
        ({"scales": torch.full((5, 3), 1e4)}, "expected log-scales"),
        ({"opacities": torch.full((5,), 2.0)}, "Are they logits"),
        ({"quats": torch.zeros(5, 4)}, "5 of 5 quaternions have no length"),
    ],
)
def test_bad_splats_are_refused_and_the_old_file_stays(tmp_path, change, message):
    path = tmp_path / "a.spz"
    path.write_bytes(b"old")
    with pytest.raises(UserError, match=message) as caught:
        write_spz(path, replace(random_splats(5), **change))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="expected at least one splat, got 0"):
        write_spz(path, random_splats(0))
    with pytest.raises(UserError, match="expected 2, 3 or 4 of .spz, got 5"):
        write_spz(path, random_splats(5), version=5)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_written_bytes_that_change_on_disk_are_noticed(tmp_path, monkeypatch):
    path = type(tmp_path)
    whole = path.write_bytes
    other = tmp_path / "other.spz"
    write_spz(other, random_splats(5, 1))
    data = other.read_bytes()
    for hurt, message in (
        (data[:-3], "cannot be read back"),
        (data, "the file read back differs from the 5 splats"),
    ):
        monkeypatch.setattr(path, "write_bytes", lambda self, _, hurt=hurt: whole(self, hurt))
        with pytest.raises(UserError, match=message):
            write_spz(tmp_path / "a.spz", random_splats(5))
    assert [p.name for p in tmp_path.iterdir()] == ["other.spz"]


def test_version_4_without_zstandard_is_one_line(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **more):
        if name == "zstandard":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        UserError,
        match="cannot write .* needs the package zstandard, which is not installed. Install it",
    ):
        write_spz(tmp_path / "a.spz", random_splats(5), version=4)
    assert not list(tmp_path.iterdir())
    (tmp_path / "b.spz").write_bytes(
        b"NGSP" + struct.pack("<IIBBBBI12x", 4, 1, 0, 12, 0, 5, 32) + bytes(200)
    )
    refused(tmp_path / "b.spz", "needs the package zstandard")


# Files of others


@pytest.mark.parametrize("version", [1, 2, 3])
def test_plain_files_of_each_version(tmp_path, version):
    place = (
        struct.pack("<3e", -0.25, 1, 0.5) if version == 1 else bytes.fromhex("00fcff 001000 000800")
    )
    (tmp_path / "a.spz").write_bytes(
        gzip.compress(header(version) + place + streams(version)[len(place) :])
    )
    back = read_spz(tmp_path / "a.spz")
    assert back.means.tolist() == [[0.5, -0.25, 1]] and back.opacities.tolist() == [1]
    assert torch.allclose(back.scales, torch.full((1, 3), -4.0).exp())
    file_to_world = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert torch.allclose(
        rotations(back.quats)[0], file_to_world, atol=0.01 if version == 3 else 0.03
    )


def test_degree_4_extensions_and_the_antialiased_flag(tmp_path):
    path = tmp_path / "a.spz"
    path.write_bytes(gzip.compress(header(degree=4, count=2) + streams(count=2, degree=4)))
    with pytest.warns(UserWarning, match="degree 4 are cut to degree 3"):
        assert read_spz(path).sh.shape == (2, 16, 3)
    orbit = struct.pack("<IIfff", 0xADBE0002, 12, 0, 1, 2)
    for axes, turned in ((4, False), (0, False), (6, True)):
        path.write_bytes(
            gzip.compress(
                header(flags=3) + streams() + orbit + struct.pack("<III", 0xADBE0003, 4, axes)
            )
        )
        with (
            pytest.warns(UserWarning, match="axes other than RUB")
            if turned
            else contextlib.nullcontext()
        ):
            assert len(read_spz(path)) == 1


def test_half_floats_that_are_not_finite_are_left_out(tmp_path):
    place = struct.pack("<6e", 0, 0, 0, float("nan"), 0, 0)
    (tmp_path / "a.spz").write_bytes(gzip.compress(header(1, 2) + place + streams(1, 2)[12:]))
    with pytest.warns(UserWarning, match="1 of 2 rows hold NaN"):
        assert len(read_spz(tmp_path / "a.spz")) == 1


# Bad files


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins as gzip does or with NGSP, got b''"),
        (b"ply\nformat", "begins as gzip does or with NGSP, got b'ply"),
        (gzip.compress(b""), "expected a header of 16 bytes"),
        (
            gzip.compress(header(mark=b"NOPE") + streams()),
            "expected a header of 16 bytes from NGSP on, got 16 bytes: b'NOPE'",
        ),
        (gzip.compress(header(4) + streams()), "expected an .spz of version 1, 2, 3, got 4"),
        (gzip.compress(header(0) + streams()), "version 1, 2, 3, got 0"),
        (header(9) + streams(), "expected an .spz of version 4, got 9"),
        (gzip.compress(header(count=0)), "expected at least one splat, got 0"),
        (gzip.compress(header(degree=5) + streams()), "expected a degree up to 4"),
        (gzip.compress(header(bits=25) + streams()), "up to 24 fractional bits, got 0 and 25"),
        (gzip.compress(header(flags=0x80) + streams()), "levels of detail"),
        (
            gzip.compress(header(count=2**32 - 1) + streams()),
            "cut short: the header promises 4294967295 splats",
        ),
        (
            gzip.compress(header(count=3) + streams(count=2)),
            "cut short: the header promises 60 bytes of 3 splats, got 40",
        ),
        (gzip.compress(header() + streams() + b"more"), "got more"),
        (gzip.compress(header() + streams())[:-6] + b"\0" * 6, "gzip stream is damaged"),
    ],
)
def test_bad_headers_and_streams(tmp_path, data, message):
    (tmp_path / "a.spz").write_bytes(data)
    refused(tmp_path / "a.spz", message)


@pytest.mark.parametrize("version", versions())
def test_cut_short_anywhere(tmp_path, version):
    write_spz(tmp_path / "a.spz", random_splats(4, 1), version=version)
    data = (tmp_path / "a.spz").read_bytes()
    for length in range(len(data)):
        (tmp_path / "a.spz").write_bytes(data[:length])
        refused(tmp_path / "a.spz", "cannot read")


@pytest.mark.parametrize("version", versions())
def test_random_damage_never_gives_a_traceback(tmp_path, version):
    write_spz(tmp_path / "a.spz", random_splats(4, 1), version=version)
    data = np.frombuffer((tmp_path / "a.spz").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(200):
        hurt = data.copy()
        hurt[rng.integers(0, len(hurt), 3)] = rng.integers(0, 256, 3)
        (tmp_path / "b.spz").write_bytes(hurt.tobytes())
        with warnings.catch_warnings(), contextlib.suppress(UserError):
            warnings.simplefilter("ignore", UserWarning)
            read_spz(tmp_path / "b.spz")


def memory_of_refusal(path, message) -> int:
    tracemalloc.start()
    refused(path, message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("flags", [0, 2])
def test_a_bomb_is_not_unpacked(tmp_path, flags):
    (tmp_path / "a.spz").write_bytes(gzip.compress(header(flags=flags) + bytes(100_000_000)))
    assert memory_of_refusal(tmp_path / "a.spz", "got more") < 5_000_000


def test_a_bomb_of_version_4_is_not_unpacked(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "a.spz"
    head = b"NGSP" + struct.pack("<IIBBBBI12x", 4, 1, 0, 12, 0, 5, 32)
    for known in (True, False):
        bomb = zstandard.ZstdCompressor(write_content_size=known).compress(bytes(100_000_000))
        for plain in (9, 100_000_000):
            path.write_bytes(head + struct.pack("<QQ", len(bomb), plain) + bytes(64) + bomb)
            assert memory_of_refusal(path, "cannot read") < 5_000_000
    path.write_bytes(
        b"NGSP" + struct.pack("<IIBBBBI12x", 4, 2**31 - 1, 0, 12, 0, 5, 32) + bytes(200)
    )
    assert memory_of_refusal(path, "more than 232 bytes can hold") < 5_000_000
    for table, count in ((0, 5), (2**32 - 1, 5), (32, 6)):
        path.write_bytes(
            b"NGSP" + struct.pack("<IIBBBBI12x", 4, 1, 0, 12, 0, count, table) + bytes(200)
        )
        refused(path, "expected a table of 5 streams")


def test_no_such_file_and_a_folder(tmp_path):
    refused(tmp_path / "none.spz", "there is no such file")
    (tmp_path / "dir.spz").mkdir()
    refused(tmp_path / "dir.spz", "it is a folder")
