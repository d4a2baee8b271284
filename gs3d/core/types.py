"""What passes between the rooms: splats going into a rasterizer, pictures coming out, meshes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

SH_C0 = 0.28209479177387814
"""The harmonic of degree 0, ½ π^−½: color = 0.5 + SH_C0 · coefficient."""


@dataclass(frozen=True)
class Splats:
    """N Gaussians as a rasterizer takes them: linear scales, opacities in [0, 1]."""

    means: Tensor
    """[N, 3] positions in the world."""
    quats: Tensor
    """[N, 4] rotations, wxyz; need not be of unit length."""
    scales: Tensor
    """[N, 3] standard deviations along the rotated axes, linear."""
    opacities: Tensor
    """[N] in [0, 1]."""
    sh: Tensor
    """[N, K, 3] spherical-harmonic color coefficients, K = (degree + 1)², degree 0 to 3."""

    def __len__(self) -> int:
        return self.means.shape[0]

    def to(self, device: torch.device | str) -> "Splats":
        return Splats(*(getattr(self, f.name).to(device) for f in fields(self)))

    __iter__ = None
    """A row of splats is no splat, so there is nothing to go through."""

    def __getitem__(self, which: Tensor | slice) -> "Splats":
        """Those of a mask [N], of indices [M], or of a slice, which shares their memory. `TypeError` for one number: it is no splats."""
        if isinstance(which, int):
            raise TypeError(
                f"splats: expected a mask, indices or a slice, got {which}; one splat is splats[{which}:{which + 1}]"
            )
        return Splats(*(getattr(self, f.name)[which] for f in fields(self)))

    @staticmethod
    def cat(parts: Sequence["Splats"]) -> "Splats":
        """One after the other. `ValueError` for none, or for harmonics of different degrees."""
        if len(shapes := {part.sh.shape[1] for part in parts}) != 1:
            raise ValueError(
                f"cat: expected splats with equally many coefficients, got {sorted(shapes) or 'no splats'}"
            )
        return Splats(
            *(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Splats))
        )


@dataclass(frozen=True)
class Render:
    """B pictures and what densification needs to know about them."""

    rgb: Tensor
    """[B, H, W, 3] composited over the background; sRGB display values, not clamped above."""
    alpha: Tensor
    """[B, H, W, 1]."""
    depth: Tensor
    """[B, H, W, 1] expected z-depth: Σ w·z / Σ w, 0 where nothing is hit."""
    normal: Tensor | None
    """[B, H, W, 3] world-space, alpha-weighted (not of unit length where alpha < 1); None unless asked for."""
    aux: dict
    """For `representations.densify`: means2d [B, N, 2] in pixels, whose .grad backward fills; radii [B, N, 2] in pixels, 0 where a
    splat is not seen; width, height, n_cameras."""


@dataclass(frozen=True)
class Mesh:
    """Triangles in the world, seen anticlockwise from outside."""

    vertices: np.ndarray
    """[V, 3] float32."""
    faces: np.ndarray
    """[F, 3] int32, rows of `vertices`."""
    normals: np.ndarray
    """[V, 3] float32, outwards, of unit length."""
    colors: np.ndarray
    """[V, 3] float32 in [0, 1], sRGB, without light."""


@dataclass(frozen=True)
class TexturedMesh:
    """Triangles in the world with a picture wrapped around them."""

    vertices: np.ndarray
    """[V, 3] float32; a corner that lies in several charts is there several times."""
    faces: np.ndarray
    """[F, 3] int32."""
    normals: np.ndarray
    """[V, 3] float32."""
    uvs: np.ndarray
    """[V, 2] in [0, 1]; v grows with the row of `texture`."""
    texture: np.ndarray
    """[S, S, 3] float32 in [0, 1], sRGB."""
