"""Splat and mesh files of every format with one field changed."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plyfile
from PIL import Image

from gs3d.io import save_splats
from gs3d.io.splats.splat import ROW
from tests.fuzz.special import NUMBERS, WORDS, changed_json
from tests.io.damage import glb_bytes, glb_parts, valid_files
from tests.io.gltf import CHECKS, WHITE, Glb, pbr
from tests.io.splats.samples import random_splats

Change = Callable[[bytes, np.random.Generator], tuple[bytes, str]]


def valid(folder: Path) -> dict[str, bytes]:
    """File name → bytes of small valid files. Writes to `folder`."""
    files = valid_files(folder)
    for degree in (0, 1):
        path = folder / f"degree{degree}.sog"
        save_splats(path, random_splats(40, degree))
        files[path.name] = path.read_bytes()
    save_splats(folder / "many.ply", random_splats(120))
    files["many.ply"] = (folder / "many.ply").read_bytes()
    files["scene.glb"] = scene().write(folder / "scene.glb").read_bytes()
    return files


def scene() -> Glb:
    """A mesh with most of what other programs write: a skin, instances, sparse rows, textures."""
    glb = Glb()
    glow = glb.texture(WHITE) | {"extensions": {"KHR_texture_transform": {"scale": [2, 2]}}}
    glow |= {"texCoord": 0}
    material = pbr(glb.texture(CHECKS, sampler=0), [1, 0.5, 1, 1], alphaMode="MASK")
    material |= {"emissiveFactor": [0, 0.1, 0], "emissiveTexture": glow, "alphaCutoff": 0.2}
    glb.tree["samplers"] = [{"wrapS": 33648, "wrapT": 33071}]
    joints, weights = np.zeros((4, 4), "|u1"), np.full((4, 4), 0.25, "<f4")
    skinned = glb.primitive(material, JOINTS_0=joints, WEIGHTS_0=weights)
    colors = np.linspace(0, 1, 16, dtype="<f4").reshape(4, 4)
    plain = glb.primitive(COLOR_0=colors, NORMAL=np.tile(np.array([0, 0, 1], "<f4"), (4, 1)))
    position = glb.tree["accessors"][skinned["attributes"]["POSITION"]]
    where = {"bufferView": glb.view(np.array([1], "<u2").tobytes()), "componentType": 5123}
    values = {"bufferView": glb.view(np.zeros(3, "<f4").tobytes())}
    position["sparse"] = {"count": 1, "indices": where, "values": values}
    glb.tree["meshes"] = [{"primitives": [skinned]}, {"primitives": [plain]}]
    glb.tree["skins"] = [{"joints": [1]}]
    offsets = {"TRANSLATION": glb.array(np.array([[0, 0, 0], [3, 0, 0]], "<f4"))}
    instances = {"EXT_mesh_gpu_instancing": {"attributes": offsets}}
    glb.tree["nodes"] = [
        {"mesh": 0, "skin": 0},
        {"scale": [2, 2, 2], "extensions": {"KHR_node_visibility": {"visible": True}}},
        {"mesh": 1, "rotation": [0, 0, 0, 1], "extensions": instances},
    ]
    glb.tree["scenes"] = [{"nodes": [0, 1, 2]}]
    return glb


def _pick(options, rng: np.random.Generator):
    return options[int(rng.integers(len(options)))]


def _ply_cells(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """One number, or a whole column, of any element."""
    ply = plyfile.PlyData.read(io.BytesIO(data))
    element = _pick(ply.elements, rng)
    table = element.data
    name, value = _pick(table.dtype.names, rng), _pick(NUMBERS, rng)
    rows = slice(None) if rng.random() < 0.5 else int(rng.integers(len(table)))
    with np.errstate(all="ignore"):
        table[name][rows] = np.float64(value).astype(table[name].dtype)
    stream = io.BytesIO()
    ply.write(stream)
    return stream.getvalue(), f"{name}[{rows}] = {value}"


def _ply_header(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """One word of the header, or one line missing or given twice."""
    head, end, body = data.partition(b"end_header\n")
    lines = head.split(b"\n")[:-1]
    at, kind = int(rng.integers(1, len(lines))), rng.random()
    if kind < 0.2:
        what, lines[at : at + 1] = "missing", []
    elif kind < 0.4:
        what, lines[at : at + 1] = "twice", [lines[at]] * 2
    else:
        words, what = lines[at].split(b" "), _pick(WORDS, rng)
        words[int(rng.integers(len(words)))] = what.encode(_pick(["utf-8", "utf-16"], rng))
        lines[at] = b" ".join(words)
    return b"\n".join(lines) + b"\n" + end + body, f"header line {at}: {what[:20]!r}"


def _text_cell(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    head, end, body = data.partition(b"end_header\n")
    words = body.split(b" ")
    at, word = int(rng.integers(len(words))), _pick([*WORDS, *map(str, NUMBERS)], rng)
    words[at] = word.encode()
    return head + end + b" ".join(words), f"word {at} = {word[:20]!r}"


def _splat_cell(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    table = np.frombuffer(data, ROW).copy()
    name, value = _pick(ROW.names, rng), _pick(NUMBERS, rng)
    with np.errstate(all="ignore"):
        table[name][int(rng.integers(len(table)))] = np.float64(value).astype(table[name].dtype)
    return table.tobytes(), f"{name} = {value}"


def _spz_field(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """One field of the header, or one byte of the streams."""
    packed = data[:2] == b"\x1f\x8b"
    plain = bytearray(gzip.decompress(data) if packed else data)
    at = _pick([4, 8, 12, 13, 14, 15, int(rng.integers(16, len(plain)))], rng)
    size = 4 if at < 12 else 1
    value = _pick([0, 1, 2, 3, 5, 127, 128, 2 ** (8 * size - 1), 2 ** (8 * size) - 1], rng)
    plain[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")
    changed = bytes(plain)
    if packed and rng.random() < 0.8:
        changed = gzip.compress(changed)
    return changed, f"byte {at} = {value}"


def _glb_json(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    tree, binary = glb_parts(data)
    text, what = changed_json(json.dumps(tree), rng)
    return glb_bytes(text.encode(), binary), what


def _glb_number(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    tree, binary = glb_parts(data)
    at, value = 4 * int(rng.integers(len(binary) // 4)), _pick(NUMBERS, rng)
    changed = bytearray(binary)
    changed[at : at + 4] = struct.pack("<f", value)
    return glb_bytes(json.dumps(tree).encode(), bytes(changed)), f"number at {at} = {value}"


def _sog_part(data: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """One value of meta.json, or an image that is missing, given twice, cut or of another size."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name, what = "meta.json", ""
    if rng.random() < 0.7:
        text, what = changed_json(files["meta.json"].decode(), rng)
        files["meta.json"] = text.encode()
    else:
        name = _pick(sorted(files), rng)
        what = _pick(["missing", "empty", "cut", "small", "large"], rng)
        if what == "missing":
            del files[name]
        elif what in ("empty", "cut"):
            files[name] = b"" if what == "empty" else files[name][: len(files[name]) // 2]
        else:
            stream, side = io.BytesIO(), 1 if what == "small" else 4000
            Image.new("RGBA", (side, side), (9, 9, 9, 255)).save(stream, "WEBP", lossless=True)
            files[name] = stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for entry, content in files.items():
            archive.writestr(entry, content)
    return stream.getvalue(), f"{name}: {what}"


def _changes(name: str) -> list[Change]:
    if name == "text.ply":
        return [_text_cell, _ply_header]
    if name.endswith(".ply"):
        return [_ply_cells, _ply_cells, _ply_header]
    if name.endswith(".splat"):
        return [_splat_cell]
    if name.endswith(".spz"):
        return [_spz_field]
    if name.endswith(".sog"):
        return [_sog_part]
    return [_glb_json, _glb_json, _glb_number]


def changed(files: dict[str, bytes], seed: int) -> tuple[str, str, bytes]:
    """A description, the suffix and the bytes of the file with this seed."""
    rng = np.random.default_rng((seed, 1))
    name = sorted(files)[seed % len(files)]
    data, what = _pick(_changes(name), rng)(files[name], rng)
    return f"seed {seed}: {name}, {what}", name[name.index(".") :], data
