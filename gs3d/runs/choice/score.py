"""How well an object fits its prompt, by the prior of the run."""

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.cameras import ring
from gs3d.core.views.inside import around
from gs3d.distill.memory.micro_batches import in_micro_batches, rows_of
from gs3d.distill.state import Task
from gs3d.priors.base import Prior
from gs3d.representations.base import Representation

VIEWS, ELEVATION_DEG = 8, 15.0
ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
"""Of the views all around: four by four, as a multi-view prior has them."""
TURNED = [2, 3, 0, 1, 6, 7, 4, 5]
"""For each view in that order, the one from the other side."""
GRAY = 0.8
TIME = 0.6
"""Noise level of the prior. At 0.35 the scores tell less (docs/lab/seeds.md)."""
WORST = -1e9
"""Score of an object that cannot be judged, as one with NaN."""


def score_of(representation: Representation, task: Task, progress: float, rows: int) -> float:
    """Score an object: how much better the prior denoises its views with the prompt of each than
    with the empty prompt, and than with the prompt of the view from the other side.

    The first is a diffusion classifier (Li et al. 2023, arXiv 2303.16203). The second is one too,
    of views instead of objects: it falls where the back looks like a front.

    Args:
        representation: The object.
        task: The fixed inputs of the run. All objects are judged with the same noise.
        progress: Progress of the stage in [0, 1].
        rows: Most views that the prior computes at once.

    Returns:
        The sum of `gains_of`; more is better.
    """
    found = sum(gains_of(representation, task, progress, rows, TIME))
    return found if abs(found) < -WORST else WORST


@torch.no_grad()
def gains_of(
    representation: Representation, task: Task, progress: float, rows: int, t: float
) -> tuple[float, float]:
    """The two parts of a score at the noise level t in [0, 1]: the means over views of
    log(‖D_empty − z0‖² / ‖D_text − z0‖²) and log(‖D_turned − z0‖² / ‖D_text − z0‖²)."""
    prior = in_micro_batches(task.prior, VIEWS, rows_of(VIEWS, rows, task.prior.views))
    # The resolution of the training: more would show no more, and a field has no memory for it.
    size_px = min(prior.image_size, task.config.stages[0].cameras.resolution_px(progress))
    is_scene = task.config.stages[0].cameras.inside
    views = around(VIEWS, size_px) if is_scene else ring(VIEWS, size_px, ELEVATION_DEG)
    cameras = views[ORDER]
    condition, turned = task.prompts.at(cameras), task.prompts.at(cameras[TURNED])
    empty = condition.negative if condition.empty is None else condition.empty
    device = representation.device
    gray = torch.full((1, 3), GRAY, device=device)
    images = [
        representation.render(cameras[[i]].to(device), gray, progress).rgb for i in range(VIEWS)
    ]
    z0 = prior.encode(torch.cat(images).clamp(0, 1).to(prior.device))
    noise = rng.normal(tuple(z0.shape), task.seed, "score").to(z0.device)
    own, *others = (
        _error(prior, z0, noise, prior.sigma(t), text).log()
        for text in (condition.text, empty, turned.text)
    )
    return float((others[0] - own).mean()), float((others[1] - own).mean())


def _error(prior: Prior, z0: Tensor, noise: Tensor, sigma: float, text: Tensor) -> Tensor:
    """Mean square error [B] of the prior's estimate of z0 [B, C, h, w] from z0 + σ·noise."""
    levels = torch.full((len(z0),), sigma, device=z0.device)
    denoised = prior.denoise(z0 + sigma * noise, levels, text)
    return (denoised - z0).square().flatten(1).mean(1)
