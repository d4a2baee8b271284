"""Splats as .glb, reading: files of other programs, and invalid or damaged files."""

import json
import struct

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.io import DroppedRows, load_asset, load_splats
from gs3d.io.splats.gltf import read_glb_splats, write_glb_splats
from gs3d.raster.reference import rotations, sh_basis
from tests.io.splats.samples import (
    GLTF_PREFIX,
    assert_refused,
    change_bytes,
    glb_chunks,
    glb_with_changed_json,
    random_directions,
    random_splats,
    read_ignoring_damage,
    write_glb_chunks,
)


def refused(path, message):
    assert_refused(path, message, read_glb_splats)


def first_primitive(tree: dict) -> dict:
    return tree["meshes"][0]["primitives"][0]


def extension(tree: dict) -> dict:
    return first_primitive(tree)["extensions"]["KHR_gaussian_splatting"]


# Files of other programs


def test_nodes_place_the_splats(tmp_path):
    half = 0.5**0.5

    def nest(tree):
        # The rotation maps y to z to −y in the file, which is z to x to −z in the world.
        tree["nodes"] = [
            {"children": [1], "scale": [2, 2, 2], "translation": [0, 1, 0]},
            {"mesh": 0, "rotation": [half, 0, 0, half]},
        ]

    path, original = glb_with_changed_json(tmp_path, nest, degree=1)
    got, plain = load_asset(path), read_glb_splats(original)
    x, y, z = plain.means.unbind(1)
    assert torch.allclose(got.means, torch.stack([2 * z, 2 * y, 1 - 2 * x], 1), atol=1e-5)
    assert torch.allclose(got.scales, 2 * plain.scales)
    assert torch.equal(got.opacities, plain.opacities)
    turn = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    assert torch.allclose(rotations(got.quats), turn @ rotations(plain.quats), atol=1e-5)
    directions = random_directions(9, seed=1).float()
    after = torch.einsum("dk,nkc->ndc", sh_basis(directions @ turn.T, 4), got.sh)
    before = torch.einsum("dk,nkc->ndc", sh_basis(directions, 4), plain.sh)
    assert torch.allclose(after, before, atol=1e-5)


def test_a_matrix_is_read_by_columns(tmp_path):
    matrix = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 6, 7, 1]
    path, original = glb_with_changed_json(
        tmp_path, lambda tree: tree["nodes"][0].update(matrix=matrix)
    )
    expected = read_glb_splats(original).means + torch.tensor([7.0, 5, 6])
    assert torch.allclose(read_glb_splats(path).means, expected, atol=1e-5)


def test_primitives_are_joined_and_missing_bands_become_zero(tmp_path):
    def add_primitives(tree):
        second = json.loads(json.dumps(first_primitive(tree)))
        for name in list(second["attributes"]):
            if "SH_DEGREE_1" in name:
                del second["attributes"][name]
        tree["meshes"][0]["primitives"] += [second, {"attributes": {"POSITION": 0}}]

    path, original = glb_with_changed_json(tmp_path, add_primitives, degree=1)
    got = read_glb_splats(path)
    assert got.sh.shape == (12, 4, 3) and not got.sh[6:, 1:].any()
    assert torch.equal(got.means[6:], read_glb_splats(original).means)


def test_integers_and_strides(tmp_path):
    """Quantized as the extension allows, with interleaved attributes.

    Rotations are signed bytes, opacities and scales unsigned bytes.
    """
    fields = [("p", "<f4", 3), ("c", "<f4", 3), ("q", "i1", 4)]
    fields += [("s", "u1", 4), ("o", "u1"), ("padding", "u1", 3)]
    rows = np.zeros(2, fields)
    rows["p"], rows["c"] = [[1, 2, 3], [4, 5, 6]], 0.5
    rows["q"], rows["s"][:, :3], rows["o"] = [0, 127, 0, -128], [255, 51, 3], [255, 51]
    accessors = {
        "POSITION": ("p", 5126, "VEC3"),
        GLTF_PREFIX + "SH_DEGREE_0_COEF_0": ("c", 5126, "VEC3"),
        GLTF_PREFIX + "ROTATION": ("q", 5120, "VEC4"),
        GLTF_PREFIX + "SCALE": ("s", 5121, "VEC3"),
        GLTF_PREFIX + "OPACITY": ("o", 5121, "SCALAR"),
    }

    def interleave(tree):
        tree["bufferViews"] = [{"buffer": 0, "byteLength": rows.nbytes, "byteStride": 36}]
        tree["buffers"] = [{"byteLength": rows.nbytes}]
        tree["accessors"] = [
            {
                "bufferView": 0,
                "byteOffset": rows.dtype.fields[field][1],
                "componentType": component,
                "type": kind,
                "count": 2,
                "normalized": component < 5126,
            }
            for field, component, kind in accessors.values()
        ]
        first_primitive(tree)["attributes"] = {name: i for i, name in enumerate(accessors)}

    path, _ = glb_with_changed_json(tmp_path, interleave)
    tree = glb_chunks(path)[0]
    got = read_glb_splats(write_glb_chunks(path, tree, rows.tobytes()))
    assert got.means.tolist() == [[3, 1, 2], [6, 4, 5]]
    assert torch.allclose(got.opacities, torch.tensor([1, 0.2]))
    assert torch.allclose(got.scales, torch.tensor([1.0, 0.2, 3 / 255]).expand(2, 3))
    tree["accessors"][3]["normalized"] = False
    got = read_glb_splats(write_glb_chunks(path, tree, rows.tobytes()))
    assert torch.allclose(got.scales, torch.tensor([255.0, 51, 3]).expand(2, 3))


