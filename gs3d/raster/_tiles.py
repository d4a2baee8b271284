"""The numba kernels that turn projected splats into pixels, and gradients back. Imported only when needed.

A picture is cut in bands of 16 pixel rows, a band in tiles 8 pixels wide: one vector of AVX2, and for splats a few pixels wide a third less
work than 16. One task draws one band of one view: it takes the band's splats in depth order, deals them to the tiles, and composites each
tile front to back (Kerbl et al., 2023, Sec. 6) with transmittance and color in a scratch buffer that stays in the first-level cache. The
loops over a tile's pixels carry no branches, so that LLVM makes vector code of them. Nothing is kept per (pixel, splat) or per
(tile, splat) pair: the gradient walks the same list, front to back once more.

Compositing. w = α·T, C = Σ w·c + T·b over the background b, T ← T·(1 − α). Since Σ w = 1 − T, C − b = Σ w·(c − b), and expected depth
D = Σ w·z / Σ w moves by dD = Σ dw·(z − D) / Σ w. So every splat has one number per pixel, the worth of its weight,
    h = g·(c − b) + ∂L/∂(Σw) + (z − D)·∂L/∂D / Σw + n·∂L/∂N    with g = ∂L/∂C,
and ∂L/∂α = T·h − S/(1 − α), where S = Σ w·h over the splats behind. S starts as the sum over all of them, known from the picture, and
gives up w·h at each. Differences from b and D, in place of c and z, keep S small and so exact.

All of this stands in one file because numba's cache watches only the file that a kernel stands in, not those of the functions it calls.
"""

import math

import numpy as np

from gs3d.core.runtime.cache import import_numba
from gs3d.raster._project import (
    AU,
    AV,
    BLUE,
    COLUMNS,
    DEPTH,
    GREEN,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    OPACITY,
    REACH,
    RED,
    SHEAR,
    TURN,
    X,
    Y,
)

numba = import_numba()
njit = numba.njit(cache=True, nogil=True, error_model="numpy")
# Sums may be reordered and multiply-adds fused; `nnan` and `ninf` stay off, so that comparisons mean what they say.
vector = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"}
)

BAND, TILE = 16, 8  # rows of a band, columns of a tile
PIXELS = BAND * TILE

ZERO, ONE, TWO, EIGHTH = np.float32(0), np.float32(1), np.float32(2), np.float32(0.125)
HALF = np.float32(0.5)
TILES_PX = np.float32(1 / TILE)
SLACK, SLACK_SHARE = (
    np.float32(1e-2),
    np.float32(1e-5),
)  # px, and of the coordinate: room for float32 rounding
MAX_ALPHA = np.float32(0.999)
MIN_T = np.float32(1e-4)
MAX_REACH = np.float32(5.6)  # ln 255 and a little: where exp(−s) is still asked for
# exp(−y) on [0, 0.7] to 8e-8, by least squares reweighted towards the smallest greatest relative error.
E0, E1, E2 = np.float32(0.99999994), np.float32(-0.99999255), np.float32(0.49988258)
E3, E4, E5 = np.float32(-0.16597396), np.float32(0.03977255), np.float32(-0.0058467537)

# Parts of a tile's scratch buffer, each PIXELS long: pixel centers, transmittance (negative once a pixel is done; its size still is what is
# left), sums going forward or gradients going back, S of what lies behind, g·b − ∂L/∂(Σw), and expected depth. The numbers are unsigned,
# because numba checks a signed index for being negative, and no loop with that check in it becomes vector code.
PX, PY, T, R, G, B, Z, W, NX, NY, NZ, BEHIND, CLEAR, MEAN_Z = (
    np.uint64(k * PIXELS) for k in range(14)
)
SCRATCH = 14 * PIXELS
ROW = np.uint64(TILE)

# Columns of a row of gradient sums, v = ∂L/∂ln α: Σv, Σvu, Σv·dy, Σvu², Σvu·dy, Σv·dy², then color, depth and normal.
V, VU, VY, VUU, VUY, VYY, V_RED, V_GREEN, V_BLUE, V_DEPTH, V_NX, V_NY, V_NZ = range(13)


