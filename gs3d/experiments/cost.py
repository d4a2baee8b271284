"""What the methods of an evaluation cost: evaluations of the prior in an iteration.

An evaluation is one image with and without the prompt, as guidance needs; one of both is a half.
"""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from gs3d.core.errors import UserError, shown
from gs3d.distill.settings.stages import RunConfig, StageConfig
from gs3d.guidance import name_of
from gs3d.guidance.distillation import Distillation
from gs3d.guidance.loss_file import fault_in
from gs3d.guidance.noise import SurfacePoints
from gs3d.priors.base import Condition, Prior
from gs3d.priors.scalings import VpTable

SIDE = 4
"""Side of the latents of the prior that counts."""
PROGRESS = tuple((i + 0.5) / 100 for i in range(100))
"""Where evaluations are counted: a loss may need more of them at some times than at others, and
draw its times at random."""
WRONG = 2
"""Wrong views that Perp-Neg evaluates beside the right one (`priors.prompts.ViewPrompts`)."""


@dataclass
class _Counting:
    """A prior of one gray image that counts what it denoises, as far as a loss needs a prior."""

    name = "counting"
    image_size = SIDE
    latent_shape = (3, SIDE, SIDE)
    views = 1
    device = torch.device("cpu")
    images: int = 0
    table: VpTable = field(default_factory=VpTable.scaled_linear)

    def sigma(self, t: float) -> float:
        return self.table.sigma(t)

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        self.images += len(z)
        return torch.zeros_like(z)


def evaluations(config: RunConfig, has_negative: bool) -> float:
    """Evaluations in a mean iteration of a run by steps.

    Args:
        config: Settings of the run.
        has_negative: Whether the negative prompt is another one than the empty prompt.

    Raises:
        UserError: A loss of the user's own fails with the small prior that counts.
    """
    total = sum(stage.share for stage in config.stages)
    perp_neg = config.perp_neg > 0
    return sum(s.share / total * _of_stage(s, has_negative, perp_neg) for s in config.stages)


def _of_stage(stage: StageConfig, has_negative: bool, perp_neg: bool) -> float:
    prior, loss = _Counting(), stage.guidance
    z0, text = torch.zeros(stage.batch, *prior.latent_shape), torch.zeros(stage.batch, 1, 1)
    condition = Condition(text, text, text if has_negative else None)
    if perp_neg:
        wrong, weights = text.expand(WRONG, -1, -1, -1), torch.zeros(WRONG, stage.batch)
        condition = replace(condition, wrong=wrong, wrong_weights=weights)
    more: dict[str, Any] = {}
    if isinstance(loss, Distillation) and loss.noise == "surface":
        points = torch.zeros(stage.batch, SIDE, SIDE, 3)
        more["surface"] = SurfacePoints(points, torch.ones(points.shape[:3], dtype=torch.bool))
    for step, progress in enumerate(PROGRESS):
        try:
            loss(cast(Prior, prior), condition, z0, progress, 0, step, **more)
        except Exception as error:
            # A loss of the user's own may want more of a prior, or a model that learns.
            why = fault_in(error) or f"{type(error).__name__}: {shown(error, 200)}"
            raise UserError(
                f"--evaluations: those of {name_of(loss)} cannot be counted with latents of "
                f"{SIDE}x{SIDE} and no model ({why}); use --minutes or --steps"
            ) from error
    # What a model that learns beside the prior takes.
    learning = stage.batch * getattr(loss, "model_evaluations", 0.0)
    return prior.images / 2 / len(PROGRESS) + learning
