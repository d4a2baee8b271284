# pyright: basic
# numba compiles these functions and infers the types of their arguments.
"""numba kernels that project splats to the image plane, forward and backward.

Import this module only when it is needed, because it imports numba.

EWA splatting (Zwicker et al., 2001) as in 3D Gaussian Splatting (Kerbl et al., 2023). Let (x, y, z)
be the position in camera space, W the world-to-camera rotation, J the Jacobian of the projection,
and M = R·S the splat's axes times its scales. The covariance in pixels is Σ' = P·Pᵀ + blur·I with
the 2×3 matrix P = J·W·M. All of this is computed in float64, because float32 would lose the
determinant of Σ' for long, thin splats. The cost is small: a splat is projected once per view,
while a pixel loop runs millions of times.

The pixel loops evaluate the exponent s of the Gaussian as a sum of squares instead of using the
inverse of Σ':
    u = dx + shear·dy,  s = au·u² + av·dy²
    shear = −Σ'xy/Σ'yy,  au = 1/(2(Σ'xx − Σ'xy²/Σ'yy)),  av = 1/(2Σ'yy)
This costs the same, is never negative, and has no cancellation.
"""

import math

import numpy as np

from gs3d.core.runtime.cache import import_numba

numba = import_numba()
njit = numba.njit(cache=True, nogil=True, error_model="numpy")
# `contract` allows fused multiply-adds. Flags that assume finite numbers (`nnan`, `ninf`) would
# break the checks for NaN and infinity.
njit_contract = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})

# Columns of a projected splat, one cache line of float32. At s = CUTOFF, alpha falls to 1/255.
# FIRST_ROW is the first pixel row that the splat may touch, END_ROW one past the last; both are 0
# if there is none. numba's cache only checks the file that contains a kernel: after changing these
# numbers, touch _tiles.py as well.
(
    X,
    Y,
    SHEAR,
    AU,
    AV,
    OPACITY,
    RED,
    GREEN,
    BLUE,
    DEPTH,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    CUTOFF,
    FIRST_ROW,
    END_ROW,
) = range(16)
COLUMNS = 16

# Columns of a camera, float64. Columns 0-8 are the rotation by rows, 9-11 the translation, 12-14
# the camera center. LEFT, RIGHT, TOP and BOTTOM are the limits of the slopes x/z and y/z. BLUR is
# added to the variances of the projected splats, in px².
FX, FY, CX, CY, LEFT, RIGHT, TOP, BOTTOM, BLUR = range(15, 24)
CAMERA_COLUMNS = 24

NEAR, FAR = 0.01, 1e10
MIN_ALPHA = 1.0 / 255.0
# A quaternion with a smaller squared length is the identity rotation.
MIN_QUAT2 = 1e-24
# Larger variances in px² would overflow float32; such splats are not rendered.
MAX_PX2 = 1e24
MAX_RADIUS_PX = 1e9


@njit_contract
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit_contract
def _add(a, b):
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


@njit_contract
def _scaled(a, k):
    return (a[0] * k, a[1] * k, a[2] * k)


@njit_contract
def _row3(m, i):
    return (np.float64(m[i, 0]), np.float64(m[i, 1]), np.float64(m[i, 2]))


@njit_contract
def _unit_quat(quats, i):
    """Normalized quaternion w, x, y, z and 1/length; the identity and 0 for a zero quaternion."""
    w, x = np.float64(quats[i, 0]), np.float64(quats[i, 1])
    y, z = np.float64(quats[i, 2]), np.float64(quats[i, 3])
    n2 = w * w + x * x + y * y + z * z
    if not n2 > MIN_QUAT2:
        return 1.0, 0.0, 0.0, 0.0, 0.0
    r = 1.0 / math.sqrt(n2)
    return w * r, x * r, y * r, z * r, r


