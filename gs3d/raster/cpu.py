# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportIncompatibleMethodOverride=false
# torch and numpy have no complete types, and each autograd function has arguments of its own.
"""Differentiable rasterizer for the CPU, compiled by numba.

It implements 3D Gaussian Splatting (Kerbl et al., 2023) with EWA projection (Zwicker et al., 2001).
The constants are those of gsplat 1.5.3 in "classic" mode: 0.3 px² of blur unless another value is
given, near plane 0.01, opacity at most 0.999, contributions below 1/255 skipped, and compositing
stops before the transmittance T falls to 1e-4. The kernels are in `_project.py` and `_tiles.py`,
and `_lists.py` prepares the work of the latter.
`reference.py` is the same algorithm in plain PyTorch, for tests.
"""

import functools
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.runtime.threads import run
from gs3d.core.types import Render, Splats
from gs3d.raster._check import BLUR_PX2, check
from gs3d.raster._lists import Grouped, Lists, batches, grouped_by_band, kernels


@functools.cache
def _project() -> ModuleType:
    """Import the projection kernels at the first render, because importing numba takes 0.5 s."""
    from gs3d.raster import _project

    return _project


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _camera_table(cameras: Cameras, blur_px2: float) -> np.ndarray:
    """Cameras as an array [B, CAMERA_COLUMNS] float64, with the columns of `_project.py`."""
    matrix = _array(cameras.world_to_camera).astype(np.float64)
    intrinsics = _array(cameras.intrinsics).astype(np.float64)
    rotation, translation = matrix[:, :3, :3], matrix[:, :3, 3]
    fx, fy = intrinsics[:, 0, 0], intrinsics[:, 1, 1]
    cx, cy = intrinsics[:, 0, 2], intrinsics[:, 1, 2]
    # The slopes x/z and y/z in J are clamped to the image plus 15% of its size on each side.
    margin_x, margin_y = 0.15 * cameras.width / fx, 0.15 * cameras.height / fy
    table = np.empty((len(matrix), _project().CAMERA_COLUMNS))
    table[:, :9] = rotation.reshape(-1, 9)
    table[:, 9:12] = translation
    table[:, 12:15] = -(rotation.transpose(0, 2, 1) @ translation[:, :, None])[:, :, 0]
    table[:, 15], table[:, 16], table[:, 17], table[:, 18] = fx, fy, cx, cy
    table[:, 19], table[:, 20] = -cx / fx - margin_x, (cameras.width - cx) / fx + margin_x
    table[:, 21], table[:, 22] = -cy / fy - margin_y, (cameras.height - cy) / fy + margin_y
    table[:, 23] = blur_px2
    return table


