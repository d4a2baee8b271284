"""Existing splats and meshes as the start of an optimization."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gs3d.core.types import SH_C0, Mesh, Splats, TexturedMesh

MESH_SPLATS = 8_000
"""Number of splats that a mesh becomes."""
OPACITY = 0.9
FLATNESS = 0.25
"""Thickness of a splat on a surface, as a part of its width."""
LEAST_SHARE = 0.2
"""Smallest width without the filter, as a part of the filter's."""
OPACITIES = (1e-3, 0.999)
"""Range of opacities that can still be optimized; at 0 and 1 the gradient is 0."""


def parameters_of(splats: Splats, sh_degree: int, smoothing: float) -> dict[str, Tensor]:
    """Parameters of `Gaussians` that render as `splats` with a filter of the width `smoothing`.

    Splats narrower than the filter become as wide as it. Spherical harmonics above `sh_degree` are
    dropped.
    """
    least = LEAST_SHARE * smoothing
    raw = (splats.scales.square() - smoothing**2).clamp_min(max(least, 1e-7) ** 2).sqrt()
    sh = splats.sh.new_zeros(len(splats), (sh_degree + 1) ** 2, 3)
    kept = min(sh.shape[1], splats.sh.shape[1])
    sh[:, :kept] = splats.sh[:, :kept]
    return {
        "means": splats.means.clone(),
        "scales": raw.log(),
        "quats": splats.quats.clone(),
        "opacities": splats.opacities.clamp(*OPACITIES).logit(),
        "sh0": sh[:, :1],
        "shN": sh[:, 1:],
    }


def splats_of_mesh(mesh: Mesh | TexturedMesh, count: int = MESH_SPLATS, seed: int = 0) -> Splats:
    """Flat splats spread evenly over the surface of `mesh`, in its colors.

    Raises ValueError if the surface has no area.
    """
    rng = np.random.default_rng(seed)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = 0.5 * np.linalg.norm(across, axis=1)
    if not areas.sum() > 0:
        raise ValueError("mesh: expected a surface with an area, got none")
    faces = rng.choice(len(areas), count, p=areas / areas.sum())
    # Uniform in a triangle: the root of the first number (Osada et al. 2002, Eq. 1).
    root, second = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - root, root * (1 - second), root * second], axis=1)
    points = np.einsum("nk,nkc->nc", weights, corners[faces])
    normals = across[faces] / np.maximum(2 * areas[faces, None], 1e-30)
    width = np.sqrt(areas.sum() / count)
    scales = torch.tensor([FLATNESS * width, width, width]).float()
    colors = _colors(mesh, mesh.faces[faces], weights)
    return Splats(
        torch.from_numpy(points).float(),
        _turning_x_to(torch.from_numpy(normals).float()),
        scales.expand(count, 3).clone(),
        torch.full((count,), OPACITY),
        ((torch.from_numpy(colors).float() - 0.5) / SH_C0)[:, None],
    )


def _colors(mesh: Mesh | TexturedMesh, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Colors [N, 3] at points in triangles with the vertices `corners` [N, 3]."""
    if isinstance(mesh, Mesh):
        return np.einsum("nk,nkc->nc", weights, mesh.colors[corners])
    uv = np.einsum("nk,nkc->nc", weights, mesh.uvs[corners])
    size = np.array(mesh.texture.shape[1::-1])
    column, row = np.clip((uv * size).astype(int), 0, size - 1).T
    return mesh.texture[row, column]


def _turning_x_to(directions: Tensor) -> Tensor:
    """Quaternions [N, 4], w first, that turn the x axis to unit vectors [N, 3]."""
    x = torch.tensor([1.0, 0.0, 0.0]).expand_as(directions)
    halfway = torch.cat([1 + directions[:, :1], torch.linalg.cross(x, directions)], dim=1)
    # The opposite of x: half a turn about any axis across it.
    halfway[directions[:, 0] < -1 + 1e-6] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    return torch.nn.functional.normalize(halfway, dim=1)
