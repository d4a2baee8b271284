# pyright: basic
# numba compiles these functions and infers the types of their arguments.
"""numba kernels that composite projected splats into pixels, forward and backward.

Import this module only when it is needed, because it imports numba.

Layout. An image is divided into bands of 16 pixel rows, and a band into tiles 8 pixels wide. 8
pixels are one AVX2 vector; for splats a few pixels wide, this takes a third less work than 16. One
task renders one band of one view. It takes the band's splats in depth order, assigns them to tiles,
and composites each tile front to back (Kerbl et al., 2023, Sec. 6). Transmittance and color are in
a scratch buffer that fits in the L1 cache. The loops over the pixels of a tile have no branches, so
LLVM vectorizes them. Nothing is stored per (pixel, splat) or (tile, splat) pair: the backward pass
traverses the same list again, front to back.

Compositing. With background b: w = α·T, C = Σ w·c + T·b, and T ← T·(1 − α) after each splat. As
Σ w = 1 − T, C − b = Σ w·(c − b). The expected depth D = Σ w·z / Σ w has dD = Σ dw·(z − D) / Σ w. So
the derivative with respect to the weight of a splat at a pixel, for g = ∂L/∂C and normals n, N, is
    ∂L/∂w = g·(c − b) + ∂L/∂(Σw) + (z − D)·∂L/∂D / Σw + n·∂L/∂N,
and ∂L/∂α = T·∂L/∂w − S/(1 − α), where S = Σ w·∂L/∂w over the splats behind. S starts as the sum
over all splats, which follows from the rendered image, and w·∂L/∂w is subtracted at each splat.
Using c − b and z − D, instead of c and z, keeps S small and therefore accurate.

All kernels are in one file, because numba's cache only checks the file that contains a kernel, not
the files of the functions that it calls.
"""

import math

import numpy as np

from gs3d.core.runtime.cache import import_numba
from gs3d.raster._project import (
    AU,
    AV,
    BLUE,
    COLUMNS,
    CUTOFF,
    DEPTH,
    GREEN,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    OPACITY,
    RED,
    RIGHTMOST_DY,
    SHEAR,
    X,
    Y,
)

numba = import_numba()
njit = numba.njit(cache=True, nogil=True, error_model="numpy")
# Allows reordered sums and fused multiply-adds. `nnan` and `ninf` stay off, so that comparisons
# with NaN and infinity stay correct.
njit_vector = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"}
)

# Pixel rows per band, pixel columns per tile.
BAND, TILE = 16, 8
PIXELS = BAND * TILE

ZERO, ONE, TWO, EIGHTH = np.float32(0), np.float32(1), np.float32(2), np.float32(0.125)
HALF = np.float32(0.5)
TILES_PER_PX = np.float32(1 / TILE)
# Margins for float32 rounding: absolute, and relative to the coordinate.
SLACK_PX, SLACK_RELATIVE = np.float32(1e-2), np.float32(1e-5)
MAX_ALPHA = np.float32(0.999)
MIN_T = np.float32(1e-4)
# Slightly more than ln 255, the largest s for which exp(−s) is needed.
MAX_CUTOFF = np.float32(5.6)
# Coefficients of a polynomial for exp(−y) on [0, 0.7], accurate to 8e-8, from least squares
# reweighted to minimize the maximum relative error.
E0, E1, E2 = np.float32(0.99999994), np.float32(-0.99999255), np.float32(0.49988258)
E3, E4, E5 = np.float32(-0.16597396), np.float32(0.03977255), np.float32(-0.0058467537)

# Sections of a tile's scratch buffer, each PIXELS long:
#   PX, PY: pixel centers.
#   T: transmittance. It is negative once a pixel is finished; |T| remains the transmittance.
#   R to NZ: weighted sums in the forward pass, gradients in the backward pass.
#   BEHIND: S, the sum over the splats behind.
#   G_T: ∂L/∂T of the final transmittance, g·b − ∂L/∂(Σw).
#   MEAN_Z: expected depth.
# The offsets are unsigned, because numba checks signed indices for negative values, and loops with
# this check are not vectorized.
PX, PY, T, R, G, B, Z, W, NX, NY, NZ, BEHIND, G_T, MEAN_Z = (
    np.uint64(k * PIXELS) for k in range(14)
)
SCRATCH = 14 * PIXELS
ROW = np.uint64(TILE)

# Columns of a row of gradient sums, with v = ∂L/∂ln α: Σv, Σvu, Σv·dy, Σvu², Σvu·dy, Σv·dy², then
# color, depth and normal.
V, VU, VY, VUU, VUY, VYY, V_RED, V_GREEN, V_BLUE, V_DEPTH, V_NX, V_NY, V_NZ = range(13)


