"""From a field or a surface of tetrahedra to a closed mesh that is painted in its colours."""

import numpy as np
import torch

from gs3d.core.checks import within
from gs3d.core.errors import UserError
from gs3d.representations.convert import surface_of_field
from gs3d.representations.dmtet import Dmtet, DmtetConfig
from gs3d.representations.nerf import Nerf
from gs3d.representations.surface.closed import thinned, without_floaters
from gs3d.representations.surface.painted import Painted

FIELD_CELLS = 96
"""Of the grid that a field's surface is looked for on."""


@torch.no_grad()
def mesh_of(shape: Nerf | Dmtet, faces: int = 50_000) -> Painted:
    """The surface without its floaters, in at most `faces` triangles (100 to 2,000,000).

    Raises:
        UserError: There is no surface: everything has vanished.
    """
    within("faces", faces, "[100, 2000000]")
    surface = shape if isinstance(shape, Dmtet) else surface_of_field(shape.field, DmtetConfig(cells=FIELD_CELLS))
    skin = surface.skin()
    if not len(skin.faces):
        raise UserError("mesh: expected a surface, got none: nothing is left inside it")
    vertices, triangles = thinned(*without_floaters(skin.points.double().cpu().numpy(), skin.faces.cpu().numpy()), faces)

    @torch.no_grad()
    def colours(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        at = torch.as_tensor(points, dtype=torch.float32, device=surface.device)
        return torch.cat([surface.colours.albedo(part) for part in at.split(65536)]).cpu().numpy()

    return Painted(vertices, triangles, colours)
