"""Splats that grow: Gaussians with their densifier, as the loop sees them."""

from typing import ClassVar

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Render, Splats
from gs3d.representations.densify import Densifier, DensifyConfig
from gs3d.representations.gaussians import GaussianConfig, Gaussians


class Cloud:
    """A `Representation` of splats."""

    counts: ClassVar[str] = "splats"

    def __init__(self, gaussians: Gaussians, densifier: Densifier):
        self.gaussians, self.densifier = gaussians, densifier

    @staticmethod
    def start(config: GaussianConfig, densify: DensifyConfig, seed: int, device: str) -> "Cloud":
        """The start blob."""
        return Cloud(Gaussians.blob(config, seed, device), Densifier(densify))

    @staticmethod
    def from_state(tensors: dict[str, Tensor], config: GaussianConfig, densify: DensifyConfig, device: str) -> "Cloud":
        """The inverse of `state_tensors`."""
        made = Cloud(Gaussians.from_state(tensors, config, device), Densifier(densify))
        made.densifier.load_state(tensors, device)
        return made

    def __len__(self) -> int:
        return len(self.gaussians)

    @property
    def device(self) -> torch.device:
        return self.gaussians.params["means"].device

    def splats(self) -> Splats:
        """Activated values, differentiable."""
        return self.gaussians.splats()

    def render(
        self,
        cameras: Cameras,
        background: Tensor,
        progress: float = 1.0,
        gen: torch.Generator | None = None,
        normals: bool = False,
    ) -> Render:
        return self.gaussians.render(cameras, background, normals)

    def regulariser(self, out: Render, progress: float) -> Tensor:
        return self.gaussians.regulariser(out, progress)

    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self.gaussians.params.values() if p.grad is not None]

    def optimise(self, progress: float, share: float) -> None:
        self.gaussians.optimise(progress, share)

    def tend(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        self.densifier.after_backward(self.gaussians, out.aux, before, now, seed, step)

    def discard_gradients(self) -> None:
        self.gaussians.discard_gradients()

    def whole(self) -> bool:
        return self.gaussians.whole()

    def state_tensors(self) -> dict[str, Tensor]:
        return self.gaussians.state_tensors() | self.densifier.state_tensors()
