"""INRIA .ply: layout to the byte, the frame, round trips, and every kind of bad file."""

import contextlib
import warnings
from dataclasses import replace

import numpy as np
import plyfile
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats, save_splats
from gs3d.io.splats.ply import columns, read_ply, write_ply
from gs3d.raster.reference import rotations, sh_basis


def random_splats(count: int = 50, degree: int = 0, seed: int = 0) -> Splats:
    gen = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=gen)

    return Splats(
        means=0.5 * normal(count, 3),
        quats=normal(count, 4),
        scales=(normal(count, 3) - 4).exp(),
        opacities=normal(count).mul(2).sigmoid(),
        sh=0.3 * normal(count, (degree + 1) ** 2, 3),
    )


def raw(path):
    """The file's columns, as another program sees them."""
    return plyfile.PlyData.read(str(path))["vertex"].data


def stacked(rows, names):
    return torch.tensor(np.stack([rows[name] for name in names], axis=1).astype(np.float64))


def raw_sh(rows):
    """[N, K, 3] of the file's own coefficients: f_rest is channel-major."""
    rest = [name for name in rows.dtype.names if name.startswith("f_rest_")]
    dc = stacked(rows, ["f_dc_0", "f_dc_1", "f_dc_2"])[:, None]
    if not rest:
        return dc
    return torch.cat([dc, stacked(rows, rest).reshape(len(rows), 3, -1).transpose(1, 2)], dim=1)


def close(a, b):
    """Relative error of the whole, 1e-6."""
    return (a - b).norm() <= 1e-6 * b.norm()


# Layout


@pytest.mark.parametrize(("degree", "bytes_a_vertex"), [(0, 68), (1, 104), (2, 164), (3, 248)])
def test_header_and_size_are_exact(tmp_path, degree, bytes_a_vertex):
    path = tmp_path / "a.ply"
    write_ply(path, random_splats(7, degree))
    rest = "".join(f"property float f_rest_{i}\n" for i in range(3 * ((degree + 1) ** 2 - 1)))
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    tail = ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    header = (
        "ply\nformat binary_little_endian 1.0\ncomment gs3d 0.1 frame=up-y,front+z\nelement vertex 7\n"
        + "".join(f"property float {name}\n" for name in names)
        + rest
        + "".join(f"property float {name}\n" for name in tail)
        + "end_header\n"
    ).encode()
    data = path.read_bytes()
    assert data[: len(header)] == header
    assert len(data) == len(header) + 7 * bytes_a_vertex


def test_values_are_logarithms_logits_and_unit_quaternions(tmp_path):
    splats = Splats(
        torch.zeros(1, 3),
        torch.tensor([[2.0, 0, 0, 0]]),
        torch.tensor([[0.1, 0.2, 0.3]]),
        torch.tensor([0.75]),
        torch.ones(1, 1, 3),
    )
    write_ply(tmp_path / "a.ply", splats)
    rows = raw(tmp_path / "a.ply")
    assert rows["scale_1"][0] == pytest.approx(np.log(0.2), rel=1e-6)
    assert rows["opacity"][0] == pytest.approx(np.log(3), rel=1e-6)
    assert stacked(rows, ["rot_0", "rot_1", "rot_2", "rot_3"]).norm() == pytest.approx(1, abs=1e-6)
    assert (rows["nx"][0], rows["ny"][0], rows["nz"][0]) == (0, 0, 0)


def test_opacity_zero_and_one_become_sane_logits(tmp_path):
    splats = replace(random_splats(2), opacities=torch.tensor([0.0, 1.0]))
    write_ply(tmp_path / "a.ply", splats)
    logits = raw(tmp_path / "a.ply")["opacity"]
    assert -20 < logits[0] < -10 and 10 < logits[1] < 20
    assert torch.allclose(read_ply(tmp_path / "a.ply").opacities, splats.opacities, atol=1e-6)


