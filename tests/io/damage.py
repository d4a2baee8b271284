"""Small valid files of every format that is read, and random damage to them from a seed."""

import copy
import gzip
import json
import struct
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import plyfile
import torch

from gs3d.core.types import Mesh, Splats, TexturedMesh
from gs3d.io import save_splats
from gs3d.io.mesh import write_mesh
from gs3d.io.splats.spz import write_spz

TYPES = ["char", "uchar", "short", "ushort", "int", "uint", "float", "double", "half", ""]
COUNTS = [
    "0",
    "-1",
    "1",
    "7",
    "255",
    "2147483648",
    "536870912",
    "4294967295",
    "99999999999",
    "1" * 30,
    "x",
    "1e9",
    "0x10",
    "٣",
]
"""Row counts for a file of 1 kB. 536870912 rows of 4 bytes are 2 GB."""
NUMBERS = [0, 1, 2, 7, 127, 128, 255, 2**16 - 1, 2**29, 2**31 - 1, 2**31, 2**32 - 1]
FLOATS = [float("nan"), float("inf"), -float("inf"), 3.4e38, -3.4e38, 1e-45, -0.0, 1e20, -1.0, 0.0]
DEPTHS = (10, 900, *range(940, 1000), 5000, 200_000)
"""Depths of nested lists. Some pass the JSON parser and then fail when they are printed."""
VALUES = [
    None,
    True,
    -1,
    0,
    1,
    3,
    1.5,
    2**29,
    2**31,
    2**63,
    10**400,
    -(10**9),
    1e308,
    float("nan"),
    float("inf"),
]
VALUES += [
    "",
    "a\nb",
    "x" * 5000,
    "data:;base64,AAAA",
    "VEC3",
    "MAT4",
    [],
    {},
    [[]],
    [0] * 50,
    [1e38] * 16,
    {"index": 9},
    [{"a\nb": "\n"}] * 3,
]
"""JSON values that replace a valid one."""


def _splats(count: int, degree: int) -> Splats:
    gen = torch.Generator().manual_seed(degree)
    normal = torch.randn(count, 11, generator=gen)
    sh = 0.3 * torch.randn(count, (degree + 1) ** 2, 3, generator=gen)
    return Splats(
        normal[:, :3], normal[:, 3:7], (normal[:, 7:10] - 4).exp(), normal[:, 10].sigmoid(), sh
    )