@njit
def sort(piece, pieces, splats, rows, order, order_rows, counts, band_counts):
    """Sort the splats of each view that touch a pixel by depth. The tasks are views.

    Writes the first counts[b] entries of order [B, N] int32, their `rows` in the same order to
    order_rows [B, N, 2] int32, and the number of splats that touch each band to band_counts
    [B, bands + 1]. It is a radix sort on the bits of the depth, which is positive. The sort is
    stable, so the image is deterministic.
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
def _bin_band(view, band, splats, order, order_rows, count, height, tiles):
    """Select the splats of a band in depth order, and assign them to its tiles.

    Returns ids [n] int32, indices of the splats; local [n, COLUMNS] float32, a copy of the splats,
    so that tiles read memory in order; rows [n, 2] int32, the range of rows of the band (0 to 16)
    that a splat may touch; and starts [tiles + 2] and items, int32: tile t draws the local splats
    items[starts[t] : starts[t + 1]].
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
        # Columns that the ellipse s = cutoff covers inside the band. Its right and left edges
        # x(dy) = mx − shear·dy ± √((cutoff − av·dy²)/au) have their extrema at dy = ±rightmost_dy,
        # or else at the end of the band that is nearest to it.
        x, y, shear, au, av = local[j, X], local[j, Y], local[j, SHEAR], local[j, AU], local[j, AV]
        cutoff, rightmost_dy = local[j, CUTOFF], local[j, RIGHTMOST_DY]
        low, high = top - y, bottom - y
        dy = min(max(rightmost_dy, low), high)
        right = x - shear * dy + math.sqrt(max(cutoff - av * dy * dy, ZERO) / au)
        dy = min(max(-rightmost_dy, low), high)
        left = x - shear * dy - math.sqrt(max(cutoff - av * dy * dy, ZERO) / au)
        slack = SLACK_PX + SLACK_RELATIVE * (abs(left) + abs(right))
        # Clamp to the image before the conversion to integers. `int` rounds towards 0, so the right
        # end is one past the last tile.
        first = min(max((left - slack) * TILES_PER_PX, ZERO), np.float32(tiles))
        last = min(max((right + slack) * TILES_PER_PX + ONE, ZERO), np.float32(tiles))
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


@njit_vector
def _falloff(u, dy, au8, av8, cutoff8):
    """exp(−s) with s/8 = au8·u² + av8·dy², and whether s is at most the cutoff."""
    y = au8 * u * u + av8 * dy * dy
    inside = y <= cutoff8
    y = y if y < EIGHTH * MAX_CUTOFF else EIGHTH * MAX_CUTOFF
    e = ((((E5 * y + E4) * y + E3) * y + E2) * y + E1) * y + E0
    e = e * e
    e = e * e
    return e * e, inside


@njit_vector
def _start_tile(scratch, x0, y0, width, height):
    """Initialize the tile with top-left pixel (x0, y0): T = 1 inside the image, −1 outside."""
    for pixel in range(PIXELS):
        k = np.uint64(pixel)
        x, y = x0 + pixel % TILE, y0 + pixel // TILE
        scratch[PX + k], scratch[PY + k] = np.float32(x) + HALF, np.float32(y) + HALF
        scratch[T + k] = ONE if x < width and y < height else -ONE


@njit_vector
def _composite(scratch, local, j, rows, normal):
    """Composite splat j of the band into its rows of a tile.

    numba compiles two versions: with normals, and without (`normal` is None).
    """
    mx, my, shear, opacity = local[j, X], local[j, Y], local[j, SHEAR], local[j, OPACITY]
    au8, av8, cutoff8 = local[j, AU] * EIGHTH, local[j, AV] * EIGHTH, local[j, CUTOFF] * EIGHTH
    red, green, blue, depth = local[j, RED], local[j, GREEN], local[j, BLUE], local[j, DEPTH]
    nx, ny, nz = local[j, NORMAL_X], local[j, NORMAL_Y], local[j, NORMAL_Z]
    for k in range(np.uint64(rows[j, 0]) * ROW, np.uint64(rows[j, 1]) * ROW):
        dy = scratch[PY + k] - my
        u = scratch[PX + k] - mx + shear * dy
        e, inside = _falloff(u, dy, au8, av8, cutoff8)
        alpha = opacity * e
        alpha = alpha if alpha < MAX_ALPHA else MAX_ALPHA
        t = scratch[T + k]
        w = alpha * t
        t_after = t - w
        # Skip the splat that would reduce T to 1e-4 or below, and all after it. Finished pixels
        # have t < 0, so their t_after is negative too.
        drawn = inside and t_after > MIN_T
        w = w if drawn else ZERO
        t_if_not_drawn = -abs(t) if inside else t
        scratch[T + k] = t_after if drawn else t_if_not_drawn
        scratch[R + k] += w * red
        scratch[G + k] += w * green
        scratch[B + k] += w * blue
        scratch[Z + k] += w * depth
        scratch[W + k] += w
        if normal is not None:
            scratch[NX + k] += w * nx
            scratch[NY + k] += w * ny
            scratch[NZ + k] += w * nz


