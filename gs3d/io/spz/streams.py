"""Splats ↔ the six byte streams of an .spz: how each number is rounded (container: container.py).

Source: the README and the code of nianticlabs/spz. A stream holds one quantity of all splats, splat
after splat:
    positions   x y z   24-bit fixed point, signed, little-endian, with the header's number of
                        fractional bits; version 1: float16
    alphas      1       opacity · 255
    colors      r g b   (0.15 · coefficient of degree 0 + 0.5) · 255; also beyond black and white
    scales      x y z   (ln scale + 10) · 16
    rotations           versions 1 and 2: three bytes x y z as q · 127.5 + 127.5, w ≥ 0 is implied;
                        from version 3: one 32-bit word
    harmonics           coefficient · 128 + 128, the channel varies fastest; none at degree 0
The word of a rotation, from its top bit: 2 bits for the index of the largest of x y z w, which is
not stored and taken as positive; then the other three in that order, each a sign bit and 9 bits of
|q| · 511 · √2.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from gs3d.core.types import Splats
from gs3d.io.rounding import OTHERS, to_bytes, with_largest
from gs3d.ops.blocks import blocks

COLOR_SCALE = 0.15
COLOR_LIMIT = 0.5 / COLOR_SCALE
"""Largest coefficient of degree 0, up to the rounding."""
SCALE_RANGE = (math.exp(-10), math.exp(255 / 16 - 10))
STEP = 1 / 32
"""Relative rounding of a scale."""
MAX_FRACTIONAL_BITS = 16
"""Fractional bits of a position if they fit. The step of 1.5e-5 is finer than the minimum scale,
e⁻¹⁰. More bits would only add noise that does not compress."""
POSITION_LIMIT = 2**23 - 1
BUCKETS = (8, 16)
"""SH coefficients of degree 1, and of higher degrees, are rounded to multiples of these (5 and 4
bits), as in the reference. Most of a file is SH coefficients, and they compress better this way.
Readers need not know."""
SHIFTS = np.array([20, 10, 0], np.uint32)


def stream_sizes(version: int, count: int, degree: int) -> list[int]:
    """Bytes of each stream."""
    position, rotation = 6 if version == 1 else 9, 4 if version >= 3 else 3
    return [size * count for size in (position, 1, 3, 3, rotation, 3 * ((degree + 1) ** 2 - 1))]


def fractional_bits(extent: float) -> int:
    """The most fractional bits for coordinates up to ±`extent`, at most MAX_FRACTIONAL_BITS.

    Negative if even integers do not fit.
    """
    return (
        MAX_FRACTIONAL_BITS
        if extent == 0
        else min(MAX_FRACTIONAL_BITS, int(np.floor(np.log2(POSITION_LIMIT / extent))))
    )


def pack(splats: Splats, bits: int, version: int) -> list[np.ndarray]:
    """The streams, each uint8, of `splats` in file coordinates with unit quaternions.

    Positions get `bits` fractional bits. Clipped to the range of a byte: scales to [e⁻¹⁰, 381], SH
    coefficients above degree 0 to ±1, coefficients of degree 0 to ±3.33.
    """
    # Exact up to the rounding to integers: a float32 holds 24 bits.
    fixed = np.rint(np.ldexp(splats.means.numpy(), bits)).astype("<i4")
    positions = fixed.view(np.uint8).reshape(-1, 3, 4)[..., :3]
    sh, quats = splats.sh.numpy(), splats.quats.numpy()
    rotations = _pack_xyz(quats) if version == 2 else _pack_smallest_three(quats)
    with np.errstate(divide="ignore"):
        scales = to_bytes((np.log(splats.scales.numpy()) + 10) * 16)
    alphas = to_bytes(255 * splats.opacities.numpy())
    colors = to_bytes(255 * (COLOR_SCALE * sh[:, 0] + 0.5))
    return [
        np.ascontiguousarray(part).ravel()
        for part in (positions, alphas, colors, scales, rotations, _pack_harmonics(sh[:, 1:]))
    ]


def unpack(
    streams: Sequence[np.ndarray], version: int, count: int, degree: int, bits: int
) -> Splats:
    """Splats in file coordinates, float32, from the streams, each uint8.

    Coefficients of degree 4 are dropped: gs3d supports degree 0 to 3.
    """
    positions, alphas, colors, scales, rotations, harmonics = streams
    if version == 1:
        means = positions.view("<f2").reshape(count, 3).astype(np.float32)
    else:
        fixed = np.zeros((count, 3, 4), np.uint8)
        fixed[..., 1:] = positions.reshape(count, 3, 3)
        # The three bytes become the upper ones of an int32, so that the sign bit is in place.
        # ldexp undoes the shift by 8 bits.
        means = np.ldexp(fixed.view("<i4")[..., 0].astype(np.float32), -8 - bits)
    sh = np.empty((count, min((degree + 1) ** 2, 16), 3), np.float32)
    sh[:, 0] = (colors.reshape(count, 3) / np.float32(255) - 0.5) / np.float32(COLOR_SCALE)
    sh[:, 1:] = harmonics.reshape(count, (degree + 1) ** 2 - 1, 3)[:, : sh.shape[1] - 1]
    sh[:, 1:] -= 128
    sh[:, 1:] /= 128
    quats = (
        _unpack_smallest_three(rotations.view("<u4"))
        if version >= 3
        else _unpack_xyz(rotations.reshape(count, 3))
    )
    linear = np.exp(np.arange(256, dtype=np.float32) / 16 - 10)[scales].reshape(count, 3)
    parts = (means, quats, linear, alphas / np.float32(255), sh)
    return Splats(*map(torch.from_numpy, parts))


def _pack_harmonics(rest: np.ndarray) -> np.ndarray:
    """SH coefficients above degree 0 [N, K − 1, 3] → uint8 of the same shape."""
    bucket = np.repeat(np.array(BUCKETS, np.float32), (3, 12))[: rest.shape[1], None]
    packed = np.empty(rest.shape, np.uint8)
    for rows in blocks(len(rest)):
        # One floor rounds to an integer and then to a multiple of the bucket.
        packed[rows] = (
            np.floor(rest[rows] * (128 / bucket) + (128.5 / bucket + np.float32(0.5))) * bucket
        ).clip(0, 255)
    return packed


def _pack_xyz(quats: np.ndarray) -> np.ndarray:
    """wxyz [N, 4] → uint8 [N, 3]."""
    return to_bytes(127.5 * np.where(quats[:, :1] < 0, -quats[:, 1:], quats[:, 1:]) + 127.5)


def _unpack_xyz(rotations: np.ndarray) -> np.ndarray:
    """uint8 [N, 3] → wxyz [N, 4]."""
    xyz = rotations / np.float32(127.5) - 1
    return np.concatenate([np.sqrt(np.maximum(0, 1 - (xyz**2).sum(1, keepdims=True))), xyz], axis=1)


def _pack_smallest_three(quats: np.ndarray) -> np.ndarray:
    """wxyz [N, 4] → 32-bit words as uint8 [4 N]."""
    xyzw = np.roll(quats, -1, axis=1)
    largest = np.abs(xyzw).argmax(axis=1)
    others = np.take_along_axis(xyzw, OTHERS[largest], axis=1)
    negative = (others < 0) ^ (np.take_along_axis(xyzw, largest[:, None], axis=1) < 0)
    size = np.minimum(np.floor(np.abs(others) * np.float32(511 * 2**0.5) + 0.5), 511)
    size = size.astype(np.uint32)
    # Zero gets no sign bit: the sign left by rounding would be noise in the file.
    fields = (size | ((negative & (size > 0)).astype(np.uint32) << 9)) << SHIFTS
    words = (largest.astype(np.uint32) << 30) | fields[:, 0] | fields[:, 1] | fields[:, 2]
    return words.astype("<u4").view(np.uint8)


def _unpack_smallest_three(words: np.ndarray) -> np.ndarray:
    """uint32 [N] → wxyz [N, 4]."""
    fields = words[:, None] >> SHIFTS
    others = (fields & 511).astype(np.float32) / np.float32(511 * 2**0.5)
    others[(fields & 512) != 0] *= -1
    return np.roll(with_largest(others, words >> 30), 1, axis=1)
