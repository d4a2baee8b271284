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

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io.atomic import write_atomic
from gs3d.io.ply.packing import OTHERS, morton_order
from gs3d.io.sog.archive import Archive, encode, invalid_sog
from gs3d.io.sog.codebook import SIZE, codebook_of, indices_in, palette_of
from gs3d.io.splats.checks import (
    changed_result,
    to_file_coordinates,
    to_world_coordinates,
    unreadable_result,
)
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
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
        raise invalid_sog(path, f"its meta.json does not describe a .sog ({reason})") from None
    finally:
        archive.close()
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
    if version not in (1, 2):
        raise invalid_sog(
            path, f"expected a .sog of version 1 or 2, got {str(version)[:40]}", "Update gs3d."
        )
    count = meta["count"] if version == 2 else meta["means"]["shape"][0]
    if type(count) is not int or count < 1:
        raise invalid_sog(path, f"expected at least one splat, got {str(count)[:40]}")
    archive.limit(count)

    def rows(part: str, file: int = 0) -> np.ndarray:
        return archive.rows(str(meta[part]["files"][file]), count)

    steps = rows("means")[:, :3].astype(np.float64) + 256.0 * rows("means", 1)[:, :3]
    low, high = (_numbers(path, meta["means"][name], 3) for name in ("mins", "maxs"))
    logs = low + (high - low) * steps / 65535
    with np.errstate(over="ignore"):
        means = (np.sign(logs) * np.expm1(np.abs(logs))).astype(np.float32)
        scales = np.exp(_values(path, meta["scales"], version, rows("scales")[:, :3]))
    pixels = rows("sh0")
    if version == 2:
        colors = _values(path, meta["sh0"], version, pixels[:, :3])
        opacities = pixels[:, 3] / np.float32(255)
    else:
        rgba = _values(path, meta["sh0"], version, pixels)
        colors, opacities = rgba[:, :3], 0.5 * (1 + np.tanh(0.5 * rgba[:, 3]))
    harmonics = _harmonics(archive, count, version, rows) if meta.get("shN") else None
    sh = colors[:, None] if harmonics is None else np.concatenate([colors[:, None], harmonics], 1)
    parts = (means, _unpack_rotations(rows("quats")), scales, opacities, sh)
    return Splats(*(torch.from_numpy(np.ascontiguousarray(p, np.float32)) for p in parts))


def _harmonics(
    archive: Archive, count: int, version: int, rows: Callable[[str, int], np.ndarray]
) -> np.ndarray:
    """Coefficients above degree 0, float32 [N, K − 1, 3]."""
    part = archive.meta["shN"]
    most = (
        PER_ROW * COEFFICIENTS[-1] * (1024 if version == 1 else -(-int(part["count"]) // PER_ROW))
    )
    image = archive.image(str(part["files"][0]), most)
    rest = image.shape[1] // PER_ROW
    if image.shape[1] % PER_ROW or rest not in COEFFICIENTS[1:]:
        raise invalid_sog(archive.path, f"its palette is {image.shape[1]} pixels wide")
    palette = image[..., :3].reshape(-1, rest, 3)
    labels = rows("shN", 1).astype(np.int64)
    index = labels[:, 0] + 256 * labels[:, 1]
    if index.max(initial=0) >= len(palette):
        raise invalid_sog(
            archive.path, f"it uses entry {index.max()} of a palette of {len(palette)}"
        )
    return _values(archive.path, part, version, palette)[index]


def _values(path: Path, part: dict, version: int, indices: np.ndarray) -> np.ndarray:
    """The values that bytes stand for: entries of a codebook, or steps between bounds."""
    if version == 2:
        return _numbers(path, part["codebook"], SIZE)[indices].astype(np.float32)
    low, high = (np.asarray(part[name], np.float64) for name in ("mins", "maxs"))
    return (low + (high - low) * indices / 255).astype(np.float32)


def _numbers(path: Path, value: object, count: int) -> np.ndarray:
    numbers = np.asarray(value, np.float64)
    if numbers.shape != (count,):
        raise invalid_sog(path, f"expected {count} numbers, got {list(numbers.shape)}")
    return numbers


def _pack_rotations(quats: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz [N, 4] → uint8 [N, 4]."""
    largest = np.abs(quats).argmax(axis=1)
    signs = np.where(np.take_along_axis(quats, largest[:, None], axis=1) < 0, -1, 1)
    others = np.take_along_axis(quats, OTHERS[largest], axis=1) * signs
    bytes_ = np.rint((others * 2**0.5 + 1) / 2 * 255).clip(0, 255)
    return np.hstack([bytes_, LARGEST + largest[:, None]]).astype(np.uint8)


def _unpack_rotations(pixels: np.ndarray) -> np.ndarray:
    """Inverse of `_pack_rotations`: float32 [N, 4]; zeros, which are left out, for other pixels."""
    largest = pixels[:, 3].astype(np.int64) - LARGEST
    valid = largest >= 0
    largest = largest.clip(0)
    others = (pixels[:, :3] / 255 * 2 - 1) / 2**0.5
    quats = np.empty((len(pixels), 4), np.float32)
    np.put_along_axis(quats, OTHERS[largest], others.astype(np.float32), axis=1)
    rest = np.sqrt(np.maximum(1 - (others**2).sum(axis=1), 0))
    np.put_along_axis(quats, largest[:, None], rest[:, None].astype(np.float32), axis=1)
    return quats * valid[:, None]
