"""Shared parts of the guidance losses: checks of settings, weight λ(t), noise and clamp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor

from gs3d.core import rng
from gs3d.core.checks import within
from gs3d.core.schedules import Ramp

if TYPE_CHECKING:
    from jaxtyping import Float

Weight = Literal["one", "sigma2", "inverse_sigma"]


def check_common(cfg: Ramp, clamp: Ramp | None) -> None:
    """Raise `ValueError` if a setting that all guidance losses have is out of range."""
    within("cfg", cfg.ends, "[0, inf)")
    if clamp is not None:
        within("clamp", clamp.ends, "[0, inf)")


def weight_of(kind: Weight, sigma: float) -> float:
    """Weight λ(t) of an ε-difference at noise level `sigma`.

    "one": 1. "sigma2": 1 − ᾱ = σ²/(1 + σ²), as in DreamFusion. "inverse_sigma": 1/σ, which gives
    small noise levels more weight.
    """
    if kind == "sigma2":
        return sigma**2 / (1 + sigma**2)
    return 1 / sigma if kind == "inverse_sigma" else 1.0


def noise_for(
    z0: Float[Tensor, "B C h w"], fixed: bool, views: int, seed: int, step: int
) -> Float[Tensor, "B C h w"]:
    """Noise on the device of `z0`.

    If `fixed`, all images and steps share one noise (Consistent3D, Sec. 3.3); else each image and
    step has its own. A prior that denoises `views` images jointly gets one fixed noise per position
    in the group, because it was never trained on groups of equal noises.

    Raises `ValueError` if `views` does not divide the batch size B.
    """
    if len(z0) % views:
        raise ValueError(
            f"z0: expected whole groups of {views} images for this prior, got {len(z0)}"
        )
    if not fixed:
        return rng.normal(tuple(z0.shape), seed, "noise", step).to(z0.device)
    noise = rng.normal((views, *z0.shape[1:]), seed, "fixed noise").to(z0.device)
    return noise.repeat(len(z0) // views, 1, 1, 1)


def clamped(grad: Tensor, bound: Ramp | None, progress: float) -> Tensor:
    """Clamp each element to ± bound(progress); None leaves `grad` unchanged."""
    return grad if bound is None else grad.clamp(-bound(progress), bound(progress))
