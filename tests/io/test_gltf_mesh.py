"""Meshes of glTF as other programs write them: the scene, its arrays, what is not read."""

import base64
import json

import numpy as np
import pytest

from gs3d.core.errors import UserError
from gs3d.io.gltf import mesh as mesh_module
from gs3d.io.mesh import read_mesh
from tests.io.damage import glb_bytes, glb_parts
from tests.io.gltf import CHECKS, GREEN, INDICES, QUAD, RED, Glb, corners, near, pbr


@pytest.mark.parametrize(
    ("mode", "order"), [(4, [0, 1, 2, 0, 2, 3]), (5, [0, 1, 3, 2]), (6, [0, 1, 2, 3])]
)
def test_strips_and_fans(tmp_path, mode, order):
    glb = Glb()
    primitive = glb.primitive(pbr(factor=[1, 0, 0, 1]), np.array(order, "<u4")[:, None])
    primitive["mode"] = mode
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert len(mesh.faces) == 2
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a)[:, 0] > 0).all()  # towards the front, +X in the world
    assert np.allclose(mesh.normals, [1, 0, 0])


def test_nodes_place_and_mirror(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(CHECKS)))
    glb.tree["nodes"] = [{"mesh": 0, "scale": [-1, 1, 1]}]
    path = glb.write(tmp_path / "a.glb")
    assert near(corners(path), [GREEN, RED, (255, 255, 255), (0, 0, 255)], 40)
    mesh = read_mesh(path)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a)[:, 0] > 0).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("KHR_draco_mesh_compression", "Draco, a compression of meshes (KHR_draco"),
        ("EXT_meshopt_compression", "meshopt, a compression (EXT_meshopt"),
        ("KHR_texture_basisu", "Basis Universal, a compression of textures (KHR_"),
        ("ACME_holes", "the extension ACME_holes, which gs3d does not read"),
    ],
)
def test_required_extensions_that_are_not_read_are_named(tmp_path, name, expected):
    glb = Glb()
    glb.primitive()
    glb.tree["extensionsRequired"] = glb.tree["extensionsUsed"] = [name]
    with pytest.raises(UserError) as caught:
        read_mesh(glb.write(tmp_path / "a.glb"))
    assert expected in str(caught.value)


def test_compressed_splats_are_named(tmp_path):
    glb = Glb()
    primitive = glb.primitive()
    primitive |= {"mode": 0}
    primitive["extensions"] = {"KHR_spz_gaussian_splats_compression": {"bufferView": 0}}
    with pytest.raises(UserError, match="compressed splats"):
        read_mesh(glb.write(tmp_path / "a.glb"))


def test_a_mesh_compressed_beside_a_plain_copy_is_read(tmp_path):
    glb = Glb()
    primitive = glb.primitive(pbr(factor=[1, 0, 0, 1]))
    primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0}}
    assert near(corners(glb.write(tmp_path / "a.glb")), [RED] * 4)
    glb.tree["accessors"][0].pop("bufferView")
    with pytest.raises(UserError, match="Draco"):
        read_mesh(glb.write(tmp_path / "b.glb"))


def box(mesh) -> list[list[float]]:
    """Bounds in the file's coordinates, in which y is the world's z."""
    world = mesh.vertices[:, [1, 2, 0]].astype(float).round(4)
    return [world.min(axis=0).tolist(), world.max(axis=0).tolist()]


