"""Materials and textures of glTF that are damaged, or of a kind that is not read."""

import io

import numpy as np
import pytest
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.core.types import TexturedMesh
from gs3d.io.gltf import images
from gs3d.io.gltf.container import open_glb
from gs3d.io.mesh import read_mesh
from gs3d.ops.srgb import to_srgb
from tests.io.gltf import CHECKS, RED, UVS, WHITE, Glb, corners, near, pbr, png

BLUE = (0, 0, 255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["pbrMetallicRoughness"].update(baseColorFactor=[10**400, 0, 0, 1]), "numbers"),
        (lambda m: m["pbrMetallicRoughness"].update(baseColorFactor=["1", 0, 0, 1]), "numbers"),
        (lambda m: m["pbrMetallicRoughness"].update(baseColorFactor=[True, 0, 0, 1]), "numbers"),
        (lambda m: m.update(emissiveFactor=[1, 0]), "3 numbers"),
        (lambda m: m.update(alphaCutoff=[]), "a number"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path, change, message):
    glb = Glb()
    glb.primitive(pbr(factor=[1, 0, 0, 1]))
    change(glb.tree["materials"][0])
    with pytest.raises(UserError, match=f"expected {message}|: expected .*{message}"):
        read_mesh(glb.write(tmp_path / "a.glb"))


@pytest.mark.parametrize("uri", ["data:image/png;base64,A", "data:image/png;base64,\xe9", "data:"])
def test_damaged_data_uris_are_refused(tmp_path, uri):
    glb = Glb()
    glb.primitive(pbr(glb.texture(WHITE)))
    glb.tree["images"] = [{"uri": uri}]
    with pytest.raises(UserError, match="its texture in a data URI cannot be read"):
        read_mesh(glb.write(tmp_path / "a.glb"))


def test_data_uris_may_be_percent_encoded(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(WHITE)))
    text = "".join(f"%{byte:02X}" for byte in CHECKS)
    glb.tree["images"] = [{"uri": f"data:image/png,{text}"}]
    assert near(corners(glb.write(tmp_path / "a.glb"))[0], RED, 40)


def test_other_formats_of_images_are_refused(tmp_path):
    glb, stream = Glb(), io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "BMP")
    glb.primitive(pbr(glb.texture(stream.getvalue())))
    with pytest.raises(UserError, match="a texture cannot be read; expected PNG, JPEG, WEBP"):
        read_mesh(glb.write(tmp_path / "a.glb"))


def test_a_texture_without_coordinates_is_its_mean_color(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(png([[RED, BLUE]]))), uvs=None)
    with pytest.warns(UserWarning, match="a texture has no coordinates"):
        mesh = read_mesh(glb.write(tmp_path / "a.glb"))
    half = to_srgb(np.array(0.5))
    assert np.allclose(mesh.colors, [half, 0, half], atol=0.01)


def test_coordinates_that_repeat_a_texture_very_often(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(CHECKS)), uvs=UVS * np.float32(400))
    with pytest.warns(UserWarning, match="repeat a texture very often"):
        assert isinstance(read_mesh(glb.write(tmp_path / "a.glb")), TexturedMesh)


def test_extensions_of_a_texture_that_are_no_object(tmp_path):
    glb = Glb()
    glb.primitive(pbr(glb.texture(WHITE)))
    glb.tree["textures"][0] = {"extensions": 5}
    with pytest.warns(UserWarning, match=r"a texture has no image that is read \(no source\)"):
        read_mesh(glb.write(tmp_path / "a.glb"))


def test_the_pixels_of_all_textures_together_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_ALL_PIXELS", 100)
    glb = Glb()
    for color in (RED, BLUE):
        glb.primitive(pbr(glb.texture(png(np.full((8, 8, 3), color, np.uint8)))))
    with pytest.raises(UserError, match="expected textures of up to 100 pixels together"):
        read_mesh(glb.write(tmp_path / "a.glb"))
    # Images of the same bytes are decoded once.
    glb.tree["images"][1] = glb.tree["images"][0]
    assert isinstance(read_mesh(glb.write(tmp_path / "a.glb")), TexturedMesh)


def test_the_largest_textures_of_a_webp_are_half_as_large(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_WEBP_PIXELS", 40)
    monkeypatch.setattr(images, "MAX_PIXELS", 80)
    stream, glb = io.BytesIO(), Glb()
    Image.new("RGB", (8, 8)).save(stream, "WEBP")
    glb.primitive(pbr(glb.texture(stream.getvalue())))
    with pytest.raises(UserError, match="up to 8192 × 4096 as WebP, got 8 × 8"):
        read_mesh(glb.write(tmp_path / "a.glb"))


def test_sixteen_bits_a_pixel_are_rounded_to_eight(tmp_path):
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65535, 40_000]], np.uint16).repeat(8, 0)
    stream, glb = io.BytesIO(), Glb()
    Image.fromarray(values).save(stream, "PNG")
    glb.primitive(pbr(glb.texture(stream.getvalue())))
    pictures = images.Pictures(open_glb(glb.write(tmp_path / "a.glb")), [])
    found = pictures.of_texture({"index": 0})
    assert found is not None
    assert np.array_equal(found.pixels[0, :, 0], np.rint(values[0] / 257).astype(np.uint8))
