"""The numba kernel that assigns texels to triangles, imported on first use."""

from gs3d.core.runtime.cache import import_numba

numba = import_numba()


@numba.njit(cache=True, error_model="numpy")
def texels(uvs, faces, size, owner, where):
    """Find the triangle that covers the center of each texel, and the barycentric coordinates.

    For uvs [V, 2] in [0, 1] and faces [F, 3], fill owner [size, size] (−1: none) and where
    [size, size, 2], the weights of the second and the third vertex.
    """
    owner[:] = -1
    for f in range(len(faces)):
        a, b, c = uvs[faces[f, 0]] * size, uvs[faces[f, 1]] * size, uvs[faces[f, 2]] * size
        bx, by, cx, cy = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
        area = bx * cy - by * cx
        if abs(area) < 1e-12:
            continue
        left, right = min(a[0], b[0], c[0]), max(a[0], b[0], c[0])
        low, high = min(a[1], b[1], c[1]), max(a[1], b[1], c[1])
        for row in range(max(int(low - 0.5), 0), min(int(high + 0.5) + 1, size)):
            for column in range(max(int(left - 0.5), 0), min(int(right + 0.5) + 1, size)):
                px, py = column + 0.5 - a[0], row + 0.5 - a[1]
                u, v = (px * cy - py * cx) / area, (bx * py - by * px) / area
                if u >= 0.0 and v >= 0.0 and u + v <= 1.0:
                    owner[row, column] = f
                    where[row, column, 0], where[row, column, 1] = u, v
