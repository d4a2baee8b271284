"""Splats as .glb with KHR_gaussian_splatting: layout, the frame, round trips, files of others, and every kind of bad file."""

import contextlib
import json
import struct
import warnings
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

PREFIX = "KHR_gaussian_splatting:"


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


def chunks(path):
    """The JSON and the binary chunk, as the container's layout has them."""
    data = path.read_bytes()
    magic, version, total, length, kind = struct.unpack("<4sIII4s", data[:20])
    assert (magic, version, total, kind) == (b"glTF", 2, len(data), b"JSON") and length % 4 == 0
    more, kind = struct.unpack("<I4s", data[20 + length : 28 + length])
    assert kind == b"BIN\0" and more % 4 == 0 and len(data) == 28 + length + more
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def rebuilt(path, tree, binary):
    """A .glb of these chunks, as another program writes it."""
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = (
        struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(binary), b"BIN\0")
        + binary
    )
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)
    return path


def attribute(path, name):
    """Rows of an attribute, float64; every array here lies by itself."""
    tree, binary = chunks(path)
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"][name]]
    view = tree["bufferViews"][accessor["bufferView"]]
    assert view["byteOffset"] % 4 == 0 and view["target"] == 34962 and "byteStride" not in view
    dtype, width = (
        {5126: "<f4", 5123: "<u2"}[accessor["componentType"]],
        {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]],
    )
    rows = np.frombuffer(binary, dtype, accessor["count"] * width, view["byteOffset"]).reshape(
        -1, width
    )
    assert view["byteLength"] == rows.nbytes and accessor.get("normalized", False) == (
        dtype == "<u2"
    )
    return torch.tensor(rows.astype(np.float64) / (65535 if dtype == "<u2" else 1))


def close(a, b):
    return (a - b).norm() <= 1e-6 * b.norm()


# Layout


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_the_json_is_what_the_extension_prescribes(tmp_path, degree):
    write_glb_splats(tmp_path / "a.glb", random_splats(7, degree))
    tree, _ = chunks(tmp_path / "a.glb")
    assert tree["asset"]["version"] == "2.0" and tree["extensionsUsed"] == [
        "KHR_gaussian_splatting"
    ]
    assert "extensionsRequired" not in tree  # who does not know it still shows points
    (primitive,) = tree["meshes"][0]["primitives"]
    assert (
        primitive["mode"] == 0
        and tree["scenes"][tree["scene"]]["nodes"] == [0]
        and tree["nodes"][0]["mesh"] == 0
    )
    assert primitive["extensions"]["KHR_gaussian_splatting"] == {
        "kernel": "ellipse",
        "colorSpace": "srgb_rec709_display",
    }
    sh = [
        f"{PREFIX}SH_DEGREE_{band}_COEF_{n}"
        for band in range(degree + 1)
        for n in range(2 * band + 1)
    ]
    assert set(primitive["attributes"]) == {
        "POSITION",
        "COLOR_0",
        f"{PREFIX}ROTATION",
        f"{PREFIX}SCALE",
        f"{PREFIX}OPACITY",
        *sh,
    }
    for name, index in primitive["attributes"].items():
        accessor = tree["accessors"][index]
        kind = {"COLOR_0": "VEC4", f"{PREFIX}ROTATION": "VEC4", f"{PREFIX}OPACITY": "SCALAR"}.get(
            name, "VEC3"
        )
        assert (accessor["count"], accessor["type"], accessor["componentType"]) == (
            7,
            kind,
            5123 if name == "COLOR_0" else 5126,
        )


def test_a_known_splat(tmp_path):
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
    assert attribute(path, "POSITION").tolist() == [[0.5, 1.0, 0.25]]
    position = chunks(path)[0]["accessors"][0]
    assert position["min"] == position["max"] == [0.5, 1.0, 0.25]
    assert torch.allclose(
        attribute(path, f"{PREFIX}SCALE"), torch.tensor([[0.1, 0.2, 0.3]]).double()
    )
    assert attribute(path, f"{PREFIX}OPACITY").tolist() == [[0.75]]
    assert attribute(path, f"{PREFIX}SH_DEGREE_0_COEF_0").tolist() == [[0, 1, -9]]
    xyzw = attribute(path, f"{PREFIX}ROTATION")
    wanted = (
        torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]).double().T
        @ rotations(torch.tensor([[half, 0, 0, half]])).double()
    )
    assert (
        torch.allclose(rotations(xyzw[:, [3, 0, 1, 2]]), wanted, atol=1e-6)
        and abs(xyzw.norm() - 1) < 1e-6
    )
    sRGB = 0.5 + 0.28209479  # linear values by the standard's own formula
    expected = [((0.5 + 0.055) / 1.055) ** 2.4, ((sRGB + 0.055) / 1.055) ** 2.4, 0, 0.75]
    assert torch.allclose(attribute(path, "COLOR_0")[0], torch.tensor(expected).double(), atol=1e-5)


