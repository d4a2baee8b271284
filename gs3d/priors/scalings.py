"""From network output to denoised estimate: D(z, σ) = c_skip·z + c_out·net(c_in·z, c_noise).

z = z0 + σ·n, the variance-exploding form of Karras et al. 2022 (EDM), is the only noise convention
outside `gs3d.priors`. The coefficients `c_*` map σ elementwise: a float tensor with one value for
each sample gives a tensor of the same shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Float64


@dataclass(frozen=True)
class VpTable:
    """σ of a variance-preserving model by training step: σ² = (1 − ᾱ_t) / ᾱ_t.

    Time t in [0, 1] is a fraction of the training steps.
    """

    sigmas: Float64[Tensor, " T"]
    """Increasing."""
    _logs: dict[torch.device, Tensor] = field(
        default_factory=dict[torch.device, Tensor], init=False, repr=False, compare=False
    )
    """Logarithms of `sigmas`, by device."""

    @staticmethod
    def scaled_linear(
        beta_start: float = 0.00085, beta_end: float = 0.012, steps: int = 1000
    ) -> VpTable:
        """Stable Diffusion's table: √β is linear in the step."""
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
        return VpTable.from_alphas_cumprod((1 - betas).cumprod(0))

    @staticmethod
    def from_alphas_cumprod(alphas_cumprod: Float[Tensor, " T"]) -> VpTable:
        """Table of a diffusers scheduler; `alphas_cumprod` holds ᾱ."""
        a = alphas_cumprod.double()
        return VpTable(((1 - a) / a).sqrt())

    def sigma(self, t: float) -> float:
        """σ at t in [0, 1], log-linear between the entries of the table."""
        position = min(max(t, 0.0), 1.0) * len(self.sigmas) - 1
        position = min(max(position, 0.0), len(self.sigmas) - 1.0)
        low = min(int(position), len(self.sigmas) - 2)
        logs = self.sigmas[low : low + 2].log()
        return math.exp(float(logs[0] + (logs[1] - logs[0]) * (position - low)))

    def index(self, sigma: Tensor) -> Tensor:
        """Fractional table index of each σ, clamped to the ends of the table."""
        # Apple's GPUs have no double precision.
        place = torch.device("cpu") if sigma.device.type == "mps" else sigma.device
        if place not in self._logs:
            self._logs[place] = self.sigmas.log().to(place)
        logs, target = self._logs[place], sigma.to(place).double().log()
        high = torch.searchsorted(logs, target).clamp(1, len(logs) - 1)
        low = high - 1
        fraction = ((target - logs[low]) / (logs[high] - logs[low])).clamp(0, 1)
        return (low + fraction).float().to(sigma.device)


@dataclass(frozen=True)
class Epsilon:
    """The network predicts the noise of a variance-preserving process: SD 1.5, 2.1-base, SDXL."""

    table: VpTable

    def sigma(self, t: float) -> float:
        return self.table.sigma(t)

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2).sqrt()

    def c_skip(self, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)

    def c_out(self, sigma: Tensor) -> Tensor:
        return -sigma

    def c_noise(self, sigma: Tensor) -> Tensor:
        return self.table.index(sigma)


@dataclass(frozen=True)
class Velocity(Epsilon):
    """The network predicts v = √ᾱ·n − √(1−ᾱ)·x (SD 2.1 at 768)."""

    def c_skip(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma**2)

    def c_out(self, sigma: Tensor) -> Tensor:
        return -sigma / (1 + sigma**2).sqrt()


@dataclass(frozen=True)
class Flow:
    """The network predicts u = n − x along x_t = (1 − t)·x + t·n (SD3, FLUX); σ = t / (1 − t)."""

    time_scale: float = 1000.0

    def sigma(self, t: float) -> float:
        t = min(max(t, 0.0), 0.999)
        return t / (1 - t)

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma)

    def c_skip(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma)

    def c_out(self, sigma: Tensor) -> Tensor:
        return -sigma / (1 + sigma)

    def c_noise(self, sigma: Tensor) -> Tensor:
        return self.time_scale * sigma / (1 + sigma)


@dataclass(frozen=True)
class Edm:
    """The network predicts F of Karras et al. 2022, Table 1.

    Such a model has no time variable of its own. σ at time t is the value of Stable Diffusion's
    table times the standard deviation of the data, so that a schedule in t gives about the same
    signal-to-noise ratio for every prior.
    """

    sigma_data: float = 0.5
    spread: float = 0.5
    """Standard deviation of the data.

    Karras et al. also use it as σ_data. The built-in prior does not (`priors.builtin.SIGMA_DATA`).
    """

    def sigma(self, t: float) -> float:
        return self.spread * _SD_TABLE.sigma(t)

    def c_in(self, sigma: Tensor) -> Tensor:
        return 1 / (sigma**2 + self.sigma_data**2).sqrt()

    def c_skip(self, sigma: Tensor) -> Tensor:
        return self.sigma_data**2 / (sigma**2 + self.sigma_data**2)

    def c_out(self, sigma: Tensor) -> Tensor:
        return sigma * self.sigma_data / (sigma**2 + self.sigma_data**2).sqrt()

    def c_noise(self, sigma: Tensor) -> Tensor:
        return sigma.log() / 4


_SD_TABLE = VpTable.scaled_linear()
Scaling = Epsilon | Velocity | Flow | Edm
