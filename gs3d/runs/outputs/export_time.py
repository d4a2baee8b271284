"""How long the export at the end of a run will take, so that a run in minutes ends on time."""

import time

import torch

from gs3d.core.cameras import ring
from gs3d.core.types import Splats
from gs3d.raster import rasterize
from gs3d.representations.base import Representation
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs.outputs.files import TURNTABLE_FRAMES, TURNTABLE_PX
from gs3d.distill.stages import RunConfig

# Seconds beside the drawing: contact sheet, encoding the turntable, the last checkpoint, the plot of the log; and per splat the file and
# its check.
FIXED_S, PER_SPLAT_S = 4.0, 1.2e-5
MESH_S = 18.0
"""For a mesh, all in all, on two slow cores: to thin it out, unwrap it, paint it, and draw it from all around."""


def export_seconds(representation: Representation, config: RunConfig) -> float:
    """Seconds to keep for the files of what a run ends with."""
    if isinstance(representation, Gaussians) and config.stages[-1].representation == "splats":
        return splat_seconds(representation.splats(), config.stages[-1].densify.max_count)
    return MESH_S


@torch.no_grad()
def splat_seconds(splats: Splats, most: int) -> float:
    """If the cloud grows to `most` splats: measured on one picture of the cloud as it is.

    A rasterizer's time grows more slowly than the number of splats, so the growth counted is at most fourfold.
    """
    camera = ring(1, TURNTABLE_PX).to(splats.means.device)
    times = []
    for _ in range(3):
        _wait(splats)
        before = time.monotonic()
        rasterize(splats, camera)
        _wait(splats)
        times.append(time.monotonic() - before)
    growth = min(max(most / max(len(splats), 1), 1.0), 4.0)
    return FIXED_S + TURNTABLE_FRAMES * min(times) * growth + PER_SPLAT_S * most


def _wait(splats: Splats) -> None:
    if splats.means.is_cuda:
        torch.cuda.synchronize(splats.means.device)