@pytest.mark.parametrize(("degree", "pad"), [(0, 3), (1, 3), (2, 2), (0, 1), (3, 1)])
def test_padding_adds_zeros_and_keeps_the_channels_apart(tmp_path, degree, pad):
    splats = random_splats(5, degree)
    write_ply(tmp_path / "a.ply", splats, sh_pad=pad)
    assert raw(tmp_path / "a.ply").dtype.names == tuple(columns((max(degree, pad) + 1) ** 2))
    back = read_ply(tmp_path / "a.ply").sh
    count = splats.sh.shape[1]
    assert close(back[:, :count], splats.sh) and not back[:, count:].any()


# Round trips and the frame


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
    """An F drawn on the front of the object: it faces +X, upright, its stem on the viewer's left, which is −Y, and its foot longer."""
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


TURN_Z = torch.diag(torch.tensor([-1.0, -1, 1]))  # PlayCanvas, SuperSplat
TURN_X = torch.diag(torch.tensor([1.0, -1, -1]))  # Spark's docs


def test_file_axes(tmp_path):
    front, left, up = torch.eye(3)
    splats = replace(random_splats(3), means=torch.stack([front, left, up]))
    write_ply(tmp_path / "a.ply", splats)
    assert stacked(raw(tmp_path / "a.ply"), "xyz").tolist() == [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]


@pytest.mark.parametrize(("turn", "facing"), [(TURN_Z, 1.0), (TURN_X, -1.0)])
def test_letter_f_reads_in_the_viewers(tmp_path, turn, facing):
    """Seen from where its front is, with +Y up, the F is as drawn: neither mirrored nor upside down."""
    write_ply(tmp_path / "a.ply", letter_f())
    shown = stacked(raw(tmp_path / "a.ply"), "xyz").float() @ turn.T
    assert torch.allclose(shown[:, 2], torch.full((10,), facing))  # all on the front
    right = (
        facing * shown[:, 0]
    )  # a camera at +Z looking back has +X on its right, one at −Z has −X
    picture = torch.stack([right, shown[:, 1]], dim=1)
    assert torch.allclose(picture, letter_f().means[:, 1:])


def test_rotations_turn_with_the_frame(tmp_path):
    """A splat's axes in the file are its axes in the world, turned as its mean is."""
    splats = random_splats(20)
    write_ply(tmp_path / "a.ply", splats)
    rows = raw(tmp_path / "a.ply")
    world_to_file = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]], dtype=torch.float64)
    in_file = rotations(stacked(rows, ["rot_0", "rot_1", "rot_2", "rot_3"]))
    assert torch.allclose(in_file, world_to_file @ rotations(splats.quats.double()), atol=1e-6)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_color_from_a_world_direction_is_the_same_in_the_file(tmp_path, degree):
    splats = random_splats(30, degree)
    write_ply(tmp_path / "a.ply", splats)
    rows = raw(tmp_path / "a.ply")
    world = torch.nn.functional.normalize(
        torch.randn(40, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64), dim=1
    )
    in_file = torch.stack([-world[:, 1], -world[:, 2], world[:, 0]], dim=1)
    count = splats.sh.shape[1]
    expected = torch.einsum("dk,nkc->ndc", sh_basis(world, count), splats.sh.double())
    got = torch.einsum("dk,nkc->ndc", sh_basis(in_file, count), raw_sh(rows))
    assert torch.allclose(got, expected, atol=1e-6)
    untouched = torch.einsum("dk,nkc->ndc", sh_basis(in_file, count), splats.sh.double())
    assert not torch.allclose(
        untouched, expected, atol=1e-2
    )  # the test would notice coefficients that were not rotated


# What is refused when writing


def broken(**changes) -> Splats:
    splats = random_splats(10, 1)
    for name, (row, value) in changes.items():
        tensor = getattr(splats, name).clone()
        tensor[row] = value
        splats = replace(splats, **{name: tensor})
    return splats


