"""Multi-resolution hash encoding (Müller et al. 2022, Instant-NGP, Sec. 3) and its derivative.

The second output is the derivative of the features with respect to the point. Both outputs are
linear in the table. So the normals of a field have a closed form, and a loss on normals needs an
ordinary backward pass only, no double backward.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gs3d.core.checks import require, within
from gs3d.core.runtime.threads import run

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FEATURES = 2
"""Features per table entry."""
PRIME_Y, PRIME_Z = 2654435761, 805459861


@dataclass(frozen=True)
class HashGridConfig:
    """The sizes of a hash grid."""

    levels: int = 16
    """Number of grids, each finer than the one before."""
    log2_size: int = 19
    """Logarithm to base 2 of the maximum number of table entries per level. A level with more
    vertices shares its entries by a hash."""
    coarsest: int = 16
    """Resolution of the first level: voxels along an edge."""
    finest: int = 2048
    """Resolution of the last level; resolutions between grow by a constant factor."""

    def __post_init__(self) -> None:
        within("levels", self.levels, "[1, 32]")
        within("log2_size", self.log2_size, "[4, 24]")
        within("coarsest", self.coarsest, "[1, inf)")
        require(
            "coarsest, finest",
            (self.coarsest, self.finest),
            self.coarsest <= self.finest,
            "coarsest not above finest",
        )

    @functools.cached_property
    def resolution(self) -> Int[np.ndarray, " levels"]:
        """Voxels along an edge of each level."""
        ratio = math.log(self.finest / self.coarsest) / max(self.levels - 1, 1)
        return np.array(
            [int(self.coarsest * math.exp(ratio * level) + 1e-6) for level in range(self.levels)]
        )

    @functools.cached_property
    def firsts(self) -> Int[np.ndarray, " levels+1"]:
        """First table entry of each level, then the total number of entries."""
        return np.concatenate(
            [[0], np.cumsum([min((int(n) + 1) ** 3, 2**self.log2_size) for n in self.resolution])]
        )


def new_table(config: HashGridConfig, gen: torch.Generator) -> Float[Tensor, "entries 2"]:
    """Return an initial table, uniform in ±1e-4 as in Instant-NGP."""
    return (2 * torch.rand(int(config.firsts[-1]), FEATURES, generator=gen) - 1) * 1e-4


def encode(
    points: Float[Tensor, "N 3"],
    table: Float[Tensor, "entries 2"],
    config: HashGridConfig,
    with_derivatives: bool,
    levels: int | None = None,
) -> tuple[Float[Tensor, "N features"], Float[Tensor, "N 3 features"] | None]:
    """Return the features of points in [0, 1], and their derivatives or None.

    There are 2 features per level of `config`. The derivatives are those with respect to the
    point. Both are differentiable only in `table`. Levels from `levels` on are not open yet: their
    features and derivatives are zero. On the face between two voxels, the derivative is that of the
    upper voxel.
    """
    active = config.levels if levels is None else levels
    on_cpu = points.device.type == "cpu" and table.dtype == torch.float32
    encoder = _Encode.apply if on_cpu else encode_torch
    features, derivatives = encoder(points, table, config, with_derivatives, active)
    width = FEATURES * (config.levels - active)
    if width:
        features = torch.nn.functional.pad(features, (0, width))
        if derivatives is not None:
            derivatives = torch.nn.functional.pad(derivatives, (0, width))
    return features, derivatives


def encode_torch(
    points: Float[Tensor, "N 3"],
    table: Float[Tensor, "entries 2"],
    config: HashGridConfig,
    with_derivatives: bool,
    levels: int,
) -> tuple[Float[Tensor, "N features"], Float[Tensor, "N 3 features"] | None]:
    """Compute `encode` in plain PyTorch, for any device and dtype, for the first `levels` levels.

    The outputs have 2·`levels` features.
    """
    features, derivatives = [], []
    # Made on the device: numbers that are copied to a GPU would wait for it.
    number = torch.arange(8, device=points.device)
    corner = torch.stack([number & 1, number >> 1 & 1, number >> 2], 1)
    for level in range(levels):
        n, first = int(config.resolution[level]), int(config.firsts[level])
        size = int(config.firsts[level + 1]) - first
        # In float32, the voxel of a point near a voxel face would depend on the device.
        position = points.double().clamp(0, 1) * n
        low = position.floor().clamp(max=n - 1)
        fraction = (position - low).to(table.dtype)[:, None, :]
        x, y, z = (low.long()[:, None] + corner).unbind(2)
        entry = (
            x + (n + 1) * (y + (n + 1) * z)
            if (n + 1) ** 3 <= size
            else (x ^ (y * PRIME_Y) ^ (z * PRIME_Z)) & (size - 1)
        )
        # The backward pass of table[...] sorts all indices; that of index_select adds them up.
        values = table.index_select(0, (first + entry).flatten()).view(*entry.shape, -1)
        w = torch.where(corner.bool(), fraction, 1 - fraction)
        features.append((w.prod(2, keepdim=True) * values).sum(1))
        if with_derivatives:
            others = torch.stack(
                [w[..., 1] * w[..., 2], w[..., 0] * w[..., 2], w[..., 0] * w[..., 1]], 2
            )
            sign = n * (2 * corner - 1).to(table.dtype)
            derivatives.append(torch.einsum("nca,ncf->naf", sign * others, values))
    return torch.cat(features, 1), torch.cat(derivatives, 2) if with_derivatives else None


@functools.cache
def _kernels():
    """Import the numba kernels on first use, because importing numba takes half a second."""
    from gs3d.representations.nerf import _hashgrid

    return _hashgrid


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, table, config, with_derivatives, levels):
        points = points.detach().float().contiguous()
        features = torch.empty(len(points), FEATURES * levels)
        derivatives = torch.empty(len(points), 3, FEATURES * levels) if with_derivatives else None
        resolution, firsts = config.resolution[:levels], config.firsts[: levels + 1]
        kernels = _kernels()
        outputs = features.numpy(), None if derivatives is None else derivatives.numpy()
        run(
            kernels.forward,
            -(-len(points) // kernels.BLOCK),
            points.numpy(),
            table.detach().numpy(),
            resolution,
            firsts,
            *outputs,
        )
        ctx.points, ctx.resolution, ctx.firsts, ctx.shape = points, resolution, firsts, table.shape
        ctx.set_materialize_grads(False)
        return features, derivatives

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_features, g_derivatives):
        table = torch.zeros(ctx.shape)
        if g_features is None and g_derivatives is None:
            return None, table, None, None, None
        if g_features is None:
            g_features = torch.zeros(len(ctx.points), FEATURES * len(ctx.resolution))
        g_derivatives = None if g_derivatives is None else g_derivatives.contiguous().numpy()
        arrays = (
            ctx.points.numpy(),
            ctx.resolution,
            ctx.firsts,
            g_features.contiguous().numpy(),
            g_derivatives,
            table.numpy(),
        )
        run(_kernels().backward, len(ctx.resolution), *arrays)
        return None, table, None, None, None
