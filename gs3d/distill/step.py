"""One iteration: render, compute the guidance gradient, optimize, maintain the representation.

This is the only module that combines guidance with representations.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.backgrounds import background_colors
from gs3d.core.cameras import Cameras, sample_cameras
from gs3d.core.normals import normal_map
from gs3d.core.runtime.transfer import moved
from gs3d.core.types import Render
from gs3d.core.views.inside import sample_inside
from gs3d.distill.contracts import check_learned, check_result
from gs3d.distill.memory.micro_batches import in_micro_batches, rows_of
from gs3d.distill.memory.shortage import retried
from gs3d.distill.settings.stages import StageConfig
from gs3d.distill.start import begin_model
from gs3d.distill.state import Task, TrainState, particle_seed
from gs3d.guidance.base import GuidanceOut, LearnedModel, learns
from gs3d.guidance.distillation import Distillation
from gs3d.guidance.noise import surface_points
from gs3d.priors.base import Condition

NEW_SHARE = 0.02
"""Share of an iteration in the running size of the gradient, a mean over some fifty of them."""


@dataclass(frozen=True)
class StepLog:
    """Log entry of one iteration.

    Its tensors are detached and stay on their device, so that logging does not wait for a GPU.
    """

    step: int
    progress: float
    """Progress of the run in [0, 1]."""
    loss: Tensor
    """Scalar: half the mean square of the guidance gradient, plus the regularizers."""
    grad_norm: Tensor
    """Scalar: root mean square of the guidance gradient."""
    count: int
    """Size of the representation after the step, in the unit `counts`: splats, for example."""
    counts: str
    """Unit of `count` (`Representation.counts`)."""
    skipped: bool
    """True if the update was not applied because of a NaN or Inf."""
    values: dict[str, float]
    """Values that the guidance loss logs, such as t, t1 and cfg, and its model, such as
    lora_loss."""
    particle: int | None = None
    """Which of several particles had the iteration, from 1; None in a run with one."""


def surrogate_loss(z0: Tensor, grad: Tensor) -> Tensor:
    """Return a scalar that has the gradient `grad` / numel with respect to z0.

    It is a mean, so its scale does not depend on the resolution or batch size.
    """
    return (z0 * grad.detach()).mean()


def _uses_normals(stage: StageConfig, seed: int, step: int) -> bool:
    """Return True if the prior gets normal maps in this iteration."""
    return (
        stage.normals > 0
        and float(torch.rand((), generator=rng.generator(seed, "normals", step))) < stage.normals
    )


def cameras_at(
    stage: StageConfig, number: int, seed: int, step: int, progress: float, together: int
) -> Cameras:
    """Sample the cameras of one iteration, on the CPU.

    Args:
        stage: Settings of the stage.
        number: Index of the stage in the run, from 0.
        seed: Seed of the run, or of one of several particles (`state.particle_seed`).
        step: Number of its iteration in the run, from 0.
        progress: Progress of the stage in [0, 1].
        together: Number of views that the prior denoises together.
    """
    gen = rng.generator(
        seed, f"cameras {number}" if number else "cameras", stage.cameras.draw(step, progress)
    )
    if stage.cameras.inside:
        return sample_inside(stage.cameras, stage.batch, progress, gen)
    return sample_cameras(stage.cameras, stage.batch, progress, gen, together)


@dataclass(frozen=True)
class _Gradients:
    """What an iteration knows after its backward pass. All tensors are detached scalars."""

    render: Render
    guidance: GuidanceOut
    loss: Tensor
    size: Tensor
    """Root mean square of the guidance gradient."""
    running_size: Tensor
    """`Particle.gradient_size` after this iteration."""
    learned_from: tuple[Condition, Tensor, Cameras]
    """What a model learns from: texts, latents of the renders, detached, and cameras."""


def _backward(state: TrainState, task: Task, progress: float) -> _Gradients:
    """Compute the gradients of the particle whose turn it is, at `progress` of the stage."""
    stage, particle = task.config.stages[state.stage], state.particles[state.turn]
    seed, step = particle_seed(task.seed, particle.number - 1), particle.iterations
    representation = particle.representation
    device, model = representation.device, _current_model(state, task)
    cameras = cameras_at(stage, state.stage, seed, step, progress, task.prior.views)
    normals = _uses_normals(stage, seed, step)
    # Before the cameras move to a GPU: reading their angles from there would wait for it.
    prompts = task.normal_prompts if normals else task.prompts
    assert prompts is not None
    condition = prompts.at(cameras)
    background = background_colors(stage.background, stage.batch, seed, step)
    background = moved(background, device)
    cameras = cameras.to(device)
    out = representation.render(
        cameras, background, progress, rng.generator(seed, "render", step), normals
    )
    images = normal_map(out, cameras, background) if normals else out.rgb
    prior = in_micro_batches(task.prior, stage.batch, micro_batch_of(state, task))
    z0 = prior.encode(images.to(prior.device))
    more: dict[str, Any] = {}
    if isinstance(stage.guidance, Distillation) and stage.guidance.noise == "surface":
        more["surface"] = surface_points(out, cameras).to(z0.device)
    if model is not None:
        more |= {"model": model, "cameras": cameras}
    guidance = stage.guidance(prior, condition, z0, progress, seed, step, **more)
    check_result(stage.guidance, guidance, z0)
    size = guidance.grad.square().mean().sqrt().to(device)
    before = particle.gradient_size
    running = size if before is None else before.lerp(size, NEW_SHARE)
    regularizer = representation.regularizer(out, progress)
    if stage.regularizer_weights == "relative":
        regularizer = running * regularizer
    (surrogate_loss(z0, guidance.grad).to(device) + regularizer).backward()
    loss = 0.5 * size.square() + regularizer.detach()
    return _Gradients(out, guidance, loss, size, running, (condition, z0.detach(), cameras))


def _current_model(state: TrainState, task: Task) -> LearnedModel | None:
    """What the loss of the stage trains, which computes as many views at once as the prior."""
    guidance = task.config.stages[state.stage].guidance
    if state.model is None and learns(guidance):
        seed = rng.derive_seed(task.seed, "model", state.stage)
        state.model = begin_model(guidance, task.prior, seed, state.model_tensors)
        state.model_tensors = {}
    if state.model is not None:
        state.model.rows = micro_batch_of(state, task)
    return state.model


def micro_batch_of(state: TrainState, task: Task) -> int:
    """Number of views that the prior computes at once in the current stage."""
    batch = task.config.stages[state.stage].batch
    most = state.micro_batch or task.config.micro_batch or batch
    return rows_of(batch, most, task.prior.views)


def _halved(state: TrainState, task: Task) -> bool:
    """Halve the micro-batch, once a run only: what is too large then has other causes. Returns
    whether it could be."""
    rows, views = micro_batch_of(state, task), task.prior.views
    half = rows_of(task.config.stages[state.stage].batch, rows // 2, views)
    if state.micro_batch is not None or half >= rows:
        return False
    state.micro_batch = half
    return True


def _in_memory(state: TrainState, task: Task, progress: float) -> _Gradients:
    """`_backward`. If memory runs out, once more with half the micro-batch."""

    def make_room() -> bool:
        # The failed attempt changed nothing but gradients.
        state.discard_gradients()
        return _halved(state, task)

    return retried(lambda: _backward(state, task, progress), make_room)


def _train(state: TrainState, task: Task, found: _Gradients) -> dict[str, float]:
    """Train the model of the loss on the renders of this iteration; returns what to log."""

    def train() -> dict[str, float]:
        if (model := _current_model(state, task)) is None:
            return {}
        learned = model.train(*found.learned_from, task.seed, state.step)
        check_learned(task.config.stages[state.stage].guidance, learned)
        return learned

    return retried(train, lambda: _halved(state, task))


def warm_up(state: TrainState, task: Task) -> None:
    """Run one iteration without updating anything but the micro-batch, if memory runs out.

    It triggers compilation and first-use setup, which must not count as the time of an iteration.
    """
    found = _in_memory(state, task, stage_progress(state, task, state.progress))
    if state.model is not None:
        before = {name: value.clone() for name, value in state.model.state_tensors().items()}
        _train(state, task, found)
        state.model.load(before)
    state.discard_gradients()


def stage_progress(state: TrainState, task: Task, progress: float) -> float:
    """Convert `progress` of the run to the progress of the current stage, in [0, 1]."""
    end = task.config.ends(state.stage)[1]
    return min(max((progress - state.since) / max(end - state.since, 1e-9), 0.0), 1.0)


def iterate(state: TrainState, task: Task, progress: float, share: float) -> StepLog:
    """Run one iteration of the particle whose turn it is, which changes `state`.

    Args:
        state: The state of the run.
        task: The fixed inputs of the run.
        progress: Progress of the run in [0, 1].
        share: Fraction of the run that this iteration covers, since the last one of the particle.

    If memory runs out before anything has changed, `state.micro_batch` is halved, once a run.
    """
    particle = state.particles[state.turn]
    representation = particle.representation
    end = task.config.ends(state.stage)[1]
    now = stage_progress(state, task, progress)
    found = _in_memory(state, task, now)
    gradients = torch.stack([g.abs().sum() for g in representation.gradients()])
    # This waits for the device in every iteration, but it keeps NaN out of the parameters.
    finite = bool(torch.isfinite(torch.cat([gradients, found.size[None], found.loss[None]])).all())
    learned = _train(state, task, found) if finite else {}
    finite = finite and all(map(math.isfinite, learned.values()))
    if finite:
        seed, before = particle_seed(task.seed, particle.number - 1), particle.accepted_progress
        representation.optimize(now, share / max(end - state.since, 1e-9))
        representation.after_step(found.render, before, now, seed, particle.iterations)
        particle.accepted_progress, particle.gradient_size = now, found.running_size
    else:
        representation.discard_gradients()
    particle.progress, particle.skipped = progress, 0 if finite else particle.skipped + 1
    size = (len(representation), representation.counts)
    values = found.guidance.log | learned
    number = particle.number if max(len(state.particles), task.candidates) > 1 else None
    log = StepLog(state.step, progress, found.loss, found.size, *size, not finite, values, number)
    state.step, state.progress = state.step + 1, progress
    particle.iterations += 1
    return log
