# pyright: basic
# numba compiles these functions and infers the types of their arguments.
"""numba kernels that composite projected splats into pixels, forward and backward.

Import this module only when it is needed, because it imports numba.

Layout. An image is divided into bands of 16 pixel rows, and a band into tiles 8 pixels wide. 8
pixels are one AVX2 vector; for splats a few pixels wide, this takes a third less work than 16.
`sort` copies the splats of a view so that those of a band are close in memory, and `list_bands`
lists them in depth order. One task then renders one band of one view: it finds the tiles that each
splat touches and composites each tile front to back (Kerbl et al., 2023, Sec. 6), each splat in the
rows that it covers there (as in Speedy-Splat, Hanson et al., 2024, arXiv 2412.00578). Transmittance
and color are in
a scratch buffer that fits in the L1 cache. The loops over the pixels of a tile have no branches, so
LLVM vectorizes them. Nothing is stored per (pixel, splat) pair: the backward pass traverses the
same lists again, front to back.

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
    END_ROW,
    FIRST_ROW,
    GREEN,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    OPACITY,
    RED,
    SHEAR,
    X,
    Y,
)

numba = import_numba()
njit = numba.njit(cache=True, nogil=True, error_model="numpy")
# Allows reordered sums and fused multiply-adds. `nnan` and `ninf` stay off, so that comparisons
# with NaN and infinity stay correct.
njit_vector = numba.njit(
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"reassoc", "contract", "nsz", "arcp"},
    forceinline=True,
)
njit_inline = numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
njit_ordered = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True
)

# Pixel rows per band, pixel columns per tile.
BAND, TILE = 16, 8
PIXELS = BAND * TILE
# Items of a band that are kept for the backward pass, for each of its splats: more than are drawn
# where splats are a few pixels wide (at most 3.9 in a band of `benchmarks/raster.py`).
ROOM = 4
# Factor of the last row of an item.
ROWS = 32

ZERO, ONE, TWO, EIGHTH = np.float32(0), np.float32(1), np.float32(2), np.float32(0.125)
HALF = np.float32(0.5)
TILES_PER_PX = np.float32(1 / TILE)
# Margins for float32 rounding: absolute, and relative to the coordinate.
SLACK_PX, SLACK_RELATIVE = np.float32(1e-2), np.float32(1e-5)
MAX_ALPHA = np.float32(0.999)
MIN_T = np.float32(1e-4)
# Between 1 − 1/255, by which the smallest splat reduces T, and 1.
SLIGHTLY_LESS = np.float32(0.998)
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
#   LAST_T: in the backward pass, slightly less than the final transmittance.
# The offsets are unsigned, because numba checks signed indices for negative values, and loops with
# this check are not vectorized.
PX, PY, T, R, G, B, Z, W, NX, NY, NZ, BEHIND, G_T, MEAN_Z, LAST_T = (
    np.uint64(k * PIXELS) for k in range(15)
)
SCRATCH = 15 * PIXELS
ROW = np.uint64(TILE)

# Rows of what `_measure` reads and writes.
SHAPE_X, SHAPE_Y, SHAPE_SHEAR, SHAPE_AU, SHAPE_AV, SHAPE_CUTOFF = range(6)
FIRST_TILE, END_TILE, PER_C, LOWEST_DX = range(6, 10)

# Columns of a row of gradient sums, with v = ∂L/∂ln α: Σv, Σvu, Σv·dy, Σvu², Σvu·dy, Σv·dy², then
# color, depth and normal.
V, VU, VY, VUU, VUY, VYY, V_RED, V_GREEN, V_BLUE, V_DEPTH, V_NX, V_NY, V_NZ = range(13)


@njit
def sort(piece, pieces, splats, grouped, order, by_depth, counts, band_counts):
    """Sort the splats of each view that touch a pixel by depth. The tasks are views.

    Of counts[b] such splats, writes copies to grouped [B, N, COLUMNS], in groups that begin in the
    same band, each by depth; their indices to order [B, N] int32; and their places in `grouped` by
    depth to by_depth [B, N] int32. So the splats of a band are in few parts of memory. band_counts
    [B, bands + 1] is the number of splats that touch each band. It is a radix sort on the bits of
    the depth, which is positive. The sort is stable, so the image is deterministic.
    """
    n, bands = splats.shape[1], band_counts.shape[1] - 1
    ids, keys = np.empty(n, np.int32), np.empty(n, np.float32)
    other_ids, other_keys = np.empty(n, np.int32), np.empty(n, np.uint32)
    histogram = np.empty(2048, np.int64)
    free = np.empty(bands + 1, np.int64)  # the next place of each group
    # Splats are copied as pairs of numbers, which is half the work.
    pairs, grouped_pairs = splats.view(np.int64), grouped.view(np.int64)
    for view in range(piece, splats.shape[0], pieces):
        m = 0
        band_counts[view, :] = 0
        free[:] = 0
        for i in range(n):
            top, bottom = int(splats[view, i, FIRST_ROW]), int(splats[view, i, END_ROW])
            if top < bottom:
                ids[m], keys[m] = i, splats[view, i, DEPTH]
                m += 1
                free[top // BAND + 1] += 1
                band_counts[view, top // BAND] += 1
                band_counts[view, (bottom - 1) // BAND + 1] -= 1
        for k in range(1, bands + 1):
            free[k] += free[k - 1]
            band_counts[view, k] += band_counts[view, k - 1]
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
        for j in range(m):
            i = a[j]
            band = int(splats[view, i, FIRST_ROW]) // BAND
            place = free[band]
            free[band] = place + 1
            by_depth[view, j], order[view, place] = place, i
            for c in range(COLUMNS // 2):
                grouped_pairs[view, place, c] = pairs[view, i, c]
        counts[view] = m


@njit
def list_bands(piece, pieces, first, bands, offsets, grouped, by_depth, counts, listed):
    """List the splats of each band in depth order, from the output of `sort`. The tasks are views.

    Band first + t, counted over all views, gets listed[offsets[t] : offsets[t + 1]], places in
    `grouped`.
    """
    last = first + offsets.shape[0] - 1
    for view in range(piece, counts.shape[0], pieces):
        low, high = max(first - view * bands, 0), min(last - view * bands, bands)
        if low >= high:
            continue
        free = np.empty(bands, np.int64)
        for band in range(low, high):
            free[band] = offsets[view * bands + band - first]
        for j in range(counts[view]):
            place = by_depth[view, j]
            top, bottom = int(grouped[view, place, FIRST_ROW]), int(grouped[view, place, END_ROW])
            for band in range(max(top // BAND, low), min((bottom - 1) // BAND + 1, high)):
                listed[free[band]] = place
                free[band] += 1


@njit
def _copy(view, grouped, listed):
    """Copy splats of a band, so that tiles read memory in order: [n, COLUMNS] float32."""
    n = listed.shape[0]
    source, copy = grouped.view(np.int64), np.empty((n, COLUMNS // 2), np.int64)
    for j in range(n):
        place = listed[j]
        for c in range(COLUMNS // 2):
            copy[j, c] = source[view, place, c]
    return copy.view(np.float32)


@njit_vector
def _clamped(value, high):
    """`value` limited to [0, high]; 0 for NaN."""
    value = value if value > ZERO else ZERO
    return value if value < high else high


@njit_vector
def _measure(shapes, top, bottom, tiles):
    """Measure ellipses s = cutoff, from the first rows of shapes [10, n] to its last four.

    FIRST_TILE and END_TILE are the first tile, and one past the last, that an ellipse covers
    between the pixel centers top and bottom. Its right and left edges x(dy) = mx − shear·dy
    ± √((cutoff − av·dy²)/au) have their extrema at dy = ±rightmost_dy, or else at the end that is
    nearest to it. PER_C is 1/(au·shear² + av), and LOWEST_DX is the dx of the lowest point.
    """
    xs, ys, shears = shapes[SHAPE_X], shapes[SHAPE_Y], shapes[SHAPE_SHEAR]
    aus, avs, cutoffs = shapes[SHAPE_AU], shapes[SHAPE_AV], shapes[SHAPE_CUTOFF]
    firsts, ends = shapes[FIRST_TILE], shapes[END_TILE]
    per_cs, lowest_dxs = shapes[PER_C], shapes[LOWEST_DX]
    for j in range(np.uint64(shapes.shape[1])):
        x, shear, au, av, cutoff = xs[j], shears[j], aus[j], avs[j], cutoffs[j]
        per_au, per_c = ONE / au, ONE / (au * shear * shear + av)
        height2 = cutoff / av
        rightmost_dy = -shear * math.sqrt(height2 * (au * per_c))
        first_dy, last_dy = top - ys[j], bottom - ys[j]
        dy = rightmost_dy if rightmost_dy > first_dy else first_dy
        dy = dy if dy < last_dy else last_dy
        rest = cutoff - av * dy * dy
        half = math.sqrt((rest if rest > ZERO else ZERO) * per_au)
        right = x - shear * dy + half
        dy = -rightmost_dy if -rightmost_dy > first_dy else first_dy
        dy = dy if dy < last_dy else last_dy
        rest = cutoff - av * dy * dy
        half = math.sqrt((rest if rest > ZERO else ZERO) * per_au)
        left = x - shear * dy - half
        slack = SLACK_PX + SLACK_RELATIVE * (abs(left) + abs(right))
        firsts[j] = _clamped((left - slack) * TILES_PER_PX, tiles)
        ends[j] = _clamped((right + slack) * TILES_PER_PX + ONE, tiles)
        per_cs[j], lowest_dxs[j] = per_c, -shear * math.sqrt(height2)


@njit
def _bin_band(band, local, height, starts, ends):
    """Assign the splats of a band, local [n, COLUMNS] in depth order, to its tiles.

    Tile t may draw found[starts[t] : ends[t]], which are rows of `local`. Returns found [m] int32
    and what `_rows_in_tile` needs of the splats, and writes starts and ends, both [tiles] int64.
    """
    n, tiles = local.shape[0], ends.shape[0]
    y0, y1 = band * BAND, min(band * BAND + BAND, height)
    top, bottom = np.float32(y0) + HALF, np.float32(y1) - HALF
    shapes, spans = np.empty((10, n), np.float32), np.empty((n, 2), np.int32)
    for j in range(n):
        shapes[SHAPE_X, j], shapes[SHAPE_Y, j] = local[j, X], local[j, Y]
        shapes[SHAPE_AU, j], shapes[SHAPE_AV, j] = local[j, AU], local[j, AV]
        shapes[SHAPE_SHEAR, j], shapes[SHAPE_CUTOFF, j] = local[j, SHEAR], local[j, CUTOFF]
    _measure(shapes, top, bottom, np.float32(tiles))
    ends[:] = 0
    for j in range(n):
        # `int` rounds towards 0.
        spans[j, 0], spans[j, 1] = int(shapes[FIRST_TILE, j]), int(shapes[END_TILE, j])
        for tile in range(spans[j, 0], spans[j, 1]):
            ends[tile] += 1
    total = 0
    for tile in range(tiles):
        starts[tile] = total
        total += ends[tile]
        ends[tile] = starts[tile]
    found = np.empty(total, np.int32)
    for j in range(n):
        for tile in range(spans[j, 0], spans[j, 1]):
            found[ends[tile]] = j
            ends[tile] += 1
    return found, shapes


@njit_inline
def _rows_in_tile(shapes, local, j, x0, y0):
    """Rows of a tile that splat j of the band covers, as ROWS·end + first; 0 if there are none.

    They are found as the tiles are, with the axes exchanged. For a given dx,
    s = c·(dy − slope·dx)² + k·dx² with c = au·shear² + av.
    """
    au, cutoff, per_c = shapes[SHAPE_AU, j], shapes[SHAPE_CUTOFF, j], shapes[PER_C, j]
    slope, k = -au * shapes[SHAPE_SHEAR, j] * per_c, au * per_c * shapes[SHAPE_AV, j]
    lowest_dx, shift = shapes[LOWEST_DX, j], shapes[SHAPE_Y, j] - (np.float32(y0) + HALF)
    left = np.float32(x0) + HALF - shapes[SHAPE_X, j]
    right = left + np.float32(TILE - 1)
    dx = min(max(-lowest_dx, left), right)
    center, half = slope * dx, math.sqrt(max(cutoff - k * dx * dx, ZERO) * per_c)
    first_dy = center - half - SLACK_RELATIVE * (abs(center) + half)
    dx = min(max(lowest_dx, left), right)
    center, half = slope * dx, math.sqrt(max(cutoff - k * dx * dx, ZERO) * per_c)
    last_dy = center + half + SLACK_RELATIVE * (abs(center) + half)
    # One row more, since `int` rounds down.
    first = int(_clamped(first_dy + shift - SLACK_PX, np.float32(BAND)))
    end = int(_clamped(last_dy + shift + SLACK_PX + ONE, np.float32(BAND)))
    first = max(first, int(local[j, FIRST_ROW]) - y0)
    end = min(end, int(local[j, END_ROW]) - y0)
    return ROWS * end + first if first < end else 0


@njit_vector
def _falloff(u, dy, au8, av8, cutoff8):
    """exp(−s) with s/8 = au8·u² + av8·dy², and whether s is at most the cutoff."""
    y = au8 * u * u + av8 * dy * dy
    inside = y <= cutoff8
    y = y if y < EIGHTH * MAX_CUTOFF else EIGHTH * MAX_CUTOFF
    # In this order the processor has less to wait for than with Horner's.
    y2 = y * y
    e = ((E5 * y + E4) * y2 + (E3 * y + E2)) * y2 + (E1 * y + E0)
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
    first, end = rows % ROWS, rows // ROWS
    for k in range(np.uint64(first) * ROW, np.uint64(end) * ROW):
        dy = scratch[PY + k] - my
        u = scratch[PX + k] - mx + shear * dy
        e, inside = _falloff(u, dy, au8, av8, cutoff8)
        alpha = opacity * e
        alpha = alpha if alpha < MAX_ALPHA else MAX_ALPHA
        t = scratch[T + k]
        w = alpha * t
        t_after = t - w
        # Skip the splat that would reduce T to 1e-4 or below, and all after it. Finished pixels
        # have t < 0, so their t_after is negative too. `&`, because `and` gives branches, and with
        # these a store under a mask, which is slow on some processors.
        finishes = inside & (t_after <= MIN_T)
        w = w if inside & (not finishes) else ZERO
        scratch[T + k] = -abs(t) if finishes else t - w
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
    piece,
    pieces,
    first,
    offsets,
    grouped,
    listed,
    background,
    rgb,
    alpha,
    depth,
    normal,
    drawn,
    last_t,
    starts,
    items,
):
    """Render bands. Task t is band first + t, counted over all views.

    Reads the output of `sort` and `list_bands`, and background [B, 3]. Writes rgb
    [B, H, W, 3], alpha and depth [B, H, W, 1], normal [B, H, W, 3] unless it is None, and drawn
    [B, bands, tiles] int32: the number of splats that each tile drew before it was finished;
    and last_t [B, H, W]: the final transmittance.

    What was drawn is kept for `backward`: starts [B, bands, tiles] int64 says where the items of a
    tile begin, and items [ROOM · M, 2] int32, for M listed splats, holds the splat in the band and
    its rows. Where a band finds no room, its last start is −1.
    """
    height, width = rgb.shape[1], rgb.shape[2]
    bands, tiles = drawn.shape[1], drawn.shape[2]
    scratch = np.empty(SCRATCH, np.float32)
    begins, ends = np.empty(tiles, np.int64), np.empty(tiles, np.int64)
    for task in range(piece, offsets.shape[0] - 1, pieces):
        view, band = (first + task) // bands, (first + task) % bands
        local = _copy(view, grouped, listed[offsets[task] : offsets[task + 1]])
        room = items[ROOM * offsets[task] : ROOM * offsets[task + 1]]
        found, shapes = _bin_band(band, local, height, begins, ends)
        y0, place = band * BAND, 0
        for tile in range(tiles):
            x0 = tile * TILE
            _start_tile(scratch, x0, y0, width, height)
            scratch[R : BEHIND if normal is not None else NX] = ZERO
            starts[view, band, tile] = place
            i = begins[tile]
            while i < ends[tile]:
                stop = min(i + 16, ends[tile])
                while i < stop:
                    rows = _rows_in_tile(shapes, local, found[i], x0, y0)
                    if rows > 0:
                        if place < room.shape[0]:
                            room[place, 0], room[place, 1] = found[i], rows
                        place += 1
                        _composite(scratch, local, found[i], rows, normal)
                    i += 1
                if _count_unfinished(scratch) == 0:
                    break
            drawn[view, band, tile] = place - starts[view, band, tile]
            for y in range(y0, min(y0 + BAND, height)):
                for x in range(x0, min(x0 + TILE, width)):
                    k = np.uint64((y - y0) * TILE + x - x0)
                    t = abs(scratch[T + k])
                    last_t[view, y, x] = t
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
        if place > room.shape[0]:
            starts[view, band, tiles - 1] = -1


@njit
def _drawn_items(band, local, height, drawn, begins):
    """What `forward` keeps of a band, once more: its items and where those of each tile begin.

    If compilers round differently in the two kernels, those at the end of a tile may differ; where
    there are too few, the last ones have no rows.
    """
    starts, ends = np.empty_like(begins), np.empty_like(begins)
    found, shapes = _bin_band(band, local, height, starts, ends)
    items = np.zeros((drawn.sum(), 2), np.int32)
    place = 0
    for tile in range(len(begins)):
        begins[tile] = place
        i, stop = starts[tile], place + drawn[tile]
        while place < stop and i < ends[tile]:
            rows = _rows_in_tile(shapes, local, found[i], tile * TILE, band * BAND)
            if rows > 0:
                items[place, 0], items[place, 1] = found[i], rows
                place += 1
            i += 1
        place = stop
    return items


@njit_ordered
def _slope(t, g_w, behind, alpha):
    """∂L/∂α. The quotient does not wait for `behind`."""
    return t * g_w - behind * (ONE / (ONE - alpha))


@njit_vector
def _composite_backward(scratch, local, j, rows, sums, g_depth, g_normal):
    """Add the gradient sums of splat j of the band over its rows of a tile to its row of `sums`.

    Advances T and BEHIND of the tile past the splat.
    """
    mx, my, shear, opacity = local[j, X], local[j, Y], local[j, SHEAR], local[j, OPACITY]
    au8, av8, cutoff8 = local[j, AU] * EIGHTH, local[j, AV] * EIGHTH, local[j, CUTOFF] * EIGHTH
    red, green, blue, depth = local[j, RED], local[j, GREEN], local[j, BLUE], local[j, DEPTH]
    nx, ny, nz = local[j, NORMAL_X], local[j, NORMAL_Y], local[j, NORMAL_Z]
    v_sum = vu = vy = vuu = vuy = vyy = ZERO
    v_red = v_green = v_blue = v_depth = v_nx = v_ny = v_nz = ZERO
    first, end = rows % ROWS, rows // ROWS
    for k in range(np.uint64(first) * ROW, np.uint64(end) * ROW):
        dy = scratch[PY + k] - my
        u = scratch[PX + k] - mx + shear * dy
        e, inside = _falloff(u, dy, au8, av8, cutoff8)
        raw = opacity * e
        alpha = raw if raw < MAX_ALPHA else MAX_ALPHA
        t = scratch[T + k]
        w = alpha * t
        t_after = t - w
        # Behind the last splat that was drawn, T stays, so t_after is below it.
        drawn = inside & (t_after > scratch[LAST_T + k])
        w = w if drawn else ZERO
        g_w = (
            red * scratch[R + k] + green * scratch[G + k] + blue * scratch[B + k] - scratch[G_T + k]
        )
        if g_depth is not None:
            g_w += (depth - scratch[MEAN_Z + k]) * scratch[Z + k]
        if g_normal is not None:
            g_w += nx * scratch[NX + k] + ny * scratch[NY + k] + nz * scratch[NZ + k]
        behind = scratch[BEHIND + k] - w * g_w
        scratch[BEHIND + k] = behind
        scratch[T + k] = t - w
        # An alpha clamped at 0.999 has zero gradient.
        v = raw * _slope(t, g_w, behind, alpha)
        v = v if drawn & (raw <= MAX_ALPHA) else ZERO
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
    sums[j, V] += v_sum
    sums[j, VU] += vu
    sums[j, VY] += vy
    sums[j, VUU] += vuu
    sums[j, VUY] += vuy
    sums[j, VYY] += vyy
    sums[j, V_RED] += v_red
    sums[j, V_GREEN] += v_green
    sums[j, V_BLUE] += v_blue
    if g_depth is not None:
        sums[j, V_DEPTH] += v_depth
    if g_normal is not None:
        sums[j, V_NX] += v_nx
        sums[j, V_NY] += v_ny
        sums[j, V_NZ] += v_nz


@njit
def backward(
    piece,
    pieces,
    first,
    offsets,
    grouped,
    listed,
    drawn,
    last_t,
    starts,
    items,
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
):
    """Compute gradient sums per band and splat. Task t is band first + t, counted over all views.

    It writes the sums of the splats listed[offsets[t] : offsets[t + 1]] to that range of `sums`.
    Reads the images that `forward` rendered and their gradients, of the same shapes. g_depth, or
    g_normal and normal, are None where the loss does not use them; numba compiles a kernel for
    each case.
    """
    height, width = rgb.shape[1], rgb.shape[2]
    bands, tiles = drawn.shape[1], drawn.shape[2]
    scratch, begins = np.empty(SCRATCH, np.float32), np.empty(tiles, np.int64)
    for task in range(piece, offsets.shape[0] - 1, pieces):
        view, band = (first + task) // bands, (first + task) % bands
        local = _copy(view, grouped, listed[offsets[task] : offsets[task + 1]])
        own, begin = items[ROOM * offsets[task] : ROOM * offsets[task + 1]], starts[view, band]
        if begin[tiles - 1] < 0:
            begin = begins
            own = _drawn_items(band, local, height, drawn[view, band], begin)
        band_sums = sums[offsets[task] : offsets[task + 1]]
        band_sums[:] = ZERO
        red, green, blue = background[view, 0], background[view, 1], background[view, 2]
        y0 = band * BAND
        for tile in range(tiles):
            if drawn[view, band, tile] == 0:
                continue
            x0 = tile * TILE
            _start_tile(scratch, x0, y0, width, height)
            scratch[R:LAST_T] = ZERO
            scratch[LAST_T:] = np.inf  # outside the image nothing is drawn
            for y in range(y0, min(y0 + BAND, height)):
                for x in range(x0, min(x0 + TILE, width)):
                    k = np.uint64((y - y0) * TILE + x - x0)
                    scratch[LAST_T + k] = SLIGHTLY_LESS * last_t[view, y, x]
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
            for i in range(begin[tile], begin[tile] + drawn[view, band, tile]):
                j, rows = own[i, 0], own[i, 1]
                _composite_backward(scratch, local, j, rows, band_sums, g_depth, g_normal)


@njit
def gather(piece, pieces, first, bands, offsets, listed, sums, totals):
    """Add the sums [M, columns] of all bands, in order, to totals [B, N, COLUMNS], which are in the
    order of `grouped`. The tasks are views.
    """
    last = first + offsets.shape[0] - 1
    for view in range(piece, totals.shape[0], pieces):
        top, bottom = max(view * bands, first), min((view + 1) * bands, last)
        if top < bottom:
            for j in range(offsets[top - first], offsets[bottom - first]):
                place = listed[j]
                for c in range(sums.shape[1]):
                    totals[view, place, c] += sums[j, c]


@njit
def finish(piece, pieces, grouped, order, counts, totals, g_splats, g_means2d):
    """Convert gradient sums to gradients of the projected splats. Tasks are blocks of 256 places.

    Reads totals of `gather`, and writes g_splats [B, N, COLUMNS] and g_means2d [B, N, 2] of all
    splats that `sort` has found, in the order of the input. Here s = au·u² + av·dy² and
    u = dx + shear·dy, with (dx, dy) from the splat to the pixel, and v = ∂L/∂ln α = −∂L/∂s.
    """
    for block in range(piece, (order.shape[1] + 255) // 256, pieces):
        for view in range(counts.shape[0]):
            for j in range(256 * block, min(256 * block + 256, counts[view])):
                i = order[view, j]
                shear, opacity = grouped[view, j, SHEAR], grouped[view, j, OPACITY]
                au, av = grouped[view, j, AU], grouped[view, j, AV]
                g_x = TWO * au * totals[view, j, VU]
                g_means2d[view, i, 0] = g_x
                g_means2d[view, i, 1] = shear * g_x + TWO * av * totals[view, j, VY]
                g_splats[view, i, SHEAR] = -TWO * au * totals[view, j, VUY]
                g_splats[view, i, AU] = -totals[view, j, VUU]
                g_splats[view, i, AV] = -totals[view, j, VYY]
                g_splats[view, i, OPACITY] = totals[view, j, V] / opacity
                g_splats[view, i, RED] = totals[view, j, V_RED]
                g_splats[view, i, GREEN] = totals[view, j, V_GREEN]
                g_splats[view, i, BLUE] = totals[view, j, V_BLUE]
                g_splats[view, i, DEPTH] = totals[view, j, V_DEPTH]
                g_splats[view, i, NORMAL_X] = totals[view, j, V_NX]
                g_splats[view, i, NORMAL_Y] = totals[view, j, V_NY]
                g_splats[view, i, NORMAL_Z] = totals[view, j, V_NZ]
