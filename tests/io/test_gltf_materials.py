"""Materials of glTF as other programs write them, in the picture that gs3d draws."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.io.mesh import read_mesh
from gs3d.ops.srgb import to_linear, to_srgb
from tests.io.gltf import (
    CHECKS,
    GREEN,
    QUAD,
    RED,
    UVS,
    WHITE,
    Glb,
    corners,
    front,
    near,
    pbr,
    png,
)

BLUE, CLEAR = (0, 0, 255), (0, 0, 0)


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


def test_an_image_in_the_json(tmp_path):
    glb = Glb()
    texture = glb.texture(WHITE)
    glb.tree["images"] = [{"uri": "data:image/png;base64," + base64.b64encode(CHECKS).decode()}]
    glb.primitive(pbr(texture))
    assert near(corners(glb.write(tmp_path / "a.glb"))[0], RED, 40)
    glb.tree["images"] = [{"uri": "red.png"}]
    with pytest.raises(UserError, match=r"its texture is in another file \(red.png\)"):
        read_mesh(glb.write(tmp_path / "b.glb"))


def test_colors_convert_both_ways():
    values = np.linspace(0, 1, 50)
    assert np.allclose(to_srgb(to_linear(values)), values, atol=1e-6)


@pytest.mark.parametrize("texture", [False, True])
def test_vertex_colors_do_not_change_the_emission(tmp_path, texture):
    glb = Glb()
    glow = {"emissiveTexture": glb.texture(WHITE)} if texture else {}
    material = pbr(factor=[0, 0, 0, 1], emissiveFactor=[0, 0.5, 0], **glow)
    glb.primitive(material, COLOR_0=np.full((4, 4), 0.25, "<f4"))
    expected = to_srgb(np.array([0, 0.5, 0])) * 255
    assert near(corners(glb.write(tmp_path / "a.glb")), [expected] * 4)


def test_emission_beside_a_bright_texture_is_not_clipped_before_the_vertex_colors(tmp_path):
    glb = Glb()
    material = pbr(glb.texture(WHITE), emissiveFactor=[0.5] * 3)
    glb.primitive(material, COLOR_0=np.full((4, 4), 0.25, "<f4"))
    assert near(corners(glb.write(tmp_path / "a.glb")), [[to_srgb(np.array(0.75)) * 255] * 3] * 4)


def test_a_texture_of_emission_has_its_own_place(tmp_path):
    """The base is the whole of its image, the emission a quarter of another: white."""
    glb = Glb()
    glow = glb.texture(CHECKS)
    change = {"offset": [0.5, 0.5], "scale": [0.5, 0.5]}
    glow["extensions"] = {"KHR_texture_transform": change}
    dark = glb.texture(png([[CLEAR]]))
    glb.primitive(pbr(dark, emissiveFactor=[1, 1, 1], emissiveTexture=glow))
    assert near(corners(glb.write(tmp_path / "a.glb")), [(255, 255, 255)] * 4)


def test_vertex_colors_above_one_are_clipped(tmp_path):
    glb = Glb()
    glb.primitive(COLOR_0=np.array([[1.2, 0, 0, 1]] + 3 * [[0, 0.5, 0, 1]], "<f4"), uvs=None)
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert np.allclose(mesh.colors[0], [1, 0, 0]) and mesh.colors[1, 1] > 0.7


@pytest.mark.parametrize(
    ("alpha", "more", "shown"),
    [
        (0.1, {"alphaMode": "MASK"}, False),
        (0.1, {"alphaMode": "MASK", "alphaCutoff": 0.05}, True),
        (0.0, {"alphaMode": "BLEND"}, False),
        (0.0, {}, True),
    ],
)
def test_invisible_parts_are_left_out(tmp_path, alpha, more, shown):
    glb = Glb()
    glb.primitive(pbr(factor=[1, 0, 0, alpha], **more))
    glb.primitive(pbr(factor=[0, 0, 1, 1]), POSITION=QUAD - np.array([0, 0, 1], "<f4"))
    assert near(corners(glb.write(tmp_path / "a.glb")), [RED if shown else BLUE] * 4)


@pytest.mark.parametrize(
    ("material", "colors"),
    [
        (pbr(factor=[1, 0, 0, 0.6], alphaMode="BLEND"), None),
        (pbr(alphaMode="BLEND"), np.array([[1, 0, 0, 0.5]] * 4, "<f4")),
        (pbr(alphaMode="MASK"), np.array([[1, 0, 0, 0.1]] + [[1, 0, 0, 1]] * 3, "<f4")),
        ({"extensions": {"KHR_materials_transmission": {"transmissionFactor": 1}}}, None),
    ],
)
def test_transparent_parts_are_reported(tmp_path, material, colors):
    glb = Glb()
    glb.primitive(material, **({} if colors is None else {"COLOR_0": colors}))
    with pytest.warns(UserWarning, match="a part is transparent, or has .* shown as opaque"):
        read_mesh(glb.write(tmp_path / "a.glb"))


def test_holes_in_a_texture_are_reported(tmp_path):
    glb, stream = Glb(), io.BytesIO()
    pixels = np.array([[(255, 0, 0, 255), (255, 0, 0, 0)]], np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    glb.primitive(pbr(glb.texture(stream.getvalue()), alphaMode="MASK"))
    with pytest.warns(UserWarning, match="a part is transparent, or has transparent places"):
        read_mesh(glb.write(tmp_path / "a.glb"))


def test_gray_of_sixteen_bits(tmp_path):
    glb, stream = Glb(), io.BytesIO()
    Image.fromarray(np.full((4, 4), 20000, np.uint16)).save(stream, "PNG")
    glb.primitive(pbr(glb.texture(stream.getvalue())))
    assert near(corners(glb.write(tmp_path / "a.glb")), [[20000 / 257] * 3] * 4, 1)


def test_parts_that_share_a_texture_share_its_tile(tmp_path):
    """Whole repetitions of the image, and the same material twice, are the same tile."""
    glb = Glb()
    texture = glb.texture(CHECKS)
    for shift in range(4):
        glb.primitive(pbr(texture), uvs=UVS + np.float32(shift))
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert mesh.texture.shape == (32, 32, 3) and len(mesh.vertices) == 16


def test_large_textures_are_shrunk_with_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr("gs3d.io.gltf.atlas.KEPT_PIXELS", 30 * 30)
    glb = Glb()
    image = glb.texture(CHECKS)
    glb.primitive(pbr(image, [1, 1, 1, 1]), POSITION=(QUAD + [2, 0, 0]).astype("<f4"))
    glb.primitive(pbr(image, [0, 0, 1, 1]), POSITION=(QUAD - [2, 0, 0]).astype("<f4"))
    with pytest.warns(UserWarning, match=r"2 of its textures are shrunk, to \d+ % of their size"):
        mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    height, width = mesh.texture.shape[:2]
    assert height * width <= 900
    # The first part still ends in red and green above.
    first = mesh.uvs[:4] * (width, height)
    left, top = np.ceil(first.min(axis=0)).astype(int)
    assert near(mesh.texture[top, left] * 255, RED)


def test_a_texture_that_is_no_square(tmp_path):
    """Its right and lower edges stay at those of the texture."""
    glb = Glb()
    tall = png(np.array([[RED, GREEN], [BLUE, RED], [GREEN, BLUE]]).repeat(16, 0).repeat(8, 1))
    glb.primitive(pbr(glb.texture(tall)))
    mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert mesh.texture.shape == (48, 16, 3) and mesh.uvs.max() == 1


def test_a_texture_that_repeats_often_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("gs3d.io.gltf.atlas.KEPT_PIXELS", 100 * 100)
    glb = Glb()
    far = (QUAD + np.array([0, 0, 1])).astype("<f4")
    glb.primitive(pbr(glb.texture(WHITE), [1, 0, 0, 1]), uvs=UVS)
    glb.primitive(pbr(glb.texture(CHECKS)), uvs=UVS, POSITION=far)
    glb.primitive(pbr(glb.texture(CHECKS)), uvs=(UVS * 100).astype("<f4"), POSITION=far)
    with pytest.warns(UserWarning, match="1 of its textures are shrunk"):
        mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    first = mesh.uvs[4:8] * mesh.texture.shape[1::-1]
    assert np.allclose(np.ptp(first, axis=0), 32)


def test_clamped_coordinates_far_outside_need_no_more_texture(tmp_path):
    glb = Glb()
    glb.tree["samplers"] = [{"wrapS": 33071, "wrapT": 33071}]
    glb.primitive(pbr(glb.texture(CHECKS, sampler=0)), uvs=(UVS * 900 - 400).astype("<f4"))
    assert read_mesh(glb.write(tmp_path / "a.glb")).texture.shape == (32, 32, 3)


def test_transparent_texels_keep_their_color_where_an_image_is_shrunk(tmp_path, monkeypatch):
    monkeypatch.setattr("gs3d.io.gltf.images.KEPT_PIXELS", 4)
    glb, stream = Glb(), io.BytesIO()
    Image.fromarray(np.full((8, 8, 4), (255, 0, 0, 0), np.uint8)).save(stream, "PNG")
    glb.primitive(pbr(glb.texture(stream.getvalue())))
    with pytest.warns(UserWarning, match="a texture of 8 × 8 is shrunk to 2 × 2"):
        mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    assert np.allclose(mesh.texture, [1, 0, 0])
