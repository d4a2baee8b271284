"""Meshes as other programs write them: materials, textures, transforms, compression."""

import base64
import io
import json
import warnings

import numpy as np
import pytest
from PIL import Image

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io.gltf.materials import to_linear, to_srgb
from gs3d.io.mesh import read_mesh
from gs3d.representations.asset import draw
from tests.io.damage import glb_bytes

QUAD = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], "<f4")
"""A square that faces +Z, which is the front."""
UVS = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "<f4")
INDICES = np.array([[0], [1], [2], [0], [2], [3]], "<u2")
RED, GREEN = (255, 0, 0), (0, 255, 0)
TYPES = {"<f4": 5126, "<u2": 5123, "|u1": 5121, "<u4": 5125, "<i2": 5122, "|i1": 5120}


def png(pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.array(pixels, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


FOUR = np.array([[RED, GREEN], [(0, 0, 255), (255, 255, 255)]])
CHECKS = png(FOUR.repeat(16, axis=0).repeat(16, axis=1))
"""Four large checks: the middle of each is not mixed with its neighbors."""
WHITE = png([[(255, 255, 255)]])


class Glb:
    """Builds a .glb from arrays and JSON."""

    def __init__(self):
        self.binary = b""
        self.tree = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}]}
        self.tree |= {"nodes": [{"mesh": 0}], "meshes": [{"primitives": []}]}
        self.tree |= {"accessors": [], "bufferViews": []}

    def view(self, data: bytes) -> int:
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        self.binary += data + bytes(-len(data) % 4)
        self.tree["bufferViews"].append(view)
        return len(self.tree["bufferViews"]) - 1

    def array(self, values: np.ndarray, **more) -> int:
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[values.shape[1]]
        accessor = {"bufferView": self.view(values.tobytes()), "count": len(values), "type": kind}
        accessor |= {"componentType": TYPES[values.dtype.str], **more}
        self.tree["accessors"].append(accessor)
        return len(self.tree["accessors"]) - 1

    def primitive(self, material=None, indices=INDICES, uvs=UVS, **attributes):
        arrays = {"POSITION": QUAD, **({} if uvs is None else {"TEXCOORD_0": uvs}), **attributes}
        found = {name: self.array(values) for name, values in arrays.items()}
        primitive = {"attributes": found}
        if indices is not None:
            primitive["indices"] = self.array(indices)
        if material is not None:
            self.tree.setdefault("materials", []).append(material)
            primitive["material"] = len(self.tree["materials"]) - 1
        self.tree["meshes"][0]["primitives"].append(primitive)
        return primitive

    def texture(self, data: bytes, **texture) -> dict:
        self.tree.setdefault("images", []).append(
            {"bufferView": self.view(data), "mimeType": "image/png"}
        )
        source = {"source": len(self.tree["images"]) - 1, **texture}
        self.tree.setdefault("textures", []).append(source)
        return {"index": len(self.tree["textures"]) - 1}

    def write(self, path):
        tree = self.tree | {"buffers": [{"byteLength": len(self.binary)}]}
        path.write_bytes(glb_bytes(json.dumps(tree).encode(), self.binary))
        return path


def pbr(texture=None, factor=None, **more):
    base = {} if texture is None else {"baseColorTexture": texture}
    base |= {} if factor is None else {"baseColorFactor": factor}
    return {"pbrMetallicRoughness": base, **more}


