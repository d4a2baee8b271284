"""Settings of a run: one or more stages, each with a representation, guidance and cameras."""

from dataclasses import dataclass, field, replace
from typing import Literal

from gs3d.core.cameras import CameraConfig
from gs3d.core.checks import require, within
from gs3d.guidance import Cds, Guidance
from gs3d.guidance.distillation import Distillation
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.densify import DensifyConfig
from gs3d.representations.nerf.config import NerfConfig

Background = Literal["random", "white", "gray", "black"]
RepresentationName = Literal["splats", "nerf", "dmtet"]
SECTIONS: dict[RepresentationName, tuple[str, ...]] = {
    "splats": ("gaussians", "densify"),
    "nerf": ("nerf",),
    "dmtet": ("dmtet",),
}
"""Sections of settings that belong to one representation only."""
SAMPLING_SCALE = 7.5
"""The guidance scale with which images are usually sampled, and the default of most losses."""
FOLLOWS: dict[RepresentationName, tuple[RepresentationName, ...]] = {
    "splats": (),
    "nerf": (),
    "dmtet": ("splats", "nerf", "dmtet"),
}
"""Representation of a stage -> those that the stage before may have. With none, the stage can only
be the first."""


@dataclass(frozen=True)
class StageConfig:
    """Everything that determines an iteration, except the prompt, the seed and the machine."""

    representation: RepresentationName = "splats"
    """What is optimized: splats, a radiance field (nerf), or a DMTet surface. A surface starts from
    the result of the stage before it."""
    share: float = 1.0
    """Part of the run that the stage takes, relative to the shares of the other stages."""
    guidance: Guidance = field(default_factory=Cds)
    batch: int = 4
    """Views per iteration. With a multiple of four, every batch has a front, a back and two side
    views."""
    background: Background = "random"
    """Background during optimization: one solid color per view."""
    regularizer_weights: Literal["relative", "absolute"] = "relative"
    """relative: weights of regularizers are multiples of the running size of the guidance gradient,
    its root mean square, so that they mean the same for every prior, loss and guidance scale."""
    normals: float = 0.0
    """Fraction of the iterations in which the prior gets normal maps instead of color renders
    (Consistent3D, App. A)."""
    cameras: CameraConfig = CameraConfig()
    gaussians: GaussianConfig = GaussianConfig()
    densify: DensifyConfig = DensifyConfig()
    nerf: NerfConfig = NerfConfig()
    dmtet: DmtetConfig = DmtetConfig()

    def __post_init__(self) -> None:
        within("batch", self.batch, "[1, inf)")
        within("share", self.share, "(0, inf)")
        within("normals", self.normals, "[0, 1]")
        is_scene = self.representation == "splats" and self.gaussians.start == "surroundings"
        require(
            "cameras: inside",
            self.cameras.inside,
            is_scene == self.cameras.inside,
            "true for splats with `gaussians: {start: surroundings}`, and false for all else",
        )


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run, except the prompt, the seed and the machine."""

    stages: tuple[StageConfig, ...] = (StageConfig(),)
    negative: str | None = None
    """Negative prompt. None uses the default of the prior."""
    blend_views: bool = False
    """Blend the embeddings of two view directions, by the angles of the camera, instead of using
    the nearer. Has no effect on a prior that knows exact directions; refused for one that is given
    the cameras (MVDream)."""
    perp_neg: float = 0.0
    """Strength of Perp-Neg (arXiv 2304.04968), which turns views away from the front and the side
    that they do not show. 1 has the weights of threestudio. It doubles the evaluations."""
    begin: float | None = None
    """Progress at which the run begins, so that it skips the start of every schedule. None is 0.5
    for splats that are refined (--start), which are not formed again, and else 0."""
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    progress_every_s: float = 30.0
    """Seconds between rows of progress.png. 0 writes no such file."""
    attention: Literal["sdpa", "xformers"] = "sdpa"
    """Attention implementation of a diffusers prior."""
    checkpoint_encoder: bool = False
    """Gradient checkpointing in the autoencoder: recompute its activations in the backward pass,
    which is slower and needs far less GPU memory."""
    micro_batch: int | None = None
    """Views that the prior computes at once, a divisor of `batch`; None is all of them, or what
    --vram chooses. Fewer need less GPU memory and more time. The result is the same."""
    text_on_cpu: bool = False
    """Embed the prompts on the CPU, so that the text encoder takes no GPU memory."""
    vae: str | None = None
    """Another autoencoder with the same latent space: taesd, a folder, or a hub id (owner/name).
    None uses that of the prior."""
    vae_backward: str | None = None
    """Another autoencoder that only gives the gradient of encoding, named as for `vae`; the latents
    are still those of the prior's own. A small one, such as taesd, is faster and keeps far less for
    the backward pass. None uses the exact gradient."""
    compile: bool = False
    """Compile the prior's networks with torch.compile before the first iteration. The time counts
    towards the minutes of the run."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_every_s", "progress_every_s"):
            within(name, getattr(self, name), "[0, inf)")
        within("perp_neg", self.perp_neg, "[0, 100]")
        both = self.vae is not None and self.vae_backward is not None
        require("vae_backward", self.vae_backward, not both, "null, because `vae` is set")
        if self.micro_batch is not None:
            within("micro_batch", self.micro_batch, "[1, inf)")
        require("stages", len(self.stages), bool(self.stages), "1 or more")
        if self.begin is not None:
            first = self.ends(0)[1]
            in_first = 0 <= self.begin < first
            require("begin", self.begin, in_first, f"a number in the first stage, [0, {first:g})")
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            _check_order(before, after)

    def ends(self, stage: int) -> tuple[float, float]:
        """Return the progress of the run at which stage number `stage`, from 0, begins and ends."""
        total = sum(s.share for s in self.stages)
        done = [sum(s.share for s in self.stages[:i]) / total for i in (stage, stage + 1)]
        return done[0], 1.0 if stage == len(self.stages) - 1 else done[1]

    def stage_at(self, progress: float) -> int:
        """Return the number, from 0, of the stage that runs at `progress` of the run."""
        return next(
            (i for i in range(len(self.stages)) if progress < self.ends(i)[1]), len(self.stages) - 1
        )