@pytest.mark.parametrize(
    ("splats", "message"),
    [
        (random_splats(0), "expected at least one splat, got 0"),
        (broken(means=(3, float("nan"))), "1 of 10 splats hold NaN or infinity"),
        (broken(sh=(slice(0, 4), float("inf"))), "4 of 10 splats hold NaN or infinity"),
        (broken(opacities=(0, float("nan"))), "1 of 10 splats hold NaN or infinity"),
        (broken(scales=(0, float("nan"))), "1 of 10 splats hold NaN or infinity"),
        (broken(quats=(0, float("inf"))), "1 of 10 splats hold NaN or infinity"),
        (broken(quats=(slice(0, 2), 0.0)), "2 of 10 quaternions have no length"),
        (broken(scales=(0, 200.0)), r"expected log-scales in \[-20, 5\], got .* to 5.298, 1 of 10"),
        (broken(scales=(0, 0.0)), r"expected log-scales in \[-20, 5\], got -inf to"),
        (broken(scales=(0, -3.0)), "Are they logarithms"),
        (broken(opacities=(0, -2.0)), "Are they logits"),
    ],
)
def test_bad_splats_are_refused_and_the_old_file_stays(tmp_path, splats, message):
    path = tmp_path / "a.ply"
    path.write_bytes(b"old")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=message) as caught:
            write_ply(path, splats)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


def test_opacities_activated_twice_are_refused_and_honest_ones_are_not(tmp_path):
    path = tmp_path / "a.ply"
    splats = random_splats(1000)
    twice = replace(
        splats,
        opacities=(4 * torch.randn(1000, generator=torch.Generator().manual_seed(1)))
        .sigmoid()
        .sigmoid(),
    )
    with pytest.raises(UserError, match="look like probabilities"):
        write_ply(path, twice)
    write_ply(
        path, replace(splats, opacities=torch.full((1000,), 0.6))
    )  # a fresh start: all logits are 0.405
    write_ply(path, replace(splats, opacities=0.55 + 0.1 * torch.rand(1000)))  # logits 0.2 to 0.62
    write_ply(
        path, replace(random_splats(3), opacities=torch.tensor([0.501, 0.6, 0.73]))
    )  # three splats may lie anywhere


def test_wrong_shapes_are_a_value_error(tmp_path):
    splats = random_splats(4)
    with pytest.raises(
        ValueError,
        match=r"splats.sh: expected \[4, K, 3\] with K one of 1, 4, 9, 16, got \[4, 2, 3\]",
    ):
        write_ply(tmp_path / "a.ply", replace(splats, sh=torch.zeros(4, 2, 3)))
    with pytest.raises(ValueError, match=r"splats.quats: expected shape \[4, 4\], got \[4, 3\]"):
        write_ply(tmp_path / "a.ply", replace(splats, quats=torch.zeros(4, 3)))


def test_written_bytes_that_change_on_disk_are_noticed(tmp_path, monkeypatch):
    whole = plyfile.PlyData.write

    def flipped(self, stream):
        whole(self, stream)
        stream.seek(-5, 2)
        stream.write(b"\x00")

    monkeypatch.setattr(plyfile.PlyData, "write", flipped)
    with pytest.raises(UserError, match="the file read back differs from the 50 splats"):
        write_ply(tmp_path / "a.ply", random_splats())
    assert not list(tmp_path.iterdir())


# Foreign and broken files


def foreign(path, rows, text=False, byte_order="<", comments=()):
    element = plyfile.PlyElement.describe(rows, "vertex")
    plyfile.PlyData([element], text=text, byte_order=byte_order, comments=list(comments)).write(
        str(path)
    )


def good_rows(tmp_path, degree=0, count=6):
    write_ply(tmp_path / "good.ply", random_splats(count, degree))
    return np.array(raw(tmp_path / "good.ply")), read_ply(tmp_path / "good.ply")


