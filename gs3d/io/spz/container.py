"""The container of an .spz: bytes of a file ↔ a header and six streams (see streams.py).

Source: the README and the code of nianticlabs/spz. Everything is little-endian.
    Versions 1 to 3: one gzip stream with a header of 16 bytes, the six streams one after the other,
    and optional extensions; the stream is also read where it was inflated on its way. The header
    is the magic "NGSP", the version, the number of splats and
    four bytes: SH degree, fractional bits of positions, flags, zero.
    Version 4: an uncompressed header of 32 bytes, optional extensions, the table, and the streams,
    each a zstd frame. The header is as above with the number of streams as its last byte, then the
    offset of the table. The table has the compressed and the plain length of each stream, 64 bits
    each. At degree 0 there are five streams. This version needs the package zstandard.
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
HEADER = struct.Struct("<4sIIBBBB")
TABLE_OFFSET = struct.Struct("<I12x")
"""Follows HEADER in version 4."""
ANTIALIASED_FLAG = 0x1
"""Marks splats that were trained with opacities made up for their widening to a pixel."""
EXTENSIONS_FLAG = 0x2
LOD_FLAG = 0x80
"""Marks Spark's tree of levels of detail. Its nodes must not all be shown together."""
AXES_EXTENSION = 0xADBE0003
"""Type of the extension that names the axes with a number: 0 unspecified, 4 RUB."""
MAX_EXTENSION_BYTES = 2**20
MAX_RATIO, SMALL_BYTES = 64, 2**20
"""Maximum compression ratio of a file, which counts as at least SMALL_BYTES long. gzip can reach
1032 and zstd more if all splats are identical; real scenes reach about ten. This limits the memory
for a file crafted to exhaust it to that of three million splats."""
GZIP_LEVEL, ZSTD_LEVEL = 4, 9


class Header(NamedTuple):
    """The fields of HEADER after the magic. `streams` is 0 before version 4."""

    version: int
    count: int
    degree: int
    bits: int
    flags: int
    streams: int

    def sizes(self) -> list[int]:
        """Bytes of each of the six streams."""
        return stream_sizes(self.version, self.count, self.degree)


def _import_zstandard(path: Path, verb: str) -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        raise UserError(
            f"cannot {verb} {path}: version 4 of .spz needs the package zstandard, "
            "which is not installed. Install it (pip install zstandard) or use version 3."
        ) from error
    return zstandard


def _invalid(path: Path, what: str, next_step: str = "Take another copy of the file.") -> UserError:
    return UserError(f"cannot read {path}: {what}. {next_step}")


def _parse_header(path: Path, head: bytes, versions: tuple[int, ...], size: int) -> Header:
    """The header at the start of `head`, of a file of `size` bytes.

    UserError for a version not in `versions`, or for more splats than the file can hold.
    """
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        raise _invalid(
            path,
            f"expected a header of {HEADER.size} bytes that begins with {MAGIC.decode()}, "
            f"got {len(head)} bytes: {head[:4]!r}",
        )
    header = Header(*HEADER.unpack_from(head)[1:])
    if header.version not in versions:
        raise _invalid(
            path,
            f"expected an .spz of version {', '.join(map(str, versions))}, got {header.version}",
            "Convert it, or update gs3d if it is newer.",
        )
    if header.degree > 4 or header.bits > 24:
        raise _invalid(
            path,
            "expected a degree up to 4 and up to 24 fractional bits, "
            f"got {header.degree} and {header.bits}: the header is damaged",
        )
    if header.count == 0:
        raise _invalid(path, "expected at least one splat, got 0", "Give a file that is not empty.")
    if (declared := sum(header.sizes())) > MAX_RATIO * max(size, SMALL_BYTES):
        raise _invalid(
            path,
            f"cut short: the header declares {header.count} splats, {declared} bytes, "
            f"more than {size} bytes can hold",
        )
    if header.flags & LOD_FLAG:
        raise _invalid(
            path,
            "expected plain splats, got a tree of levels of detail",
            "Export it again without levels of detail.",
        )
    return header


