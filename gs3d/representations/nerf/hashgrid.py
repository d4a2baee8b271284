"""Multi-resolution hash encoding (Müller et al. 2022, Instant-NGP, Sec. 3), with its derivative by the point as a second output.

Features are linear in the table, and so is their derivative: normals of a field come out in closed form, and a loss on normals has an
ordinary gradient, no double backward.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gs3d.core.checks import require, within
from gs3d.core.runtime.threads import run

FEATURES = 2
"""Of a table entry."""
PRIME_Y, PRIME_Z = 2654435761, 805459861


@dataclass(frozen=True)
class HashGridConfig:
    """The sizes of the grid."""

    levels: int = 16
    log2_size: int = 19
    """Logarithm of the most entries that a level has; a finer one shares them by a hash."""
    coarsest: int = 16
    """Cells along an edge of the first level."""
    finest: int = 2048
    """And of the last; those between grow by an even ratio."""

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
    def resolution(self) -> np.ndarray:
        """[levels] cells along an edge."""
        ratio = math.log(self.finest / self.coarsest) / max(self.levels - 1, 1)
        return np.array(
            [int(self.coarsest * math.exp(ratio * level) + 1e-6) for level in range(self.levels)]
        )

    @functools.cached_property
    def firsts(self) -> np.ndarray:
        """[levels + 1] first table entry of each level, and the number of all."""
        return np.concatenate(
            [[0], np.cumsum([min((int(n) + 1) ** 3, 2**self.log2_size) for n in self.resolution])]
        )


def new_table(config: HashGridConfig, gen: torch.Generator) -> Tensor:
    """[E, 2] uniform within ±1e-4, as Instant-NGP begins."""
    return (2 * torch.rand(int(config.firsts[-1]), FEATURES, generator=gen) - 1) * 1e-4


def encode(
    points: Tensor, table: Tensor, config: HashGridConfig, slopes: bool, levels: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """points [N, 3] in [0, 1] → features [N, 2·L] and, if asked for, their derivative by the point, [N, 3, 2·L].

    Gradients go to `table` [E, 2] alone. Of levels from `levels` on, all is zero: a band that is not open yet. At the border
    between two cells the derivative is that of the upper one.
    """
    active = config.levels if levels is None else levels
    on_cpu = points.device.type == "cpu" and table.dtype == torch.float32
    how = _Encode.apply if on_cpu else encode_torch
    features, slope = how(points, table, config, slopes, active)
    width = FEATURES * (config.levels - active)
    if width:
        features = torch.nn.functional.pad(features, (0, width))
        slope = torch.nn.functional.pad(slope, (0, width)) if slopes else None
    return features, slope


def encode_torch(
    points: Tensor, table: Tensor, config: HashGridConfig, slopes: bool, levels: int
) -> tuple[Tensor, Tensor | None]:
    """`encode` in plain PyTorch, for any device and type; of the first `levels` levels alone."""
    features, derivatives = [], []
    corner = torch.tensor([[c & 1, c >> 1 & 1, c >> 2] for c in range(8)], device=points.device)
    for level in range(levels):
        n, first = int(config.resolution[level]), int(config.firsts[level])
        size = int(config.firsts[level + 1]) - first
        position = (
            points.double().clamp(0, 1) * n
        )  # in float32 the cell of a point near a border would depend on the device
        low = position.floor().clamp(max=n - 1)
        place = (position - low).to(table.dtype)[:, None, :]
        x, y, z = (low.long()[:, None] + corner).unbind(2)
        entry = (
            x + (n + 1) * (y + (n + 1) * z)
            if (n + 1) ** 3 <= size
            else (x ^ (y * PRIME_Y) ^ (z * PRIME_Z)) & (size - 1)
        )
        values = table[first + entry]
        w = torch.where(corner.bool(), place, 1 - place)
        features.append((w.prod(2, keepdim=True) * values).sum(1))
        if slopes:
            others = torch.stack(
                [w[..., 1] * w[..., 2], w[..., 0] * w[..., 2], w[..., 0] * w[..., 1]], 2
            )
            sign = n * (2 * corner - 1).to(table.dtype)
            derivatives.append(torch.einsum("nca,ncf->naf", sign * others, values))
    return torch.cat(features, 1), torch.cat(derivatives, 2) if slopes else None


@functools.cache
def _kernels():
    """numba takes half a second to import, so nothing of it is touched before the first point."""
    from gs3d.representations.nerf import _hashgrid

    return _hashgrid


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, points, table, config, slopes, levels):
        points = points.detach().float().contiguous()
        features = torch.empty(len(points), FEATURES * levels)
        slope = torch.empty(len(points), 3, FEATURES * levels) if slopes else None
        resolution, firsts = config.resolution[:levels], config.firsts[: levels + 1]
        kernels = _kernels()
        outputs = features.numpy(), slope.numpy() if slopes else None
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
        return features, slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_features, g_slope):
        table = torch.zeros(ctx.shape)
        if g_features is None and g_slope is None:
            return None, table, None, None, None
        if g_features is None:
            g_features = torch.zeros(len(ctx.points), FEATURES * len(ctx.resolution))
        g_slope = None if g_slope is None else g_slope.contiguous().numpy()
        arrays = (
            ctx.points.numpy(),
            ctx.resolution,
            ctx.firsts,
            g_features.contiguous().numpy(),
            g_slope,
            table.numpy(),
        )
        run(_kernels().backward, len(ctx.resolution), *arrays)
        return None, table, None, None, None
