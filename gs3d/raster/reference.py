# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch has no complete types for `checkpoint` and `Tensor.split`.
"""Reference rasterizer in plain PyTorch. Tests compare the other rasterizers with it.

3D Gaussian Splatting (Kerbl et al., 2023) with EWA projection (Zwicker et al., 2001) and the
constants of gsplat 1.5.3 in "classic" mode. It is short and slow: it evaluates every splat at every
pixel. Autograd computes the gradients. It works in float32 and float64, on any device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gs3d.core.cameras import Cameras
from gs3d.core.types import SH_C0, Render, Splats
from gs3d.raster._check import BLUR_PX2

if TYPE_CHECKING:
    from jaxtyping import Float

NEAR, FAR = 0.01, 1e10
MIN_ALPHA, MAX_ALPHA = 1 / 255, 0.999
MIN_TRANSMITTANCE = 1e-4
MIN_QUAT2 = 1e-24
MAX_PX2 = 1e24
CHUNK = 16_000_000
"""Maximum pixels × splats evaluated at a time, to limit memory."""


def rotations(quats: Float[Tensor, "N 4"]) -> Float[Tensor, "N 3 3"]:
    """Convert quaternions (w, x, y, z) of any length to rotation matrices.

    A zero quaternion gives the identity.
    """
    n2 = (quats * quats).sum(dim=1, keepdim=True)
    valid = n2 > MIN_QUAT2
    identity = quats.new_tensor([1.0, 0, 0, 0])
    # Without the inner `where`, the backward pass would multiply an infinite derivative by zero.
    unit = torch.where(valid, quats * torch.where(valid, n2, 1).rsqrt(), identity)
    w, x, y, z = unit.unbind(dim=1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def sh_basis(directions: Float[Tensor, "... 3"], count: int) -> Float[Tensor, "... K"]:
    """Evaluate real spherical harmonics at unit directions.

    K = `count` = (degree + 1)² for degree 0 to 3. The order and the signs are those of 3D Gaussian
    Splatting.
    """
    x, y, z = directions.unbind(dim=-1)
    values = [SH_C0 * torch.ones_like(x)]
    if count > 1:
        values += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if count > 4:
        values += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (3 * z * z - 1),
        ]
        values += [-1.0925484305920792 * x * z, 0.5462742152960396 * (x * x - y * y)]
    if count > 9:
        values += [-0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z]
        values += [
            -0.4570457994644658 * y * (5 * z * z - 1),
            0.3731763325901154 * z * (5 * z * z - 3),
        ]
        values += [
            -0.4570457994644658 * x * (5 * z * z - 1),
            1.445305721320277 * z * (x * x - y * y),
        ]
        values += [-0.5900435899266435 * x * (x * x - 3 * y * y)]
    return torch.stack(values, dim=-1)


def facing_normals(
    quats: Float[Tensor, "N 4"], scales: Float[Tensor, "N 3"], sight: Float[Tensor, "B N 3"]
) -> Float[Tensor, "B N 3"]:
    """Normals of splats: the shortest axis of each, oriented towards the camera.

    `sight` points from each camera to each splat. Returns unit vectors in the world.
    """
    shortest = scales.argmin(dim=1)[:, None, None].expand(-1, 3, 1)
    axis = rotations(quats).gather(2, shortest)[:, :, 0]
    away = (axis * sight).sum(dim=-1, keepdim=True) > 0
    return torch.where(away, -axis, axis)


def _project(
    splats: Splats,
    rotation: Tensor,
    translation: Tensor,
    intrinsics: Tensor,
    width: int,
    height: int,
    blur_px2: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Project splats into one view.

    Returns means2d [N, 2] in pixels, covariance (xx, xy, yy) [N, 3] in px², depth [N], and radii
    [N, 2] int32 in pixels (0 = not visible).
    """
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    x, y, z = (splats.means @ rotation.T + translation).unbind(dim=1)
    visible = (z > NEAR) & (z < FAR) & (splats.opacities >= MIN_ALPHA)
    # Invisible splats get safe values, so that no gradient is infinity times zero.
    x, y, z = torch.where(visible, x, 0), torch.where(visible, y, 0), torch.where(visible, z, 1)
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    slope_x = torch.minimum(torch.maximum(x / z, -cx / fx - margin_x), (width - cx) / fx + margin_x)
    slope_y = torch.minimum(
        torch.maximum(y / z, -cy / fy - margin_y), (height - cy) / fy + margin_y
    )
    o = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([fx / z, o, -fx * slope_x / z], -1),
            torch.stack([o, fy / z, -fy * slope_y / z], -1),
        ],
        -2,
    )
    p = jacobian @ rotation @ (rotations(splats.quats) * splats.scales[:, None, :])  # [N, 2, 3]
    xx = (p[:, 0] * p[:, 0]).sum(dim=1) + blur_px2
    xy = (p[:, 0] * p[:, 1]).sum(dim=1)
    yy = (p[:, 1] * p[:, 1]).sum(dim=1) + blur_px2
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=1)
    with torch.no_grad():
        # Beyond s = ln(255 o), a splat's alpha is below 1/255 and is skipped.
        cutoff2 = 2 * (splats.opacities / MIN_ALPHA).log()
        radii = torch.ceil(torch.stack([(cutoff2 * xx).sqrt(), (cutoff2 * yy).sqrt()], dim=1))
        size = torch.tensor([width, height], dtype=z.dtype, device=z.device)
        visible = visible & (xx < MAX_PX2) & (yy < MAX_PX2) & (xx * yy > xy * xy)
        on_screen = (radii > 0) & (means2d + radii > 0) & (means2d - radii < size)
        visible = visible & on_screen.all(dim=1)
        radii = torch.where(visible[:, None], radii.clamp(max=1e9), 0).int()
    return means2d, torch.stack([xx, xy, yy], dim=1), z, radii