def front(path, size=64) -> np.ndarray:
    """The picture from the front, uint8 [H, W, 3], cut to the middle of the square."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh = read_mesh(path)
    image = draw(mesh, ring(1, size, elevation_deg=0.0), (0, 0, 0)).rgb[0]
    return (image.clamp(0, 1) * 255 + 0.5).byte().numpy()


def corners(path) -> list[list[int]]:
    """Colors at the middle of the four quarters: upper left and right, lower left and right."""
    image = front(path)
    return [image[y, x].tolist() for y in (24, 40) for x in (24, 40)]


def near(got, expected, tolerance=4):
    return np.abs(np.array(got, int) - np.array(expected, int)).max() <= tolerance


def test_factor_times_texture(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(WHITE), [1, 0, 0, 1]))
    assert near(corners(glb.write(tmp_path / "a.glb")), [RED] * 4)


def test_factors_are_linear(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(WHITE), [0.2, 0.5, 1, 1]))
    expected = to_srgb(np.array([0.2, 0.5, 1])) * 255
    assert near(corners(glb.write(tmp_path / "a.glb")), [expected] * 4)


def test_factor_without_a_texture_times_vertex_colors(tmp_path):
    glb = Glb()
    colors = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], "<f4")
    glb.primitive(pbr(factor=[0.5, 1, 0.5, 1]), COLOR_0=colors)
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert isinstance(mesh, Mesh)
    assert np.allclose(mesh.colors, to_srgb(colors[:, :3] * [0.5, 1, 0.5]), atol=1e-3)


@pytest.mark.parametrize("kind", ["|u1", "<u2"])
@pytest.mark.parametrize("normalized", [True, False])
def test_vertex_colors_of_whole_numbers(tmp_path, kind, normalized):
    glb, largest = Glb(), np.iinfo(kind).max
    colors = np.array([[largest, 0, 0], [0, largest, 0], [0, 0, largest], [largest] * 3], kind)
    padded = np.zeros((4, 4), kind)
    padded[:, :3] = colors
    primitive = glb.primitive(uvs=None)
    primitive["attributes"]["COLOR_0"] = glb.array(padded, normalized=normalized)
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert np.allclose(mesh.colors, colors / largest, atol=1e-6)


def test_one_vertex_color_times_texture_keeps_the_texture(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(CHECKS)), COLOR_0=np.full((4, 4), 0.5, "<f4"))
    path = glb.write(tmp_path / "a.glb")
    assert isinstance(read_mesh(path), TexturedMesh)
    dim = to_srgb(np.array(0.5)) * 255
    assert near(corners(path)[0], [dim, 0, 0]) and near(corners(path)[3], [dim] * 3)


def test_vertex_colors_times_texture_are_kept_at_the_vertices_with_a_line(tmp_path):
    glb = Glb()
    colors = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [0.5, 0.5, 0.5, 1], [0, 0, 0, 1]], "<f4")
    glb.primitive(pbr(glb.texture(CHECKS)), COLOR_0=colors)
    with pytest.warns(UserWarning, match="multiplied by colors of vertices"):
        mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert isinstance(mesh, Mesh) and np.allclose(mesh.colors[3], 0, atol=1e-3)


@pytest.mark.parametrize(
    ("wrap", "uvs", "expected"),
    [
        # Red, green / blue, white; the texture begins at the upper left.
        (None, UVS + 1, "rgbw"),
        (10497, UVS - 3, "rgbw"),
        (33648, UVS + [1, 0], "grwb"),
        (33648, UVS + [0, -1], "bwrg"),
        (33071, UVS + [1, 0], "ggww"),
        (33071, UVS - [0, 1], "rgrg"),
    ],
)
def test_textures_continue_beyond_their_borders(tmp_path, wrap, uvs, expected):
    glb = Glb()
    texture = glb.texture(CHECKS, **({} if wrap is None else {"sampler": 0}))
    glb.tree["samplers"] = [{"wrapS": wrap, "wrapT": wrap}]
    glb.primitive(pbr(texture), uvs=uvs.astype("<f4"))
    names = {"r": RED, "g": GREEN, "b": (0, 0, 255), "w": (255, 255, 255)}
    assert near(corners(glb.write(tmp_path / "a.glb")), [names[c] for c in expected], 40)


def test_texture_transforms(tmp_path):
    glb = Glb()
    texture = glb.texture(CHECKS)
    change = {"offset": [0.5, 0.5], "scale": [0.5, 0.5]}
    texture["extensions"] = {"KHR_texture_transform": change}
    glb.tree["extensionsRequired"] = glb.tree["extensionsUsed"] = ["KHR_texture_transform"]
    glb.primitive(pbr(texture))
    assert near(front(glb.write(tmp_path / "a.glb"))[40, 40], [255] * 3, 10)
    change |= {"offset": [0, 1], "scale": [1, 1], "rotation": np.pi / 2}
    got = corners(glb.write(tmp_path / "b.glb"))
    # (u, v) becomes (v, 1 − u): the texture turns by a quarter.
    assert near(got, [(0, 0, 255), RED, (255, 255, 255), GREEN], 40)


def test_another_set_of_texture_coordinates(tmp_path):
    glb = Glb()
    texture = glb.texture(CHECKS) | {"texCoord": 1}
    glb.primitive(pbr(texture), TEXCOORD_1=np.full((4, 2), 0.25, "<f4"))
    assert near(corners(glb.write(tmp_path / "a.glb")), [RED] * 4)


def test_several_materials_become_one_texture(tmp_path):
    glb = Glb()
    left, right = QUAD * [0.5, 1, 1] - [0.5, 0, 0], QUAD * [0.5, 1, 1] + [0.5, 0, 0]
    glb.primitive(pbr(glb.texture(CHECKS)), POSITION=left.astype("<f4"))
    glb.primitive(pbr(factor=[0, 0, 1, 1]), POSITION=right.astype("<f4"))
    got = corners(glb.write(tmp_path / "a.glb"))
    assert near(got[1], (0, 0, 255)) and near(got[3], (0, 0, 255))
    assert not near(got[0], got[2], 40)


def test_emission_is_added(tmp_path):
    glb = Glb()
    black = pbr(factor=[0, 0, 0, 1], emissiveFactor=[0, 1, 0])
    glb.primitive(black)
    assert near(corners(glb.write(tmp_path / "a.glb")), [GREEN] * 4)
    glb = Glb()
    glow = glb.texture(CHECKS)
    glb.primitive(pbr(factor=[0, 0, 0, 1], emissiveFactor=[1, 1, 1], emissiveTexture=glow))
    assert near(corners(glb.write(tmp_path / "b.glb"))[0], RED, 40)


def test_specular_glossiness_has_a_diffuse_color(tmp_path):
    glb = Glb()
    older = {"diffuseFactor": [1, 0, 0, 1], "diffuseTexture": glb.texture(WHITE)}
    glb.primitive({"extensions": {"KHR_materials_pbrSpecularGlossiness": older}})
    assert near(corners(glb.write(tmp_path / "a.glb")), [RED] * 4)


def test_transparent_parts_are_reported(tmp_path):
    glb = Glb()
    glb.primitive(pbr(factor=[1, 0, 0, 0.1], alphaMode="BLEND"))
    with pytest.warns(UserWarning, match="1 of 1 parts are transparent"):
        read_mesh(glb.write(tmp_path / "a.glb"))


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


def test_an_image_in_the_json(tmp_path):
    glb = Glb()
    texture = glb.texture(WHITE)
    glb.tree["images"] = [{"uri": "data:image/png;base64," + base64.b64encode(CHECKS).decode()}]
    glb.primitive(pbr(texture))
    assert near(corners(glb.write(tmp_path / "a.glb"))[0], RED, 40)
    glb.tree["images"] = [{"uri": "red.png"}]
    with pytest.raises(UserError, match=r"its texture is in another file \(red.png\)"):
        read_mesh(glb.write(tmp_path / "b.glb"))


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


def test_colors_convert_both_ways():
    values = np.linspace(0, 1, 50)
    assert np.allclose(to_srgb(to_linear(values)), values, atol=1e-6)