def test_bounds_are_those_of_the_stored_positions(tmp_path):
    write_glb_splats(tmp_path / "a.glb", random_splats(500))
    position, rows = (
        chunks(tmp_path / "a.glb")[0]["accessors"][0],
        attribute(tmp_path / "a.glb", "POSITION"),
    )
    assert position["min"] == rows.amin(0).tolist() and position["max"] == rows.amax(0).tolist()


# The frame and round trips


def test_file_axes(tmp_path):
    """The object's front, left and top lie on +Z, +X and +Y: seen from +Z, its left is on the viewer's right, so it is not mirrored."""
    write_glb_splats(tmp_path / "a.glb", replace(random_splats(3), means=torch.eye(3)))
    assert attribute(tmp_path / "a.glb", "POSITION").tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("degree", [1, 3])
def test_color_from_a_world_direction_is_the_same_in_the_file(tmp_path, degree):
    splats = random_splats(30, degree)
    write_glb_splats(tmp_path / "a.glb", splats)
    world = torch.nn.functional.normalize(
        torch.randn(40, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64), dim=1
    )
    sh = [
        attribute(tmp_path / "a.glb", f"{PREFIX}SH_DEGREE_{band}_COEF_{n}")
        for band in range(degree + 1)
        for n in range(2 * band + 1)
    ]
    expected = torch.einsum("dk,nkc->ndc", sh_basis(world, len(sh)), splats.sh.double())
    got = torch.einsum("dk,nkc->ndc", sh_basis(world[:, [1, 2, 0]], len(sh)), torch.stack(sh, 1))
    assert torch.allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree):
    splats = random_splats(200, degree, seed=degree)
    save_splats(tmp_path / "a.glb", splats)
    back = load_splats(tmp_path / "a.glb")
    for name in ("means", "scales", "opacities", "sh"):
        got, expected = getattr(back, name), getattr(splats, name)
        assert (
            got.dtype == torch.float32 and got.shape == expected.shape and close(got, expected)
        ), name
    assert close(rotations(back.quats.double()), rotations(splats.quats.double()))


def test_a_glb_is_splats_or_a_mesh_as_it_says_itself(tmp_path):
    save_splats(tmp_path / "splats.glb", random_splats(5))
    corner = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    write_mesh(
        tmp_path / "mesh.glb",
        Mesh(corner, faces, np.full((4, 3), 3**-0.5, np.float32), np.full((4, 3), 0.5, np.float32)),
    )
    assert (
        len(load_asset(tmp_path / "splats.glb").means) == 5
        and len(gs3d.load(tmp_path / "splats.glb").splats) == 5
    )
    assert len(load_asset(tmp_path / "mesh.glb").faces) == 4
    refused(tmp_path / "mesh.glb", "expected Gaussian splats .* got a mesh")


# Files of others


def changed(tmp_path, change, degree=0, count=6):
    """A good file whose JSON `change` has altered; and what the good one holds."""
    write_glb_splats(tmp_path / "good.glb", random_splats(count, degree))
    tree, binary = chunks(tmp_path / "good.glb")
    change(tree)
    return rebuilt(tmp_path / "a.glb", tree, binary), read_glb_splats(tmp_path / "good.glb")