def test_instances_are_placed(tmp_path):
    glb = Glb()
    glb.primitive()
    places = glb.array(np.array([[0, 0, 0], [5, 0, 0], [0, 0, 7]], "<f4"))
    sizes = glb.array(np.array([[1, 1, 1], [2, 2, 2], [1, 1, 1]], "<f4"))
    attributes = {"TRANSLATION": places, "SCALE": sizes}
    glb.tree["nodes"][0]["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    glb.tree["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert len(mesh.vertices) == 12 and box(mesh) == [[-1, -2, 0], [7, 2, 7]]


def test_nodes_that_are_not_visible_are_left_out(tmp_path):
    glb = Glb()
    glb.primitive()
    hidden = {"extensions": {"KHR_node_visibility": {"visible": False}}, "children": [2]}
    glb.tree["nodes"] = [{"mesh": 0}, hidden, {"mesh": 0, "translation": [9, 0, 0]}]
    glb.tree["scenes"] = [{"nodes": [0, 1]}]
    assert len(read_mesh(glb.write(tmp_path / "a.glb")).vertices) == 4


def test_a_file_without_scenes_shows_all_nodes(tmp_path):
    glb = Glb()
    glb.primitive()
    del glb.tree["scene"], glb.tree["scenes"]
    glb.tree["nodes"] = [{"children": [1], "translation": [3, 0, 0]}, {"mesh": 0}]
    assert box(read_mesh(glb.write(tmp_path / "a.glb"))) == [[2, -1, 0], [4, 1, 0]]


def test_a_skin_takes_the_place_of_the_transform_of_its_node(tmp_path):
    glb = Glb()
    joints, weights = np.zeros((4, 4), "|u1"), np.zeros((4, 4), "<f4")
    joints[2:, 0], weights[:, 0] = 1, 1
    glb.primitive(JOINTS_0=joints, WEIGHTS_0=weights)
    inverse = np.stack([np.eye(4), np.eye(4)])
    inverse[1, 1, 3] = -1  # The second joint is bound one above the first.
    matrices = inverse.swapaxes(1, 2).reshape(2, 16).astype("<f4")
    index = glb.array(np.ascontiguousarray(matrices.reshape(-1, 4)))
    glb.tree["accessors"][index] |= {"type": "MAT4", "count": 2}
    glb.tree["skins"] = [{"joints": [1, 2], "inverseBindMatrices": index}]
    glb.tree["nodes"] = [
        {"mesh": 0, "skin": 0, "scale": [100, 100, 100]},
        {"children": [2], "scale": [2, 2, 2]},
        {"translation": [0, 3, 0]},
    ]
    glb.tree["scenes"] = [{"nodes": [0, 1]}]
    # Below −1 · 2; above 2 · (1 − 1 + 3).
    assert box(read_mesh(glb.write(tmp_path / "a.glb"))) == [[-2, -2, 0], [2, 6, 0]]
    glb.tree["nodes"][1]["extensions"] = {"KHR_node_visibility": {"visible": False}}
    assert len(read_mesh(glb.write(tmp_path / "c.glb")).vertices) == 4
    glb.tree["skins"][0]["joints"] = [1, 9]
    with pytest.raises(UserError, match="skin 0 has joints that are not in the scene"):
        read_mesh(glb.write(tmp_path / "b.glb"))


def test_sparse_accessors(tmp_path):
    glb = Glb()
    glb.primitive()
    indices, values = glb.view(np.array([2], "<u2").tobytes()), np.array([[4, 5, 6]], "<f4")
    sparse = {"count": 1, "indices": {"bufferView": indices, "componentType": 5123}}
    position = glb.tree["accessors"][0]
    position["sparse"] = sparse | {"values": {"bufferView": glb.view(values.tobytes())}}
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    expected = QUAD.copy()
    expected[2] = 4, 5, 6
    assert np.allclose(mesh.vertices[:, [1, 2, 0]], expected)
    del position["bufferView"]
    mesh = read_mesh(glb.write(tmp_path / "b.glb"))
    assert (
        np.allclose(mesh.vertices[2, [1, 2, 0]], [4, 5, 6]) and not mesh.vertices[[0, 1, 3]].any()
    )
    sparse["indices"]["bufferView"] = glb.view(np.array([9], "<u2").tobytes())
    position["sparse"]["indices"] = sparse["indices"]
    with pytest.raises(UserError, match="sparse row 9 of 4"):
        read_mesh(glb.write(tmp_path / "c.glb"))


def test_buffers_in_the_json(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(CHECKS)))
    tree, binary = glb_parts(glb.write(tmp_path / "a.glb").read_bytes())
    uri = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    tree["buffers"] = [{"byteLength": len(binary), "uri": uri}]
    (tmp_path / "b.glb").write_bytes(glb_bytes(json.dumps(tree).encode(), b""))
    assert near(corners(tmp_path / "b.glb")[0], RED, 40)


def test_json_padded_with_zeros(tmp_path):
    glb = Glb()
    glb.primitive()
    tree, binary = glb_parts(glb.write(tmp_path / "a.glb").read_bytes())
    text = json.dumps(tree).encode()
    (tmp_path / "b.glb").write_bytes(glb_bytes(text + bytes(8 - len(text) % 4), binary))
    assert len(read_mesh(tmp_path / "b.glb").faces) == 2


def test_positions_far_from_the_origin_keep_their_shape(tmp_path):
    glb = Glb()
    glb.primitive(POSITION=QUAD * np.float32(0.005))
    glb.tree["nodes"][0]["translation"] = [4649776.25, 0, 1e6]
    with pytest.warns(UserWarning, match="it is moved by -4649776.25, 0, -1000000"):
        mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert box(mesh) == [[-0.005, -0.005, 0], [0.005, 0.005, 0]]


