"""Data types that the packages exchange: splats, renders and meshes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

SH_C0 = 0.28209479177387814
"""Spherical harmonic of degree 0, ½ π^−½. For degree 0, color = 0.5 + SH_C0 · coefficient."""


@dataclass(frozen=True)
class Splats:
    """N Gaussians in the form that the rasterizers take: linear scales, opacities in [0, 1]."""

    means: Tensor
    """[N, 3] positions in the world."""
    quats: Tensor
    """[N, 4] rotation quaternions (w, x, y, z); unit length is not required."""
    scales: Tensor
    """[N, 3] standard deviations along the rotated axes, linear (not log)."""
    opacities: Tensor
    """[N] in [0, 1]."""
    sh: Tensor
    """[N, K, 3] spherical-harmonic color coefficients, K = (degree + 1)², degree 0 to 3."""

    def __len__(self) -> int:
        return self.means.shape[0]

    def to(self, device: torch.device | str) -> "Splats":
        return Splats(*(getattr(self, f.name).to(device) for f in fields(self)))

    __iter__ = None
    """Not iterable, because indexing with a single number is an error."""

    def __getitem__(self, which: Tensor | slice) -> "Splats":
        """Select splats by a boolean mask [N], by indices [M], or by a slice (shares memory).

        Raises `TypeError` for a single number.
        """
        if isinstance(which, int):
            raise TypeError(
                f"splats: expected a mask, indices or a slice, got {which}; "
                f"for one splat use splats[{which}:{which + 1}]"
            )
        return Splats(*(getattr(self, f.name)[which] for f in fields(self)))

    @staticmethod
    def cat(parts: Sequence["Splats"]) -> "Splats":
        """Concatenate `parts` in order.

        Raises `ValueError` if there are none, or if their spherical-harmonic degrees differ.
        """
        if len(shapes := {part.sh.shape[1] for part in parts}) != 1:
            raise ValueError(
                "Splats.cat: expected parts with the same number of SH coefficients, "
                f"got {sorted(shapes) or 'no parts'}"
            )
        return Splats(
            *(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Splats))
        )


@dataclass(frozen=True)
class Render:
    """Renders of B views, and the data that densification needs."""

    rgb: Tensor
    """[B, H, W, 3] composited over the background; sRGB display values, not clamped above."""
    alpha: Tensor
    """[B, H, W, 1]."""
    depth: Tensor
    """[B, H, W, 1] expected z-depth Σ w·z / Σ w; 0 where nothing is hit."""
    normal: Tensor | None
    """[B, H, W, 3] world-space normals, alpha-weighted: shorter than 1 where alpha < 1.

    None unless requested."""
    aux: dict[str, Any]
    """Input of densification (`representations.gaussians.densify`).

    means2d [B, N, 2] in pixels, with `.grad` after the backward pass; radii [B, N, 2] in pixels, 0
    where a splat is not visible; width, height, n_cameras."""


@dataclass(frozen=True)
class Mesh:
    """Triangle mesh with vertex colors, in world coordinates.

    The vertices of a face are counterclockwise when seen from outside.
    """

    vertices: np.ndarray
    """[V, 3] float32."""
    faces: np.ndarray
    """[F, 3] int32, indices into `vertices`."""
    normals: np.ndarray
    """[V, 3] float32, outward unit vectors."""
    colors: np.ndarray
    """[V, 3] float32 in [0, 1], sRGB, unlit."""


@dataclass(frozen=True)
class TexturedMesh:
    """Triangle mesh with a color texture, in world coordinates."""

    vertices: np.ndarray
    """[V, 3] float32; a vertex in several UV charts is repeated."""
    faces: np.ndarray
    """[F, 3] int32."""
    normals: np.ndarray
    """[V, 3] float32."""
    uvs: np.ndarray
    """[V, 2] in [0, 1]; v increases with the row index of `texture`."""
    texture: np.ndarray
    """[S, S, 3] float32 in [0, 1], sRGB."""