def falloff(s: Tensor) -> Tensor:
    """Gaussian falloff exp(−s).

    s is half the squared distance from the splat's center, in standard deviations.
    """
    return (-s).exp()


def _composite(
    pixels: Tensor, means2d: Tensor, cov: Tensor, opacities: Tensor, features: Tensor
) -> Tensor:
    """Composite M splats, sorted by depth, at pixel centers [P, 2].

    Returns [P, F + 1]: Σ w·features for features [M, F], and Σ w.
    """
    dx, dy = (pixels[:, None, :] - means2d[None]).unbind(dim=2)
    xx, xy, yy = cov.unbind(dim=1)
    det = xx * yy - xy * xy
    s = 0.5 * (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy) / det
    alpha = opacities * falloff(s)
    alpha = torch.where(alpha < MIN_ALPHA, 0, alpha.clamp(max=MAX_ALPHA))  # [P, M]
    after = torch.cumprod(1 - alpha, dim=1)  # transmittance behind each splat
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], dim=1)
    # Skip the splat that would reduce T to 1e-4 or below, and all behind it. T never increases, so
    # one comparison covers both.
    w = torch.where(after > MIN_TRANSMITTANCE, alpha * before, 0)
    return w @ torch.cat([features, torch.ones_like(features[:, :1])], dim=1)


def rasterize_reference(
    splats: Splats,
    cameras: Cameras,
    background: Tensor | None = None,
    normals: bool = False,
    blur_px2: float = BLUR_PX2,
) -> Render:
    """Render like `gs3d.raster.rasterize`, by evaluating every splat at every pixel.

    Arguments, results and `aux` have the same shapes. The cameras are converted to the dtype of
    `splats`. `background` is [3], [B, 3] or None for black. Time is proportional to
    pixels × splats.
    """
    dtype, device = splats.means.dtype, splats.means.device
    views, width, height = len(cameras), cameras.width, cameras.height
    background = splats.means.new_zeros(3) if background is None else background
    background = background.to(device, dtype).expand(views, 3)
    matrix = cameras.world_to_camera.to(device, dtype)
    intrinsics = cameras.intrinsics.to(device, dtype)
    centers = -(matrix[:, :3, :3].transpose(1, 2) @ matrix[:, :3, 3, None])[:, :, 0]
    projected = [
        _project(
            splats, matrix[b, :3, :3], matrix[b, :3, 3], intrinsics[b], width, height, blur_px2
        )
        for b in range(views)
    ]
    means2d, cov, depth, radii = (torch.stack(parts) for parts in zip(*projected, strict=True))
    if means2d.requires_grad:
        means2d.retain_grad()
    sight = splats.means - centers[:, None]  # [B, N, 3]
    basis = sh_basis(torch.nn.functional.normalize(sight, dim=-1), splats.sh.shape[1])
    colors = ((basis[..., None] * splats.sh).sum(dim=2) + 0.5).clamp(min=0)
    features = torch.cat([colors, depth[..., None]], dim=-1)
    if normals:
        features = torch.cat([features, facing_normals(splats.quats, splats.scales, sight)], dim=-1)

    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    pixels = torch.stack([x, y], dim=-1).reshape(-1, 2).to(dtype) + 0.5
    images: list[Tensor] = []
    for b in range(views):
        ids = (radii[b] > 0).all(dim=1).nonzero()[:, 0]
        ids = ids[torch.sort(depth[b, ids].detach(), stable=True).indices]
        inputs = means2d[b, ids], cov[b, ids], splats.opacities[ids], features[b, ids]
        chunk_size = max(1, CHUNK // max(1, len(ids)))
        chunks: list[Tensor] = [
            checkpoint(_composite, chunk, *inputs, use_reentrant=False)
            for chunk in pixels.split(chunk_size)
        ]
        images.append(torch.cat(chunks).reshape(height, width, -1))
    out = torch.stack(images)
    alpha = out[..., -1:]
    rgb = out[..., :3] + (1 - alpha) * background[:, None, None]
    hit = alpha > 0
    expected = torch.where(hit, out[..., 3:4] / torch.where(hit, alpha, 1), 0)
    aux = {
        "means2d": means2d,
        "radii": radii,
        "width": width,
        "height": height,
        "n_cameras": views,
        "gaussian_ids": None,
    }
    return Render(rgb, alpha, expected, out[..., 4:7] if normals else None, aux)