def test_nodes_place_the_splats(tmp_path):
    half = 0.5**0.5

    def nest(tree):
        tree["nodes"] = [
            {"children": [1], "scale": [2, 2, 2], "translation": [0, 1, 0]},
            {
                "mesh": 0,
                "rotation": [half, 0, 0, half],
            },  # y → z → −y of the file, which are z → x → −z of the world
        ]

    path, plain = changed(tmp_path, nest, degree=1)
    got = load_asset(path)
    x, y, z = plain.means.unbind(1)
    assert torch.allclose(got.means, torch.stack([2 * z, 2 * y, 1 - 2 * x], 1), atol=1e-5)
    assert torch.allclose(got.scales, 2 * plain.scales) and torch.equal(
        got.opacities, plain.opacities
    )
    turn = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    assert torch.allclose(rotations(got.quats), turn @ rotations(plain.quats), atol=1e-5)
    seen = torch.nn.functional.normalize(
        torch.randn(9, 3, generator=torch.Generator().manual_seed(1)), dim=1
    )
    colors = [
        torch.einsum("dk,nkc->ndc", sh_basis(d, 4), s.sh)
        for d, s in ((seen @ turn.T, got), (seen, plain))
    ]
    assert torch.allclose(*colors, atol=1e-5)


def test_a_matrix_is_read_by_columns(tmp_path):
    path, plain = changed(
        tmp_path,
        lambda tree: tree["nodes"][0].update(
            matrix=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 6, 7, 1]
        ),
    )
    assert torch.allclose(
        read_glb_splats(path).means, plain.means + torch.tensor([7.0, 5, 6]), atol=1e-5
    )


def test_primitives_are_joined_and_lower_harmonics_filled_with_zeros(tmp_path):
    def split(tree):
        mesh = tree["meshes"][0]
        second = json.loads(json.dumps(mesh["primitives"][0]))
        second["attributes"] = {
            k: v for k, v in second["attributes"].items() if "SH_DEGREE_1" not in k
        }
        mesh["primitives"] += [second, {"attributes": {"POSITION": 0}}]

    path, plain = changed(tmp_path, split, degree=1)
    got = read_glb_splats(path)
    assert (
        got.sh.shape == (12, 4, 3)
        and not got.sh[6:, 1:].any()
        and torch.equal(got.means[6:], plain.means)
    )


def test_integers_and_strides(tmp_path):
    """Quantized as the extension allows: rotations as signed bytes, opacities and scales as unsigned ones, interleaved."""
    rows = np.zeros(
        2,
        [
            ("p", "<f4", 3),
            ("c", "<f4", 3),
            ("q", "i1", 4),
            ("s", "u1", 4),
            ("o", "u1"),
            ("fill", "u1", 3),
        ],
    )
    rows["p"], rows["c"], rows["q"], rows["s"][:, :3], rows["o"] = (
        [[1, 2, 3], [4, 5, 6]],
        0.5,
        [0, 127, 0, -128],
        [255, 51, 3],
        [255, 51],
    )
    offsets = {
        "POSITION": ("p", 5126, "VEC3"),
        "SH_DEGREE_0_COEF_0": ("c", 5126, "VEC3"),
        "ROTATION": ("q", 5120, "VEC4"),
    }
    offsets |= {"SCALE": ("s", 5121, "VEC3"), "OPACITY": ("o", 5121, "SCALAR")}

    def pack(tree):
        tree["bufferViews"] = [{"buffer": 0, "byteLength": rows.nbytes, "byteStride": 36}]
        tree["buffers"] = [{"byteLength": rows.nbytes}]
        tree["accessors"] = [
            {
                "bufferView": 0,
                "byteOffset": rows.dtype.fields[f][1],
                "componentType": c,
                "type": t,
                "count": 2,
                "normalized": c < 5126,
            }
            for f, c, t in offsets.values()
        ]
        names = ["POSITION" if name == "POSITION" else PREFIX + name for name in offsets]
        tree["meshes"][0]["primitives"][0]["attributes"] = {name: i for i, name in enumerate(names)}

    path, _ = changed(tmp_path, pack)
    rebuilt(path, chunks(path)[0], rows.tobytes())
    got = read_glb_splats(path)
    assert got.means.tolist() == [[3, 1, 2], [6, 4, 5]] and torch.allclose(
        got.opacities, torch.tensor([1, 0.2])
    )
    assert torch.allclose(got.scales, torch.tensor([1.0, 0.2, 3 / 255]).expand(2, 3))
    tree, binary = chunks(path)
    tree["accessors"][3]["normalized"] = False
    assert torch.allclose(
        read_glb_splats(rebuilt(path, tree, binary)).scales,
        torch.tensor([255.0, 51, 3]).expand(2, 3),
    )


