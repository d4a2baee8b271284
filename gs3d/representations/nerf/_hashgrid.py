"""The numba kernels of the hash encoding, imported on first use.

A task of `forward` is a block of BLOCK points. A task of `backward` is a level: levels share no
table entries, so the sums are the same for any number of threads.
"""

import numpy as np

from gs3d.core.runtime.cache import import_numba
from gs3d.representations.nerf.hashgrid import PRIME_Y, PRIME_Z

numba = import_numba()
kernel = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})

BLOCK = 512


@kernel
def _voxel(u, n):
    """Return the lower vertex and the fraction in the voxel of coordinate u in [0, 1], n voxels."""
    position = min(max(np.float64(u), 0.0), 1.0) * n
    low = min(int(position), n - 1)
    return low, np.float32(position - low)


@kernel
def _entry(x, y, z, n, first, size):
    """Return the table entry of vertex (x, y, z): its index in a small level, a hash otherwise."""
    if (n + 1) ** 3 <= size:
        return first + x + (n + 1) * (y + (n + 1) * z)
    return first + ((x ^ (y * PRIME_Y) ^ (z * PRIME_Z)) & (size - 1))


@kernel
def forward(piece, pieces, points, table, resolution, firsts, features, derivatives):
    """Fill `features` [N, 2·L] and, unless it is None, `derivatives` [N, 3, 2·L].

    `derivatives` are those of the features with respect to the point.
    """
    count, levels = len(points), len(resolution)
    for block in range(piece, (count + BLOCK - 1) // BLOCK, pieces):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, count)):
            for level in range(levels):
                n, first = resolution[level], firsts[level]
                size = firsts[level + 1] - first
                x, fx = _voxel(points[i, 0], n)
                y, fy = _voxel(points[i, 1], n)
                z, fz = _voxel(points[i, 2], n)
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
                    if derivatives is not None:
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
                if derivatives is not None:
                    derivatives[i, 0, 2 * level], derivatives[i, 0, 2 * level + 1] = n * ax, n * bx
                    derivatives[i, 1, 2 * level], derivatives[i, 1, 2 * level + 1] = n * ay, n * by
                    derivatives[i, 2, 2 * level], derivatives[i, 2, 2 * level + 1] = n * az, n * bz


@kernel
def backward(piece, pieces, points, resolution, firsts, g_features, g_derivatives, g_table):
    """Add to `g_table` [E, 2]; each task writes only the entries of its level."""
    for level in range(piece, len(resolution), pieces):
        n, first = resolution[level], firsts[level]
        size = firsts[level + 1] - first
        one = np.float32(1)
        for i in range(len(points)):
            x, fx = _voxel(points[i, 0], n)
            y, fy = _voxel(points[i, 1], n)
            z, fz = _voxel(points[i, 2], n)
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
                if g_derivatives is not None:
                    sx, sy, sz = (
                        (wy * wz if i_x else -wy * wz),
                        (wx * wz if i_y else -wx * wz),
                        (wx * wy if i_z else -wx * wy),
                    )
                    ga += n * (
                        sx * g_derivatives[i, 0, 2 * level]
                        + sy * g_derivatives[i, 1, 2 * level]
                        + sz * g_derivatives[i, 2, 2 * level]
                    )
                    gb += n * (
                        sx * g_derivatives[i, 0, 2 * level + 1]
                        + sy * g_derivatives[i, 1, 2 * level + 1]
                        + sz * g_derivatives[i, 2, 2 * level + 1]
                    )
                g_table[e, 0] += ga
                g_table[e, 1] += gb