def test_parts_that_share_one_long_array_keep_their_own_vertices(tmp_path):
    glb = Glb()
    primitive = glb.primitive(pbr(factor=[1, 0, 0, 1]), uvs=None)
    far = np.concatenate([QUAD, QUAD + np.float32(10), QUAD - np.float32(10)])
    shared = glb.array(far)
    primitive["attributes"]["POSITION"] = shared
    second = glb.primitive(pbr(factor=[0, 1, 0, 1]), INDICES + np.uint16(4), uvs=None)
    second["attributes"]["POSITION"] = shared
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert len(mesh.vertices) == 8 and box(mesh)[1] == [11, 11, 10]
    assert np.allclose(mesh.colors[4:], np.array(GREEN) / 255)


def test_a_hundred_places_of_one_mesh_with_a_long_array(tmp_path, monkeypatch):
    """Of 60,000 rows each place keeps the four that its triangles use; they are read once."""
    read = []
    array = mesh_module.read_array
    monkeypatch.setattr(mesh_module, "read_array", lambda *a, **k: read.append(a) or array(*a, **k))
    glb = Glb()
    glb.primitive(POSITION=np.tile(QUAD, (15_000, 1)), uvs=None)
    glb.tree["nodes"] = [{"mesh": 0, "translation": [3 * i, 0, 0]} for i in range(100)]
    glb.tree["scenes"] = [{"nodes": list(range(100))}]
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert len(mesh.faces) == 200 and len(mesh.vertices) == 400 and len(read) == 1
    assert box(mesh) == [[-1, -1, 0], [298, 1, 0]]


def test_a_mesh_in_very_many_places_is_refused(tmp_path):
    glb = Glb()
    glb.primitive()
    offsets = glb.array(np.zeros((600_000, 3), "<f4"))
    places = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": offsets}}}
    glb.tree["nodes"] = [{"mesh": 0, "extensions": places}]
    with pytest.raises(UserError, match="describes over .* bytes of numbers"):
        read_mesh(glb.write(tmp_path / "a.glb"))


@pytest.mark.parametrize("bad", [[0, 0, 0], [np.nan, 0, 0]])
def test_one_normal_without_direction_leaves_the_others(tmp_path, bad):
    glb, tilted = Glb(), np.tile(np.array([0.6, 0, 0.8], "<f4"), (4, 1))
    tilted[2] = bad
    glb.primitive(NORMAL=tilted)
    normals = read_mesh(glb.write(tmp_path / "a.glb")).normals[:, [1, 2, 0]]
    assert np.allclose(normals[[0, 1, 3]], [0.6, 0, 0.8]) and np.allclose(normals[2], [0, 0, 1])


def test_normals_of_stretched_nodes_stay_perpendicular(tmp_path):
    glb, tilted = Glb(), np.tile(np.array([0.6, 0, 0.8], "<f4"), (4, 1))
    glb.primitive(NORMAL=tilted)
    glb.tree["nodes"][0]["scale"] = [2, 1, 1]
    expected = np.array([0.3, 0, 0.8]) / np.hypot(0.3, 0.8)
    normals = read_mesh(glb.write(tmp_path / "a.glb")).normals[:, [1, 2, 0]]
    assert np.allclose(normals, expected, atol=1e-6)


def test_lines_beside_triangles_are_reported(tmp_path):
    glb = Glb()
    glb.primitive()
    glb.primitive()["mode"] = 1
    with pytest.warns(UserWarning, match="1 parts are points or lines, which are left out"):
        read_mesh(glb.write(tmp_path / "a.glb"))


def test_meshopt_without_a_plain_copy_is_named(tmp_path):
    glb = Glb()
    glb.primitive()
    view = glb.tree["bufferViews"][0]
    view |= {"buffer": 1, "extensions": {"EXT_meshopt_compression": {"buffer": 0}}}
    path = glb.write(tmp_path / "a.glb")
    tree, binary = glb_parts(path.read_bytes())
    tree["buffers"].append({"byteLength": 48})
    path.write_bytes(glb_bytes(json.dumps(tree).encode(), binary))
    with pytest.raises(UserError, match="meshopt, a compression"):
        read_mesh(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(material=[0]), "the number of a material"),
        (lambda p: p["attributes"].update(COLOR_0=p["attributes"]["TEXCOORD_0"]), "3 or 4 numbers"),
        (lambda p: p["attributes"].update(NORMAL=p["attributes"]["TEXCOORD_0"]), "rows of 3 num"),
    ],
)
def test_attributes_of_another_kind_are_refused(tmp_path, change, message):
    glb = Glb()
    change(glb.primitive())
    with pytest.raises(UserError, match=message):
        read_mesh(glb.write(tmp_path / "a.glb"))
