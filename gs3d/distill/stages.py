"""What a run does: one stage or several, each with what it optimizes, under which loss, and how it is looked at."""

from dataclasses import dataclass, field
from typing import Literal

from gs3d.core.cameras import CameraConfig
from gs3d.core.checks import require, within
from gs3d.guidance import Cds, Guidance
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
"""The settings that each shape has for itself."""
FOLLOWS: dict[RepresentationName, tuple[RepresentationName, ...]] = {
    "splats": (),
    "nerf": (),
    "dmtet": ("splats", "nerf", "dmtet"),
}
"""What each shape can be made from."""


@dataclass(frozen=True)
class StageConfig:
    """Everything that decides an iteration but the prompt, the seed and the machine."""

    representation: RepresentationName = "splats"
    """What is optimized: splats, a radiance field, or a surface of tetrahedra, which begins as what the stage before it made."""
    share: float = 1.0
    """How much of the run the stage has, beside the shares of the others."""
    guidance: Guidance = field(default_factory=Cds)
    batch: int = 4
    """Views an iteration; a multiple of four gives every batch a front, two sides and a back."""
    background: Background = "random"
    """Behind the object while it is optimized: one solid color a view."""
    normals: float = 0.0
    """Share of the iterations that show the prior which way the surface faces instead of its colors (Consistent3D, App. A)."""
    cameras: CameraConfig = CameraConfig()
    gaussians: GaussianConfig = GaussianConfig()
    densify: DensifyConfig = DensifyConfig()
    nerf: NerfConfig = NerfConfig()
    dmtet: DmtetConfig = DmtetConfig()

    def __post_init__(self) -> None:
        within("batch", self.batch, "[1, inf)")
        within("share", self.share, "(0, inf)")
        within("normals", self.normals, "[0, 1]")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run but the prompt, the seed and the machine."""

    stages: tuple[StageConfig, ...] = (StageConfig(),)
    negative: str | None = None
    """Negative prompt; None takes the prior's own."""
    checkpoint_every_s: float = 30.0
    """Seconds between checkpoints."""
    progress_every_s: float = 30.0
    """Seconds between the rows of progress.png; 0 for no such file."""
    attention: Literal["sdpa", "xformers"] = "sdpa"
    """Attention inside a diffusers prior."""
    checkpoint_encoder: bool = False
    """Compute the autoencoder's activations again in the backward pass: slower, far less GPU memory."""
    vae: str | None = None
    """Another autoencoder of the same latents: taesd, a folder, or owner/name of a model hub. None takes the prior's own."""
    compile: bool = False
    """Let torch compile the prior's networks before the first iteration, within the minutes of the run."""

    def __post_init__(self) -> None:
        for name in ("checkpoint_every_s", "progress_every_s"):
            within(name, getattr(self, name), "[0, inf)")
        require("stages", len(self.stages), bool(self.stages), "1 or more")
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            allowed = FOLLOWS[after.representation]
            after_what = (
                f"a stage after one of {' or '.join(allowed)}"
                if allowed
                else "the first stage only"
            )
            require(
                f"stages: representation: {after.representation}",
                f"after {before.representation}",
                before.representation in allowed,
                after_what,
            )
            for name in ("resolution", "max_offset"):
                old, new = getattr(before.dmtet, name), getattr(after.dmtet, name)
                require(
                    f"stages: dmtet: {name}",
                    new,
                    before.representation != "dmtet" or old == new,
                    f"that of the stage before, {old}",
                )

    def ends(self, stage: int) -> tuple[float, float]:
        """Progress of the run at which a stage begins and ends."""
        total = sum(s.share for s in self.stages)
        done = [sum(s.share for s in self.stages[:i]) / total for i in (stage, stage + 1)]
        return done[0], 1.0 if stage == len(self.stages) - 1 else done[1]

    def stage_at(self, progress: float) -> int:
        """The stage that runs at `progress`."""
        return next(
            (i for i in range(len(self.stages)) if progress < self.ends(i)[1]), len(self.stages) - 1
        )


HOW = ("attention", "checkpoint_encoder", "compile")
"""Settings of a run that say how the networks are run, and not what they say."""