def test_another_color_space_gives_a_warning(tmp_path):
    path, _ = glb_with_changed_json(
        tmp_path, lambda tree: extension(tree).update(colorSpace="lin_rec709_display")
    )
    message = "expected colors in srgb_rec709_display .* got lin_rec709_display"
    with pytest.warns(UserWarning, match=message):
        read_glb_splats(path)


def test_invalid_rows_are_dropped_with_a_warning(tmp_path):
    path, original = glb_with_changed_json(tmp_path, lambda tree: None)
    tree, binary = glb_chunks(path)
    write_glb_chunks(path, tree, b"\xff" * 12 + binary[12:])
    with pytest.warns(DroppedRows, match="1 of 6 rows hold NaN"):
        got = read_glb_splats(path)
    assert torch.equal(got.means, read_glb_splats(original).means[1:])


# Invalid files


def position_accessor(tree: dict) -> dict:
    return tree["accessors"][first_primitive(tree)["attributes"]["POSITION"]]


COMPRESSION = {"KHR_gaussian_splatting_compression_spz_2": {"bufferView": 0}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: position_accessor(t).update(count=2**31), "describes over"),
        (lambda t: position_accessor(t).update(count=10**400), "describes over"),
        (lambda t: position_accessor(t).update(count=0), "an accessor's count"),
        (lambda t: position_accessor(t).update(count="6"), "an accessor's count"),
        (lambda t: position_accessor(t).update(count=5), "as many rows as POSITION"),
        (
            lambda t: position_accessor(t).update(type="SCALAR"),
            r"POSITION: expected an array \[6, 3\]",
        ),
        (lambda t: position_accessor(t).update(type=[]), "is not supported"),
        (lambda t: position_accessor(t).update(componentType={}), "is not supported"),
        (lambda t: position_accessor(t).update(byteOffset=-4), "byteOffset"),
        (lambda t: position_accessor(t).update(sparse={}), "a sparse accessor's count"),
        (lambda t: t["bufferViews"][0].update(byteStride=4), "byteStride"),
        (
            lambda t: t["bufferViews"][0].update(byteLength=10**9, byteOffset=10**9),
            "describes over",
        ),
        (lambda t: t["bufferViews"][0].update(buffer=1), "refers to buffers 1"),
        (lambda t: t["buffers"][0].update(uri="a.bin"), r"data is in another file \(a.bin\)"),
        (lambda t: t.update(extensionsRequired=["ACME_x"]), "the extension ACME_x"),
        (lambda t: t.pop("accessors"), "refers to accessors 0"),
        (lambda t: t.update(scene=9), "refers to scenes 9"),
        (lambda t: t.update(nodes=[]), "refers to nodes 0"),
        (lambda t: t["nodes"][0].update(children=[0]), "twice, expected a tree"),
        (lambda t: t["nodes"][0].update(children=7), "expected a list of children"),
        (lambda t: t["nodes"][0].update(scale=[1, 1, 2]), "stretches, mirrors"),
        (lambda t: t["nodes"][0].update(scale=[-1, 1, 1]), "stretches, mirrors"),
        (lambda t: t["nodes"][0].update(scale=[0, 0, 0]), "stretches, mirrors"),
        (
            lambda t: t["nodes"][0].update(scale=[1, 1, float("nan")]),
            "scale: expected 3 numbers below 1e.15, got .1, 1, nan",
        ),
        (lambda t: t["nodes"][0].update(translation="abc"), "translation: expected 3 numbers"),
        (lambda t: t.update(meshes={}), "refers to meshes 0"),
        (
            lambda t: first_primitive(t)["attributes"].pop(GLTF_PREFIX + "SCALE"),
            "lack KHR_gaussian_splatting:SCALE",
        ),
        (
            lambda t: first_primitive(t)["attributes"].pop(GLTF_PREFIX + "SH_DEGREE_1_COEF_1"),
            "lack .*DEGREE_1_COEF_1.*complete",
        ),
        (lambda t: first_primitive(t).update(extensions=[]), "expected Gaussian splats"),
        (lambda t: first_primitive(t).pop("attributes"), "expected Gaussian splats"),
        (
            lambda t: extension(t).update(extensions=COMPRESSION),
            "uses compressed splats .*compression_spz_2",
        ),
    ],
)
def test_inconsistent_json_is_refused(tmp_path, change, message):
    refused(glb_with_changed_json(tmp_path, change, degree=1)[0], message)


