"""How well an object fits its prompt, by the prior of the run."""

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.cameras import ring
from gs3d.distill.memory.micro_batches import in_micro_batches, rows_of
from gs3d.distill.state import Task
from gs3d.priors.base import Prior
from gs3d.representations.base import Representation

VIEWS, ELEVATION_DEG = 8, 15.0
ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Of the views all around: four by four, as a multi-view prior has them."""
GRAY = 0.8
TIMES = (0.35, 0.6)
"""Noise levels of the prior."""
LARGEST_RENDER = 512
WORST = -1e9
"""Score of an object that cannot be judged, as one with NaN."""


@torch.no_grad()
def score_of(representation: Representation, task: Task, progress: float, rows: int) -> float:
    """Score an object: how much better the prior denoises its views with the prompt of each than
    with the empty one, as in a diffusion classifier (Li et al. 2023, arXiv 2303.16203).

    Args:
        representation: The object.
        task: The fixed inputs of the run. All objects are judged with the same noise.
        progress: Progress of the stage in [0, 1].
        rows: Most views that the prior computes at once.

    Returns:
        The mean of log(‖D_empty − z0‖² / ‖D_text − z0‖²) over views and `TIMES`; more is better.
    """
    prior = in_micro_batches(task.prior, VIEWS, rows_of(VIEWS, rows, task.prior.views))
    cameras = ring(VIEWS, min(prior.image_size, LARGEST_RENDER), ELEVATION_DEG)[list(ORDER)]
    condition = task.prompts.at(cameras)
    empty = condition.negative if condition.empty is None else condition.empty
    device = representation.device
    background = torch.full((VIEWS, 3), GRAY, device=device)
    images = representation.render(cameras.to(device), background, progress).rgb.clamp(0, 1)
    z0 = prior.encode(images.to(prior.device))
    gains: list[Tensor] = []
    for t in TIMES:
        noise = rng.normal(tuple(z0.shape), task.seed, "score", str(t)).to(z0.device)
        errors = [
            _error(prior, z0, noise, prior.sigma(t), text) for text in (empty, condition.text)
        ]
        gains.append((errors[0] / errors[1]).log().mean())
    found = float(torch.stack(gains).mean())
    return found if abs(found) < -WORST else WORST


def _error(prior: Prior, z0: Tensor, noise: Tensor, sigma: float, text: Tensor) -> Tensor:
    """Mean square error [B] of the prior's estimate of z0 [B, C, h, w] from z0 + σ·noise."""
    levels = torch.full((len(z0),), sigma, device=z0.device)
    denoised = prior.denoise(z0 + sigma * noise, levels, text)
    return (denoised - z0).square().flatten(1).mean(1)