@njit_contract
def _axes(w, x, y, z):
    """Columns of the rotation matrix: the splat's axes in the world."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )


@njit_contract
def _camera_row(camera, i):
    return (camera[3 * i], camera[3 * i + 1], camera[3 * i + 2])


@njit_contract
def _jacobian_rows(camera, x, y, z):
    """Rows of J·W, and the slopes x/z and y/z that J uses, clamped to 1.3 times the image size."""
    w0, w1, w2 = _camera_row(camera, 0), _camera_row(camera, 1), _camera_row(camera, 2)
    slope_x = min(max(x / z, camera[LEFT]), camera[RIGHT])
    slope_y = min(max(y / z, camera[TOP]), camera[BOTTOM])
    kx, ky = camera[FX] / z, camera[FY] / z
    a0 = _scaled(_add(w0, _scaled(w2, -slope_x)), kx)
    a1 = _scaled(_add(w1, _scaled(w2, -slope_y)), ky)
    return a0, a1, slope_x, slope_y


@njit_contract
def _shortest_axis(scales, i):
    """Index of the shortest axis; the first one in case of a tie."""
    if scales[i, 0] <= scales[i, 1]:
        return 0 if scales[i, 0] <= scales[i, 2] else 2
    return 1 if scales[i, 1] <= scales[i, 2] else 2


@njit_contract
def _sh_basis(count, d, basis):
    """Write `count` = (degree + 1)² real spherical harmonics at the unit vector d to `basis`.

    Degree 0 to 3, in the order and with the signs of 3D Gaussian Splatting.
    """
    x, y, z = d
    basis[0] = 0.28209479177387814
    if count > 1:
        basis[1] = -0.4886025119029199 * y
        basis[2] = 0.4886025119029199 * z
        basis[3] = -0.4886025119029199 * x
    if count > 4:
        basis[4] = 1.0925484305920792 * x * y
        basis[5] = -1.0925484305920792 * y * z
        basis[6] = 0.31539156525252005 * (3 * z * z - 1)
        basis[7] = -1.0925484305920792 * x * z
        basis[8] = 0.5462742152960396 * (x * x - y * y)
    if count > 9:
        basis[9] = -0.5900435899266435 * y * (3 * x * x - y * y)
        basis[10] = 2.890611442640554 * x * y * z
        basis[11] = -0.4570457994644658 * y * (5 * z * z - 1)
        basis[12] = 0.3731763325901154 * z * (5 * z * z - 3)
        basis[13] = -0.4570457994644658 * x * (5 * z * z - 1)
        basis[14] = 1.445305721320277 * z * (x * x - y * y)
        basis[15] = -0.5900435899266435 * x * (x * x - 3 * y * y)


@njit_contract
def _sh_basis_gradient(count, d, g):
    """Gradient of Σ g·basis(d) with respect to d."""
    x, y, z = d
    gx, gy, gz = 0.0, 0.0, 0.0
    if count > 1:
        gx -= 0.4886025119029199 * g[3]
        gy -= 0.4886025119029199 * g[1]
        gz += 0.4886025119029199 * g[2]
    if count > 4:
        gx += 1.0925484305920792 * (y * g[4] - z * g[7] + x * g[8])
        gy += 1.0925484305920792 * (x * g[4] - z * g[5] - y * g[8])
        gz += 1.0925484305920792 * (-y * g[5] - x * g[7]) + 1.8923493915151202 * z * g[6]
    if count > 9:
        five = 5 * z * z - 1
        gx += -3.540261539559861 * x * y * g[9] + 2.890611442640554 * (
            y * z * g[10] + x * z * g[14]
        )
        gx += -0.4570457994644658 * five * g[13] - 1.7701307697799304 * (x * x - y * y) * g[15]
        gy += -1.7701307697799304 * (x * x - y * y) * g[9] + 2.890611442640554 * (
            x * z * g[10] - y * z * g[14]
        )
        gy += -0.4570457994644658 * five * g[11] + 3.540261539559861 * x * y * g[15]
        gz += 2.890611442640554 * x * y * g[10] - 4.570457994644658 * z * (y * g[11] + x * g[13])
        gz += (
            0.3731763325901154 * (15 * z * z - 3) * g[12]
            + 1.445305721320277 * (x * x - y * y) * g[14]
        )
    return gx, gy, gz


@njit
def _pixel_range(center, extent, size):
    """Range [low, high) of the pixels with centers within `extent` of `center`.

    The range is conservative: it may contain a pixel too many, but never one too few.
    """
    slack = 1e-3 + 1e-5 * (extent + abs(center))
    low = min(max(math.ceil(center - extent - slack - 0.5), 0.0), float(size))
    high = min(max(math.floor(center + extent + slack - 0.5) + 1.0, 0.0), float(size))
    return int(low), int(high)


@njit
def project(
    piece,
    pieces,
    means,
    quats,
    scales,
    opacities,
    sh,
    cameras,
    width,
    height,
    normals,
    splats,
    means2d,
    radii,
):
    """Project all splats into all views. The tasks are blocks of 256 splats.

    Reads means [N, 3], quats [N, 4], scales [N, 3], opacities [N] and sh [N, K, 3] float32, and
    cameras [B, CAMERA_COLUMNS] float64. Writes splats [B, N, COLUMNS] and means2d [B, N, 2]
    float32, and radii [B, N, 2] int32 (0 = not visible).
    """
    count = sh.shape[1]
    basis = np.zeros(16)
    for block in range(piece, (means.shape[0] + 255) // 256, pieces):
        for i in range(256 * block, min(256 * block + 256, means.shape[0])):
            w, x, y, z, _ = _unit_quat(quats, i)
            r0, r1, r2 = _axes(w, x, y, z)
            m0, m1 = _scaled(r0, scales[i, 0]), _scaled(r1, scales[i, 1])
            m2 = _scaled(r2, scales[i, 2])
            mean = _row3(means, i)
            opacity = np.float64(opacities[i])
            # Exact bounds: beyond s = ln(255 o), alpha is below 1/255 and is skipped (StopThePop,
            # App. B.2).
            cutoff = math.log(opacity / MIN_ALPHA) if opacity >= MIN_ALPHA else 0.0
            for view in range(cameras.shape[0]):
                camera = cameras[view]
                for c in range(COLUMNS):
                    splats[view, i, c] = 0
                means2d[view, i, 0], means2d[view, i, 1] = 0, 0
                radii[view, i, 0], radii[view, i, 1] = 0, 0
                tx = _dot(_camera_row(camera, 0), mean) + camera[9]
                ty = _dot(_camera_row(camera, 1), mean) + camera[10]
                tz = _dot(_camera_row(camera, 2), mean) + camera[11]
                # All conditions are false for NaN, so splats with NaN are not rendered.
                if not (tz > NEAR and tz < FAR and opacity >= MIN_ALPHA):
                    continue
                a0, a1, _, _ = _jacobian_rows(camera, tx, ty, tz)
                p00, p01, p02 = _dot(a0, m0), _dot(a0, m1), _dot(a0, m2)
                p10, p11, p12 = _dot(a1, m0), _dot(a1, m1), _dot(a1, m2)
                cxx = p00 * p00 + p01 * p01 + p02 * p02 + camera[BLUR]
                cxy = p00 * p10 + p01 * p11 + p02 * p12
                cyy = p10 * p10 + p11 * p11 + p12 * p12 + camera[BLUR]
                q = cxx - cxy * cxy / cyy
                px, py = camera[FX] * tx / tz + camera[CX], camera[FY] * ty / tz + camera[CY]
                ex, ey = math.sqrt(2 * cutoff * cxx), math.sqrt(2 * cutoff * cyy)
                radius_x, radius_y = math.ceil(ex), math.ceil(ey)
                if not (q > 0 and cxx < MAX_PX2 and cyy < MAX_PX2 and ex > 0):
                    continue
                if not (
                    px + radius_x > 0
                    and px - radius_x < width
                    and py + radius_y > 0
                    and py - radius_y < height
                ):
                    continue
                radii[view, i, 0] = int(min(radius_x, MAX_RADIUS_PX))
                radii[view, i, 1] = int(min(radius_y, MAX_RADIUS_PX))
                x0, x1 = _pixel_range(px, ex, width)
                y0, y1 = _pixel_range(py, ey, height)
                if x0 < x1 and y0 < y1:
                    splats[view, i, FIRST_ROW], splats[view, i, END_ROW] = y0, y1
                means2d[view, i, 0], means2d[view, i, 1] = px, py
                splats[view, i, X], splats[view, i, Y] = px, py
                splats[view, i, SHEAR] = -cxy / cyy
                splats[view, i, AU], splats[view, i, AV] = 0.5 / q, 0.5 / cyy
                splats[view, i, OPACITY], splats[view, i, CUTOFF] = opacity, cutoff
                splats[view, i, DEPTH] = tz
                if count > 1:
                    d = (mean[0] - camera[12], mean[1] - camera[13], mean[2] - camera[14])
                    d = _scaled(d, 1 / math.sqrt(_dot(d, d)))
                    _sh_basis(count, d, basis)
                else:
                    basis[0] = 0.28209479177387814
                for c in range(3):
                    color = 0.5
                    for k in range(count):
                        color += basis[k] * sh[i, k, c]
                    splats[view, i, RED + c] = max(color, 0.0)
                if normals:
                    axis = _shortest_axis(scales, i)
                    n = r0 if axis == 0 else (r1 if axis == 1 else r2)
                    sight = (mean[0] - camera[12], mean[1] - camera[13], mean[2] - camera[14])
                    n = _scaled(n, -1.0 if _dot(n, sight) > 0 else 1.0)
                    splats[view, i, NORMAL_X] = n[0]
                    splats[view, i, NORMAL_Y] = n[1]
                    splats[view, i, NORMAL_Z] = n[2]


@njit
def project_backward(
    piece,
    pieces,
    means,
    quats,
    scales,
    sh,
    cameras,
    normals,
    splats,
    radii,
    g_splats,
    g_means2d,
    g_means,
    g_quats,
    g_scales,
    g_opacities,
    g_sh,
):
    """Backward pass of `project`. The tasks are blocks of 256 splats.

    Reads the gradients g_splats [B, N, COLUMNS] and g_means2d [B, N, 2]. Writes those of the five
    inputs, summed over views. One task sums all views of a splat, in order, so the sum does not
    depend on the number of threads.
    """
    count = sh.shape[1]
    basis, g_basis = np.zeros(16), np.zeros(16)
    sum_sh = np.zeros((16, 3))
    for block in range(piece, (means.shape[0] + 255) // 256, pieces):
        for i in range(256 * block, min(256 * block + 256, means.shape[0])):
            w, x, y, z, inverse_length = _unit_quat(quats, i)
            r0, r1, r2 = _axes(w, x, y, z)
            s0, s1 = np.float64(scales[i, 0]), np.float64(scales[i, 1])
            s2 = np.float64(scales[i, 2])
            m0, m1, m2 = _scaled(r0, s0), _scaled(r1, s1), _scaled(r2, s2)
            mean = _row3(means, i)
            axis = _shortest_axis(scales, i)
            zero = (0.0, 0.0, 0.0)
            g_mean, g_m0, g_m1, g_m2, g_n = zero, zero, zero, zero, zero
            g_opacity = 0.0
            sum_sh[:count] = 0
            visible = False
            for view in range(cameras.shape[0]):
                if radii[view, i, 0] == 0:
                    continue
                visible = True
                camera = cameras[view]
                g_px, g_py = np.float64(g_means2d[view, i, 0]), np.float64(g_means2d[view, i, 1])
                w0, w1, w2 = _camera_row(camera, 0), _camera_row(camera, 1), _camera_row(camera, 2)
                tx = _dot(w0, mean) + camera[9]
                ty = _dot(w1, mean) + camera[10]
                tz = _dot(w2, mean) + camera[11]
                a0, a1, slope_x, slope_y = _jacobian_rows(camera, tx, ty, tz)
                p00, p01, p02 = _dot(a0, m0), _dot(a0, m1), _dot(a0, m2)
                p10, p11, p12 = _dot(a1, m0), _dot(a1, m1), _dot(a1, m2)
                cxx = p00 * p00 + p01 * p01 + p02 * p02 + camera[BLUR]
                cxy = p00 * p10 + p01 * p11 + p02 * p12
                cyy = p10 * p10 + p11 * p11 + p12 * p12 + camera[BLUR]
                shear, q = -cxy / cyy, cxx - cxy * cxy / cyy
                # From shear, au = 1/2q and av = 1/2Σ'yy back to Σ', with ∂q/∂Σ'xy = 2 shear and
                # ∂q/∂Σ'yy = shear².
                g_q = -0.5 * g_splats[view, i, AU] / (q * q)
                g_cxx = g_q
                g_cxy = 2 * shear * g_q - g_splats[view, i, SHEAR] / cyy
                g_cyy = (
                    shear * shear * g_q
                    - shear * g_splats[view, i, SHEAR] / cyy
                    - 0.5 * g_splats[view, i, AV] / (cyy * cyy)
                )
                # From Σ' = P·Pᵀ + blur·I back to P, and from P = (J·W)·M back to J·W and M.
                g_p00, g_p10 = 2 * g_cxx * p00 + g_cxy * p10, 2 * g_cyy * p10 + g_cxy * p00
                g_p01, g_p11 = 2 * g_cxx * p01 + g_cxy * p11, 2 * g_cyy * p11 + g_cxy * p01
                g_p02, g_p12 = 2 * g_cxx * p02 + g_cxy * p12, 2 * g_cyy * p12 + g_cxy * p02
                g_m0 = _add(g_m0, _add(_scaled(a0, g_p00), _scaled(a1, g_p10)))
                g_m1 = _add(g_m1, _add(_scaled(a0, g_p01), _scaled(a1, g_p11)))
                g_m2 = _add(g_m2, _add(_scaled(a0, g_p02), _scaled(a1, g_p12)))
                g_a0 = _add(_add(_scaled(m0, g_p00), _scaled(m1, g_p01)), _scaled(m2, g_p02))
                g_a1 = _add(_add(_scaled(m0, g_p10), _scaled(m1, g_p11)), _scaled(m2, g_p12))
                # The rows of J·W are (f/z)·(W0 − slope·W2) and (f/z)·(W1 − slope·W2). A clamped
                # slope has zero gradient.
                kx, ky = camera[FX] / tz, camera[FY] / tz
                g_slope_x, g_slope_y = -kx * _dot(g_a0, w2), -ky * _dot(g_a1, w2)
                g_z = g_splats[view, i, DEPTH] - (_dot(g_a0, a0) + _dot(g_a1, a1)) / tz
                if slope_x != tx / tz:
                    g_slope_x = 0.0
                if slope_y != ty / tz:
                    g_slope_y = 0.0
                g_x = kx * g_px + g_slope_x / tz
                g_y = ky * g_py + g_slope_y / tz
                g_z -= (g_x * tx + g_y * ty) / tz
                g_mean = _add(
                    g_mean, _add(_add(_scaled(w0, g_x), _scaled(w1, g_y)), _scaled(w2, g_z))
                )
                g_opacity += g_splats[view, i, OPACITY]
                # Color. A channel that was clamped at 0 has zero gradient.
                c0 = np.float64(g_splats[view, i, RED]) if splats[view, i, RED] > 0 else 0.0
                c1 = np.float64(g_splats[view, i, GREEN]) if splats[view, i, GREEN] > 0 else 0.0
                c2 = np.float64(g_splats[view, i, BLUE]) if splats[view, i, BLUE] > 0 else 0.0
                sight = (mean[0] - camera[12], mean[1] - camera[13], mean[2] - camera[14])
                basis[0] = 0.28209479177387814
                if count > 1:
                    inverse_distance = 1 / math.sqrt(_dot(sight, sight))
                    d = _scaled(sight, inverse_distance)
                    _sh_basis(count, d, basis)
                    for k in range(count):
                        g_basis[k] = c0 * sh[i, k, 0] + c1 * sh[i, k, 1] + c2 * sh[i, k, 2]
                    g_d = _sh_basis_gradient(count, d, g_basis)
                    g_d = _add(g_d, _scaled(d, -_dot(g_d, d)))
                    g_mean = _add(g_mean, _scaled(g_d, inverse_distance))
                for k in range(count):
                    sum_sh[k, 0] += c0 * basis[k]
                    sum_sh[k, 1] += c1 * basis[k]
                    sum_sh[k, 2] += c2 * basis[k]
                if normals:
                    n = r0 if axis == 0 else (r1 if axis == 1 else r2)
                    sign = -1.0 if _dot(n, sight) > 0 else 1.0
                    nx = sign * g_splats[view, i, NORMAL_X]
                    ny = sign * g_splats[view, i, NORMAL_Y]
                    nz = sign * g_splats[view, i, NORMAL_Z]
                    g_n = _add(g_n, (nx, ny, nz))
            if not visible:
                # Its values may be NaN or infinite, and 0 times infinity is not 0.
                g_means[i, :] = 0
                g_quats[i, :] = 0
                g_scales[i, :] = 0
                g_opacities[i] = 0
                g_sh[i, :, :] = 0
                continue
            g_r0, g_r1, g_r2 = _scaled(g_m0, s0), _scaled(g_m1, s1), _scaled(g_m2, s2)
            if normals:
                g_r0 = _add(g_r0, _scaled(g_n, 1.0 if axis == 0 else 0.0))
                g_r1 = _add(g_r1, _scaled(g_n, 1.0 if axis == 1 else 0.0))
                g_r2 = _add(g_r2, _scaled(g_n, 1.0 if axis == 2 else 0.0))
            g_w = 2 * (z * (g_r0[1] - g_r1[0]) + y * (g_r2[0] - g_r0[2]) + x * (g_r1[2] - g_r2[1]))
            g_x = 2 * (
                y * (g_r0[1] + g_r1[0])
                + z * (g_r0[2] + g_r2[0])
                + w * (g_r1[2] - g_r2[1])
                - 2 * x * (g_r1[1] + g_r2[2])
            )
            g_y = 2 * (
                x * (g_r0[1] + g_r1[0])
                + z * (g_r1[2] + g_r2[1])
                + w * (g_r2[0] - g_r0[2])
                - 2 * y * (g_r0[0] + g_r2[2])
            )
            g_z = 2 * (
                x * (g_r0[2] + g_r2[0])
                + y * (g_r1[2] + g_r2[1])
                + w * (g_r0[1] - g_r1[0])
                - 2 * z * (g_r0[0] + g_r1[1])
            )
            radial = g_w * w + g_x * x + g_y * y + g_z * z
            g_means[i, 0], g_means[i, 1], g_means[i, 2] = g_mean
            g_quats[i, 0] = (g_w - radial * w) * inverse_length
            g_quats[i, 1] = (g_x - radial * x) * inverse_length
            g_quats[i, 2] = (g_y - radial * y) * inverse_length
            g_quats[i, 3] = (g_z - radial * z) * inverse_length
            g_scales[i, 0], g_scales[i, 1] = _dot(g_m0, r0), _dot(g_m1, r1)
            g_scales[i, 2] = _dot(g_m2, r2)
            g_opacities[i] = g_opacity
            for k in range(count):
                for c in range(3):
                    g_sh[i, k, c] = sum_sh[k, c]