@njit
def sort(piece, pieces, splats, rows, order, order_rows, counts, band_counts):
    """Puts the splats of each view that touch a pixel in order of depth; the tasks are views.

    Writes the first counts[b] entries of order [B, N] int32, and their `rows` in that order, order_rows [B, N, 2] int32; band_counts
    [B, bands + 1], how many splats touch each band. A radix sort on the bits of the depth, which is positive: equal depths keep the order
    of the splats, so the picture is the same every time.
    """
    n, bands = splats.shape[1], band_counts.shape[1] - 1
    ids, keys = np.empty(n, np.int32), np.empty(n, np.float32)
    other_ids, other_keys = np.empty(n, np.int32), np.empty(n, np.uint32)
    histogram = np.empty(2048, np.int64)
    for view in range(piece, splats.shape[0], pieces):
        m = 0
        for i in range(n):
            if rows[view, i, 1] > rows[view, i, 0]:
                ids[m], keys[m] = i, splats[view, i, DEPTH]
                m += 1
        a, b, a_keys, b_keys = ids, other_ids, keys.view(np.uint32), other_keys
        for shift in (0, 11, 22):
            histogram[:] = 0
            for j in range(m):
                histogram[(a_keys[j] >> shift) & 2047] += 1
            total = 0
            for k in range(2048):
                total, histogram[k] = total + histogram[k], total
            for j in range(m):
                k = (a_keys[j] >> shift) & 2047
                b[histogram[k]], b_keys[histogram[k]] = a[j], a_keys[j]
                histogram[k] += 1
            a, b, a_keys, b_keys = b, a, b_keys, a_keys
        band_counts[view, :] = 0
        for j in range(m):
            i = a[j]
            order[view, j] = i
            order_rows[view, j, 0], order_rows[view, j, 1] = rows[view, i, 0], rows[view, i, 1]
            band_counts[view, rows[view, i, 0] // BAND] += 1
            band_counts[view, (rows[view, i, 1] - 1) // BAND + 1] -= 1
        for k in range(1, bands + 1):
            band_counts[view, k] += band_counts[view, k - 1]
        counts[view] = m


@njit
def _band(view, band, splats, order, order_rows, count, height, tiles):
    """The splats of a band in depth order, and which of them each of its tiles must draw.

    Returns ids [n] int32; local [n, COLUMNS] float32, a copy, so that tiles read memory in order; rows [n, 2] int32, the rows of the band
    that a splat may touch, 0 to 16; starts [tiles + 2] and items, int32: tile t draws the local splats items[starts[t] : starts[t + 1]].
    """
    n = 0
    found = np.empty(count, np.int32)
    y0, y1 = band * BAND, min(band * BAND + BAND, height)
    for j in range(count):
        found[n] = j
        n += order_rows[view, j, 0] < y1 and order_rows[view, j, 1] > y0
    ids, local = np.empty(n, np.int32), np.empty((n, COLUMNS), np.float32)
    rows, spans = np.empty((n, 2), np.int32), np.empty((n, 2), np.int32)
    starts = np.zeros(tiles + 2, np.int32)
    top, bottom = np.float32(y0) + HALF, np.float32(y1) - HALF
    for j in range(n):
        i = order[view, found[j]]
        ids[j] = i
        rows[j, 0] = max(order_rows[view, found[j], 0] - y0, 0)
        rows[j, 1] = min(order_rows[view, found[j], 1] - y0, BAND)
        for c in range(COLUMNS):
            local[j, c] = splats[view, i, c]
        # The columns that the ellipse s = reach takes inside the band. Its edges, x(dy) = mx − shear·dy ± √((reach − av·dy²)/au), are
        # farthest out at dy = ±turn, or else at the end of the band nearest to that.
        x, y, shear, au, av, reach, turn = (
            local[j, X], local[j, Y], local[j, SHEAR], local[j, AU], local[j, AV], local[j, REACH], local[j, TURN],
        )  # fmt: skip
        low, high = top - y, bottom - y
        dy = min(max(turn, low), high)
        right = x - shear * dy + math.sqrt(max(reach - av * dy * dy, ZERO) / au)
        dy = min(max(-turn, low), high)
        left = x - shear * dy - math.sqrt(max(reach - av * dy * dy, ZERO) / au)
        slack = SLACK + SLACK_SHARE * (abs(left) + abs(right))
        # Cut to the picture before they become integers; `int` cuts towards 0, so the right end is one past the last tile touched.
        first = min(max((left - slack) * TILES_PX, ZERO), np.float32(tiles))
        last = min(max((right + slack) * TILES_PX + ONE, ZERO), np.float32(tiles))
        spans[j, 0], spans[j, 1] = int(first), int(last)
        for tile in range(spans[j, 0], spans[j, 1]):
            starts[tile + 2] += 1
    for tile in range(2, tiles + 2):
        starts[tile] += starts[tile - 1]
    items = np.empty(starts[tiles + 1], np.int32)
    for j in range(n):
        for tile in range(spans[j, 0], spans[j, 1]):
            items[starts[tile + 1]] = j
            starts[tile + 1] += 1
    return ids, local, rows, starts, items


@vector
def _opacity(u, dy, au8, av8, reach8):
    """exp(−s), with s/8 = au8·u² + av8·dy², and whether s is within reach."""
    y = au8 * u * u + av8 * dy * dy
    inside = y <= reach8
    y = y if y < EIGHTH * MAX_REACH else EIGHTH * MAX_REACH
    e = ((((E5 * y + E4) * y + E3) * y + E2) * y + E1) * y + E0
    e = e * e
    e = e * e
    return e * e, inside


@vector
def _start_tile(scratch, x0, y0, width, height):
    """Pixel centers of the tile whose corner is (x0, y0), T = 1 inside the picture, −1 (done) outside."""
    for pixel in range(PIXELS):
        k = np.uint64(pixel)
        x, y = x0 + pixel % TILE, y0 + pixel // TILE
        scratch[PX + k], scratch[PY + k] = np.float32(x) + HALF, np.float32(y) + HALF
        scratch[T + k] = ONE if x < width and y < height else -ONE


@vector
def _composite(scratch, local, j, rows, normal):
    """Draws splat j of the band on its rows of a tile. numba compiles it twice, with and without normals (None)."""
    mx, my, shear, opacity = local[j, X], local[j, Y], local[j, SHEAR], local[j, OPACITY]
    au8, av8, reach8 = local[j, AU] * EIGHTH, local[j, AV] * EIGHTH, local[j, REACH] * EIGHTH
    red, green, blue, depth = local[j, RED], local[j, GREEN], local[j, BLUE], local[j, DEPTH]
    nx, ny, nz = local[j, NORMAL_X], local[j, NORMAL_Y], local[j, NORMAL_Z]
    for k in range(np.uint64(rows[j, 0]) * ROW, np.uint64(rows[j, 1]) * ROW):
        dy = scratch[PY + k] - my
        u = scratch[PX + k] - mx + shear * dy
        e, inside = _opacity(u, dy, au8, av8, reach8)
        alpha = opacity * e
        alpha = alpha if alpha < MAX_ALPHA else MAX_ALPHA
        t = scratch[T + k]
        w = alpha * t
        left = t - w
        # A splat that would take T to 1e-4 or less is not drawn, nor any after it. For a pixel that is done t < 0, so `left` is too.
        drawn = inside and left > MIN_T
        w = w if drawn else ZERO
        ended = -abs(t) if inside else t
        scratch[T + k] = left if drawn else ended
        scratch[R + k] += w * red
        scratch[G + k] += w * green
        scratch[B + k] += w * blue
        scratch[Z + k] += w * depth
        scratch[W + k] += w
        if normal is not None:
            scratch[NX + k] += w * nx
            scratch[NY + k] += w * ny
            scratch[NZ + k] += w * nz


@vector
def _alive(scratch):
    n = 0
    for k in range(np.uint64(PIXELS)):
        n += 1 if scratch[T + k] > ZERO else 0
    return n


@njit
def forward(
    piece, pieces, splats, order, order_rows, counts, background, rgb, alpha, depth, normal, drawn
):
    """Draws all views; the tasks are (view, band).

    Reads splats [B, N, COLUMNS], what `sort` wrote, and background [B, 3]. Writes rgb [B, H, W, 3], alpha and depth [B, H, W, 1], normal
    [B, H, W, 3] or is None and drawn [B, bands, tiles] int32, how many of its splats a tile went through.
    """
    height, width = rgb.shape[1], rgb.shape[2]
    bands, tiles = drawn.shape[1], drawn.shape[2]
    scratch = np.empty(SCRATCH, np.float32)
    for task in range(piece, splats.shape[0] * bands, pieces):
        view, band = task // bands, task % bands
        _, local, rows, starts, items = _band(
            view, band, splats, order, order_rows, counts[view], height, tiles
        )
        y0 = band * BAND
        for tile in range(tiles):
            x0 = tile * TILE
            _start_tile(scratch, x0, y0, width, height)
            scratch[R : BEHIND if normal is not None else NX] = ZERO
            j = starts[tile]
            while j < starts[tile + 1]:
                stop = min(j + 16, starts[tile + 1])
                while j < stop:
                    _composite(scratch, local, items[j], rows, normal)
                    j += 1
                if _alive(scratch) == 0:
                    break
            drawn[view, band, tile] = j - starts[tile]
            for y in range(y0, min(y0 + BAND, height)):
                for x in range(x0, min(x0 + TILE, width)):
                    k = np.uint64((y - y0) * TILE + x - x0)
                    t = abs(scratch[T + k])
                    opaque = scratch[
                        W + k
                    ]  # not 1 − t, which has lost its digits where little is drawn
                    rgb[view, y, x, 0] = scratch[R + k] + t * background[view, 0]
                    rgb[view, y, x, 1] = scratch[G + k] + t * background[view, 1]
                    rgb[view, y, x, 2] = scratch[B + k] + t * background[view, 2]
                    alpha[view, y, x, 0] = opaque
                    depth[view, y, x, 0] = scratch[Z + k] / opaque if opaque > ZERO else ZERO
                    if normal is not None:
                        normal[view, y, x, 0] = scratch[NX + k]
                        normal[view, y, x, 1] = scratch[NY + k]
                        normal[view, y, x, 2] = scratch[NZ + k]


@vector
def _decompose(scratch, local, j, rows, sums, row, g_depth, g_normal):
    """Adds to a row of `sums` those of splat j of the band over its rows of a tile, and moves T and what lies behind past it."""
    mx, my, shear, opacity = local[j, X], local[j, Y], local[j, SHEAR], local[j, OPACITY]
    au8, av8, reach8 = local[j, AU] * EIGHTH, local[j, AV] * EIGHTH, local[j, REACH] * EIGHTH
    red, green, blue, depth = local[j, RED], local[j, GREEN], local[j, BLUE], local[j, DEPTH]
    nx, ny, nz = local[j, NORMAL_X], local[j, NORMAL_Y], local[j, NORMAL_Z]
    v_sum = vu = vy = vuu = vuy = vyy = ZERO
    v_red = v_green = v_blue = v_depth = v_nx = v_ny = v_nz = ZERO
    for k in range(np.uint64(rows[j, 0]) * ROW, np.uint64(rows[j, 1]) * ROW):
        dy = scratch[PY + k] - my
        u = scratch[PX + k] - mx + shear * dy
        e, inside = _opacity(u, dy, au8, av8, reach8)
        raw = opacity * e
        alpha = raw if raw < MAX_ALPHA else MAX_ALPHA
        t = scratch[T + k]
        w = alpha * t
        left = t - w
        drawn = inside and left > MIN_T
        w = w if drawn else ZERO
        ended = -abs(t) if inside else t
        worth = (
            red * scratch[R + k]
            + green * scratch[G + k]
            + blue * scratch[B + k]
            - scratch[CLEAR + k]
        )
        if g_depth is not None:
            worth += (depth - scratch[MEAN_Z + k]) * scratch[Z + k]
        if g_normal is not None:
            worth += nx * scratch[NX + k] + ny * scratch[NY + k] + nz * scratch[NZ + k]
        behind = scratch[BEHIND + k] - w * worth
        scratch[BEHIND + k] = behind
        scratch[T + k] = left if drawn else ended
        # An opacity cut off at 0.999 passes no gradient on.
        v = raw * (t * worth - behind / (ONE - alpha))
        v = v if drawn and raw <= MAX_ALPHA else ZERO
        v_u, v_y = v * u, v * dy
        v_sum += v
        vu += v_u
        vy += v_y
        vuu += v_u * u
        vuy += v_u * dy
        vyy += v_y * dy
        v_red += w * scratch[R + k]
        v_green += w * scratch[G + k]
        v_blue += w * scratch[B + k]
        if g_depth is not None:
            v_depth += w * scratch[Z + k]
        if g_normal is not None:
            v_nx += w * scratch[NX + k]
            v_ny += w * scratch[NY + k]
            v_nz += w * scratch[NZ + k]
    sums[row, V] += v_sum
    sums[row, VU] += vu
    sums[row, VY] += vy
    sums[row, VUU] += vuu
    sums[row, VUY] += vuy
    sums[row, VYY] += vyy
    sums[row, V_RED] += v_red
    sums[row, V_GREEN] += v_green
    sums[row, V_BLUE] += v_blue
    if g_depth is not None:
        sums[row, V_DEPTH] += v_depth
    if g_normal is not None:
        sums[row, V_NX] += v_nx
        sums[row, V_NY] += v_ny
        sums[row, V_NZ] += v_nz


@njit
def backward(
    piece,
    pieces,
    tasks,
    offsets,
    splats,
    order,
    order_rows,
    counts,
    drawn,
    background,
    rgb,
    alpha,
    depth,
    normal,
    g_rgb,
    g_alpha,
    g_depth,
    g_normal,
    sums,
    ids,
):
    """Gradient sums of the bands tasks[:, 0:2] = (view, band); task t writes sums[offsets[t] : offsets[t + 1]] and whose they are, `ids`.

    Reads the pictures that `forward` drew and their gradients, of the same shapes. g_depth, or g_normal and normal, are None where the loss
    does not use them; numba compiles a kernel for each case.
    """
    height, width = rgb.shape[1], rgb.shape[2]
    tiles = drawn.shape[2]
    scratch = np.empty(SCRATCH, np.float32)
    for task in range(piece, tasks.shape[0], pieces):
        view, band = tasks[task, 0], tasks[task, 1]
        band_ids, local, rows, starts, items = _band(
            view, band, splats, order, order_rows, counts[view], height, tiles
        )
        start = offsets[task]
        red, green, blue = background[view, 0], background[view, 1], background[view, 2]
        for j in range(band_ids.shape[0]):
            ids[start + j] = band_ids[j]
            for c in range(sums.shape[1]):
                sums[start + j, c] = ZERO
        y0 = band * BAND
        for tile in range(tiles):
            if drawn[view, band, tile] == 0:
                continue
            x0 = tile * TILE
            _start_tile(scratch, x0, y0, width, height)
            scratch[R:] = ZERO
            for y in range(y0, min(y0 + BAND, height)):
                for x in range(x0, min(x0 + TILE, width)):
                    k = np.uint64((y - y0) * TILE + x - x0)
                    g_r, g_g, g_b, g_a = (
                        g_rgb[view, y, x, 0],
                        g_rgb[view, y, x, 1],
                        g_rgb[view, y, x, 2],
                        g_alpha[view, y, x, 0],
                    )
                    scratch[R + k], scratch[G + k], scratch[B + k] = g_r, g_g, g_b
                    scratch[CLEAR + k] = g_r * red + g_g * green + g_b * blue - g_a
                    opaque = alpha[view, y, x, 0]
                    behind = (
                        g_r * (rgb[view, y, x, 0] - red)
                        + g_g * (rgb[view, y, x, 1] - green)
                        + g_b * (rgb[view, y, x, 2] - blue)
                    )
                    behind += g_a * opaque
                    if g_depth is not None:
                        scratch[Z + k] = g_depth[view, y, x, 0] / opaque if opaque > ZERO else ZERO
                        scratch[MEAN_Z + k] = depth[view, y, x, 0]
                    if g_normal is not None:
                        n_x, n_y, n_z = (
                            g_normal[view, y, x, 0],
                            g_normal[view, y, x, 1],
                            g_normal[view, y, x, 2],
                        )
                        scratch[NX + k], scratch[NY + k], scratch[NZ + k] = n_x, n_y, n_z
                        behind += (
                            n_x * normal[view, y, x, 0]
                            + n_y * normal[view, y, x, 1]
                            + n_z * normal[view, y, x, 2]
                        )
                    scratch[BEHIND + k] = behind
            for j in range(starts[tile], starts[tile] + drawn[view, band, tile]):
                _decompose(
                    scratch, local, items[j], rows, sums, start + items[j], g_depth, g_normal
                )


@njit
def gather(piece, pieces, tasks, offsets, sums, ids, totals):
    """Adds the bands' sums [rows, columns] to totals [B, N, COLUMNS], band by band in order; the tasks are views."""
    for view in range(piece, totals.shape[0], pieces):
        for task in range(tasks.shape[0]):
            if tasks[task, 0] == view:
                for j in range(offsets[task], offsets[task + 1]):
                    i = ids[j]
                    for c in range(sums.shape[1]):
                        totals[view, i, c] += sums[j, c]


@njit
def finish(piece, pieces, splats, totals, g_means2d):
    """From gradient sums to gradients, in place: totals [B, N, COLUMNS] becomes that of the splats; the tasks are blocks of 256 splats.

    With s = au·u² + av·dy², u = dx + shear·dy and dx, dy from the splat to the pixel; v = ∂L/∂ln α = −∂L/∂s.
    """
    n = splats.shape[1]
    for block in range(piece, (n + 255) // 256, pieces):
        for view in range(splats.shape[0]):
            for i in range(256 * block, min(256 * block + 256, n)):
                shear, au, av, opacity = (
                    splats[view, i, SHEAR],
                    splats[view, i, AU],
                    splats[view, i, AV],
                    splats[view, i, OPACITY],
                )
                v, vu, vy = totals[view, i, V], totals[view, i, VU], totals[view, i, VY]
                vuu, vuy, vyy = totals[view, i, VUU], totals[view, i, VUY], totals[view, i, VYY]
                g_x = TWO * au * vu
                g_means2d[view, i, 0], g_means2d[view, i, 1] = g_x, shear * g_x + TWO * av * vy
                color = totals[view, i, V_RED], totals[view, i, V_GREEN], totals[view, i, V_BLUE]
                depth = totals[view, i, V_DEPTH]
                normal = totals[view, i, V_NX], totals[view, i, V_NY], totals[view, i, V_NZ]
                totals[view, i, X], totals[view, i, Y] = ZERO, ZERO
                totals[view, i, SHEAR], totals[view, i, AU], totals[view, i, AV] = (
                    -TWO * au * vuy,
                    -vuu,
                    -vyy,
                )
                totals[view, i, OPACITY] = v / opacity if opacity > ZERO else ZERO
                totals[view, i, RED], totals[view, i, GREEN], totals[view, i, BLUE] = color
                totals[view, i, DEPTH] = depth
                totals[view, i, NORMAL_X], totals[view, i, NORMAL_Y], totals[view, i, NORMAL_Z] = (
                    normal
                )
