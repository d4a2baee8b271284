""".sog, PlayCanvas's compressed splats: images in a zip archive. Reads versions 1 and 2, writes 2.

gs3d.io.sog.archive describes the file. The pixels of its images are splats, row after row:
    means_l, means_u  low and high byte of x y z; 16 bits between bounds of sign(v)·ln(|v| + 1)
    quats             the other three of wxyz as (q·√2 + 1)/2·255; 252 + the index of the largest
    scales            of x y z: index of its logarithm in a codebook of 256
    sh0               of r g b: index of the coefficient in a codebook; then opacity · 255
    shN               labels: 16 bits, the index of a vector of a palette of at most 65,536;
                      centroids: 64 vectors a row, a pixel of r g b for each coefficient, indices in
                      a third codebook
Version 1 has bounds in place of codebooks, and bounds of logits for the opacity.

The coordinate system is that of ply.py. Splats are written in Morton order.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io.atomic import write_atomic
from gs3d.io.ply.packing import morton_order
from gs3d.io.rounding import OTHERS, with_largest
from gs3d.io.sog.archive import Archive, encode, invalid_sog
from gs3d.io.sog.codebook import PALETTE, SIZE, codebook_of, indices_in, palette_of
from gs3d.io.splats.checks import (
    changed_result,
    to_file_coordinates,
    to_world_coordinates,
    unreadable_result,
    warn_of_antialiasing,
)
from gs3d.io.splats.conventions import sigmoid
from gs3d.ops.blocks import blocks
from gs3d.ops.transforms import WORLD_TO_PLY

COEFFICIENTS = (0, 3, 8, 15)
"""Of the harmonics up to each degree, without the color."""
PER_ROW = 64
"""Vectors of the palette in a row of its image."""
LARGEST = 252
"""Fourth byte of a rotation whose first component is the largest."""
NAMES = ("means_l.webp", "means_u.webp", "scales.webp", "quats.webp", "sh0.webp")
HARMONICS = ("shN_centroids.webp", "shN_labels.webp")


def write_sog(path: str | Path, splats: Splats) -> None:
    """Write `splats` (world coordinates) as a .sog, rounded as the module says.

    The file is read back and compared before it takes the name `path`. Raises UserError like
    `save_splats`.
    """
    path = Path(path)
    rotated = to_file_coordinates(path, splats, torch.tensor(WORLD_TO_PLY))
    meta, images = _packed(rotated[torch.from_numpy(morton_order(rotated.means.numpy()))])
    data = encode(meta, images)

    def verify(temp: Path) -> None:
        try:
            archive = Archive(temp)
            try:
                same = archive.meta == meta and all(
                    np.array_equal(archive.rows(name, len(image)), image)
                    for name, image in images.items()
                    if image.ndim == 2
                )
            finally:
                archive.close()
        except UserError as error:
            raise unreadable_result(path) from error
        if not same:
            raise changed_result(path, len(splats))

    write_atomic(path, lambda temp: temp.write_bytes(data), verify)


def read_sog(path: str | Path) -> Splats:
    """Read splats in world coordinates, float32 on the CPU, from a .sog of version 1 or 2.

    `path` is the archive, or meta.json in a folder of the same files.
    Rows with NaN, infinity or a zero-length quaternion are left out with a `DroppedRows` warning.
    UserError for a damaged file.
    """
    path = Path(path)
    archive = Archive(path)
    try:
        splats = _unpacked(archive)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        what = " ".join(str(error).split())[:100]
        reason = f"it lacks {what}" if isinstance(error, KeyError) else what
        raise invalid_sog(path, f"its meta.json does not describe a .sog ({reason})") from None
    finally:
        archive.close()
    if archive.meta.get("antialias"):
        warn_of_antialiasing(path)
    return to_world_coordinates(path, splats, torch.tensor(WORLD_TO_PLY).T)


def _packed(splats: Splats) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """meta.json, and the images, of `splats` in file coordinates and in their order in the file."""
    means, quats, scales, opacities, sh = (part.numpy() for part in vars(splats).values())
    n = len(splats)
    logs = np.sign(means) * np.log1p(np.abs(means.astype(np.float64)))
    low, high = logs.min(axis=0), logs.max(axis=0)
    steps = np.rint((logs - low) / np.where(high > low, high - low, 1) * 65535).astype(np.uint16)
    log_scales = np.log(scales)
    sizes, colors = codebook_of(log_scales), codebook_of(sh[:, 0])
    alpha = np.rint(opacities * 255).astype(np.uint8)[:, None]
    opaque = np.full((n, 1), 255, np.uint8)
    images = {
        NAMES[0]: np.hstack([(steps & 255).astype(np.uint8), opaque]),
        NAMES[1]: np.hstack([(steps >> 8).astype(np.uint8), opaque]),
        NAMES[2]: np.hstack([indices_in(sizes, log_scales), opaque]),
        NAMES[3]: _pack_rotations(quats),
        NAMES[4]: np.hstack([indices_in(colors, sh[:, 0]), alpha]),
    }
    meta: dict[str, Any] = {
        "version": 2,
        "asset": {"generator": "gs3d"},
        "count": n,
        "antialias": False,
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": list(NAMES[:2])},
        "scales": {"codebook": sizes.tolist(), "files": [NAMES[2]]},
        "quats": {"files": [NAMES[3]]},
        "sh0": {"codebook": colors.tolist(), "files": [NAMES[4]]},
    }
    if (rest := sh.shape[1] - 1) > 0:
        palette, labels = palette_of(sh[:, 1:].reshape(n, -1))
        harmonics = codebook_of(palette)
        rows = -(-len(palette) // PER_ROW)
        pixels = np.zeros((rows * PER_ROW, rest, 4), np.uint8)
        pixels[..., 3] = 255
        pixels[: len(palette), :, :3] = indices_in(harmonics, palette).reshape(-1, rest, 3)
        images[HARMONICS[0]] = pixels.reshape(rows, PER_ROW * rest, 4)
        zeros = np.zeros(n, np.int64)
        images[HARMONICS[1]] = np.stack(
            [labels & 255, labels >> 8, zeros, zeros + 255], axis=1
        ).astype(np.uint8)
        meta["shN"] = {
            "count": len(palette),
            "bands": COEFFICIENTS.index(rest),
            "codebook": harmonics.tolist(),
            "files": list(HARMONICS),
        }
    return meta, images


def _unpacked(archive: Archive) -> Splats:
    """The splats of an archive, in file coordinates."""
    path, meta = archive.path, archive.meta
    version = meta.get("version", 1)
    if type(version) is not int or version not in (1, 2):
        got = json.dumps(version)[:40]
        step = "Update gs3d." if type(version) is int else "Export it again."
        raise invalid_sog(path, f"expected a .sog of version 1 or 2, got {got}", step)
    count = meta["count"] if version == 2 else meta["means"]["shape"][0]
    if type(count) is not int or count < 1:
        raise invalid_sog(path, f"expected at least one splat, got {str(count)[:40]}")
    palette = _palette(archive, version) if meta.get("shN") else np.empty((1, 0, 3), np.float32)
    archive.limit(count, palette.shape[1])

    def rows(part: str, file: int = 0) -> np.ndarray:
        return archive.rows(str(meta[part]["files"][file]), count)

    means, scales = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    sh = np.empty((count, 1 + palette.shape[1], 3), np.float32)
    _unpack_means(path, meta["means"], [rows("means"), rows("means", 1)], means)
    pixels, books = rows("scales"), _books(path, meta["scales"], version, 3)
    with np.errstate(over="ignore"):
        sizes = np.exp(books)
    for i in range(3):
        scales[:, i] = sizes[i][pixels[:, i]]
    pixels, books = rows("sh0"), _books(path, meta["sh0"], version, 3 if version == 2 else 4)
    for i in range(3):
        sh[:, 0, i] = books[i][pixels[:, i]]
    alphas = np.arange(SIZE, dtype=np.float32) / 255 if version == 2 else sigmoid(books[3])
    opacities = alphas[pixels[:, 3]]
    if palette.shape[1]:
        _unpack_harmonics(path, palette, rows("shN", 1), sh)
    quats = _unpack_rotations(rows("quats"))
    return Splats(*map(torch.from_numpy, (means, quats, scales, opacities, sh)))


def _unpack_means(path: Path, part: dict, bytes_: list[np.ndarray], means: np.ndarray) -> None:
    """Fill `means` from the pixels of the low and the high bytes."""
    low, high = (_numbers(path, part[name], 3) for name in ("mins", "maxs"))
    for rows in blocks(len(means)):
        steps = bytes_[0][rows, :3] + 256.0 * bytes_[1][rows, :3]
        logs = low + (high - low) * steps / 65535
        with np.errstate(over="ignore"):
            means[rows] = np.sign(logs) * np.expm1(np.abs(logs))


def _palette(archive: Archive, version: int) -> np.ndarray:
    """Vectors of coefficients above degree 0, float32 [P, K − 1, 3]."""
    part = archive.meta["shN"]
    count = PALETTE if version == 1 else min(int(part["count"]), PALETTE)
    most = PER_ROW * COEFFICIENTS[-1] * -(-count // PER_ROW)
    image = archive.image(str(part["files"][0]), most)
    rest = image.shape[1] // PER_ROW
    if image.shape[1] % PER_ROW or rest not in COEFFICIENTS[1:]:
        raise invalid_sog(archive.path, f"its palette is {image.shape[1]} pixels wide")
    return _books(archive.path, part, version, 1)[0][image[..., :3].reshape(-1, rest, 3)]


def _unpack_harmonics(path: Path, palette: np.ndarray, labels: np.ndarray, sh: np.ndarray) -> None:
    """Fill the coefficients above degree 0 of `sh` from the pixels of labels."""
    index = labels[:, 0] + labels[:, 1] * np.uint16(256)
    if index.max() >= len(palette):
        raise invalid_sog(path, f"it uses entry {index.max()} of a palette of {len(palette)}")
    for rows in blocks(len(sh)):
        sh[rows, 1:] = palette[index[rows]]


def _books(path: Path, part: dict, version: int, columns: int) -> np.ndarray:
    """The values that bytes stand for in each column, float32 [columns, 256].

    They are entries of a codebook, or steps between bounds, which may be one for all columns.
    """
    if version == 1:
        low, high = (
            _numbers(path, part[name] if isinstance(part[name], list) else [part[name]], columns)
            for name in ("mins", "maxs")
        )
        steps = np.arange(SIZE) / 255
        return (low[:, None] + (high - low)[:, None] * steps).astype(np.float32)
    book = part["codebook"]
    if isinstance(book, list) and len(book) == SIZE and book[0] is None:
        # A writer has lost the first entry of some files. All readers go on where the rest begins.
        rest = _numbers(path, book[1:], SIZE - 1)
        book = [rest[0] + (rest[0] - rest[-1]) / (SIZE - 1), *rest]
        return np.tile(np.array(book, np.float32), (columns, 1))
    return np.tile(_numbers(path, book, SIZE).astype(np.float32), (columns, 1))


def _numbers(path: Path, value: object, count: int) -> np.ndarray:
    if not isinstance(value, list) or len(value) != count:
        got = f"a list of {len(value)}" if isinstance(value, list) else json.dumps(value)[:40]
        raise invalid_sog(path, f"expected {count} numbers, got {got}")
    if odd := [entry for entry in value if type(entry) not in (int, float)]:
        raise invalid_sog(path, f"expected {count} numbers, one is {json.dumps(odd[0])[:40]}")
    return np.array(value, np.float64)


def _pack_rotations(quats: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz [N, 4] → uint8 [N, 4]."""
    largest = np.abs(quats).argmax(axis=1)
    signs = np.where(np.take_along_axis(quats, largest[:, None], axis=1) < 0, -1, 1)
    others = np.take_along_axis(quats, OTHERS[largest], axis=1) * signs
    bytes_ = np.rint((others * 2**0.5 + 1) / 2 * 255).clip(0, 255)
    return np.hstack([bytes_, LARGEST + largest[:, None]]).astype(np.uint8)


def _unpack_rotations(pixels: np.ndarray) -> np.ndarray:
    """Inverse of `_pack_rotations`: float32 [N, 4]; zeros, which are left out, for other pixels."""
    quats = np.zeros((len(pixels), 4), np.float32)
    for rows in blocks(len(pixels)):
        block = pixels[rows]
        valid = block[:, 3] >= LARGEST
        others = (block[valid, :3] / 255 * 2 - 1) / 2**0.5
        quats[rows][valid] = with_largest(others, block[valid, 3] - LARGEST)
    return quats
