"""One iteration: render, ask the prior, follow the gradient, tend. Guidance and representations meet here and nowhere else."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds
from gs3d.core.cameras import Cameras, sample_cameras
from gs3d.core.normals import facing
from gs3d.core.types import Render
from gs3d.distill.stages import Background, RunConfig, StageConfig
from gs3d.guidance.base import GuidanceOut
from gs3d.priors.base import Prior
from gs3d.priors.prompts import ViewPrompts
from gs3d.representations.base import Representation


@dataclass(frozen=True)
class StepLog:
    """What an iteration leaves: tensors stay detached on their device, so that nobody waits for a GPU to print a number."""

    step: int
    progress: float
    """Of the run, as all that is called progress but where it says "of the stage"."""
    loss: Tensor
    """Half the mean square of the guidance gradient plus the regularizers, a scalar."""
    grad_norm: Tensor
    """Root mean square of the guidance gradient, a scalar."""
    count: int
    """Splats, or whatever the representation counts, after the step."""
    counts: str
    """What that is."""
    skipped: bool
    """Whether a NaN or Inf made the step void."""
    values: dict[str, float]
    """t, t1, cfg: whatever the loss logs."""


def background_colors(kind: Background, batch: int, seed: int, step: int) -> Tensor:
    """[B, 3] solid backgrounds."""
    if kind != "random":
        return torch.full((batch, 3), {"white": 1.0, "gray": 0.5, "black": 0.0}[kind])
    return random_backgrounds(
        torch.rand(batch, RANDOM_NUMBERS, generator=rng.generator(seed, "background", step))
    )


def attach(z0: Tensor, grad: Tensor) -> Tensor:
    """A scalar whose gradient with respect to z0 is `grad` / numel: a mean, so that its size does not depend on resolution or batch."""
    return (z0 * grad.detach()).mean()


@dataclass
class TrainState:
    """All that changes in a run. Noise, cameras and prompts are functions of (seed, step, progress)."""

    representation: Representation
    step: int = 0
    progress: float = 0.0
    """Of the step before."""
    accepted_progress: float = 0.0
    """Progress of the stage up to which the representation is tended; a skipped step does not advance it, so that no round of densifying
    is lost."""
    stage: int = 0
    since: float = 0.0
    """Progress of the run from which the stage is counted: where it begins, or, for a run that has been given more time and is behind the
    stage that it is in already, where it goes on."""


@dataclass(frozen=True)
class Task:
    """What does not change: whom to ask, for what, and how."""

    prior: Prior
    prompts: ViewPrompts
    config: RunConfig
    seed: int
    normal_prompts: ViewPrompts | None = None
    """What a normal map is asked to show; None where no stage shows any."""


def _shows_normals(stage: StageConfig, seed: int, step: int) -> bool:
    """Whether this iteration shows the prior a normal map."""
    return (
        stage.normals > 0
        and float(torch.rand((), generator=rng.generator(seed, "normals", step))) < stage.normals
    )


def normal_map(out: Render, cameras: Cameras, background: Tensor) -> Tensor:
    """[B, H, W, 3] in [0, 1] which way what is rendered faces, over `background` [B, 3]."""
    return facing(out.normal, out.alpha, cameras) + (1 - out.alpha) * background[:, None, None]


def cameras_at(
    stage: StageConfig, number: int, seed: int, step: int, progress: float, together: int
) -> Cameras:
    """The cameras of an iteration, on the CPU. `number` is the stage's among those of the run, `progress` the stage's own."""
    gen = rng.generator(
        seed, f"cameras {number}" if number else "cameras", stage.cameras.draw(step, progress)
    )
    return sample_cameras(stage.cameras, stage.batch, progress, gen, together)


def _backward(state: TrainState, task: Task, progress: float) -> tuple[Render, GuidanceOut, Tensor]:
    """Fill the gradients of the representation: the render, the guidance, and the loss to log, a scalar. `progress` is of the stage."""
    stage, representation = task.config.stages[state.stage], state.representation
    device = representation.device
    cameras = cameras_at(stage, state.stage, task.seed, state.step, progress, task.prior.views)
    normals = _shows_normals(stage, task.seed, state.step)
    # While the cameras are on the CPU: asking a GPU where they look would wait for it.
    condition = (task.normal_prompts if normals else task.prompts).at(cameras)
    background = background_colors(stage.background, stage.batch, task.seed, state.step).to(device)
    cameras = cameras.to(device)
    out = representation.render(
        cameras, background, progress, rng.generator(task.seed, "render", state.step), normals
    )
    z0 = task.prior.encode(normal_map(out, cameras, background) if normals else out.rgb)
    guidance = stage.guidance(task.prior, condition, z0, progress, task.seed, state.step)
    regularizer = representation.regularizer(out, progress)
    (attach(z0, guidance.grad) + regularizer).backward()
    return out, guidance, 0.5 * guidance.grad.square().mean() + regularizer.detach()


def rehearse(state: TrainState, task: Task) -> None:
    """One iteration without its effect, so that compiling and first-use set-up are not taken for the speed of the machine."""
    _backward(state, task, of_stage(state, task, state.progress))
    state.representation.discard_gradients()


def of_stage(state: TrainState, task: Task, progress: float) -> float:
    """Progress of the stage at `progress` of the run, in [0, 1]."""
    end = task.config.ends(state.stage)[1]
    return min(max((progress - state.since) / max(end - state.since, 1e-9), 0.0), 1.0)


def iterate(state: TrainState, task: Task, progress: float, share: float) -> StepLog:
    """One iteration at `progress` in [0, 1], which is `share` of the run. Changes `state`."""
    representation, step = state.representation, state.step
    end = task.config.ends(state.stage)[1]
    now = of_stage(state, task, progress)
    out, guidance, loss = _backward(state, task, now)
    norm = guidance.grad.square().mean().sqrt()
    gradients = torch.stack([g.abs().sum() for g in representation.gradients()])
    # A wait for the device in every iteration: the price of never letting a NaN into what is optimized.
    finite = bool(torch.isfinite(torch.cat([gradients, norm[None], loss[None]])).all())
    if finite:
        representation.optimize(now, share / max(end - state.since, 1e-9))
        representation.after_step(out, state.accepted_progress, now, task.seed, step)
        state.accepted_progress = now
    else:
        representation.discard_gradients()
    state.step, state.progress = step + 1, progress
    return StepLog(
        step,
        progress,
        loss,
        norm,
        len(representation),
        representation.counts,
        not finite,
        guidance.log,
    )
