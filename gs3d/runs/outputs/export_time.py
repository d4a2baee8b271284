"""How long the export at the end of a run takes, so that a run in minutes ends on time."""

import time

import torch

from gs3d.core.cameras import ring
from gs3d.core.types import Splats
from gs3d.core.views.inside import around
from gs3d.distill.settings.stages import RunConfig
from gs3d.raster import rasterize
from gs3d.representations.base import Representation
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs.outputs.files import PANORAMA_PX, TURNTABLE_FRAMES, TURNTABLE_PX

FIXED_S, PER_SPLAT_S = 3.0, 1.2e-5
"""Seconds besides rendering: the contact sheet, the video encoder, the last checkpoint and the plot
of the log; and for each splat, the file and its check."""
MESH_S = 18.0
"""Seconds for a mesh on two slow cores: simplify, unwrap, texture and render it."""


def export_seconds(representation: Representation, config: RunConfig) -> float:
    """Seconds to reserve for the files of a run."""
    if isinstance(representation, Gaussians) and config.stages[-1].representation == "splats":
        most = config.stages[-1].densify.max_count
        return splat_seconds(representation.splats(), most, representation.is_scene)
    return MESH_S


@torch.no_grad()
def splat_seconds(splats: Splats, max_count: int, inside: bool = False) -> float:
    """The same for splats that may grow to `max_count`, from a timed render of them as they are;
    `inside`, of a scene.

    Rendering time grows more slowly than the number of splats, so the growth factor is at most 4.
    """
    camera = (around if inside else ring)(1, TURNTABLE_PX).to(splats.means.device)
    times = []
    for _ in range(3):
        _synchronize(splats)
        before = time.monotonic()
        rasterize(splats, camera)
        _synchronize(splats)
        times.append(time.monotonic() - before)
    growth = min(max(max_count / max(len(splats), 1), 1.0), 4.0)
    # The faces of a panorama have the pixels of so many more frames.
    frames = TURNTABLE_FRAMES + (6 * (PANORAMA_PX / TURNTABLE_PX) ** 2 if inside else 0)
    return FIXED_S + frames * min(times) * growth + PER_SPLAT_S * max_count


def _synchronize(splats: Splats) -> None:
    if splats.means.is_cuda:
        torch.cuda.synchronize(splats.means.device)
