# pyright: reportUnknownMemberType=false
# torch has no complete types.
"""A prior with a LoRA that learns to denoise given images: the estimate ε̂_φ of ProlificDreamer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.runtime.transfer import moved
from gs3d.priors.adapter.camera import camera_features
from gs3d.priors.adapter.lora import Adapter
from gs3d.priors.adapter.opened import opened
from gs3d.priors.base import Condition, Prior
from gs3d.priors.network import Network

if TYPE_CHECKING:
    from jaxtyping import Float

Target = Literal["network", "epsilon", "v"]
"""What the error is measured in while the LoRA learns: what the network predicts, the noise n, or
v = (n − σ·z0) / √(1 + σ²). They differ by a factor that depends on σ."""
T_ENDS = (0.001, 0.999)
"""Range of the times of the training. Flow models have σ = 0 and an unbounded σ at its ends."""
LOSS_SCALE = 2.0**12
"""Factor of the loss in the backward pass, so that gradients in half precision do not vanish. A
power of two changes no digit."""
PART = "adam."
"""Begins the names of the optimizer's tensors in `LoraModel.state_tensors`."""


@dataclass(frozen=True)
class LoraSettings:
    """How a LoRA learns."""

    rank: int
    rate: float
    """Learning rate of AdamW."""
    steps: int
    """Steps of AdamW in each iteration."""
    camera_dropout: float
    """Probability of a step in which the cameras are not told."""
    target: Target


