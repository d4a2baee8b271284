"""The numba kernels that fuse depth maps into a surface and color it, imported on first use.

`core.runtime.threads.run` calls them with `piece` and `pieces`.
"""

import math

from gs3d.core.runtime.cache import import_numba

numba = import_numba()
kernel = numba.njit(cache=True, nogil=True, error_model="numpy")
inline = numba.njit(cache=True, error_model="numpy")

SOLID = 0.5
"""Alpha from which a pixel belongs to the object."""


@inline
def _project(camera, focal, size, x, y, z):
    """Return the pixel (row, column) and z-depth of a point; row −1 if it is outside the image."""
    cx = camera[0, 0] * x + camera[0, 1] * y + camera[0, 2] * z + camera[0, 3]
    cy = camera[1, 0] * x + camera[1, 1] * y + camera[1, 2] * z + camera[1, 3]
    cz = camera[2, 0] * x + camera[2, 1] * y + camera[2, 2] * z + camera[2, 3]
    if cz <= 1e-6:
        return -1, -1, cz
    column, row = math.floor(focal * cx / cz + 0.5 * size), math.floor(focal * cy / cz + 0.5 * size)
    if row < 0 or row >= size or column < 0 or column >= size:
        return -1, -1, cz
    return int(row), int(column), cz


@kernel
def fuse(piece, pieces, xs, ys, zs, cameras, focals, depth, alpha, truncation, max_leaks, out):
    """Fill `out` [X, Y, Z] with a truncated signed distance, positive outside.

    The unit is `truncation`; values are clamped to [−1, 1]. It combines the averaging of Curless
    and Levoy (1996) with the visual hull. A view counts as free space at a point if it has no solid
    pixel there, or if its surface lies at least `truncation` behind the point. If more than
    `max_leaks` views see free space, each of them counts as +1. Otherwise they are ignored, because
    they look through gaps between splats. A point that no view observes is inside.

    cameras [V, 4, 4] world to camera, focals [V] in pixels, depth and alpha [V, S, S]. A task is a
    slice along x.
    """
    size = depth.shape[1]
    for i in range(piece, len(xs), pieces):
        for j in range(len(ys)):
            for k in range(len(zs)):
                total, near, free = 0.0, 0, 0
                for v in range(len(cameras)):
                    row, column, z = _project(cameras[v], focals[v], size, xs[i], ys[j], zs[k])
                    if row < 0 or alpha[v, row, column] < SOLID:
                        free += 1
                        continue
                    ahead = (depth[v, row, column] - z) / truncation
                    if ahead >= 1.0:
                        free += 1
                    elif ahead > -1.0:
                        total += ahead
                        near += 1
                if free > max_leaks:
                    out[i, j, k] = (total + free) / (near + free)
                else:
                    out[i, j, k] = total / near if near else -1.0


@kernel
def paint(
    piece, pieces, points, normals, cameras, centers, focals, depth, alpha, rgb, tolerance, out
):
    """Fill `out` [n, 4] with the colors (3) and total weights (1) of surface points [n, 3].

    A color is the mean over the views that see the point, weighted by cos⁶ of the viewing angle.
    rgb [V, S, S, 3] is over black, so it is divided by alpha. The weight is 0 if no view sees the
    point. A task is a point.
    """
    size = depth.shape[1]
    for i in range(piece, len(points), pieces):
        x, y, z = points[i]
        red, green, blue, weight = 0.0, 0.0, 0.0, 0.0
        for v in range(len(cameras)):
            dx, dy, dz = centers[v, 0] - x, centers[v, 1] - y, centers[v, 2] - z
            length = math.sqrt(dx * dx + dy * dy + dz * dz)
            facing = (dx * normals[i, 0] + dy * normals[i, 1] + dz * normals[i, 2]) / max(
                length, 1e-9
            )
            if facing < 0.1:
                continue
            row, column, distance = _project(cameras[v], focals[v], size, x, y, z)
            if (
                row < 0
                or alpha[v, row, column] < SOLID
                or abs(depth[v, row, column] - distance) > tolerance
            ):
                continue
            w = facing**6
            scale = w / alpha[v, row, column]
            red += scale * rgb[v, row, column, 0]
            green += scale * rgb[v, row, column, 1]
            blue += scale * rgb[v, row, column, 2]
            weight += w
        out[i, 3] = weight
        if weight > 0:
            out[i, 0], out[i, 1], out[i, 2] = red / weight, green / weight, blue / weight
