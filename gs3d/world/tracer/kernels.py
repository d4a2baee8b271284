"""Numba kernels for `world.render` and `world.mesh`; imported only when needed.

`core.runtime.threads.run` calls `field` and `trace_rows` with `piece` and `pieces`.

Distances follow the standard closed forms (box, capped cone, torus, rectangle and triangle in the
half-plane). The ellipsoid uses Newton's method (Eberly, "Distance from a Point to an Ellipse, an
Ellipsoid, or a Hyperellipsoid").
"""

import math

from gs3d.core.runtime.cache import import_numba

numba = import_numba()

LIGHT = (0.45, 0.30, 0.84)
"""Direction towards the light."""
MAX_STEPS = 48
"""Sphere-tracing steps per ray."""
HIT = 2e-3
"""Distance below which a ray counts as a hit."""
NEWTON_STEPS = 12
ALL = -1
"""Bit mask of all parts: every bit is set."""


@numba.njit(cache=True, fastmath=True)
def _ellipsoid(x, y, z, a, b, c):
    """Signed distance to the ellipsoid of half-axes a, b, c.

    The nearest point is (a²x, b²y, c²z) / (t + a², t + b², t + c²), elementwise. Here t is the only
    root greater than −min(a², b², c²) of
    F(t) = (ax / (t + a²))² + (by / (t + b²))² + (cz / (t + c²))² − 1.
    F is decreasing and convex there. So from a start with F ≥ 0, Newton's method approaches the
    root from one side and never passes it. A point on a plane of symmetry is moved off the plane
    slightly, because F lacks a pole there.
    """
    aa, bb, cc = a * a, b * b, c * c
    x, y, z = max(abs(x), 1e-5 * a), max(abs(y), 1e-5 * b), max(abs(z), 1e-5 * c)
    t, low = max(a * x - aa, max(b * y - bb, c * z - cc)), min(aa, min(bb, cc))
    for _ in range(NEWTON_STEPS):
        ra, rb, rc = 1.0 / (t + aa), 1.0 / (t + bb), 1.0 / (t + cc)
        fa, fb, fc = (a * x * ra) ** 2, (b * y * rb) ** 2, (c * z * rc) ** 2
        step = 0.5 * (fa + fb + fc - 1.0) / (fa * ra + fb * rb + fc * rc)
        t += step
        # The next step would be about ten thousand times smaller.
        if step < 3e-4 * (t + low):
            break
    return t * math.sqrt((x / (t + aa)) ** 2 + (y / (t + bb)) ** 2 + (z / (t + cc)) ** 2)


@numba.njit(cache=True, fastmath=True)
def _distance(row, px, py, pz):
    """Signed distance from a world point to one part, and the point in the part's coordinates."""
    dx, dy, dz = px - row[1], py - row[2], pz - row[3]
    # The inverse of the rotation is its transpose.
    x = row[4] * dx + row[7] * dy + row[10] * dz
    y = row[5] * dx + row[8] * dy + row[11] * dz
    z = row[6] * dx + row[9] * dy + row[12] * dz
    a, b, c, rounding = row[13], row[14], row[15], row[16]
    shape = int(row[0])
    if shape == 0:  # ellipsoid
        d = _ellipsoid(x, y, z, a, b, c)
    elif shape == 1:  # box
        qx, qy, qz = abs(x) - a + rounding, abs(y) - b + rounding, abs(z) - c + rounding
        outside = math.sqrt(max(qx, 0.0) ** 2 + max(qy, 0.0) ** 2 + max(qz, 0.0) ** 2)
        d = outside + min(max(qx, max(qy, qz)), 0.0) - rounding
    elif shape == 2:  # capped cone: bottom radius a, top radius b, half-height c
        a, b, c = max(a - rounding, 0.0), max(b - rounding, 0.0), c - rounding
        q = math.sqrt(x * x + y * y)
        cap_x = q - min(q, a if z < 0.0 else b)
        cap_z = abs(z) - c
        kx, kz = b - a, 2.0 * c
        along = ((b - q) * kx + (c - z) * kz) / (kx * kx + kz * kz)
        along = min(max(along, 0.0), 1.0)
        side_x, side_z = q - b + kx * along, z - c + kz * along
        inside = side_x < 0.0 and cap_z < 0.0
        d = math.sqrt(min(cap_x * cap_x + cap_z * cap_z, side_x * side_x + side_z * side_z))
        d = (-d if inside else d) - rounding
    elif shape == 3:  # torus
        q = math.sqrt(x * x + y * y) - a
        d = math.sqrt(q * q + z * z) - b
    elif shape == 4:  # tube
        qx, qz = abs(math.sqrt(x * x + y * y) - a) - b, abs(z) - c
        d = math.sqrt(max(qx, 0.0) ** 2 + max(qz, 0.0) ** 2) + min(max(qx, qz), 0.0)
    else:  # gable: a triangle in (y, z) extruded along x
        py_ = abs(y)
        slope = math.sqrt(4.0 * c * c + b * b)
        t = min(max(((py_ - b) * -b + (z + c) * 2.0 * c) / (slope * slope), 0.0), 1.0)
        ex, ez = py_ - (b - b * t), z - (-c + 2.0 * c * t)
        edge = math.sqrt(ex * ex + ez * ez)
        bx, bz = py_ - min(py_, b), z + c
        base = math.sqrt(bx * bx + bz * bz)
        tri = min(edge, base)
        if z > -c and (py_ - b) * 2.0 * c + (z + c) * b < 0.0:
            tri = -tri
        qx = abs(x) - a
        d = math.sqrt(max(qx, 0.0) ** 2 + max(tri, 0.0) ** 2) + min(max(qx, tri), 0.0)
    return d, x, y, z


