"""Materials and textures of glTF that are damaged, or of a kind that is not read."""

import io

import numpy as np
import pytest
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.core.types import TexturedMesh
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
