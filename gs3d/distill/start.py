"""Creates what a stage optimizes: new, from the stage before, or from a checkpoint."""

from typing import Any

from torch import Tensor

from gs3d.core.types import Splats
from gs3d.distill.contracts import check_model
from gs3d.distill.settings.stages import StageConfig
from gs3d.guidance.base import LearnedModel
from gs3d.priors.base import Prior
from gs3d.representations.base import Representation
from gs3d.representations.dmtet.convert import surface_of_field, surface_of_splats
from gs3d.representations.dmtet.dmtet import Dmtet
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.representations.nerf.nerf import Nerf

START_RADIUS = 0.5
"""Radius of the ball that a surface starts from if there is no stage before it."""


def begin(
    stage: StageConfig,
    seed: int,
    device: str,
    splats: Splats | None = None,
    progress: float = 0.0,
) -> Representation:
    """Return the initial representation of a run, at `progress` of its first stage.

    Splats and surfaces start from `splats` if given.
    """
    if splats is not None and stage.representation == "splats":
        of_splats = (stage.gaussians, stage.densify, stage.cameras.pixel_size)
        return Gaussians.of(splats.to(device), *of_splats, progress)
    if splats is not None:
        return surface_of_splats(splats.to(device), stage.dmtet)
    if stage.representation == "nerf":
        return Nerf(stage.nerf, seed, device)
    if stage.representation == "dmtet":
        return Dmtet.ball(stage.dmtet, START_RADIUS, seed, device)
    return Gaussians.blob(stage.gaussians, seed, device, stage.densify, stage.cameras.pixel_size)


def follow(before: Representation, stage: StageConfig) -> Representation:
    """Return the surface that `stage` starts from: the result `before` of the previous stage.

    `before` may be splats, a radiance field, or a surface, as in `stages.FOLLOWS`.
    """
    if isinstance(before, Gaussians):
        return surface_of_splats(before.splats(), stage.dmtet)
    if isinstance(before, Nerf):
        return surface_of_field(before.field, stage.dmtet)
    if isinstance(before, Dmtet):
        return Dmtet.from_state(before.state_tensors(), stage.dmtet, str(before.device))
    raise TypeError(f"follow: expected splats, a field or a surface, got {type(before).__name__}")


def from_state(tensors: dict[str, Tensor], stage: StageConfig, device: str) -> Representation:
    """Restore a representation from its state; the inverse of `Representation.state_tensors`."""
    if stage.representation == "nerf":
        return Nerf.from_state(tensors, stage.nerf, device)
    if stage.representation == "dmtet":
        return Dmtet.from_state(tensors, stage.dmtet, device)
    return Gaussians.from_state(
        tensors, stage.gaussians, device, stage.densify, stage.cameras.pixel_size
    )


def begin_model(guidance: Any, prior: Prior, seed: int, tensors: dict[str, Tensor]) -> LearnedModel:
    """Return what a loss trains (`guidance.base.LearningGuidance`), new or restored from `tensors`.

    Raises `UserError` if `prior` is not fit for it.
    """
    model = guidance.new_model(prior, seed)
    check_model(guidance, model)
    if tensors:
        model.load(tensors)
    return model