@numba.njit(cache=True, fastmath=True)
def _paint(row, x, y, z):
    """Whether the pattern covers this point of a part, given in the part's coordinates."""
    pattern = int(row[20])
    if pattern == 2:
        # Stripes divide the longer dimension and leave its ends free. Otherwise the whole top of a
        # flat part would be one stripe.
        flat = 2.0 * row[15] < max(row[13], row[14])
        return math.cos(2.5 * math.pi * (x / row[13] if flat else z / row[15])) > 0.1
    if pattern == 3:
        # The grid of squares is offset by half a square from the center. Its spacing is such that
        # no face of a box lies on the border between two squares.
        side = 0.6 * max(row[13], row[15])
        checks = (
            math.floor(x / side + 0.5) + math.floor(y / side + 0.5) + math.floor(z / side + 0.5)
        )
        return int(checks) % 2 == 0
    if pattern == 1:
        # Spots are centered on a Fibonacci lattice of directions, so they need no texture
        # coordinates.
        sx, sy, sz = x / row[13], y / max(row[14], 0.6 * row[13]), z / row[15]
        norm = max(math.sqrt(sx * sx + sy * sy + sz * sz), 1e-6)
        for k in range(28):
            uz = 1.0 - (2.0 * k + 1.0) / 28.0
            r = math.sqrt(1.0 - uz * uz)
            phi = 2.3999632 * k
            if (r * math.cos(phi) * sx + r * math.sin(phi) * sy + uz * sz) / norm > 0.968:
                return True
    return False


@numba.njit(cache=True, fastmath=True)
def _parts_on_ray(parts, first, last, ox, oy, oz, dx, dy, dz):
    """Bit mask of the parts whose bounding spheres a ray crosses, and its entry and exit distance.

    Bit 0 stands for part `first`. The ray enters the first sphere at the entry distance and leaves
    the last one at the exit distance.
    """
    mask, enter, leave = 0, 1e9, 0.0
    for i in range(first, last):
        row = parts[i]
        cx, cy, cz = row[1] - ox, row[2] - oy, row[3] - oz
        along, reach = cx * dx + cy * dy + cz * dz, row[24] + HIT
        half = reach * reach - (cx * cx + cy * cy + cz * cz - along * along)
        if half > 0.0 and along + math.sqrt(half) > 0.0:
            half = math.sqrt(half)
            mask |= 1 << (i - first)
            enter, leave = min(enter, max(along - half, 0.0)), max(leave, along + half)
    return mask, enter, leave


@numba.njit(cache=True, fastmath=True)
def _nearest(parts, first, last, mask, px, py, pz):
    """Distance to the nearest part with its bit set in `mask`, and the index of that part.

    `mask` refers to the parts `first` to `last` (exclusive); bit 0 stands for part `first`.
    """
    best, which = 1e9, first
    for i in range(first, last):
        if not (mask >> (i - first)) & 1:
            continue
        row = parts[i]
        dx, dy, dz = px - row[1], py - row[2], pz - row[3]
        # If the bounding sphere is farther away than the best distance so far, so is the part.
        reach = best + row[24]
        if best < 1e8 and reach > 0.0 and dx * dx + dy * dy + dz * dz > reach * reach:
            continue
        d = _distance(row, px, py, pz)[0]
        if d < best:
            best, which = d, i
    return best, which


@numba.njit(cache=True, fastmath=True)
def _normal(row, px, py, pz):
    """Unit normal of a part at a world point, by finite differences on a tetrahedron."""
    e = 1e-3
    a = _distance(row, px + e, py - e, pz - e)[0]
    b = _distance(row, px - e, py - e, pz + e)[0]
    c = _distance(row, px - e, py + e, pz - e)[0]
    d = _distance(row, px + e, py + e, pz + e)[0]
    nx, ny, nz = a - b - c + d, -a - b + c + d, -a + b - c + d
    norm = max(math.sqrt(nx * nx + ny * ny + nz * nz), 1e-9)
    return nx / norm, ny / norm, nz / norm


@numba.njit(cache=True, fastmath=True, nogil=True)
def field(piece, pieces, parts, xs, ys, zs, out):
    """Fill `out` [X, Y, Z] with signed distances to the nearest part; a task is a slice along x."""
    for i in range(piece, len(xs), pieces):
        for j in range(len(ys)):
            for k in range(len(zs)):
                out[i, j, k] = _nearest(parts, 0, len(parts), ALL, xs[i], ys[j], zs[k])[0]


