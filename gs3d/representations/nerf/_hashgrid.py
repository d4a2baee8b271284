"""The numba kernels of the hash encoding. Imported only when needed.

One task of `forward` is BLOCK points, one of `backward` is a level: levels share no table entry, so the sums come out the same for any
number of threads.
"""

import numpy as np

from gs3d.core.runtime.cache import import_numba
from gs3d.representations.nerf.hashgrid import PRIME_Y, PRIME_Z

numba = import_numba()
maths = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})

BLOCK = 512


@maths
def _cell(u, n):
    """(index of the lower corner, place within the cell) of a coordinate in [0, 1] among n cells."""
    position = min(max(np.float64(u), 0.0), 1.0) * n
    low = min(int(position), n - 1)
    return low, np.float32(position - low)


@maths
def _entry(x, y, z, n, first, size):
    if (n + 1) ** 3 <= size:
        return first + x + (n + 1) * (y + (n + 1) * z)
    return first + ((x ^ (y * PRIME_Y) ^ (z * PRIME_Z)) & (size - 1))


@maths
def forward(piece, pieces, points, table, resolution, firsts, features, slopes):
    """`features` [N, 2·L], and `slopes` [N, 3, 2·L], their derivative by the point, unless it is None."""
    count, levels = len(points), len(resolution)
    for block in range(piece, (count + BLOCK - 1) // BLOCK, pieces):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, count)):
            for level in range(levels):
                n, first = resolution[level], firsts[level]
                size = firsts[level + 1] - first
                x, fx = _cell(points[i, 0], n)
                y, fy = _cell(points[i, 1], n)
                z, fz = _cell(points[i, 2], n)
                one = np.float32(1)
                a = b = ax = bx = ay = by = az = bz = np.float32(0)
                for corner in range(8):
                    i_x, i_y, i_z = corner & 1, (corner >> 1) & 1, corner >> 2
                    wx, wy, wz = (
                        (fx if i_x else one - fx),
                        (fy if i_y else one - fy),
                        (fz if i_z else one - fz),
                    )
                    e = _entry(x + i_x, y + i_y, z + i_z, n, first, size)
                    va, vb = table[e, 0], table[e, 1]
                    w = wx * wy * wz
                    a += w * va
                    b += w * vb
                    if slopes is not None:
                        wx, wy, wz = (
                            (wy * wz if i_x else -wy * wz),
                            (wx * wz if i_y else -wx * wz),
                            (wx * wy if i_z else -wx * wy),
                        )
                        ax += wx * va
                        bx += wx * vb
                        ay += wy * va
                        by += wy * vb
                        az += wz * va
                        bz += wz * vb
                features[i, 2 * level], features[i, 2 * level + 1] = a, b
                if slopes is not None:
                    slopes[i, 0, 2 * level], slopes[i, 0, 2 * level + 1] = n * ax, n * bx
                    slopes[i, 1, 2 * level], slopes[i, 1, 2 * level + 1] = n * ay, n * by
                    slopes[i, 2, 2 * level], slopes[i, 2, 2 * level + 1] = n * az, n * bz


@maths
def backward(piece, pieces, points, resolution, firsts, g_features, g_slopes, g_table):
    """Adds to `g_table` [E, 2], of which a task owns the entries of its level."""
    for level in range(piece, len(resolution), pieces):
        n, first = resolution[level], firsts[level]
        size = firsts[level + 1] - first
        one = np.float32(1)
        for i in range(len(points)):
            x, fx = _cell(points[i, 0], n)
            y, fy = _cell(points[i, 1], n)
            z, fz = _cell(points[i, 2], n)
            a, b = g_features[i, 2 * level], g_features[i, 2 * level + 1]
            for corner in range(8):
                i_x, i_y, i_z = corner & 1, (corner >> 1) & 1, corner >> 2
                wx, wy, wz = (
                    (fx if i_x else one - fx),
                    (fy if i_y else one - fy),
                    (fz if i_z else one - fz),
                )
                e = _entry(x + i_x, y + i_y, z + i_z, n, first, size)
                w = wx * wy * wz
                ga, gb = w * a, w * b
                if g_slopes is not None:
                    sx, sy, sz = (
                        (wy * wz if i_x else -wy * wz),
                        (wx * wz if i_y else -wx * wz),
                        (wx * wy if i_z else -wx * wy),
                    )
                    ga += n * (
                        sx * g_slopes[i, 0, 2 * level]
                        + sy * g_slopes[i, 1, 2 * level]
                        + sz * g_slopes[i, 2, 2 * level]
                    )
                    gb += n * (
                        sx * g_slopes[i, 0, 2 * level + 1]
                        + sy * g_slopes[i, 1, 2 * level + 1]
                        + sz * g_slopes[i, 2, 2 * level + 1]
                    )
                g_table[e, 0] += ga
                g_table[e, 1] += gb