def test_splats_placed_a_thousand_times_do_not_fill_the_memory(tmp_path):
    def place_often(tree):
        tree["nodes"] = [{"mesh": 0}] * 300_000
        tree["scenes"][0]["nodes"] = list(range(300_000))

    path, _ = glb_with_changed_json(tmp_path, place_often)
    refused(path, "describes over .* bytes of numbers, far more than")


def test_splats_may_have_several_places(tmp_path):
    def place(tree):
        tree["nodes"] = [{"mesh": 0, "translation": [9 * i, 0, 0]} for i in range(8)]
        tree["scenes"][0]["nodes"] = list(range(8))

    path, original = glb_with_changed_json(tmp_path, place)
    assert len(read_glb_splats(path)) == 8 * len(read_glb_splats(original))


def test_splats_far_from_the_origin_are_exact_on_demand(tmp_path):
    far = [4649776.25, 0, 0]
    path, original = glb_with_changed_json(
        tmp_path, lambda tree: tree["nodes"][0].update(translation=far)
    )
    with pytest.warns(UserWarning, match="are rounded by up to .* gs3d clean --center"):
        read_glb_splats(path)
    means = load_splats(path, exact=True).means
    assert means.dtype == torch.float64
    expected = read_glb_splats(original).means.double() + torch.tensor(
        [0, far[0], 0], dtype=torch.float64
    )
    assert torch.allclose(means, expected, atol=1e-6, rtol=0)


def test_meshes_beside_splats_are_reported(tmp_path):
    def add(tree):
        tree["meshes"][0]["primitives"].append({"attributes": {"POSITION": 0}})

    path, _ = glb_with_changed_json(tmp_path, add)
    with pytest.warns(UserWarning, match="1 parts beside its splats are meshes"):
        read_glb_splats(path)


def test_files_cut_short_are_refused(tmp_path):
    write_glb_splats(tmp_path / "a.glb", random_splats(6))
    data = (tmp_path / "a.glb").read_bytes()
    for length in (*range(0, 64, 5), len(data) // 2, len(data) - 100, len(data) - 1):
        (tmp_path / "a.glb").write_bytes(data[:length])
        refused(tmp_path / "a.glb", "cut short|empty")
        with pytest.raises(UserError, match="cut short|empty"):
            load_asset(tmp_path / "a.glb")


@pytest.mark.parametrize(
    ("offset", "new", "message"),
    [
        (0, b"GLTF", "begins with 'glTF', got b'GLTF'"),
        (4, b"\x01", "got version 1"),
        (8, b"\xff\xff\xff\xff", "declares 4294967295 bytes"),
        (12, b"\xff\xff\xff\xff", "declares 4294967315 bytes"),
        (16, b"XXXX", "begins with JSON"),
        (20, b"\xff", "JSON cannot be read"),
        (20, b"[" * 200, "JSON cannot be read"),
    ],
)
def test_invalid_headers_are_refused(tmp_path, offset, new, message):
    write_glb_splats(tmp_path / "a.glb", random_splats(6))
    data = bytearray((tmp_path / "a.glb").read_bytes())
    data[offset : offset + len(new)] = new
    (tmp_path / "a.glb").write_bytes(data)
    refused(tmp_path / "a.glb", message)


def test_deeply_nested_json_is_refused(tmp_path):
    text = b"[" * 200_000
    head = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON")
    (tmp_path / "a.glb").write_bytes(head + text)
    refused(tmp_path / "a.glb", "JSON cannot be read")


def test_random_damage_never_gives_a_traceback(tmp_path):
    write_glb_splats(tmp_path / "a.glb", random_splats(3))
    data, rng = np.frombuffer((tmp_path / "a.glb").read_bytes(), np.uint8), np.random.default_rng(0)
    for _ in range(400):
        (tmp_path / "b.glb").write_bytes(change_bytes(data, rng))
        read_ignoring_damage(tmp_path / "b.glb", read_glb_splats)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.glb", "there is no such file")
    (tmp_path / "dir.glb").mkdir()
    refused(tmp_path / "dir.glb", "it is a folder")