@numba.njit(cache=True, fastmath=True)
def surface(parts, points, distance, normal, color, owner):
    """Fill the outputs with properties of the part nearest to each of `points` [n, 3].

    They are signed distance [n], outward normal [n, 3], unlit color [n, 3] and part index [n].
    """
    for i in range(len(points)):
        x, y, z = points[i]
        distance[i], which = _nearest(parts, 0, len(parts), ALL, x, y, z)
        row = parts[which]
        normal[i, 0], normal[i, 1], normal[i, 2] = _normal(row, x, y, z)
        _, lx, ly, lz = _distance(row, x, y, z)
        base = 21 if _paint(row, lx, ly, lz) else 17
        for c in range(3):
            color[i, c] = row[base + c]
        owner[i] = which


@numba.njit(cache=True, fastmath=True)
def _light(material, nx, ny, nz, dx, dy, dz):
    """Factor for the surface color, and white light to add to it; d is the direction of the ray.

    Matte: ambient, light from above, and Lambertian diffuse. Glossy: the same plus a specular
    highlight. Metal: a colored mirror that reflects a bright sky, dark ground and a wide highlight.
    """
    along = dx * nx + dy * ny + dz * nz
    mx, my, mz = dx - 2.0 * along * nx, dy - 2.0 * along * ny, dz - 2.0 * along * nz
    specular = max(mx * LIGHT[0] + my * LIGHT[1] + mz * LIGHT[2], 0.0)
    if material == 2:
        reflected = 0.62 + 0.43 * mz if mz > 0.0 else 0.34 + 0.12 * mz
        return reflected, 0.55 * specular**12
    diffuse = max(nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2], 0.0)
    highlight = 0.75 * specular**40 if material == 1 else 0.0
    return min(0.60 + 0.12 * nz + 0.34 * diffuse, 1.0), highlight


@numba.njit(cache=True, fastmath=True)
def pixel(parts, first, last, center, rot, f, u, v, supersample, image):
    """Render pixel `image[v, u]` [8] of the object `parts[first:last]`.

    The camera has center `center`, rotation `rot` and focal length `f`. Channels as in
    `trace_rows`.
    """
    height, width = image.shape[0], image.shape[1]
    rays = supersample * supersample
    ox, oy, oz = center[0], center[1], center[2]
    r = g = b = hits = depth = sum_x = sum_y = sum_z = 0.0
    for k in range(rays):
        sx = u + (k % supersample + 0.5) / supersample - 0.5 * width
        sy = v + (k // supersample + 0.5) / supersample - 0.5 * height
        cx, cy = sx / f, sy / f
        scale = 1.0 / math.sqrt(cx * cx + cy * cy + 1.0)
        dx = (rot[0, 0] * cx + rot[1, 0] * cy + rot[2, 0]) * scale
        dy = (rot[0, 1] * cx + rot[1, 1] * cy + rot[2, 1]) * scale
        dz = (rot[0, 2] * cx + rot[1, 2] * cy + rot[2, 2]) * scale
        mask, t, end = _parts_on_ray(parts, first, last, ox, oy, oz, dx, dy, dz)
        if mask == 0:
            continue
        hit, which = False, first
        for _ in range(MAX_STEPS):
            d, which = _nearest(parts, first, last, mask, ox + t * dx, oy + t * dy, oz + t * dz)
            if d < HIT:
                hit = True
                break
            t += d
            if t > end:
                break
        if not hit:
            continue
        px, py, pz = ox + t * dx, oy + t * dy, oz + t * dz
        row = parts[which]
        nx, ny, nz = _normal(row, px, py, pz)
        _, lx, ly, lz = _distance(row, px, py, pz)
        base = 21 if _paint(row, lx, ly, lz) else 17
        shade, shine = _light(int(row[25]), nx, ny, nz, dx, dy, dz)
        r += min(row[base] * shade + shine, 1.0)
        g += min(row[base + 1] * shade + shine, 1.0)
        b += min(row[base + 2] * shade + shine, 1.0)
        hits += 1.0
        depth += t * scale
        sum_x += nx
        sum_y += ny
        sum_z += nz
    if hits > 0.0:
        values = image[v, u]
        values[0], values[1], values[2], values[3] = r / rays, g / rays, b / rays, hits / rays
        values[4] = depth / hits
        values[5], values[6], values[7] = sum_x / rays, sum_y / rays, sum_z / rays


@numba.njit(cache=True, fastmath=True, nogil=True)
def trace_rows(piece, pieces, parts, starts, centers, rotation, focal, supersample, out):
    """Render M objects with one camera each into `out` [M, H, W, 8].

    Channels: rgb premultiplied by alpha, alpha, depth, normal premultiplied by alpha. Image m shows
    `parts[starts[m] : starts[m + 1]]`. A task is a row of pixels.
    """
    count, height, width = out.shape[0], out.shape[1], out.shape[2]
    for job in range(piece, count * height, pieces):
        m, v = job // height, job % height
        first, last = starts[m], starts[m + 1]
        for u in range(width):
            pixel(parts, first, last, centers[m], rotation[m], focal[m], u, v, supersample, out[m])