@pytest.mark.parametrize("kind", [{"text": True}, {"byte_order": ">"}, {"byte_order": "<"}])
def test_ascii_and_both_byte_orders_are_read(tmp_path, kind):
    rows, expected = good_rows(tmp_path, degree=1)
    foreign(tmp_path / "a.ply", rows, **kind)
    back = read_ply(tmp_path / "a.ply")
    assert (
        close(back.means, expected.means)
        and close(back.sh, expected.sh)
        and close(back.scales, expected.scales)
    )


def test_windows_line_ends_other_types_and_extra_properties(tmp_path):
    rows, expected = good_rows(tmp_path)
    names = [name for name in rows.dtype.names if name not in ("nx", "ny", "nz")]
    wide = np.zeros(
        len(rows), dtype=[("red", "u1"), *[(name, "<f8") for name in names], ("confidence", "<i2")]
    )
    for name in names:
        wide[name] = rows[name]
    foreign(tmp_path / "a.ply", wide)
    header, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    (tmp_path / "a.ply").write_bytes((header + b"end_header\n").replace(b"\n", b"\r\n") + body)
    back = read_ply(tmp_path / "a.ply")
    assert close(back.means, expected.means) and back.sh.shape == (6, 1, 3)


def test_rows_of_nan_are_left_out_with_a_count(tmp_path):
    rows, expected = good_rows(tmp_path)
    rows["f_dc_1"][1] = np.nan
    rows["scale_2"][3] = -np.inf
    for name in ("rot_0", "rot_1", "rot_2", "rot_3"):
        rows[name][4] = 0
    rows["opacity"][5] = np.inf
    foreign(tmp_path / "a.ply", rows)
    with pytest.warns(UserWarning, match="a.ply: 3 of 6 rows hold NaN"):
        back = read_ply(tmp_path / "a.ply")
    assert close(back.means, expected.means[[0, 2, 5]]) and back.opacities[2] == 1
    rows["x"] = np.nan
    foreign(tmp_path / "a.ply", rows)
    with pytest.raises(UserError, match="all 6 rows hold NaN"):
        read_ply(tmp_path / "a.ply")


def test_opacities_that_look_like_probabilities_are_warned_about(tmp_path):
    rows, _ = good_rows(tmp_path, count=200)
    rows["opacity"] = np.linspace(0.01, 0.99, 200)
    foreign(tmp_path / "a.ply", rows)
    with pytest.warns(UserWarning, match="look like probabilities"):
        read_ply(tmp_path / "a.ply")


def refused(path, message):
    with pytest.raises(UserError, match=message) as caught:
        read_ply(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_mesh_is_named_with_what_it_lacks(tmp_path):
    path = tmp_path / "mesh.ply"
    path.write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    )
    refused(path, "expected Gaussian splats, got a mesh. Meshes are read as .glb")


def without(rows, drop):
    names = [name for name in rows.dtype.names if name not in drop]
    left = np.zeros(len(rows), dtype=[(name, "<f4") for name in names])
    for name in names:
        left[name] = rows[name]
    return left


def test_missing_columns_are_named(tmp_path):
    rows, _ = good_rows(tmp_path)
    foreign(tmp_path / "a.ply", without(rows, {"opacity", "rot_3"}))
    refused(tmp_path / "a.ply", "missing opacity, rot_3")


@pytest.mark.parametrize("keep", [8, 6, 1])
def test_a_wrong_number_of_harmonics(tmp_path, keep):
    rows, _ = good_rows(tmp_path, degree=1)
    foreign(tmp_path / "a.ply", without(rows, {f"f_rest_{i}" for i in range(keep, 9)}))
    refused(tmp_path / "a.ply", f"expected 0, 9, 24 or 45 properties .* got {keep}")


