"""What the losses share: their result, checks of their settings, the weight λ(t), and the element-wise clamp."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from gs3d.core import rng
from gs3d.core.checks import within
from gs3d.core.schedules import Ramp

Weight = Literal["one", "sigma2", "inverse_sigma"]


@dataclass(frozen=True)
class GuidanceOut:
    """A gradient on z0 and what to log about it."""

    grad: Tensor
    """[B, C, h, w] float32: descend it."""
    target: Tensor
    """[B, C, h, w] the denoised estimate the gradient points to, for pictures on the way; detached."""
    log: dict[str, float]


def check_common(cfg: Ramp, clamp: Ramp | None) -> None:
    """ValueError unless the settings that every loss has make sense."""
    within("cfg", cfg.ends, "[0, inf)")
    if clamp is not None:
        within("clamp", clamp.ends, "[0, inf)")


def weight_of(kind: Weight, sigma: float) -> float:
    """λ(t) on an ε-difference: 1; 1 − ᾱ = σ²/(1 + σ²), as DreamFusion; or 1/σ, which lets small noise levels speak louder."""
    if kind == "sigma2":
        return sigma**2 / (1 + sigma**2)
    return 1 / sigma if kind == "inverse_sigma" else 1.0


def noise_for(z0: Tensor, fixed: bool, views: int, seed: int, step: int) -> Tensor:
    """[B, C, h, w]: one noise for all pictures and steps (Consistent3D, Sec. 3.3), or one a picture and step.

    For a prior that looks at `views` pictures together it is one for each place in a group: four equal noises side by side are nothing it
    has ever seen.
    """
    if len(z0) % views:
        raise ValueError(
            f"z0: expected whole groups of {views} pictures for this prior, got {len(z0)}"
        )
    if not fixed:
        return rng.normal(tuple(z0.shape), seed, "noise", step).to(z0.device)
    return (
        rng.normal((views, *z0.shape[1:]), seed, "fixed noise")
        .to(z0.device)
        .repeat(len(z0) // views, 1, 1, 1)
    )


def clamped(grad: Tensor, bound: Ramp | None, progress: float) -> Tensor:
    """Each element held within ± bound(progress); unchanged when `bound` is None."""
    return grad if bound is None else grad.clamp(-bound(progress), bound(progress))