class _Differentiable(Network):
    """A network whose `denoise` has gradients, where torch's mode has them."""

    def denoise(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float[Tensor, "B C h w"]:
        return self.differentiable(z, sigma, text)


class LoraModel:
    """D_φ(z, σ, y, camera). Implements `guidance.base.LearnedModel`."""

    rows: int | None = None
    """Images that it computes at once; None for all."""

    def __init__(self, prior: Prior, settings: LoraSettings, seed: int, what: str):
        """A new one, which denoises as `prior` does; the weights of `prior` never change.

        Raises `UserError` about `what`, the loss, if the prior cannot be adapted (`opened.opened`,
        `lora.Adapter`).
        """
        found = opened(prior, what)
        parts = {f.name: getattr(found.network, f.name) for f in fields(Network)}
        self._settings, self._what = settings, what
        self._scaling, self._scale = found.network.scaling, found.scale
        self._prior = found.rebuild(_Differentiable(**parts))
        generator = rng.generator(seed, "lora")
        self.adapter = Adapter(found.network.backbone, settings.rank, generator, what)
        self._names = dict(self.adapter.named_parameters())
        self._optimizer = torch.optim.AdamW(self._names.values(), lr=settings.rate)

    def denoise(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
        cameras: Cameras,
    ) -> Float[Tensor, "B C h w"]:
        """D_φ, without gradient."""
        features = camera_features(cameras).to(z.device)
        rows = self.rows or len(z)
        parts = [slice(i, i + rows) for i in range(0, len(z), rows)]
        with torch.no_grad():
            denoised = [self._denoised(z[p], sigma[p], text[p], features[p]) for p in parts]
        return torch.cat(denoised)

    def train(
        self,
        condition: Condition,
        z0: Float[Tensor, "B C h w"],
        cameras: Cameras,
        seed: int,
        step: int,
    ) -> dict[str, float]:
        """Learn the latents `z0` of renders. Returns the mean loss as "lora_loss".

        If the loss or a gradient is not finite, or an error is raised, nothing has changed. In the
        first case the result is NaN.
        """
        before = {name: value.clone() for name, value in self.state_tensors().items()}
        features = camera_features(cameras).to(z0.device)
        losses: list[Tensor] = []
        finite: list[Tensor] = []
        try:
            for k in range(self._settings.steps):
                generator = rng.generator(seed, "lora", step, k)
                keep = float(torch.rand((), generator=generator)) >= self._settings.camera_dropout
                seen = features if keep else torch.zeros_like(features)
                loss, gradients = self._gradients(condition.text, z0.detach(), seen, generator)
                for parameter, gradient in zip(self._names.values(), gradients, strict=True):
                    parameter.grad = gradient
                self._optimizer.step()
                losses.append(loss)
                finite += [loss.isfinite(), *(g.isfinite().all() for g in gradients)]
            self._optimizer.zero_grad(set_to_none=True)
            # The only wait for the device.
            means = torch.stack([torch.stack(losses).mean(), torch.stack(finite).all().float()])
            loss, all_finite = cast("list[float]", means.tolist())
        except BaseException:
            self.load(before)
            raise
        if not all_finite:
            self.load(before)
            loss = float("nan")
        return {"lora_loss": loss}

    def _gradients(
        self, text: Tensor, z0: Tensor, features: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, list[Tensor]]:
        """The mean loss over all images, each at a time of its own, and its gradients."""
        low, high = T_ENDS
        times = low + (high - low) * torch.rand(len(z0), generator=generator)
        sigma = torch.tensor([self._prior.sigma(float(t)) for t in times])
        sigma = moved(sigma, z0.device)
        noise = moved(torch.randn(z0.shape, generator=generator), z0.device)
        z = z0 + sigma[:, None, None, None] * noise
        factor = self._factor(sigma)[:, None, None, None]
        rows = self.rows or len(z0)
        total = torch.zeros((), device=z0.device)
        sums = [torch.zeros_like(p) for p in self._names.values()]
        with torch.enable_grad():
            for i in range(0, len(z0), rows):
                part = slice(i, i + rows)
                denoised = self._denoised(z[part], sigma[part], text[part], features[part])
                error = factor[part] * (denoised - z0[part])
                loss = error.square().sum() / z0.numel()
                # Not `backward`, which would also reach weights of the network.
                # Some layers have no effect, as that for the queries of the text in a last block.
                found = torch.autograd.grad(
                    LOSS_SCALE * loss,
                    list(self._names.values()),
                    allow_unused=True,
                    materialize_grads=True,
                )
                total += loss.detach()
                for one, gradient in zip(sums, found, strict=True):
                    one += gradient / LOSS_SCALE
        return total, sums

    def _denoised(self, z: Tensor, sigma: Tensor, text: Tensor, features: Tensor) -> Tensor:
        with self.adapter.active(features):
            return self._prior.denoise(z, sigma, text)

    def _factor(self, sigma: Tensor) -> Tensor:
        """Error of the target for an error of D, at each σ."""
        if self._settings.target == "epsilon":
            return 1 / sigma
        if self._settings.target == "v":
            return (1 + sigma**2).sqrt() / sigma
        # The latents of a prior may be a multiple of those of its network.
        inner = sigma / self._scale
        return 1 / (self._scaling.c_out(inner).abs() * self._scale)

    def state_tensors(self) -> dict[str, Tensor]:
        """All that changes: weights by name, and AdamW's moments and step counts."""
        state = {name: parameter.detach() for name, parameter in self._names.items()}
        for name, parameter in self._names.items():
            moments = cast("dict[str, Tensor]", self._optimizer.state.get(parameter, {}))
            state |= {f"{PART}{name}.{key}": value for key, value in moments.items()}
        return state

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_tensors` gave. Raises `UserError` if it is of another model."""
        shapes = {n: t.shape for n, t in tensors.items() if not n.startswith(PART)}
        if shapes != {name: parameter.shape for name, parameter in self._names.items()}:
            raise UserError(
                f"{self._what}: the LoRA in the checkpoint has other layers than that of this "
                "prior and rank; start a new run"
            )
        self._optimizer.zero_grad(set_to_none=True)
        state = cast("dict[Tensor, Any]", self._optimizer.state)
        for name, parameter in self._names.items():
            parameter.data.copy_(tensors[name])
            start = f"{PART}{name}."
            moments = {n[len(start) :]: t for n, t in tensors.items() if n.startswith(start)}
            state.pop(parameter, None)
            if moments:
                # AdamW keeps its step count on the CPU, on every device.
                state[parameter] = {
                    key: value.clone() if key == "step" else value.to(parameter.device).clone()
                    for key, value in moments.items()
                }
