"""From a field or a surface of tetrahedra to a closed mesh that is painted in its colors."""

import numpy as np
import torch

from gs3d.core.checks import within
from gs3d.core.errors import UserError
from gs3d.representations.dmtet.convert import surface_of_field
from gs3d.representations.dmtet.dmtet import Dmtet, DmtetConfig
from gs3d.representations.meshing.simplify import thinned, without_floaters
from gs3d.representations.meshing.texture import PaintedMesh
from gs3d.representations.nerf.nerf import Nerf

FIELD_RESOLUTION = 96
"""Of the grid that a field's surface is looked for on."""


@torch.no_grad()
def mesh_of(shape: Nerf | Dmtet, faces: int = 50_000) -> PaintedMesh:
    """The surface without its floaters, in at most `faces` triangles (100 to 2,000,000).

    Raises:
        UserError: There is no surface: everything has vanished.
    """
    within("faces", faces, "[100, 2000000]")
    surface = (
        shape
        if isinstance(shape, Dmtet)
        else surface_of_field(shape.field, DmtetConfig(resolution=FIELD_RESOLUTION))
    )
    surface_mesh = surface.surface_mesh()
    if not len(surface_mesh.faces):
        raise UserError("mesh: expected a surface, got none: nothing is left inside it")
    vertices, triangles = thinned(
        *without_floaters(
            surface_mesh.points.double().cpu().numpy(), surface_mesh.faces.cpu().numpy()
        ),
        faces,
    )

    @torch.no_grad()
    def colors(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        at = torch.as_tensor(points, dtype=torch.float32, device=surface.device)
        return torch.cat([surface.colors.albedo(part) for part in at.split(65536)]).cpu().numpy()

    return PaintedMesh(vertices, triangles, colors)