def test_another_color_space_is_warned_of(tmp_path):
    def linear(tree):
        tree["meshes"][0]["primitives"][0]["extensions"]["KHR_gaussian_splatting"]["colorSpace"] = (
            "lin_rec709_display"
        )

    path, _ = changed(tmp_path, linear)
    with pytest.warns(
        UserWarning, match="expected colors in srgb_rec709_display .* got lin_rec709_display"
    ):
        read_glb_splats(path)


def test_rows_of_nan_are_left_out_with_a_count(tmp_path):
    path, plain = changed(tmp_path, lambda tree: None)
    tree, binary = chunks(path)
    with pytest.warns(UserWarning, match="1 of 6 rows hold NaN"):
        got = read_glb_splats(rebuilt(path, tree, b"\xff" * 12 + binary[12:]))
    assert torch.equal(got.means, plain.means[1:])


# What is refused


def refused(path, message):
    with pytest.raises(UserError, match=message) as caught:
        read_glb_splats(path)
    assert (
        str(path) in str(caught.value)
        and "\n" not in str(caught.value)
        and len(str(caught.value)) < 500
    )


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
            "10 of 10 quaternions have no length",
        ),
        (replace(random_splats(10), opacities=torch.full((10,), 2.0)), "Are they logits"),
    ],
)
def test_bad_splats_are_not_written(tmp_path, splats, message):
    (tmp_path / "a.glb").write_bytes(b"old")
    with pytest.raises(UserError, match=message):
        write_glb_splats(tmp_path / "a.glb", splats)
    assert (tmp_path / "a.glb").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def of(tree, name="POSITION"):
    return tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"][name]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: of(t).update(count=2**31), "accessor 0 promises 2147483648 rows"),
        (lambda t: of(t).update(count=10**400), "an accessor's count"),
        (lambda t: of(t).update(count=0), "an accessor's count"),
        (lambda t: of(t).update(count="6"), "an accessor's count"),
        (lambda t: of(t).update(count=5), "as many rows as POSITION"),
        (lambda t: of(t).update(type="SCALAR"), r"POSITION: expected an array \[6, 3\]"),
        (lambda t: of(t).update(type=[]), "is not understood"),
        (lambda t: of(t).update(componentType={}), "is not understood"),
        (lambda t: of(t).update(byteOffset=-4), "byteOffset"),
        (lambda t: of(t).update(sparse={}), "sparse"),
        (lambda t: of(t).pop("bufferView"), "without data"),
        (lambda t: t["bufferViews"][0].update(byteStride=4), "byteStride"),
        (
            lambda t: t["bufferViews"][0].update(byteLength=10**9, byteOffset=10**9),
            "rows up to byte|promises",
        ),
        (lambda t: t["bufferViews"][0].update(buffer=1), "another file's"),
        (lambda t: t["buffers"][0].update(uri="a.bin"), "another file's"),
        (lambda t: t.pop("accessors"), "names accessors 0"),
        (lambda t: t.update(scene=9), "names scenes 9"),
        (lambda t: t.update(nodes=[]), "names nodes 0"),
        (lambda t: t["nodes"][0].update(children=[0]), "twice, expected a tree"),
        (lambda t: t["nodes"][0].update(children=7), "expected a list of children"),
        (lambda t: t["nodes"][0].update(scale=[1, 1, 2]), "stretches, mirrors"),
        (lambda t: t["nodes"][0].update(scale=[-1, 1, 1]), "stretches, mirrors"),
        (lambda t: t["nodes"][0].update(scale=[0, 0, 0]), "stretches, mirrors"),
        (lambda t: t["nodes"][0].update(scale=[1, 1, float("nan")]), "a node's scale"),
        (lambda t: t["nodes"][0].update(translation="abc"), "a node's translation"),
        (lambda t: t.update(meshes={}), "names meshes 0"),
        (
            lambda t: t["meshes"][0]["primitives"][0]["attributes"].pop(PREFIX + "SCALE"),
            "lack KHR_gaussian_splatting:SCALE",
        ),
        (
            lambda t: t["meshes"][0]["primitives"][0]["attributes"].pop(
                PREFIX + "SH_DEGREE_1_COEF_1"
            ),
            "lack .*DEGREE_1_COEF_1.*complete",
        ),
        (
            lambda t: t["meshes"][0]["primitives"][0].update(extensions=[]),
            "expected Gaussian splats",
        ),
        (lambda t: t["meshes"][0]["primitives"][0].pop("attributes"), "expected Gaussian splats"),
        (
            lambda t: t["meshes"][0]["primitives"][0]["extensions"][
                "KHR_gaussian_splatting"
            ].update(extensions={"KHR_gaussian_splatting_compression_spz_2": {"bufferView": 0}}),
            "got .*compression_spz_2.* Convert it",
        ),
    ],
)
def test_json_that_does_not_fit(tmp_path, change, message):
    refused(changed(tmp_path, change, degree=1)[0], message)


