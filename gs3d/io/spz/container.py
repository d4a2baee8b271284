"""The container of an .spz: bytes of a file ↔ a header and six streams. What the streams hold stands in spz_streams.py.

Learnt from the README and the source of nianticlabs/spz. All is little-endian.
    Versions 1 to 3: one gzip stream of a header of 16 bytes (magic "NGSP", version, number of splats; then four bytes: degree of the
    harmonics, fractional bits of positions, flags, zero), the six streams one after the other, and any extensions.
    Version 4: a header of 32 bytes in the open (as above with the number of streams as its last byte, then the offset of the table), any
    extensions, the table (compressed and plain length of each stream, 64 bits each), the streams, each a frame of zstd. At degree 0
    there are five. It needs the package zstandard.
"""

import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from gs3d.core.errors import UserError
from gs3d.io.atomic import read_error
from gs3d.io.spz.streams import stream_sizes

MAGIC = b"NGSP"
HEAD = struct.Struct("<4sIIBBBB")
TABLE_OFFSET = struct.Struct("<I12x")
"""What follows HEAD in version 4."""
EXTENDED, LOD = 0x2, 0x80
"""Flags: extensions are there; Spark's tree of levels of detail, whose nodes are not splats to be seen together."""
AXES = 0xADBE0003
"""The extension that names other axes, a number: 0 unspecified, 4 RUB."""
MOST_EXTENSIONS = 2**20
MOST_RATIO, SMALL_BYTES = 64, 2**20
"""How many bytes one of the file may stand for, in a file of at least so many. gzip can reach 1032 and zstd more, where all splats are one;
splats of any scene come to ten. A file that is made to fill the memory is so held to what three million splats need."""
GZIP_LEVEL, ZSTD_LEVEL = 4, 9


class Header(NamedTuple):
    """The fields of HEAD that follow the magic; `streams` is 0 before version 4."""

    version: int
    count: int
    degree: int
    bits: int
    flags: int
    streams: int

    def sizes(self) -> list[int]:
        """Bytes of each of the six streams."""
        return stream_sizes(self.version, self.count, self.degree)


def _zstandard(path: Path, verb: str) -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        what = "version 4 of .spz needs the package zstandard, which is not installed"
        raise UserError(
            f"cannot {verb} {path}: {what}. Install it (pip install zstandard) or use version 3."
        ) from error
    return zstandard


def _damaged(path: Path, what: str, next_step: str = "Take another copy of the file.") -> UserError:
    return UserError(f"cannot read {path}: {what}. {next_step}")


def _header(path: Path, head: bytes, versions: tuple[int, ...], size: int) -> Header:
    """The header at the start of `head`. UserError if it is none of `versions`, or promises what a file of `size` bytes cannot hold."""
    if len(head) < HEAD.size or not head.startswith(MAGIC):
        raise _damaged(
            path,
            f"expected a header of {HEAD.size} bytes from {MAGIC.decode()} on, got {len(head)} bytes: {head[:4]!r}",
        )
    header = Header(*HEAD.unpack_from(head)[1:])
    if header.version not in versions:
        what = f"expected an .spz of version {', '.join(map(str, versions))}, got {header.version}"
        raise _damaged(path, what, "Convert it, or update gs3d if it is newer.")
    if header.degree > 4 or header.bits > 24:
        what = f"expected a degree up to 4 and up to 24 fractional bits, got {header.degree} and {header.bits}: the header is damaged"
        raise _damaged(path, what)
    if header.count == 0:
        raise _damaged(path, "expected at least one splat, got 0", "Give a file that is not empty.")
    if (promised := sum(header.sizes())) > MOST_RATIO * max(size, SMALL_BYTES):
        raise _damaged(
            path,
            f"cut short: the header promises {header.count} splats, {promised} bytes, more than {size} bytes can hold",
        )
    if header.flags & LOD:
        raise _damaged(
            path,
            "expected plain splats, got a tree of levels of detail",
            "Export it again without levels of detail.",
        )
    return header