def _meshes() -> tuple[Mesh, TexturedMesh]:
    vertices = np.eye(4, 3, dtype=np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    normals, uvs = np.full((4, 3), 3**-0.5, np.float32), np.full((4, 2), 0.3, np.float32)
    texture = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    mesh = Mesh(vertices, faces, normals, np.full((4, 3), 0.5, np.float32))
    return mesh, TexturedMesh(vertices, faces, normals, uvs, texture)


def valid_files(folder: Path) -> dict[str, bytes]:
    """File name → bytes; the suffix of the name selects the reader. Writes to `folder`."""
    for name in ("little.ply", "packed.compressed.ply", "plain.splat", "splats.glb", "images.sog"):
        save_splats(folder / name, _splats(5, 2))
    rows = plyfile.PlyData.read(str(folder / "little.ply"))["vertex"]
    plyfile.PlyData([rows], text=True).write(str(folder / "text.ply"))
    plyfile.PlyData([rows], byte_order=">").write(str(folder / "big.ply"))
    for version in (2, 3, 4) if find_spec("zstandard") else (2, 3):
        write_spz(folder / f"version{version}.spz", _splats(5, version - 1), version=version)
    for name, mesh in zip(("mesh.glb", "textured.glb"), _meshes(), strict=True):
        write_mesh(folder / name, mesh)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Kinds of damage


def _cut(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data[: rng.integers(len(data))])


def _flip_bits(data: bytearray, rng: np.random.Generator) -> bytes:
    for offset in rng.integers(len(data), size=rng.integers(1, 9)):
        data[offset] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _change_start(data: bytearray, rng: np.random.Generator) -> bytes:
    """Replace bytes near the start, where magic words and binary headers are."""
    for offset in rng.integers(min(len(data), 40), size=rng.integers(1, 4)):
        data[offset] = int(rng.integers(256))
    return bytes(data)


def _change_numbers(data: bytearray, rng: np.random.Generator) -> bytes:
    """Replace aligned 32-bit words by extreme floats or counts."""
    for offset in 4 * rng.integers(max(len(data) // 4 - 1, 1), size=rng.integers(1, 6)):
        kind, number = (
            ("<f", rng.choice(FLOATS)) if rng.random() < 0.5 else ("<I", rng.choice(NUMBERS))
        )
        data[offset : offset + 4] = struct.pack(kind, number)
    return bytes(data)


def _remove_or_repeat(data: bytearray, rng: np.random.Generator) -> bytes:
    """Remove a span of bytes, or repeat it."""
    first, last = sorted(int(i) for i in rng.integers(len(data), size=2))
    return (
        bytes(data[:first] + data[last:])
        if rng.random() < 0.5
        else bytes(data[:last] + data[first:])
    )


def _change_ply_header(data: bytearray, rng: np.random.Generator) -> bytes:
    """Remove, repeat or insert lines of the header, or replace a word of a line."""
    head, end, body = bytes(data).partition(b"end_header\n")
    lines = head.split(b"\n")[:-1]
    more_words = ["list uchar float", "f_rest_0", "x", "x" * 9999, "a\rb", "ascii"]
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(1, len(lines)))
        words = lines[at].split(b" ")
        new_word = str(rng.choice([*TYPES, *COUNTS, *more_words])).encode()
        words[int(rng.integers(len(words)))] = new_word
        lines[at : at + 1] = [
            [],
            [lines[at]] * 2,
            [b" ".join(words)],
            [b"property float more", lines[at]],
        ][int(rng.integers(4))]
    return b"\n".join(lines) + b"\n" + end + body


def _change_spz_content(data: bytearray, rng: np.random.Generator) -> bytes:
    """Damage inside the gzip stream, which its checksum does not reveal."""
    if data[:2] != b"\x1f\x8b":
        return _change_numbers(data, rng)
    change = [_change_start, _change_numbers, _remove_or_repeat, _cut][int(rng.integers(4))]
    return gzip.compress(change(bytearray(gzip.decompress(bytes(data))), rng))


def glb_bytes(tree: object, binary: bytes) -> bytes:
    """The bytes of a .glb; `tree` is the JSON, or its text as bytes."""
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    body += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def glb_parts(data: bytes) -> tuple[dict, bytes]:
    """The JSON and the binary chunk of a .glb."""
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), bytes(data[28 + length :])


def _json_places(entry: object) -> Iterator[tuple[dict | list, object]]:
    """Every value in the JSON, as its parent (a dict or list) and its key."""
    for key in (
        entry if isinstance(entry, dict) else range(len(entry)) if isinstance(entry, list) else ()
    ):
        yield entry, key
        yield from _json_places(entry[key])


def _change_json(data: bytearray, rng: np.random.Generator) -> bytes:
    """Remove or replace values in the JSON of a .glb."""
    tree, binary = glb_parts(data)
    nested = ""
    for _ in range(rng.integers(1, 4)):
        places = list(_json_places(tree))
        parent, key = places[int(rng.integers(len(places)))]
        if rng.random() < 0.2 and isinstance(parent, dict):
            del parent[key]
        elif rng.random() < 0.1:
            parent[key], nested = "DEEP", "[" * int(rng.choice(DEPTHS))
        else:
            parent[key] = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
        if not tree:
            break
    text = json.dumps(tree).replace('"DEEP"', nested + nested.replace("[", "]"))
    return glb_bytes(text.encode(), binary)


def kinds_of_damage(name: str) -> list[Callable]:
    """The kinds of damage to try on a file of this name; those of its format more often."""
    general = [_cut, _flip_bits, _change_start, _change_numbers, _remove_or_repeat]
    if name.endswith((".splat", ".sog")):
        return general
    if name.endswith(".ply"):
        return general + [_change_ply_header] * 3
    if name.endswith(".glb"):
        return general + [_change_json] * 6
    return general + [_change_spz_content] * 4


def random_damage(good: dict[str, bytes], seeds: range) -> Iterator[tuple[str, str, bytes]]:
    """A description, the suffix of the reader, and the bytes: one per valid file and seed."""
    for seed in seeds:
        for i, (name, data) in enumerate(good.items()):
            rng = np.random.default_rng((seed, i))
            kinds = kinds_of_damage(name)
            damage = kinds[seed % len(kinds)]
            suffix = name[name.index(".") :]
            yield f"{name}, {damage.__name__}, seed {seed}", suffix, damage(bytearray(data), rng)
