"""One iteration: render, ask the prior, follow the gradient, densify. Guidance and representations meet here and nowhere else."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.cameras import sample_cameras
from gs3d.priors.base import Prior
from gs3d.priors.prompts import ViewPrompts
from gs3d.representations.densify import Densifier
from gs3d.representations.gaussians import Gaussians
from gs3d.training.config import Background, RunConfig


@dataclass(frozen=True)
class StepLog:
    """What an iteration leaves: tensors stay detached on their device, so that nobody waits for a GPU to print a number."""

    step: int
    progress: float
    grad_norm: Tensor
    """Root mean square of the guidance gradient, a scalar."""
    count: int
    """Splats after the step."""
    skipped: bool
    """Whether a NaN or Inf made the step void."""
    values: dict[str, float]
    """t, t1, cfg: whatever the loss logs."""


def background_colours(kind: Background, batch: int, seed: int, step: int) -> Tensor:
    """[B, 3] solid backgrounds; random ones are grey half of the time, as the built-in prior saw them."""
    if kind != "random":
        return torch.full((batch, 3), {"white": 1.0, "grey": 0.5, "black": 0.0}[kind])
    u = torch.rand(batch, 5, generator=rng.generator(seed, "background", step))
    return torch.where(u[:, 4:] < 0.5, u[:, 3:4].expand(-1, 3), u[:, :3])


def attach(z0: Tensor, grad: Tensor) -> Tensor:
    """A scalar whose gradient with respect to z0 is `grad` / numel: a mean, so that its size does not depend on resolution or batch."""
    return (z0 * grad.detach()).mean()


def iterate(
    gaussians: Gaussians,
    densifier: Densifier,
    prior: Prior,
    prompts: ViewPrompts,
    config: RunConfig,
    before: float,
    progress: float,
    seed: int,
    step: int,
) -> StepLog:
    """Iteration `step`, at `progress` in [0, 1]; `before` is the progress of the step before. Changes `gaussians` and `densifier`."""
    device = gaussians.params["means"].device
    cameras = sample_cameras(config.cameras, config.batch, progress, rng.generator(seed, "cameras", step)).to(device)
    background = background_colours(config.background, config.batch, seed, step).to(device)
    out = gaussians.render(cameras, background)
    z0 = prior.encode(out.rgb)
    guidance = config.guidance(prior, prompts.at(cameras), z0, progress, seed, step)
    loss = attach(z0, guidance.grad) + gaussians.regulariser(out, progress)
    loss.backward()
    norm = guidance.grad.square().mean().sqrt().detach()
    gradients = torch.stack([p.grad.abs().sum() for p in gaussians.params.values() if p.grad is not None])
    # One wait for the device an iteration: the price of never letting a NaN into the splats.
    finite = bool(torch.isfinite(torch.cat([gradients, norm[None]])).all())
    if finite:
        gaussians.optimise(progress)
        densifier.after_backward(gaussians, out.aux, before, progress, seed, step)
    else:
        gaussians.discard_gradients()
    return StepLog(step, progress, norm, len(gaussians), not finite, guidance.log)