def _inflated(path: Path, data: bytes) -> tuple[Header, bytes, bytes]:
    """Header, streams in one, and extensions, of versions 1 to 3. No more is unpacked than the header promises."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        header = _header(path, inflater.decompress(data, HEAD.size), (1, 2, 3), len(data))
        promised = sum(header.sizes())
        room = promised + (MOST_EXTENSIONS if header.flags & EXTENDED else 0)
        body = inflater.decompress(inflater.unconsumed_tail, room + 1)
    except zlib.error as error:
        raise _damaged(path, f"the gzip stream is damaged ({error})") from error
    if len(body) > room:
        raise _damaged(
            path,
            f"expected {promised} bytes of {header.count} splats, got more: the header is damaged",
        )
    if len(body) < promised or not inflater.eof:
        raise _damaged(
            path,
            f"cut short: the header promises {promised} bytes of {header.count} splats, got {len(body)}",
        )
    return header, body[:promised], body[promised:]


def _framed(path: Path, data: bytes) -> tuple[Header, bytes, bytes]:
    """Header, streams in one, and extensions, of version 4."""
    header = _header(path, data, (4,), len(data))
    start = HEAD.size + TABLE_OFFSET.size
    sizes = [size for size in header.sizes() if size]
    table = TABLE_OFFSET.unpack_from(data, HEAD.size)[0] if len(data) >= start else 0
    place = table + 16 * len(sizes)
    if header.streams != len(sizes) or table < start or place > len(data):
        raise _damaged(
            path,
            f"expected a table of {len(sizes)} streams from byte {start} on, got {header.streams} at {table}",
        )
    zstandard = _zstandard(path, "read")
    parts = []
    for (packed, plain), size in zip(
        struct.iter_unpack("<QQ", data[table:place]), sizes, strict=True
    ):
        frame = data[place : place + packed]
        place += packed
        try:
            # A frame that knows its length is given that much memory before it is unpacked, one that does not, the limit.
            known = zstandard.frame_content_size(frame)
            if len(frame) < packed or plain != size or known not in (size, -1):
                raise _damaged(
                    path,
                    f"cut short or damaged: expected streams of {sizes} bytes, one says {plain}",
                )
            parts.append(zstandard.ZstdDecompressor().decompress(frame, max_output_size=size))
        except zstandard.ZstdError as error:
            raise _damaged(path, f"a zstd stream is damaged ({error})") from error
        if len(parts[-1]) != size:
            raise _damaged(path, f"cut short: a stream has {len(parts[-1])} of {size} bytes")
    return header, b"".join(parts), data[start:table]


def read_streams(path: Path) -> tuple[Header, list[np.ndarray], bytes]:
    """Header, the six streams, each uint8, and the bytes of the extensions, of the file `path`.

    UserError for what is no .spz, or a damaged one; no more memory is used than a file of its size can fill.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise read_error(path, error) from error
    if not data.startswith((MAGIC, b"\x1f\x8b")):
        raise _damaged(
            path,
            f"expected an .spz, which begins as gzip does or with {MAGIC.decode()}, got {data[:4]!r}",
        )
    header, body, more = _framed(path, data) if data.startswith(MAGIC) else _inflated(path, data)
    cuts = np.cumsum(header.sizes())[:-1]
    return (
        header,
        np.split(np.frombuffer(body, np.uint8), cuts),
        more if header.flags & EXTENDED else b"",
    )


def other_axes(more: bytes) -> bool:
    """Whether one of the extensions, each of type, length and content, names axes other than RUB."""
    place = 0
    while place + 12 <= len(more):
        kind, length, axes = struct.unpack_from("<III", more, place)
        if kind == AXES and length == 4:
            return axes not in (0, 4)
        place += 8 + length
    return False


def encoded(path: Path, header: Header, streams: list[np.ndarray]) -> bytes:
    """The bytes of a file, to be written to `path`, without extensions."""
    filled = [part.tobytes() for part in streams if part.size]
    head = HEAD.pack(MAGIC, *header._replace(streams=len(filled) if header.version == 4 else 0))
    if header.version < 4:
        deflater = zlib.compressobj(GZIP_LEVEL, wbits=31)
        return b"".join(
            [deflater.compress(head), *map(deflater.compress, filled), deflater.flush()]
        )
    squeezed = [
        _zstandard(path, "write").ZstdCompressor(level=ZSTD_LEVEL).compress(part) for part in filled
    ]
    table = b"".join(
        struct.pack("<QQ", len(small), len(part))
        for small, part in zip(squeezed, filled, strict=True)
    )
    return b"".join([head, TABLE_OFFSET.pack(HEAD.size + TABLE_OFFSET.size), table, *squeezed])