def _read_gzip(path: Path, data: bytes) -> tuple[Header, bytes, bytes]:
    """Header, joined streams, and extensions of versions 1 to 3.

    Decompresses no more bytes than the header declares.
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        header = _parse_header(path, inflater.decompress(data, HEADER.size), (1, 2, 3), len(data))
        declared = sum(header.sizes())
        limit = declared + (MAX_EXTENSION_BYTES if header.flags & EXTENSIONS_FLAG else 0)
        body = inflater.decompress(inflater.unconsumed_tail, limit + 1)
    except zlib.error as error:
        raise _invalid(path, f"the gzip stream is damaged ({error})") from error
    if len(body) > limit:
        raise _invalid(
            path,
            f"expected {declared} bytes of {header.count} splats, got more: the header is damaged",
        )
    if len(body) < declared or not inflater.eof:
        raise _invalid(
            path,
            f"cut short: the header declares {declared} bytes of {header.count} splats, "
            f"got {len(body)}",
        )
    return header, body[:declared], body[declared:]


def _read_plain(path: Path, data: bytes) -> tuple[Header, bytes, bytes]:
    """Header, joined streams, and extensions of versions 1 to 3 that are not compressed.

    A server that marks the file as gzip makes clients inflate it on its way.
    """
    header = _parse_header(path, data, (1, 2, 3), len(data))
    body, declared = data[HEADER.size :], sum(header.sizes())
    if len(body) < declared or (len(body) > declared and not header.flags & EXTENSIONS_FLAG):
        raise _invalid(
            path,
            f"the header declares {declared} bytes of {header.count} splats, got {len(body)}",
        )
    return header, body[:declared], body[declared:]


def _read_zstd(path: Path, data: bytes) -> tuple[Header, bytes, bytes]:
    """Header, joined streams, and extensions of version 4."""
    header = _parse_header(path, data, (4,), len(data))
    start = HEADER.size + TABLE_OFFSET.size
    sizes = [size for size in header.sizes() if size]
    table = TABLE_OFFSET.unpack_from(data, HEADER.size)[0] if len(data) >= start else 0
    offset = table + 16 * len(sizes)
    if header.streams != len(sizes) or table < start or offset > len(data):
        raise _invalid(
            path,
            f"expected a table of {len(sizes)} streams at byte {start} or later, "
            f"got {header.streams} at {table}",
        )
    zstandard = _import_zstandard(path, "read")
    parts = []
    lengths = struct.iter_unpack("<QQ", data[table:offset])
    for (packed, plain), size in zip(lengths, sizes, strict=True):
        frame = data[offset : offset + packed]
        offset += packed
        try:
            # zstd allocates the content size of a frame before it decompresses, and
            # max_output_size if the frame has none (-1). Both must be bounded.
            content_size = zstandard.frame_content_size(frame)
            if len(frame) < packed or plain != size or content_size not in (size, -1):
                raise _invalid(
                    path,
                    f"cut short or damaged: expected streams of {sizes} bytes, one has {plain}",
                )
            parts.append(zstandard.ZstdDecompressor().decompress(frame, max_output_size=size))
        except zstandard.ZstdError as error:
            raise _invalid(path, f"a zstd stream is damaged ({error})") from error
        if len(parts[-1]) != size:
            raise _invalid(path, f"cut short: a stream has {len(parts[-1])} of {size} bytes")
    return header, b"".join(parts), data[start:table]


def read_streams(path: Path) -> tuple[Header, list[np.ndarray], bytes]:
    """Header, the six streams (each uint8), and the bytes of the extensions of the file `path`.

    UserError if it is not an .spz or is damaged. Memory use is bounded by the size of the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise read_error(path, error) from error
    if not data.startswith((MAGIC, b"\x1f\x8b")):
        raise _invalid(
            path,
            "expected an .spz, which begins with the magic of gzip or with "
            f"{MAGIC.decode()}, got {data[:4]!r}",
        )
    version = int.from_bytes(data[4:8], "little")
    plain = _read_plain if version in (1, 2, 3) else _read_zstd
    header, body, extensions = (plain if data.startswith(MAGIC) else _read_gzip)(path, data)
    cuts = np.cumsum(header.sizes())[:-1]
    streams = np.split(np.frombuffer(body, np.uint8), cuts)
    return header, streams, extensions if header.flags & EXTENSIONS_FLAG else b""


def has_other_axes(extensions: bytes) -> bool:
    """Whether an extension names axes other than RUB. Each one is a type, a length and content."""
    offset = 0
    while offset + 12 <= len(extensions):
        kind, length, axes = struct.unpack_from("<III", extensions, offset)
        if kind == AXES_EXTENSION and length == 4:
            return axes not in (0, 4)
        offset += 8 + length
    return False


def encode(path: Path, header: Header, streams: list[np.ndarray]) -> bytes:
    """The bytes of a file without extensions. `path` is for messages."""
    parts = [stream.tobytes() for stream in streams if stream.size]
    head = HEADER.pack(MAGIC, *header._replace(streams=len(parts) if header.version == 4 else 0))
    if header.version < 4:
        deflater = zlib.compressobj(GZIP_LEVEL, wbits=31)
        return b"".join([deflater.compress(head), *map(deflater.compress, parts), deflater.flush()])
    zstandard = _import_zstandard(path, "write")
    frames = [zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(part) for part in parts]
    table = b"".join(
        struct.pack("<QQ", len(frame), len(part)) for frame, part in zip(frames, parts, strict=True)
    )
    offset = TABLE_OFFSET.pack(HEADER.size + TABLE_OFFSET.size)
    return b"".join([head, offset, table, *frames])
