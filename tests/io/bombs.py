"""Files of some kilobytes that promise gigabytes, or that unpack to them; and what is empty, nothing but NaN, or another kind of file."""

import gzip
import io
import json
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.io.damage import glb, parts_of

HUGE = (2**29, 2**31, 2**32 - 1)
"""As many rows of 4 bytes are 2 GB and more."""
SPZ_HEAD = struct.Struct("<4sIIBBBB")


def zeros_in_gzip(head: bytes, mebibytes: int) -> bytes:
    """A gzip stream of `head` and zeros, made without packing them all: one piece that ends on a byte, repeated.

    Its checksum is wrong, which shows when all has been unpacked.
    """
    deflater = zlib.compressobj(9, wbits=-15)
    start = deflater.compress(head) + deflater.flush(zlib.Z_FULL_FLUSH)
    piece = deflater.compress(bytes(2**20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(7) + start + piece * mebibytes + deflater.flush() + bytes(8)


def _spz() -> Iterator[tuple[str, bytes]]:
    for degree, a_splat in ((0, 20), (3, 65)):
        for count in (1, 2**30 // a_splat, *HUGE):
            head = SPZ_HEAD.pack(b"NGSP", 3, count, degree, 12, 2, 0)
            yield (
                f"a gzip of 1 GB of zeros, {count} splats of degree {degree}",
                zeros_in_gzip(head, 1024),
            )
        head = SPZ_HEAD.pack(b"NGSP", 3, 2**26 // a_splat, degree, 12, 0, 0)
        yield (
            f"a gzip of as many zeros as may be, of degree {degree}",
            gzip.compress(head + bytes(2**26 // a_splat * a_splat), 1),
        )
    yield "no splats", gzip.compress(SPZ_HEAD.pack(b"NGSP", 3, 0, 0, 12, 0, 0))
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
    yield (
        "a zstd of 1 GB of zeros",
        SPZ_HEAD.pack(b"NGSP", 4, count, 0, 12, 0, 5)
        + struct.pack("<I12x", 32)
        + table
        + b"".join(frames),
    )


def _ply(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("little.ply", "big.ply", "text.ply", "packed.compressed.ply"):
        for count in (0, *HUGE):
            data = re.sub(rb"(element (?:vertex|sh)) \d+", rb"\1 %d" % count, good[name])
            yield (
                f"{name} of {count} rows",
                re.sub(rb"(element chunk) \d+", rb"\1 %d" % -(-count // 256), data),
            )
        for junk in (
            b"element a 1\nproperty list uint double b\n",
            b"element a 4000000000\n",
            b"element a 1\nproperty uchar b\n" * 2000,
        ):
            yield (
                f"{name} after {junk[:40]!r}",
                good[name]
                .replace(b"element", junk + b"element", 1)
                .replace(b"end_header\n", b"end_header\n\xff\xff\xff\x7f", 1),
            )
        yield (
            f"{name} with 50000 properties",
            good[name].replace(
                b"end_header",
                b"".join(b"property int p%d\n" % i for i in range(50_000)) + b"end_header",
            ),
        )
    head, end, body = good["little.ply"].partition(b"end_header\n")
    yield "little.ply of NaN", head + end + b"\xff" * len(body)
    rows = np.frombuffer(body, "<f4").reshape(5, -1).copy()
    rows[:, 9:-8] = np.finfo(np.float32).max  # of which the turn makes sums
    yield "little.ply with the largest harmonics", head + end + rows.tobytes()
    yield "a header without an end", head * 4000


def _picture(tree: dict, binary: bytes, width: int, height: int) -> bytes:
    """A mesh with a black picture, a bit a pixel, which takes a fiftieth of a byte in the file and twelve as colors."""
    stream = io.BytesIO()
    Image.new("1", (width, height)).save(stream, "PNG")
    tree["bufferViews"][tree["images"][0]["bufferView"]] = {
        "buffer": 0,
        "byteOffset": len(binary),
        "byteLength": len(stream.getvalue()),
    }
    tree["buffers"][0]["byteLength"] = len(binary) + len(stream.getvalue())
    return glb(tree, binary + stream.getvalue())


def _glb(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for name in ("splats.glb", "mesh.glb", "textured.glb"):
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
                tree, binary = parts_of(good[name])
                tree["accessors"][i][key] = value
                yield f"{name}, {key} {value} of accessor {i}", glb(tree, binary)
                tree["accessors"][i].pop("bufferView")
                yield f"{name}, {key} {value} of accessor {i}, which has no data", glb(tree, binary)
        tree, binary = parts_of(good[name])
        views, accessors = tree["bufferViews"], tree["accessors"]
        tree["accessors"] = (
            accessors + [{"componentType": 5126, "type": "MAT4", "count": 4_000_000}] * 20
        )
        yield f"{name} with 5 GB of zeros that it does not use", glb(tree, binary)
        tree["accessors"], tree["bufferViews"] = (
            accessors,
            views + [{"buffer": 0, "byteOffset": 0, "byteLength": 1000}] * 10_000,
        )
        yield f"{name} with 10000 views of its bytes", glb(tree, binary + bytes(200_000))
        tree["bufferViews"] = views
        tree["nodes"], tree["scenes"] = [{"mesh": 0}] * 20_000, [{"nodes": list(range(20_000))}]
        yield f"{name} with its mesh in 20000 places", glb(tree, binary)
        tree["nodes"], tree["scenes"] = (
            [{"mesh": 0, "children": [1]}, {"children": [0]}],
            [{"nodes": [0]}],
        )
        yield f"{name} with a ring of nodes", glb(tree, binary)
        yield (
            f"{name}, whose numbers are all NaN",
            glb(parts_of(good[name])[0], b"\xff" * len(binary)),
        )
    for size in ((13_000, 13_000), (14_000, 13_000)):
        yield f"a picture of {size}", _picture(*parts_of(good["textured.glb"]), *size)
    yield (
        "an empty scene",
        glb(
            json.loads('{"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}]}'), b""
        ),
    )


def by_hand(good: dict[str, bytes]) -> Iterator[tuple[str, str, bytes]]:
    """What was done, the suffix to read it by, and the bytes."""
    for suffix, cases in ((".spz", _spz()), (".ply", _ply(good)), (".glb", _glb(good))):
        yield from ((what, suffix, data) for what, data in cases)
    for suffix in sorted({name[name.index(".") :] for name in good}):
        yield f"nothing, as {suffix}", suffix, b""
        yield f"4096 zeros, as {suffix}", suffix, bytes(4096)
        yield f"NaN, as {suffix}", suffix, np.full(1024, np.nan, "<f4").tobytes()
        for name, data in good.items():
            yield f"{name}, as {suffix}", suffix, data