@njit_vector
def _count_unfinished(scratch):
    """Number of pixels of the tile that are not finished."""
    n = 0
    for k in range(np.uint64(PIXELS)):
        n += 1 if scratch[T + k] > ZERO else 0
    return n


@njit
def forward(
    piece, pieces, splats, order, order_rows, counts, background, rgb, alpha, depth, normal, drawn
):
    """Render all views. The tasks are (view, band) pairs.

    Reads splats [B, N, COLUMNS], the output of `sort`, and background [B, 3]. Writes rgb
    [B, H, W, 3], alpha and depth [B, H, W, 1], normal [B, H, W, 3] unless it is None, and drawn
    [B, bands, tiles] int32: the number of splats that each tile processed before it was finished.
    """
    height, width = rgb.shape[1], rgb.shape[2]
    bands, tiles = drawn.shape[1], drawn.shape[2]
    scratch = np.empty(SCRATCH, np.float32)
    for task in range(piece, splats.shape[0] * bands, pieces):
        view, band = task // bands, task % bands
        _, local, rows, starts, items = _bin_band(
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
                if _count_unfinished(scratch) == 0:
                    break
            drawn[view, band, tile] = j - starts[tile]
            for y in range(y0, min(y0 + BAND, height)):
                for x in range(x0, min(x0 + TILE, width)):
                    k = np.uint64((y - y0) * TILE + x - x0)
                    t = abs(scratch[T + k])
                    # 1 − t would be inaccurate where alpha is small.
                    weight_sum = scratch[W + k]
                    rgb[view, y, x, 0] = scratch[R + k] + t * background[view, 0]
                    rgb[view, y, x, 1] = scratch[G + k] + t * background[view, 1]
                    rgb[view, y, x, 2] = scratch[B + k] + t * background[view, 2]
                    alpha[view, y, x, 0] = weight_sum
                    depth[view, y, x, 0] = (
                        scratch[Z + k] / weight_sum if weight_sum > ZERO else ZERO
                    )
                    if normal is not None:
                        normal[view, y, x, 0] = scratch[NX + k]
                        normal[view, y, x, 1] = scratch[NY + k]
                        normal[view, y, x, 2] = scratch[NZ + k]


@njit_vector
def _composite_backward(scratch, local, j, rows, sums, row, g_depth, g_normal):
    """Add the gradient sums of splat j over its rows of a tile to a row of `sums`.

    Advances T and BEHIND of the tile past the splat.
    """
    mx, my, shear, opacity = local[j, X], local[j, Y], local[j, SHEAR], local[j, OPACITY]
    au8, av8, cutoff8 = local[j, AU] * EIGHTH, local[j, AV] * EIGHTH, local[j, CUTOFF] * EIGHTH
    red, green, blue, depth = local[j, RED], local[j, GREEN], local[j, BLUE], local[j, DEPTH]
    nx, ny, nz = local[j, NORMAL_X], local[j, NORMAL_Y], local[j, NORMAL_Z]
    v_sum = vu = vy = vuu = vuy = vyy = ZERO
    v_red = v_green = v_blue = v_depth = v_nx = v_ny = v_nz = ZERO
    for k in range(np.uint64(rows[j, 0]) * ROW, np.uint64(rows[j, 1]) * ROW):
        dy = scratch[PY + k] - my
        u = scratch[PX + k] - mx + shear * dy
        e, inside = _falloff(u, dy, au8, av8, cutoff8)
        raw = opacity * e
        alpha = raw if raw < MAX_ALPHA else MAX_ALPHA
        t = scratch[T + k]
        w = alpha * t
        t_after = t - w
        drawn = inside and t_after > MIN_T
        w = w if drawn else ZERO
        t_if_not_drawn = -abs(t) if inside else t
        g_w = (
            red * scratch[R + k] + green * scratch[G + k] + blue * scratch[B + k] - scratch[G_T + k]
        )
        if g_depth is not None:
            g_w += (depth - scratch[MEAN_Z + k]) * scratch[Z + k]
        if g_normal is not None:
            g_w += nx * scratch[NX + k] + ny * scratch[NY + k] + nz * scratch[NZ + k]
        behind = scratch[BEHIND + k] - w * g_w
        scratch[BEHIND + k] = behind
        scratch[T + k] = t_after if drawn else t_if_not_drawn
        # An alpha clamped at 0.999 has zero gradient.
        v = raw * (t * g_w - behind / (ONE - alpha))
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
    """Compute gradient sums per band and splat. The tasks are rows (view, band) of `tasks`.

    Task t writes its sums to sums[offsets[t] : offsets[t + 1]], and the indices of their splats to
    the same range of `ids`. Reads the images that `forward` rendered and their gradients, of the
    same shapes. g_depth, or g_normal and normal, are None where the loss does not use them; numba
    compiles a kernel for each case.
    """
    height, width = rgb.shape[1], rgb.shape[2]
    tiles = drawn.shape[2]
    scratch = np.empty(SCRATCH, np.float32)
    for task in range(piece, tasks.shape[0], pieces):
        view, band = tasks[task, 0], tasks[task, 1]
        band_ids, local, rows, starts, items = _bin_band(
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
                    g_r, g_g = g_rgb[view, y, x, 0], g_rgb[view, y, x, 1]
                    g_b, g_a = g_rgb[view, y, x, 2], g_alpha[view, y, x, 0]
                    scratch[R + k], scratch[G + k], scratch[B + k] = g_r, g_g, g_b
                    scratch[G_T + k] = g_r * red + g_g * green + g_b * blue - g_a
                    weight_sum = alpha[view, y, x, 0]
                    behind = (
                        g_r * (rgb[view, y, x, 0] - red)
                        + g_g * (rgb[view, y, x, 1] - green)
                        + g_b * (rgb[view, y, x, 2] - blue)
                    )
                    behind += g_a * weight_sum
                    if g_depth is not None:
                        scratch[Z + k] = (
                            g_depth[view, y, x, 0] / weight_sum if weight_sum > ZERO else ZERO
                        )
                        scratch[MEAN_Z + k] = depth[view, y, x, 0]
                    if g_normal is not None:
                        n_x, n_y = g_normal[view, y, x, 0], g_normal[view, y, x, 1]
                        n_z = g_normal[view, y, x, 2]
                        scratch[NX + k], scratch[NY + k], scratch[NZ + k] = n_x, n_y, n_z
                        behind += (
                            n_x * normal[view, y, x, 0]
                            + n_y * normal[view, y, x, 1]
                            + n_z * normal[view, y, x, 2]
                        )
                    scratch[BEHIND + k] = behind
            for j in range(starts[tile], starts[tile] + drawn[view, band, tile]):
                _composite_backward(
                    scratch, local, items[j], rows, sums, start + items[j], g_depth, g_normal
                )


@njit
def gather(piece, pieces, tasks, offsets, sums, ids, totals):
    """Add the sums [rows, columns] of all bands, in order, to totals [B, N, COLUMNS].

    The tasks are views.
    """
    for view in range(piece, totals.shape[0], pieces):
        for task in range(tasks.shape[0]):
            if tasks[task, 0] == view:
                for j in range(offsets[task], offsets[task + 1]):
                    i = ids[j]
                    for c in range(sums.shape[1]):
                        totals[view, i, c] += sums[j, c]


@njit
def finish(piece, pieces, splats, totals, g_means2d):
    """Convert gradient sums to gradients of the projected splats, in place in `totals`.

    totals is [B, N, COLUMNS]; also writes g_means2d [B, N, 2]. The tasks are blocks of 256 splats.
    Here s = au·u² + av·dy² and u = dx + shear·dy, with (dx, dy) from the splat to the pixel, and
    v = ∂L/∂ln α = −∂L/∂s.
    """
    n = splats.shape[1]
    for block in range(piece, (n + 255) // 256, pieces):
        for view in range(splats.shape[0]):
            for i in range(256 * block, min(256 * block + 256, n)):
                shear, opacity = splats[view, i, SHEAR], splats[view, i, OPACITY]
                au, av = splats[view, i, AU], splats[view, i, AV]
                v, vu, vy = totals[view, i, V], totals[view, i, VU], totals[view, i, VY]
                vuu, vuy, vyy = totals[view, i, VUU], totals[view, i, VUY], totals[view, i, VYY]
                g_x = TWO * au * vu
                g_means2d[view, i, 0], g_means2d[view, i, 1] = g_x, shear * g_x + TWO * av * vy
                color = totals[view, i, V_RED], totals[view, i, V_GREEN], totals[view, i, V_BLUE]
                depth = totals[view, i, V_DEPTH]
                normal = totals[view, i, V_NX], totals[view, i, V_NY], totals[view, i, V_NZ]
                totals[view, i, X], totals[view, i, Y] = ZERO, ZERO
                totals[view, i, SHEAR] = -TWO * au * vuy
                totals[view, i, AU], totals[view, i, AV] = -vuu, -vyy
                totals[view, i, OPACITY] = v / opacity if opacity > ZERO else ZERO
                totals[view, i, RED], totals[view, i, GREEN], totals[view, i, BLUE] = color
                totals[view, i, DEPTH] = depth
                totals[view, i, NORMAL_X] = normal[0]
                totals[view, i, NORMAL_Y] = normal[1]
                totals[view, i, NORMAL_Z] = normal[2]
