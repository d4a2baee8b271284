"""Builds small .glb files of meshes, and looks at them from the front."""

import io
import json
import warnings

import numpy as np
from PIL import Image

from gs3d.core.cameras import ring
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