class _Project(torch.autograd.Function):
    """Projection of splats to the image plane.

    Outputs means2d [B, N, 2], splats2d [B, N, COLUMNS] and radii [B, N, 2] int32; see
    `_project.project`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        sh: Tensor,
        cameras: Cameras,
        normals: bool,
        blur_px2: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        p = _project()
        n, table = len(means), _camera_table(cameras, blur_px2)
        splats2d = means.new_empty(len(table), n, p.COLUMNS)
        means2d = means.new_empty(len(table), n, 2)
        radii = means.new_empty(len(table), n, 2, dtype=torch.int32)
        inputs = [_array(t) for t in (means, quats, scales, opacities, sh)]
        outputs = [t.numpy() for t in (splats2d, means2d, radii)]
        options = table, cameras.width, cameras.height, normals
        run(p.project, -(-n // 256), *inputs, *options, *outputs)
        ctx.save_for_backward(means, quats, scales, sh, splats2d, radii)
        ctx.table, ctx.normals = table, normals
        ctx.mark_non_differentiable(radii)
        ctx.set_materialize_grads(False)
        return means2d, splats2d, radii

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, g_means2d: Tensor | None, g_splats2d: Tensor | None, *_: Any
    ) -> tuple[Tensor | None, ...]:
        saved = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        means, quats, scales, sh, splats2d, radii = saved
        g_means2d = means.new_zeros(radii.shape) if g_means2d is None else g_means2d
        g_splats2d = torch.zeros_like(splats2d) if g_splats2d is None else g_splats2d
        outputs = [means.new_empty(t.shape) for t in (means, quats, scales, means[:, 0], sh)]
        inputs = [_array(t) for t in (means, quats, scales, sh)]
        grads = [_array(t) for t in (splats2d, radii, g_splats2d, g_means2d)]
        run(
            _project().project_backward,
            -(-len(means) // 256),
            *inputs,
            ctx.table,
            ctx.normals,
            *grads,
            *(t.numpy() for t in outputs),
        )
        return *outputs, None, None, None


class _Draw(torch.autograd.Function):
    """Compositing of projected splats into rgb, alpha, depth and normal.

    Differentiable in means2d, splats2d and background.
    """

    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,
        splats2d: Tensor,
        background: Tensor,
        width: int,
        height: int,
        normals: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        k = kernels()
        views = len(means2d)
        bands, tiles = -(-height // k.BAND), -(-width // k.TILE)
        drawn = np.empty((views, bands, tiles), np.int32)
        starts = np.empty((views, bands, tiles), np.int64)
        last_t = np.empty((views, height, width), np.float32)
        rgb, alpha, depth = (means2d.new_empty(views, height, width, c) for c in (3, 1, 1))
        normal = means2d.new_empty(views, height, width, 3) if normals else None
        images = [
            image if image is None else image.numpy() for image in (rgb, alpha, depth, normal)
        ]
        found, colors = grouped_by_band(_array(splats2d), height), _array(background).copy()
        kept: tuple[np.ndarray, ...] = ()
        for batch in batches(found):
            inputs = batch.first, batch.offsets, found.splats, batch.listed, colors
            outputs = *images, drawn, last_t, starts, batch.items
            run(k.forward, len(batch.offsets) - 1, *inputs, *outputs)
            if len(batch.offsets) == views * bands + 1:  # of several batches, none is kept
                kept = batch.offsets, batch.listed, batch.items
        buffers = *vars(found).values(), starts, drawn, last_t, colors, *kept
        # As tensors, so that autograd frees them.
        ctx.save_for_backward(rgb, alpha, depth, normal, *map(torch.from_numpy, buffers))
        ctx.set_materialize_grads(False)
        return rgb, alpha, depth, normal

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any,
        g_rgb: Tensor | None,
        g_alpha: Tensor | None,
        g_depth: Tensor | None,
        g_normal: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        k = kernels()
        rgb, alpha, depth, normal = ctx.saved_tensors[:4]
        buffers = [tensor.numpy() for tensor in ctx.saved_tensors[4:]]
        found, (starts, drawn, last_t, background) = Grouped(*buffers[:5]), buffers[5:9]
        kept = [Lists(0, *buffers[9:])] if buffers[9:] else []
        views, bands = drawn.shape[:2]
        with_normals = g_normal is not None
        g_rgb = torch.zeros_like(rgb) if g_rgb is None else g_rgb
        g_alpha = torch.zeros_like(alpha) if g_alpha is None else g_alpha
        images = [
            _array(rgb),
            _array(alpha),
            _array(depth),
            _array(normal) if with_normals else None,
        ]
        grads = [g if g is None else _array(g) for g in (g_rgb, g_alpha, g_depth, g_normal)]
        columns = k.V_NZ + 1 if with_normals else k.V_DEPTH + 1
        totals = np.zeros_like(found.splats)
        if not kept:
            starts = np.full_like(starts, -1)
        for batch in kept or batches(found):
            sums = np.empty((len(batch.listed), columns), np.float32)
            inputs = batch.first, batch.offsets, found.splats, batch.listed, drawn, last_t, starts
            inputs = *inputs, batch.items, background, *images, *grads
            run(k.backward, len(batch.offsets) - 1, *inputs, sums)
            run(k.gather, views, batch.first, bands, batch.offsets, batch.listed, sums, totals)
            del sums  # before the next ones are there
        g_splats2d = rgb.new_zeros(found.splats.shape)
        g_means2d = rgb.new_zeros(*found.order.shape, 2)
        outputs = g_splats2d.numpy(), g_means2d.numpy()
        inputs = found.splats, found.order, found.counts, totals
        run(k.finish, -(-found.order.shape[1] // 256), *inputs, *outputs)
        g_background = (g_rgb * (1 - alpha)).sum(dim=(1, 2)) if ctx.needs_input_grad[2] else None
        return g_means2d, g_splats2d, g_background, None, None, None


def rasterize_cpu(
    splats: Splats,
    cameras: Cameras,
    background: Tensor | None = None,
    normals: bool = False,
    blur_px2: float = BLUR_PX2,
) -> Render:
    """Render `splats` from every camera, in float32 on the CPU.

    The result is differentiable in all five tensors of `splats` and in `background`. Images and
    gradients are bitwise reproducible, independent of the number of threads. Gradients of depth and
    normals are computed only if the loss uses them.

    Memory is proportional to splats × views and to the number of pixels. Lists of the splats in
    each band (of 16 pixel rows) are limited to some 180 MB at a time, unless one band alone has
    more than two million splats. Buffers proportional to splats × tiles exist for one band at a
    time in each thread. With gradients, a copy of all projected splats (64 bytes for each and each
    view) and the lists, if they fit at once, are kept until the backward pass has ended.

    Args:
        splats: N Gaussians with the shapes that `Splats` documents. A splat with NaN in its mean,
            scale or opacity is not rendered and gets no gradient. A zero quaternion is the
            identity rotation.
        cameras: B pinhole cameras; they get no gradient. Skew is ignored, as in gsplat.
        background: Color [3] or [B, 3] in [0, 1]; None is black.
        normals: Also render normals. The normal of a splat is its shortest axis in the world,
            oriented towards the camera.
        blur_px2: Added to the variances of the projected splats.

    Returns:
        `Render` with rgb [B, H, W, 3], alpha and depth [B, H, W, 1], and normal [B, H, W, 3] or
        None. `aux` has the entries that gsplat's DefaultStrategy reads: means2d [B, N, 2], with
        `.grad` in loss per pixel after the backward pass; radii [B, N, 2] int32; width; height;
        n_cameras; and gaussian_ids, None because the tensors are not packed.

    Raises:
        ValueError: A tensor has the wrong shape, dtype or device; the message names it.
    """
    check(splats, cameras, background, blur_px2)
    cameras = cameras.to("cpu")
    views = len(cameras)
    background = splats.means.new_zeros(3) if background is None else background
    background = background.expand(views, 3)
    tensors = splats.means, splats.quats, splats.scales, splats.opacities, splats.sh
    projected = _Project.apply(*tensors, cameras, normals, blur_px2)
    means2d, splats2d, radii = cast("tuple[Tensor, Tensor, Tensor]", projected)
    if means2d.requires_grad:
        means2d.retain_grad()
    images = _Draw.apply(means2d, splats2d, background, cameras.width, cameras.height, normals)
    rgb, alpha, depth, normal = cast("tuple[Tensor, Tensor, Tensor, Tensor | None]", images)
    aux: dict[str, Any] = {
        "means2d": means2d,
        "radii": radii,
        "width": cameras.width,
        "height": cameras.height,
        "n_cameras": views,
        "gaussian_ids": None,
    }
    return Render(rgb, alpha, depth, normal, aux)


def warm_up() -> None:
    """Compile every kernel, or load it from the cache.

    This takes about 20 s the first time on a machine, and less than 1 s afterwards.
    """
    from gs3d.core.cameras import ring

    generator = torch.Generator().manual_seed(0)
    means = torch.randn(8, 3, generator=generator) * 0.3
    for normals in (False, True):
        for degree, use_depth in ((0, False), (1, True)):
            splats = Splats(
                means.clone().requires_grad_(),
                torch.randn(8, 4, generator=generator).requires_grad_(),
                torch.full((8, 3), 0.2).requires_grad_(),
                torch.full((8,), 0.5).requires_grad_(),
                torch.zeros(8, (degree + 1) ** 2, 3).requires_grad_(),
            )
            out = rasterize_cpu(splats, ring(2, 32), torch.ones(3), normals)
            loss = out.rgb.sum() + out.alpha.sum()
            loss = loss + out.depth.sum() if use_depth else loss
            loss = loss if out.normal is None else loss + out.normal.sum()
            loss.backward()