def with_renders_up_to(largest_px: int, stage: StageConfig) -> StageConfig:
    """The stage with renders of at most `largest_px`²."""
    steps = stage.cameras.resolution_px
    smaller = replace(steps, values=tuple(min(value, largest_px) for value in steps.values))
    return replace(stage, cameras=replace(stage.cameras, resolution_px=smaller))


def with_guidance_times(factor: float, stage: StageConfig) -> StageConfig:
    """The stage with another guidance scale if its loss has one above `SAMPLING_SCALE`, below which
    neither end is lowered.

    Smaller ones are those with which images are sampled, about the same for all families, or no
    guidance scale at all, as the weight 1 of csd.
    """
    loss = stage.guidance
    if not isinstance(loss, Distillation) or max(loss.cfg.ends) <= SAMPLING_SCALE:
        return stage
    start, end = (
        max(factor * scale, min(scale, SAMPLING_SCALE)) for scale in (loss.cfg.start, loss.cfg.end)
    )
    cfg = replace(loss.cfg, start=start, end=end)
    return replace(stage, guidance=replace(loss, cfg=cfg))


def _check_order(before: StageConfig, after: StageConfig) -> None:
    """Raise `ValueError` unless stage `after` can start from the result of stage `before`."""
    allowed = FOLLOWS[after.representation]
    require(
        f"stages: representation: {after.representation}",
        f"after {before.representation}",
        before.representation in allowed,
        f"a stage after one of {' or '.join(allowed)}" if allowed else "the first stage only",
    )
    for name in ("resolution", "max_offset"):
        old, new = getattr(before.dmtet, name), getattr(after.dmtet, name)
        require(
            f"stages: dmtet: {name}",
            new,
            before.representation != "dmtet" or old == new,
            f"that of the stage before, {old}",
        )


HOW = ("attention", "checkpoint_encoder", "compile", "micro_batch", "text_on_cpu")
"""Settings that change the speed and memory of the prior's networks, but not what they compute."""
