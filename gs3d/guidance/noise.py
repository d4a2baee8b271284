"""The noise that a loss adds to a render: fresh, fixed, or attached to the object's surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.cameras import Cameras, unprojected
from gs3d.core.runtime.transfer import moved
from gs3d.core.types import Render

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

NoiseKind = Literal["fresh", "fixed", "surface"]
"""fresh: another one for each image and step. fixed: one for the whole run, which all images share
(Consistent3D, Sec. 3.3). surface: attached to the object, so that a point of its surface has the
same noise in all views (CFD, arXiv 2501.05445)."""
ACROSS = 2.2
"""World units across an image, about: the object has radius 1. A cell of the surface noise is a
third of a pixel of the latents wide."""
SAMPLES = 3
"""Points per pixel and axis that look up a cell."""
TABLE = 1 << 20
"""Number of different values, a power of two."""
LIFETIME = 400
"""Steps after which the surface noise is another one. It changes a little at every step."""


@dataclass(frozen=True)
class SurfacePoints:
    """Where the pixels of the renders see the object."""

    points: Float[Tensor, "B H W 3"]
    """In the world; anything where no surface is seen."""
    solid: Bool[Tensor, "B H W"]
    """Whether a pixel shows the surface."""

    def to(self, device: torch.device) -> SurfacePoints:
        return SurfacePoints(self.points.to(device), self.solid.to(device))


def surface_points(out: Render, cameras: Cameras) -> SurfacePoints:
    """Where the pixels of a render see the surface: at its depth, where alpha is above 0.5."""
    points = unprojected(out.depth.detach()[..., 0], cameras)
    return SurfacePoints(points, out.alpha.detach()[..., 0] > 0.5)


def noise_for(
    kind: NoiseKind,
    z0: Float[Tensor, "B C h w"],
    views: int,
    seed: int,
    step: int,
    surface: SurfacePoints | None = None,
) -> Float[Tensor, "B C h w"]:
    """Standard normal noise for the latents `z0`, on their device.

    A prior that denoises `views` images jointly gets one fixed noise per position in the group,
    because it was never trained on groups of equal noises.

    Raises `ValueError` if `views` does not divide the batch size B, or if `kind` is "surface" and
    the points of the surface are not given.
    """
    if len(z0) % views:
        raise ValueError(
            f"z0: expected whole groups of {views} images for this prior, got {len(z0)}"
        )
    if kind == "fixed":
        noise = moved(rng.normal((views, *z0.shape[1:]), seed, "fixed noise"), z0.device)
        return noise.repeat(len(z0) // views, 1, 1, 1)
    noise = moved(rng.normal(tuple(z0.shape), seed, "noise", step), z0.device)
    if kind == "fresh":
        return noise
    if surface is None:
        raise ValueError(
            "noise: surface: expected the points that the pixels show, which only a render with "
            "depth has"
        )
    return _on_surface(noise, surface, seed, step)


def _on_surface(noise: Tensor, surface: SurfacePoints, seed: int, step: int) -> Tensor:
    """Replace `noise` [B, C, h, w] by that of the surface where a pixel shows nothing else.

    A pixel adds up the noise of the cells that its samples lie in. A sum in which cell k has n_k of
    the samples has the variance Σ n_k², the number of pairs of samples in equal cells.
    """
    b, channels, h, w = noise.shape
    solid = functional.interpolate(surface.solid[:, None].to(noise.dtype), (h, w), mode="area")
    fine = functional.interpolate(
        surface.points.detach().movedim(-1, 1), (SAMPLES * h, SAMPLES * w), mode="bilinear"
    )
    x, y, z = torch.floor(fine * (SAMPLES * h / ACROSS)).long().unbind(1)
    keys = (73856093 * x) ^ (19349663 * y) ^ (83492791 * z)  # Teschner et al. 2003
    keys = keys.reshape(b, h, SAMPLES, w, SAMPLES).transpose(2, 3).flatten(3)
    variance = (keys[..., None] == keys[..., None, :]).sum((-1, -2)).to(noise.dtype)
    # A quarter of a circle from one noise to the next keeps the variance at 1.
    period, angle = divmod(step, LIFETIME)
    angle *= 0.5 * math.pi / LIFETIME
    first, second = (_table(seed, period + i, noise.device) for i in (0, 1))
    values = math.cos(angle) * first + math.sin(angle) * second
    sums = [
        values[(keys + 40503 * c) & (TABLE - 1)].sum(-1) / variance.sqrt() for c in range(channels)
    ]
    return torch.where(solid >= 1, torch.stack(sums, 1), noise)


# Two for each object of a run: more of them than four particles have fill memory.
@lru_cache(maxsize=8)
def _table(seed: int, period: int, device: torch.device) -> Tensor:
    """Normal numbers, of which each cell and channel picks one by its hash."""
    return rng.normal((TABLE,), seed, "surface noise", period).to(device)
