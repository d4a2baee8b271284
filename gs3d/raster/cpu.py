"""Splats to pixels and gradients back on a CPU, compiled by numba.

The method is 3D Gaussian Splatting (Kerbl et al., 2023) with EWA projection (Zwicker et al., 2001), and the numbers are those of gsplat
1.5.3 in its "classic" mode: 0.3 px² of blur, near plane 0.01, opacity at most 0.999, nothing under 1/255, stop before T falls to 1e-4.
`reference.py` says the same in plain PyTorch and is what this is tested against. The kernels are in `_project.py` and `_tiles.py`.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.runtime.threads import run
from gs3d.core.types import Render, Splats
from gs3d.raster._check import check

MAX_SUMS = 32_000_000
"""Gradient sums held at a time, in floats (128 MB). More than that, from a great many huge splats, are made and added up in turns."""


@functools.cache
def _project():
    """The projection kernels. numba takes half a second to import, so nothing of it is touched before the first picture."""
    from gs3d.raster import _project

    return _project


@functools.cache
def _tiles():
    from gs3d.raster import _tiles

    return _tiles


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _camera_table(cameras: Cameras) -> np.ndarray:
    """[B, CAMERA_COLUMNS] float64, as `_project.py` lays cameras out."""
    matrix, intrinsics = (
        _array(cameras.world_to_camera).astype(np.float64),
        _array(cameras.intrinsics).astype(np.float64),
    )
    rotation, translation = matrix[:, :3, :3], matrix[:, :3, 3]
    fx, fy, cx, cy = (
        intrinsics[:, 0, 0],
        intrinsics[:, 1, 1],
        intrinsics[:, 0, 2],
        intrinsics[:, 1, 2],
    )
    # The slope of J is held within the picture and 15 % of its size more on each side.
    margin_x, margin_y = 0.15 * cameras.width / fx, 0.15 * cameras.height / fy
    table = np.empty((len(matrix), _project().CAMERA_COLUMNS))
    table[:, :9] = rotation.reshape(-1, 9)
    table[:, 9:12] = translation
    table[:, 12:15] = -(rotation.transpose(0, 2, 1) @ translation[:, :, None])[:, :, 0]
    table[:, 15], table[:, 16], table[:, 17], table[:, 18] = fx, fy, cx, cy
    table[:, 19], table[:, 20] = -cx / fx - margin_x, (cameras.width - cx) / fx + margin_x
    table[:, 21], table[:, 22] = -cy / fy - margin_y, (cameras.height - cy) / fy + margin_y
    return table


class _Project(torch.autograd.Function):
    """Splats in the world -> means2d [B, N, 2], splats2d [B, N, COLUMNS], radii and rows [B, N, 2] int32 (see `_project.project`)."""

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, sh, cameras, normals):
        p = _project()
        n, table = len(means), _camera_table(cameras)
        splats2d = means.new_empty(len(table), n, p.COLUMNS)
        means2d = means.new_empty(len(table), n, 2)
        radii = means.new_empty(len(table), n, 2, dtype=torch.int32)
        rows = means.new_empty(len(table), n, 2, dtype=torch.int32)
        inputs = [_array(t) for t in (means, quats, scales, opacities, sh)]
        outputs = [t.numpy() for t in (splats2d, means2d, radii, rows)]
        run(
            p.project,
            -(-n // 256),
            *inputs,
            table,
            cameras.width,
            cameras.height,
            normals,
            *outputs,
        )
        ctx.save_for_backward(means, quats, scales, sh, splats2d, radii)
        ctx.table, ctx.normals = table, normals
        ctx.mark_non_differentiable(radii, rows)
        ctx.set_materialize_grads(False)
        return means2d, splats2d, radii, rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_means2d, g_splats2d, *_):
        means, quats, scales, sh, splats2d, radii = ctx.saved_tensors
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
        return *outputs, None, None


class _Draw(torch.autograd.Function):
    """Projected splats -> rgb, alpha, depth, normal. Gradients go to means2d, splats2d and background."""

    @staticmethod
    def forward(ctx, means2d, splats2d, rows, background, width, height, normals):
        k = _tiles()
        views, n = means2d.shape[:2]
        bands, tiles = -(-height // k.BAND), -(-width // k.TILE)
        order, order_rows = np.empty((views, n), np.int32), np.empty((views, n, 2), np.int32)
        counts, band_counts = np.empty(views, np.int32), np.empty((views, bands + 1), np.int32)
        drawn = np.empty((views, bands, tiles), np.int32)
        rgb, alpha, depth = (means2d.new_empty(views, height, width, c) for c in (3, 1, 1))
        normal = means2d.new_empty(views, height, width, 3) if normals else None
        splats = _array(splats2d)
        run(k.sort, views, splats, _array(rows), order, order_rows, counts, band_counts)
        pictures = [rgb.numpy(), alpha.numpy(), depth.numpy(), normal.numpy() if normals else None]
        run(
            k.forward,
            views * bands,
            splats,
            order,
            order_rows,
            counts,
            _array(background),
            *pictures,
            drawn,
        )
        ctx.save_for_backward(splats2d, rgb, alpha, depth, normal)
        ctx.plan = order, order_rows, counts, band_counts, drawn, _array(background).copy()
        ctx.set_materialize_grads(False)
        return rgb, alpha, depth, normal

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_rgb, g_alpha, g_depth, g_normal):
        k = _tiles()
        splats2d, rgb, alpha, depth, normal = ctx.saved_tensors
        order, order_rows, counts, band_counts, drawn, background = ctx.plan
        views, bands = drawn.shape[:2]
        with_depth, with_normals = g_depth is not None, g_normal is not None
        g_rgb = torch.zeros_like(rgb) if g_rgb is None else g_rgb
        g_alpha = torch.zeros_like(alpha) if g_alpha is None else g_alpha
        pictures = [
            _array(rgb),
            _array(alpha),
            _array(depth),
            _array(normal) if with_normals else None,
        ]
        grads = [
            _array(g_rgb),
            _array(g_alpha),
            _array(g_depth) if with_depth else None,
            _array(g_normal) if with_normals else None,
        ]
        splats, totals = _array(splats2d), torch.zeros_like(splats2d)
        columns = k.V_NZ + 1 if with_normals else k.V_DEPTH + 1
        tasks = np.stack(
            np.meshgrid(np.arange(views), np.arange(bands), indexing="ij"), axis=-1
        ).reshape(-1, 2)
        ends = np.cumsum(band_counts[:, :bands].reshape(-1), dtype=np.int64)
        first = 0
        while first < len(tasks):
            done = ends[first - 1] if first else 0
            last = max(
                first + 1, int(np.searchsorted(ends, done + MAX_SUMS // columns, side="right"))
            )
            offsets = np.concatenate([[0], ends[first:last] - done])
            sums, ids = (
                np.empty((offsets[-1], columns), np.float32),
                np.empty(offsets[-1], np.int32),
            )
            plan = tasks[first:last], offsets, splats, order, order_rows, counts, drawn, background
            run(k.backward, last - first, *plan, *pictures, *grads, sums, ids)
            run(k.gather, views, tasks[first:last], offsets, sums, ids, totals.numpy())
            first = last
        g_means2d = splats2d.new_empty(*splats2d.shape[:2], 2)
        run(k.finish, -(-totals.shape[1] // 256), splats, totals.numpy(), g_means2d.numpy())
        g_background = (g_rgb * (1 - alpha)).sum(dim=(1, 2)) if ctx.needs_input_grad[3] else None
        return g_means2d, totals, None, g_background, None, None, None


def rasterize_cpu(
    splats: Splats, cameras: Cameras, background: Tensor | None = None, normals: bool = False
) -> Render:
    """Draws `splats` from every camera: float32 on the CPU, differentiable in all five tensors of `splats` and in `background`.

    Args:
        splats: N Gaussians (`Splats` gives the shapes). One with NaN in its place, scale or opacity is not drawn and gets no gradient; a
            quaternion of no length stands for no rotation.
        cameras: B pinhole cameras; no gradient. Skew is ignored, as gsplat does.
        background: [3] or [B, 3] in [0, 1]; None is black.
        normals: Also draw each splat's shortest axis in the world, turned towards the camera.

    Returns:
        `Render` with rgb [B, H, W, 3], alpha and depth [B, H, W, 1], normal [B, H, W, 3] or None. `aux` holds what gsplat's
        DefaultStrategy reads: means2d [B, N, 2] (its `.grad`, in loss per pixel, is there after backward), radii [B, N, 2] int32, width,
        height, n_cameras and gaussian_ids (None: nothing is packed).

    Raises:
        ValueError: A tensor of the wrong shape, dtype or device; the message names it.

    The picture and the gradients are the same bit for bit on every call, whatever the number of threads. Work for depth and normal
    gradients is only done if the loss uses them. Memory grows with splats × views and with pixels; what grows with splats × bands of 16
    pixel rows is made in turns of 128 MB, and what grows with splats × tiles is one band's at a time.
    """
    check(splats, cameras, background)
    cameras = cameras.to("cpu")
    views = len(cameras)
    background = splats.means.new_zeros(3) if background is None else background
    background = background.expand(views, 3)
    means2d, splats2d, radii, rows = _Project.apply(
        splats.means, splats.quats, splats.scales, splats.opacities, splats.sh, cameras, normals
    )
    if means2d.requires_grad:
        means2d.retain_grad()
    rgb, alpha, depth, normal = _Draw.apply(
        means2d, splats2d, rows, background, cameras.width, cameras.height, normals
    )
    aux = {
        "means2d": means2d,
        "radii": radii,
        "width": cameras.width,
        "height": cameras.height,
        "n_cameras": views,
        "gaussian_ids": None,
    }
    return Render(rgb, alpha, depth, normal, aux)


def warm_up() -> None:
    """Compiles every kernel, or loads it from the cache: about 20 s the first time on a machine, under a second after that."""
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
            loss = loss + out.normal.sum() if normals else loss
            loss.backward()
