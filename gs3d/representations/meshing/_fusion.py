"""The numba kernels that carve a surface out of pictures and paint it from them. Imported only when a mesh is wanted."""

import math

from gs3d.core.runtime.cache import import_numba

numba = import_numba()
kernel = numba.njit(cache=True, parallel=True, error_model="numpy")
inline = numba.njit(cache=True, error_model="numpy")

SOLID = 0.5
"""Alpha from which a pixel is object."""


@inline
def _project(camera, focal, size, x, y, z):
    """Pixel (row, column) and z-depth of a point; row −1 if it is not in the picture."""
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
def fuse(xs, ys, zs, cameras, focals, depth, alpha, reach, doubts, out):
    """Fill `out` [X, Y, Z] with a signed distance in units of `reach`, held within ±1, positive outside.

    Curless and Levoy (1996), and the visual hull: a view that sees nothing solid there, or only what is far behind, says +1. If no more
    than `doubts` of them do they are not believed: they look through gaps between splats. What no view can see is inside. cameras
    [V, 4, 4] world to camera, focals [V], depth and alpha [V, S, S].
    """
    size = depth.shape[1]
    for i in numba.prange(len(xs)):
        for j in range(len(ys)):
            for k in range(len(zs)):
                total, near, through = 0.0, 0, 0
                for v in range(len(cameras)):
                    row, column, away = _project(cameras[v], focals[v], size, xs[i], ys[j], zs[k])
                    if row < 0 or alpha[v, row, column] < SOLID:
                        through += 1
                        continue
                    ahead = (depth[v, row, column] - away) / reach
                    if ahead >= 1.0:
                        through += 1
                    elif ahead > -1.0:
                        total += ahead
                        near += 1
                if through > doubts:
                    out[i, j, k] = (total + through) / (near + through)
                else:
                    out[i, j, k] = total / near if near else -1.0


@kernel
def paint(points, normals, cameras, centers, focals, depth, alpha, rgb, tolerance, out):
    """Color [n, 3] and weight [n] (`out` [n, 4]) of surface points [n, 3] from the views that see them, the squarest most.

    rgb [V, S, S, 3] is over black; what a view says of a pixel is divided by its alpha. Where no view sees a point the weight is 0.
    """
    size = depth.shape[1]
    for i in numba.prange(len(points)):
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
            row, column, away = _project(cameras[v], focals[v], size, x, y, z)
            if (
                row < 0
                or alpha[v, row, column] < SOLID
                or abs(depth[v, row, column] - away) > tolerance
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
