"""Small good files of every kind that is read, and what can go wrong with them: by chance, from a seed, and by hand."""

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
"""In 1 kB: of 4 bytes, 536870912 are 2 GB."""
NUMBERS = [0, 1, 2, 7, 127, 128, 255, 2**16 - 1, 2**29, 2**31 - 1, 2**31, 2**32 - 1]
FLOATS = [float("nan"), float("inf"), -float("inf"), 3.4e38, -3.4e38, 1e-45, -0.0, 1e20, -1.0, 0.0]
DEPTHS = (10, 900, *range(940, 1000), 5000, 200_000)
"""Lists in lists: some pass the parser, and then what prints them stumbles."""
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


def _splats(count: int, degree: int) -> Splats:
    gen = torch.Generator().manual_seed(degree)
    normal = torch.randn(count, 11, generator=gen)
    sh = 0.3 * torch.randn(count, (degree + 1) ** 2, 3, generator=gen)
    return Splats(
        normal[:, :3], normal[:, 3:7], (normal[:, 7:10] - 4).exp(), normal[:, 10].sigmoid(), sh
    )


def _meshes() -> tuple[Mesh, TexturedMesh]:
    vertices, faces = (
        np.eye(4, 3, dtype=np.float32),
        np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32),
    )
    normals, uvs = np.full((4, 3), 3**-0.5, np.float32), np.full((4, 2), 0.3, np.float32)
    texture = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    return Mesh(vertices, faces, normals, np.full((4, 3), 0.5, np.float32)), TexturedMesh(
        vertices, faces, normals, uvs, texture
    )


def good_files(folder: Path) -> dict[str, bytes]:
    """Name, with the suffix that it is to be read by → bytes. `folder` is for what has to be written first."""
    for name in ("little.ply", "packed.compressed.ply", "plain.splat", "splats.glb"):
        save_splats(folder / name, _splats(5, 2))
    rows = plyfile.PlyData.read(str(folder / "little.ply"))["vertex"]
    plyfile.PlyData([rows], text=True).write(str(folder / "text.ply"))
    plyfile.PlyData([rows], byte_order=">").write(str(folder / "big.ply"))
    for version in (2, 3, 4) if find_spec("zstandard") else (2, 3):
        write_spz(folder / f"version{version}.spz", _splats(5, version - 1), version=version)
    for name, mesh in zip(("mesh.glb", "textured.glb"), _meshes(), strict=True):
        write_mesh(folder / name, mesh)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# By chance


def _cut(data: bytearray, rng: np.random.Generator) -> bytes:
    return bytes(data[: rng.integers(len(data))])


def _flip(data: bytearray, rng: np.random.Generator) -> bytes:
    for place in rng.integers(len(data), size=rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _flip_start(data: bytearray, rng: np.random.Generator) -> bytes:
    """Where headers are, and magic words."""
    for place in rng.integers(min(len(data), 40), size=rng.integers(1, 4)):
        data[place] = int(rng.integers(256))
    return bytes(data)


def _numbers(data: bytearray, rng: np.random.Generator) -> bytes:
    """A float or a count that should not be."""
    for place in 4 * rng.integers(max(len(data) // 4 - 1, 1), size=rng.integers(1, 6)):
        kind, number = (
            ("<f", rng.choice(FLOATS)) if rng.random() < 0.5 else ("<I", rng.choice(NUMBERS))
        )
        data[place : place + 4] = struct.pack(kind, number)
    return bytes(data)


def _moved(data: bytearray, rng: np.random.Generator) -> bytes:
    """Bytes taken out, or there twice."""
    first, last = sorted(int(i) for i in rng.integers(len(data), size=2))
    return (
        bytes(data[:first] + data[last:])
        if rng.random() < 0.5
        else bytes(data[:last] + data[first:])
    )


def _ply_header(data: bytearray, rng: np.random.Generator) -> bytes:
    """Lines of the header left out, doubled, moved, or with another word in them."""
    head, end, body = bytes(data).partition(b"end_header\n")
    lines = head.split(b"\n")[:-1]
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(1, len(lines)))
        words = lines[at].split(b" ")
        words[int(rng.integers(len(words)))] = str(
            rng.choice(
                [*TYPES, *COUNTS, "list uchar float", "f_rest_0", "x", "x" * 9999, "a\rb", "ascii"]
            )
        ).encode()
        lines[at : at + 1] = [
            [],
            [lines[at]] * 2,
            [b" ".join(words)],
            [b"property float more", lines[at]],
        ][int(rng.integers(4))]
    return b"\n".join(lines) + b"\n" + end + body


def _spz_inside(data: bytearray, rng: np.random.Generator) -> bytes:
    """Damage that the checksum of gzip does not tell of."""
    if data[:2] != b"\x1f\x8b":
        return _numbers(data, rng)
    return gzip.compress(
        [_flip_start, _numbers, _moved, _cut][int(rng.integers(4))](
            bytearray(gzip.decompress(bytes(data))), rng
        )
    )


def glb(tree: object, binary: bytes) -> bytes:
    text = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = (
        struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(binary), b"BIN\0")
        + binary
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def parts_of(data: bytes) -> tuple[dict, bytes]:
    """The JSON of a .glb and its binary chunk."""
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), bytes(data[28 + length :])


def _places(entry: object) -> Iterator[tuple[dict | list, object]]:
    """Every value in the JSON, as the dict or list that holds it, and its key."""
    for key in (
        entry if isinstance(entry, dict) else range(len(entry)) if isinstance(entry, list) else ()
    ):
        yield entry, key
        yield from _places(entry[key])


def _json(data: bytearray, rng: np.random.Generator) -> bytes:
    """Values left out, or others in their place."""
    tree, binary = parts_of(data)
    deep = ""
    for _ in range(rng.integers(1, 4)):
        places = list(_places(tree))
        holder, key = places[int(rng.integers(len(places)))]
        if rng.random() < 0.2 and isinstance(holder, dict):
            del holder[key]
        elif rng.random() < 0.1:
            holder[key], deep = "DEEP", "[" * int(rng.choice(DEPTHS))
        else:
            holder[key] = copy.deepcopy(VALUES[int(rng.integers(len(VALUES)))])
        if not tree:
            break
    return glb(json.dumps(tree).replace('"DEEP"', deep + deep.replace("[", "]")).encode(), binary)


def ways(name: str) -> list[Callable]:
    """What can happen to a file of this name; what its format makes worth trying, more often than the rest."""
    own = (
        [_ply_header] * 3
        if name.endswith(".ply")
        else [_json] * 6
        if name.endswith(".glb")
        else [_spz_inside] * 4
    )
    return [_cut, _flip, _flip_start, _numbers, _moved, *([] if name.endswith(".splat") else own)]


def by_chance(good: dict[str, bytes], seeds: range) -> Iterator[tuple[str, str, bytes]]:
    """What was done, the suffix to read it by, and the bytes: of every good file, one for a seed."""
    for seed in seeds:
        for i, (name, data) in enumerate(good.items()):
            rng = np.random.default_rng((seed, i))
            way = ways(name)[seed % len(ways(name))]
            yield (
                f"{name}, {way.__name__}, seed {seed}",
                name[name.index(".") :],
                way(bytearray(data), rng),
            )
