"""Data types that the packages exchange: splats, renders and meshes.

In all of gs3d, an annotation such as `Float[Tensor, "N 3"]` gives the shape of an array, here a
tensor [N, 3] of any floating-point type. These types are those of jaxtyping, which only type
checkers import: nothing checks them at run time, and `typing.get_type_hints` cannot resolve them.
The axes are

    N splats or points       C h w  a latent: channels, height, width
    B views or images        P L E  prompts, their tokens, the numbers of an embedding
    H W rows and columns     V F    vertices and triangles of a mesh
    K spherical harmonics    S      side of a square image
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int, Int32

SH_C0 = 0.28209479177387814
"""Spherical harmonic of degree 0, ½ π^−½. For degree 0, color = 0.5 + SH_C0 · coefficient."""


@dataclass(frozen=True, repr=False)
class Splats:
    """N Gaussians in the form that the rasterizers take: linear scales, opacities in [0, 1]."""

    means: Float[Tensor, "N 3"]
    """Positions in the world."""
    quats: Float[Tensor, "N 4"]
    """Rotation quaternions (w, x, y, z); unit length is not required."""
    scales: Float[Tensor, "N 3"]
    """Standard deviations along the rotated axes, linear (not log)."""
    opacities: Float[Tensor, " N"]
    """In [0, 1]."""
    sh: Float[Tensor, "N K 3"]
    """Spherical-harmonic color coefficients, K = (degree + 1)², degree 0 to 3."""

    def __len__(self) -> int:
        return self.means.shape[0]

    def __repr__(self) -> str:
        coefficients = self.sh.shape[1] if self.sh.ndim == 3 else 0
        colors = f"SH degree {isqrt(coefficients) - 1}" if coefficients else "no valid colors"
        return f"Splats({len(self)} splats, {colors}, {self.means.device})"

    def to(self, device: torch.device | str) -> Splats:
        return Splats(*(getattr(self, f.name).to(device) for f in fields(self)))

    __iter__ = None
    """Not iterable, because indexing with a single number is an error."""

    def __getitem__(self, which: Bool[Tensor, " N"] | Int[Tensor, " M"] | slice) -> Splats:
        """Select splats by a boolean mask, by indices, or by a slice (shares memory).

        Raises `TypeError` for a single number.
        """
        if isinstance(which, int):
            raise TypeError(
                f"splats: expected a mask, indices or a slice, got {which}; "
                f"for one splat use splats[{which}:{which + 1}]"
            )
        return Splats(*(getattr(self, f.name)[which] for f in fields(self)))

    @staticmethod
    def cat(parts: Sequence[Splats]) -> Splats:
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


@dataclass(frozen=True, repr=False)
class Render:
    """Renders of B views, and the data that densification needs."""

    rgb: Float[Tensor, "B H W 3"]
    """Composited over the background; sRGB display values, not clamped above."""
    alpha: Float[Tensor, "B H W 1"]
    """Opacity in [0, 1]."""
    depth: Float[Tensor, "B H W 1"]
    """Expected z-depth Σ w·z / Σ w; 0 where nothing is hit."""
    normal: Float[Tensor, "B H W 3"] | None
    """World-space normals, alpha-weighted: shorter than 1 where alpha < 1.

    None unless requested."""
    aux: dict[str, Any]
    """Input of densification (`representations.gaussians.densify`).

    means2d [B, N, 2] in pixels, with `.grad` after the backward pass; radii [B, N, 2] in pixels, 0
    where a splat is not visible; width, height, n_cameras."""

    def __repr__(self) -> str:
        views, height, width = self.rgb.shape[:3]
        normals = "" if self.normal is None else ", with normals"
        return f"Render({views} views, {width}×{height} pixels{normals}, {self.rgb.device})"


@dataclass(frozen=True, repr=False)
class Mesh:
    """Triangle mesh with vertex colors, in world coordinates.

    The vertices of a face are counterclockwise when seen from outside.
    """

    vertices: Float32[np.ndarray, "V 3"]
    faces: Int32[np.ndarray, "F 3"]
    """Indices into `vertices`."""
    normals: Float32[np.ndarray, "V 3"]
    """Outward unit vectors."""
    colors: Float32[np.ndarray, "V 3"]
    """In [0, 1], sRGB, unlit."""

    def __repr__(self) -> str:
        return f"Mesh({len(self.vertices)} vertices, {len(self.faces)} triangles)"


@dataclass(frozen=True, repr=False)
class TexturedMesh:
    """Triangle mesh with a color texture, in world coordinates."""

    vertices: Float32[np.ndarray, "V 3"]
    """A vertex in several UV charts is repeated."""
    faces: Int32[np.ndarray, "F 3"]
    """Indices into `vertices`."""
    normals: Float32[np.ndarray, "V 3"]
    uvs: Float[np.ndarray, "V 2"]
    """In [0, 1]; v increases with the row index of `texture`."""
    texture: Float32[np.ndarray, "S S 3"]
    """In [0, 1], sRGB."""

    def __repr__(self) -> str:
        rows, columns = self.texture.shape[:2]
        return (
            f"TexturedMesh({len(self.vertices)} vertices, {len(self.faces)} triangles, "
            f"texture of {columns}×{rows} pixels)"
        )