def test_splats_placed_a_thousand_times_do_not_fill_the_memory(tmp_path):
    def crowd(tree):
        tree["nodes"] = [{"mesh": 0}] * 1000
        tree["scenes"][0]["nodes"] = list(range(1000))

    refused(changed(tmp_path, crowd)[0], "more splats than its .* bytes can hold")


def test_cut_short_anywhere(tmp_path):
    write_glb_splats(tmp_path / "a.glb", random_splats(6))
    data = (tmp_path / "a.glb").read_bytes()
    for length in (*range(0, 64, 5), len(data) // 2, len(data) - 100, len(data) - 1):
        (tmp_path / "a.glb").write_bytes(data[:length])
        refused(tmp_path / "a.glb", "cut short|empty")
        with pytest.raises(UserError, match="cut short|empty"):
            load_asset(tmp_path / "a.glb")


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (0, b"GLTF", "begins with 'glTF', got b'GLTF'"),
        (4, b"\x01", "got version 1"),
        (8, b"\xff\xff\xff\xff", "promises 4294967295 bytes"),
        (12, b"\xff\xff\xff\xff", "promises 4294967315 bytes"),
        (16, b"XXXX", "begins with JSON"),
        (20, b"\xff", "JSON cannot be read"),
        (20, b"[" * 200, "JSON cannot be read"),
    ],
)
def test_bad_headers(tmp_path, at, new, message):
    write_glb_splats(tmp_path / "a.glb", random_splats(6))
    data = bytearray((tmp_path / "a.glb").read_bytes())
    data[at : at + len(new)] = new
    (tmp_path / "a.glb").write_bytes(data)
    refused(tmp_path / "a.glb", message)


def test_json_nested_too_deeply(tmp_path):
    text = b"[" * 200_000
    (tmp_path / "a.glb").write_bytes(
        struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text
    )
    refused(tmp_path / "a.glb", "JSON cannot be read")


def test_random_damage_never_gives_a_traceback(tmp_path):
    write_glb_splats(tmp_path / "a.glb", random_splats(3))
    data, rng = np.frombuffer((tmp_path / "a.glb").read_bytes(), np.uint8), np.random.default_rng(0)
    for _ in range(400):
        hurt = data.copy()
        hurt[rng.integers(0, len(hurt), 3)] = rng.integers(0, 256, 3)
        (tmp_path / "b.glb").write_bytes(hurt.tobytes())
        with warnings.catch_warnings(), contextlib.suppress(UserError):
            warnings.simplefilter("ignore", UserWarning)
            read_glb_splats(tmp_path / "b.glb")


def test_written_bytes_that_change_on_disk_are_noticed(tmp_path, monkeypatch):
    from gs3d.io.splats import gltf as gltf_splats

    whole = gltf_splats.write_glb

    def flipped(path, tree, arrays):
        whole(path, tree, arrays)
        path.write_bytes(path.read_bytes()[:-20] + b"\x01" * 20)

    monkeypatch.setattr(gltf_splats, "write_glb", flipped)
    with pytest.raises(UserError, match="the file read back differs from the 50 splats"):
        write_glb_splats(tmp_path / "a.glb", random_splats())
    assert not list(tmp_path.iterdir())


def test_no_such_file_and_a_folder(tmp_path):
    refused(tmp_path / "none.glb", "there is no such file")
    (tmp_path / "dir.glb").mkdir()
    refused(tmp_path / "dir.glb", "it is a folder")
