"""Extract a closed, colored triangle mesh from a radiance field or a DMTet surface."""

import numpy as np
import torch

from gs3d.core.checks import within
from gs3d.core.errors import UserError
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.dmtet.convert import surface_of_field
from gs3d.representations.dmtet.dmtet import Dmtet
from gs3d.representations.meshing.simplify import thinned, without_floaters
from gs3d.representations.meshing.texture import PaintedMesh
from gs3d.representations.nerf.nerf import Nerf

FIELD_RESOLUTION = 96
"""Resolution of the tetrahedral grid on which the surface of a field is extracted."""


@torch.no_grad()
def mesh_of(shape: Nerf | Dmtet, faces: int = 50_000) -> PaintedMesh:
    """Return the surface of `shape` without floaters, as at most `faces` triangles.

    `faces` lies in 100 to 2,000,000. The mesh has more triangles if no simplification to `faces`
    keeps its shape.

    Raises:
        UserError: There is no surface, because the optimization removed everything.
    """
    within("faces", faces, "[100, 2000000]")
    surface = (
        shape
        if isinstance(shape, Dmtet)
        else surface_of_field(shape.field, DmtetConfig(resolution=FIELD_RESOLUTION))
    )
    mesh = surface.surface_mesh()
    if not len(mesh.faces):
        raise UserError(
            "mesh: expected a surface, got none: the optimization removed the whole object; "
            "run again with another --seed"
        )
    vertices, triangles = thinned(
        *without_floaters(mesh.points.double().cpu().numpy(), mesh.faces.cpu().numpy()), faces
    )

    @torch.no_grad()
    def colors(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        at = torch.as_tensor(points, dtype=torch.float32, device=surface.device)
        return torch.cat([surface.colors.albedo(part) for part in at.split(65536)]).cpu().numpy()

    return PaintedMesh(vertices, triangles, colors)