def test_harmonics_not_numbered_from_zero(tmp_path):
    rows, _ = good_rows(tmp_path, degree=1)
    rows.dtype.names = tuple(
        "f_rest_9" if name == "f_rest_0" else name for name in rows.dtype.names
    )
    foreign(tmp_path / "a.ply", rows)
    refused(tmp_path / "a.ply", "not numbered from 0")


@pytest.mark.parametrize("text", [False, True])
def test_cut_short(tmp_path, text):
    rows, _ = good_rows(tmp_path)
    foreign(tmp_path / "a.ply", rows, text=text)
    data = (tmp_path / "a.ply").read_bytes()
    for length in (len(data) - 30, len(data) - 400, len(data) // 2, 100, 4, 3, 0):
        (tmp_path / "a.ply").write_bytes(data[:length])
        refused(tmp_path / "a.ply", "cannot read")
    (tmp_path / "a.ply").write_bytes(data[: data.index(b"end_header") + 11 + 68])
    refused(
        tmp_path / "a.ply",
        "cut short: the header promises 6 vertex" if not text else "rows|cut short",
    )


@pytest.mark.parametrize("count", ["99999999999", "9" * 40, "-6", "six", "1e3"])
@pytest.mark.parametrize("text", [False, True])
def test_a_false_vertex_count_is_never_allocated(tmp_path, count, text):
    rows, _ = good_rows(tmp_path)
    foreign(tmp_path / "a.ply", rows, text=text)
    data = (
        (tmp_path / "a.ply")
        .read_bytes()
        .replace(b"element vertex 6", f"element vertex {count}".encode())
    )
    (tmp_path / "a.ply").write_bytes(data)
    refused(tmp_path / "a.ply", "promises|expected a whole number of rows")


def test_an_element_without_columns_is_never_allocated(tmp_path):
    rows, _ = good_rows(tmp_path)
    foreign(tmp_path / "a.ply", rows)
    data = (
        (tmp_path / "a.ply")
        .read_bytes()
        .replace(b"end_header", b"element junk 99999999999\nend_header")
    )
    (tmp_path / "a.ply").write_bytes(data)
    refused(tmp_path / "a.ply", "without a property")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"binary_little_endian", b"binary_middle_endian", "not understood"),
        (b"property float nx", b"property half nx", "expected `property <type> <name>`"),
        (b"property float nx", b"property float x", "names the property x of vertex twice"),
        (b"comment gs3d 0.1", b"comment \xff", "plain ASCII"),
        (b"element vertex 6", b"element vertex 0", "expected at least one splat, got 0 vertices"),
        (b"front+z", b"front-z", "of a newer gs3d"),
        (b"element vertex", b"elephant vertex", "not understood"),
        (b"ply\n", b"PK\x03\x04", "begins with the line 'ply'"),
        (
            b"property float nx",
            b"property list uchar float nx",
            "expected one number a vertex, got the list nx",
        ),
    ],
)
def test_bad_headers(tmp_path, old, new, message):
    good_rows(tmp_path)
    path = tmp_path / "good.ply"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    refused(path, message)


def test_random_damage_never_gives_a_traceback(tmp_path):
    rows, _ = good_rows(tmp_path, count=3)
    rng = np.random.default_rng(0)
    for text in (False, True):
        foreign(tmp_path / "a.ply", rows, text=text)
        data = np.frombuffer((tmp_path / "a.ply").read_bytes(), np.uint8)
        for _ in range(150):
            hurt = data[: rng.integers(1, len(data) + 1)].copy()
            hurt[rng.integers(0, len(hurt), 3)] = rng.integers(0, 256, 3)
            (tmp_path / "b.ply").write_bytes(hurt.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                with contextlib.suppress(UserError):
                    read_ply(tmp_path / "b.ply")


def test_no_such_file_and_a_folder(tmp_path):
    refused(tmp_path / "none.ply", "there is no such file")
    (tmp_path / "dir.ply").mkdir()
    refused(tmp_path / "dir.ply", "it is a folder")
