"""One iteration: render, ask the prior, follow the gradient, tend. Guidance and representations meet here and nowhere else."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds
from gs3d.core.cameras import sample_cameras
from gs3d.core.types import Render
from gs3d.guidance.common import GuidanceOut
from gs3d.priors.base import Prior
from gs3d.priors.prompts import ViewPrompts
from gs3d.representations.base import Representation
from gs3d.training.config import Background, RunConfig


@dataclass(frozen=True)
class StepLog:
    """What an iteration leaves: tensors stay detached on their device, so that nobody waits for a GPU to print a number."""

    step: int
    progress: float
    loss: Tensor
    """Half the mean square of the guidance gradient plus the regularisers, a scalar."""
    grad_norm: Tensor
    """Root mean square of the guidance gradient, a scalar."""
    count: int
    """Splats, or whatever the representation counts, after the step."""
    skipped: bool
    """Whether a NaN or Inf made the step void."""
    values: dict[str, float]
    """t, t1, cfg: whatever the loss logs."""


def background_colours(kind: Background, batch: int, seed: int, step: int) -> Tensor:
    """[B, 3] solid backgrounds."""
    if kind != "random":
        return torch.full((batch, 3), {"white": 1.0, "grey": 0.5, "black": 0.0}[kind])
    return random_backgrounds(torch.rand(batch, RANDOM_NUMBERS, generator=rng.generator(seed, "background", step)))


def attach(z0: Tensor, grad: Tensor) -> Tensor:
    """A scalar whose gradient with respect to z0 is `grad` / numel: a mean, so that its size does not depend on resolution or batch."""
    return (z0 * grad.detach()).mean()


@dataclass
class TrainState:
    """All that changes in a run. Noise, cameras and prompts are functions of (seed, step, progress)."""

    shape: Representation
    step: int = 0
    progress: float = 0.0
    """Of the step before."""
    tended: float = 0.0
    """Progress up to which the representation is tended; a skipped step does not advance it, so that no round of densifying is lost."""


@dataclass(frozen=True)
class Task:
    """What does not change: whom to ask, for what, and how."""

    prior: Prior
    prompts: ViewPrompts
    config: RunConfig
    seed: int


def _backward(state: TrainState, task: Task, progress: float) -> tuple[Render, GuidanceOut, Tensor]:
    """Fill the gradients of the representation at this step: the render, the guidance, and the loss to log, a scalar."""
    config, shape = task.config, state.shape
    device = shape.device
    draw = config.cameras.draw(state.step, progress)
    gen, together = rng.generator(task.seed, "cameras", draw), task.prior.views
    cameras = sample_cameras(config.cameras, config.batch, progress, gen, together)
    condition = task.prompts.at(cameras)  # while the cameras are on the CPU: asking a GPU where they look would wait for it
    background = background_colours(config.background, config.batch, task.seed, state.step).to(device)
    out = shape.render(cameras.to(device), background, progress, rng.generator(task.seed, "render", state.step))
    z0 = task.prior.encode(out.rgb)
    guidance = config.guidance(task.prior, condition, z0, progress, task.seed, state.step)
    regulariser = shape.regulariser(out, progress)
    (attach(z0, guidance.grad) + regulariser).backward()
    return out, guidance, 0.5 * guidance.grad.square().mean() + regulariser.detach()


def rehearse(state: TrainState, task: Task) -> None:
    """One iteration without its effect, so that compiling and first-use set-up are not taken for the speed of the machine."""
    _backward(state, task, state.progress)
    state.shape.discard_gradients()


def iterate(state: TrainState, task: Task, progress: float, share: float) -> StepLog:
    """One iteration at `progress` in [0, 1], which is `share` of the run. Changes `state`."""
    shape, step = state.shape, state.step
    out, guidance, loss = _backward(state, task, progress)
    norm = guidance.grad.square().mean().sqrt()
    gradients = torch.stack([g.abs().sum() for g in shape.gradients()])
    # One wait for the device an iteration: the price of never letting a NaN into what is optimised.
    finite = bool(torch.isfinite(torch.cat([gradients, norm[None], loss[None]])).all())
    if finite:
        shape.optimise(progress, share)
        shape.tend(out, state.tended, progress, task.seed, step)
        state.tended = progress
    else:
        shape.discard_gradients()
    state.step, state.progress = step + 1, progress
    return StepLog(step, progress, loss, norm, len(shape), not finite, guidance.log)
