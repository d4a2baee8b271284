"""Small files that declare or decompress to gigabytes, and empty, NaN or mislabeled files."""

import gzip
import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.io.damage import glb_bytes, glb_parts

HUGE = (2**29, 2**31, 2**32 - 1)
"""Row counts. With 4 bytes per row the smallest is 2 GB."""
SPZ_HEADER = struct.Struct("<4sIIBBBB")


def gzip_of_zeros(head: bytes, mebibytes: int) -> bytes:
    """A gzip stream of `head` and zeros, built fast by repeating one compressed, aligned piece.

    Its checksum is wrong, which a reader can notice only after it has decompressed everything.
    """
    deflater = zlib.compressobj(9, wbits=-15)
    start = deflater.compress(head) + deflater.flush(zlib.Z_FULL_FLUSH)
    piece = deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(7) + start + piece * mebibytes + deflater.flush() + bytes(8)


def _spz() -> Iterator[tuple[str, bytes]]:
    for degree, row_bytes in ((0, 20), (3, 65)):
        for count in (1, 2**30 // row_bytes, *HUGE):
            head = SPZ_HEADER.pack(b"NGSP", 3, count, degree, 12, 2, 0)
            data = gzip_of_zeros(head, 1024)
            yield f"a gzip of 1 GB of zeros, {count} splats of degree {degree}", data
        count = 2**26 // row_bytes
        head = SPZ_HEADER.pack(b"NGSP", 3, count, degree, 12, 0, 0)
        data = gzip.compress(head + bytes(count * row_bytes), 1)
        yield f"a gzip of the most zeros that are allowed, of degree {degree}", data
    yield "no splats", gzip.compress(SPZ_HEADER.pack(b"NGSP", 3, 0, 0, 12, 0, 0))
    try:
        import zstandard
    except ImportError:
        return
    count = 2**30 // 20
    sizes = [size * count for size in (9, 1, 3, 3, 4)]
    frames = [zstandard.ZstdCompressor(level=1).compress(bytes(size)) for size in sizes]
    table = b"".join(
        struct.pack("<QQ", len(frame), size) for frame, size in zip(frames, sizes, strict=True)
    )
    head = SPZ_HEADER.pack(b"NGSP", 4, count, 0, 12, 0, 5) + struct.pack("<I12x", 32)
    yield "a zstd of 1 GB of zeros", head + table + b"".join(frames)


def _ply(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("little.ply", "big.ply", "text.ply", "packed.compressed.ply"):
        for count in (0, *HUGE):
            data = re.sub(rb"(element (?:vertex|sh)) \d+", rb"\1 %d" % count, good[name])
            data = re.sub(rb"(element chunk) \d+", rb"\1 %d" % -(-count // 256), data)
            yield f"{name} of {count} rows", data
        for junk in (
            b"element a 1\nproperty list uint double b\n",
            b"element a 4000000000\n",
            b"element a 1\nproperty uchar b\n" * 2000,
        ):
            data = good[name].replace(b"element", junk + b"element", 1)
            data = data.replace(b"end_header\n", b"end_header\n\xff\xff\xff\x7f", 1)
            yield f"{name} after {junk[:40]!r}", data
        properties = b"".join(b"property int p%d\n" % i for i in range(50_000))
        data = good[name].replace(b"end_header", properties + b"end_header")
        yield f"{name} with 50000 properties", data
    head, end, body = good["little.ply"].partition(b"end_header\n")
    yield "little.ply of NaN", head + end + b"\xff" * len(body)
    rows = np.frombuffer(body, "<f4").reshape(5, -1).copy()
    # The rotation to world coordinates adds these up, beyond float32.
    rows[:, 9:-8] = np.finfo(np.float32).max
    yield "little.ply with the largest SH coefficients", head + end + rows.tobytes()
    yield "a header without an end", head * 4000


def _sog() -> Iterator[tuple[str, bytes]]:
    for count, degree in ((4_793_490, 0), (1_137_438, 3), (4_793_491, 0), (1_137_439, 3)):
        side = math.isqrt(count) + 1
        parts = {"m": (5, 6, 7, 255), "q": (128, 128, 128, 252), "l": (0, 0, 0, 255)}
        images = {name: _webp(side, side, color) for name, color in parts.items()}
        images["p"] = _webp(64 * 15, 1, (0, 0, 0, 255))
        book = [-5.0] * 256
        meta = {"version": 2, "count": count, "quats": {"files": ["q"]}}
        meta["means"] = {"mins": [-1] * 3, "maxs": [1] * 3, "files": ["m", "m"]}
        meta["scales"] = meta["sh0"] = {"codebook": book, "files": ["l"]}
        if degree:
            meta["shN"] = {"count": 64, "bands": 3, "codebook": book, "files": ["p", "l"]}
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("meta.json", json.dumps(meta))
            for name, data in images.items():
                archive.writestr(name, data)
        yield f"a .sog of {count} equal splats of degree {degree}", stream.getvalue()
    yield "a zip of 1 GB of zeros", _unpacked()


def _unpacked() -> bytes:
    """A zip whose meta.json is 1 GB of zeros."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("meta.json", "w", force_zip64=True) as file,
    ):
        for _ in range(64):
            file.write(bytes(2**24))
    return stream.getvalue()


def _webp(width: int, height: int, color: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGBA", (width, height), color).save(stream, "WEBP", lossless=True, exact=True)
    return stream.getvalue()


def _with_texture(tree: dict, binary: bytes, image: bytes) -> bytes:
    """A mesh with another texture."""
    view = {"buffer": 0, "byteOffset": len(binary), "byteLength": len(image)}
    tree["bufferViews"][tree["images"][0]["bufferView"]] = view
    tree["buffers"][0]["byteLength"] = len(binary) + len(image)
    return glb_bytes(tree, binary + image)


def _black(width: int, height: int, mode: str = "1", form: str = "PNG", **options) -> bytes:
    """A black image. In mode 1 a pixel takes a fiftieth of a byte, and twelve bytes as a color."""
    stream = io.BytesIO()
    Image.new(mode, (width, height)).save(stream, form, **options)
    return stream.getvalue()


def _textures() -> Iterator[tuple[str, bytes]]:
    for size in ((13_000, 13_000), (14_000, 13_000)):
        yield f"a texture of {size}", _black(*size)
    yield "the largest texture of 16 bits a pixel", _black(8192, 8192, "I;16")
    yield "the largest texture with opacities", _black(8192, 8192, "LA")
    for height in (4096, 8192):
        data = _black(8192, height, "RGBA", "WEBP", lossless=True, method=0)
        yield f"a WebP of 8192 × {height}", data


def _with_many_textures(tree: dict, binary: bytes) -> bytes:
    """A mesh of 40 materials, each with an image of its own of the same 8192² pixels."""
    data = _with_texture(tree, binary, _black(8192, 8192))
    tree, binary = glb_parts(data)
    (entry,), (material,) = tree["images"], tree["materials"]
    (primitive,) = tree["meshes"][0]["primitives"]
    tree["images"], numbers = [entry] * 40, range(40)
    tree["textures"] = [{"source": i} for i in numbers]
    tree["materials"] = [
        material | {"pbrMetallicRoughness": {"baseColorTexture": {"index": i}}} for i in numbers
    ]
    tree["meshes"][0]["primitives"] = [primitive | {"material": i} for i in numbers]
    return glb_bytes(tree, binary)


def _glb_accessors(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    for key, value in (
        ("count", 2**29),
        ("count", 2**31),
        ("count", 0),
        ("count", -5),
        ("bufferView", 99),
        ("byteOffset", 2**31),
        ("byteOffset", -4),
    ):
        for i in range(3):
            tree, binary = glb_parts(data)
            tree["accessors"][i][key] = value
            yield f"{name}, {key} {value} of accessor {i}", glb_bytes(tree, binary)
            tree["accessors"][i].pop("bufferView")
            yield f"{name}, {key} {value} of accessor {i} without data", glb_bytes(tree, binary)


def _glb(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("splats.glb", "mesh.glb", "textured.glb"):
        yield from _glb_accessors(name, good[name])
        tree, binary = glb_parts(good[name])
        views, accessors = tree["bufferViews"], tree["accessors"]
        zeros = {"componentType": 5126, "type": "MAT4", "count": 4_000_000}
        tree["accessors"] = accessors + [zeros] * 20
        yield f"{name} with 5 GB of unused zeros", glb_bytes(tree, binary)
        tree["accessors"] = accessors
        tree["bufferViews"] = views + [{"buffer": 0, "byteOffset": 0, "byteLength": 1000}] * 10_000
        yield f"{name} with 10000 views of its bytes", glb_bytes(tree, binary + bytes(200_000))
        tree["bufferViews"] = views
        tree["nodes"], tree["scenes"] = [{"mesh": 0}] * 20_000, [{"nodes": list(range(20_000))}]
        yield f"{name} with its mesh in 20000 places", glb_bytes(tree, binary)
        tree["nodes"] = [{"mesh": 0, "children": [1]}, {"children": [0]}]
        tree["scenes"] = [{"nodes": [0]}]
        yield f"{name} with a cycle of nodes", glb_bytes(tree, binary)
        nan = b"\xff" * len(binary)
        yield f"{name} with only NaN", glb_bytes(glb_parts(good[name])[0], nan)
    for what, image in _textures():
        yield what, _with_texture(*glb_parts(good["textured.glb"]), image)
    data = _with_many_textures(*glb_parts(good["textured.glb"]))
    yield "40 images of 8192² that are the same bytes", data
    empty = json.loads('{"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}')
    yield "an empty scene", glb_bytes(empty, b"")


def handmade_damage(good: dict[str, bytes]) -> Iterator[tuple[str, str, bytes]]:
    """A description, the suffix of the reader, and the bytes of every handmade file."""
    kinds = ((".spz", _spz()), (".ply", _ply(good)), (".glb", _glb(good)), (".sog", _sog()))
    for suffix, cases in kinds:
        yield from ((what, suffix, data) for what, data in cases)
    for suffix in sorted({name[name.index(".") :] for name in good}):
        yield f"an empty file, as {suffix}", suffix, b""
        yield f"4096 zeros, as {suffix}", suffix, bytes(4096)
        yield f"NaN, as {suffix}", suffix, np.full(1024, np.nan, "<f4").tobytes()
        for name, data in good.items():
            yield f"{name}, as {suffix}", suffix, data
