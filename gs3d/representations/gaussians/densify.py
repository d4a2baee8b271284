"""Growing and pruning splats during a run, by gsplat's `DefaultStrategy` (Kerbl et al. 2023, Sec. 5).

gsplat's strategy counts in steps and compares gradients with an absolute threshold. A run given in minutes does not know its
steps, and the size of a score-distillation gradient depends on the prior, the weight and the guidance scale. So the times are
given in progress, and the threshold is set at each refinement so that a chosen share of the splats grows, never beyond the cap.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gs3d.core.checks import require, within
from gs3d.core.rng import derive_seed

# The strategy is told one of two step numbers: it acts when the number divides by its `refine_every`, and prunes splats that are
# too big only past its `reset_every`.
_WATCH, _REFINE, _REFINE_EVERY, _RESET_EVERY = 3, 4, 2, 1


Parameters = torch.nn.ParameterDict
Optimizers = dict[str, torch.optim.Optimizer]


@dataclass(frozen=True)
class DensifyConfig:
    """When and how far the cloud grows."""

    start: float = 0.1
    """Progress at the first refinement."""
    stop: float = 0.75
    """Progress after which the number of splats stays."""
    rounds: int = 12
    """Refinements between the two."""
    grow_share: float = 0.12
    """Share of the splats, those with the largest mean 2D gradient, that are cloned or split in a round."""
    max_count: int = 8000
    """Never more splats than this."""
    prune_opacity: float = 0.02
    """Splats fainter than this are removed."""
    split_above: float = 0.03
    """Longest axis (world units) above which a growing splat is split rather than cloned."""
    prune_above: float = 0.35
    """Longest axis above which a splat is removed."""
    resets: tuple[float, ...] = ()
    """Progress at which opacities are reset to twice `prune_opacity`, so that floaters must earn their place again."""

    def __post_init__(self) -> None:
        within(
            "start", self.start, "[0, inf)"
        )  # times above 1 are legal: they switch densification off
        within("stop", self.stop, "[0, inf)")
        require("start, stop", (self.start, self.stop), self.start < self.stop, "start below stop")
        within("rounds", self.rounds, "[1, inf)")
        within("grow_share", self.grow_share, "[0, 1]")
        within("max_count", self.max_count, "[1, inf)")
        within(
            "prune_opacity", self.prune_opacity, "(0, 0.5)"
        )  # twice as much is what a reset leaves, which must be below 1
        within("split_above", self.split_above, "(0, inf)")
        within("prune_above", self.prune_above, "(0, inf)")
        within("resets", self.resets, "[0, inf)")


class Densifier:
    """Watches the gradients of all views of every step and refines when a round is due."""

    def __init__(self, config: DensifyConfig):
        from gsplat import DefaultStrategy

        self.config = config
        self.strategy = DefaultStrategy(
            prune_opa=config.prune_opacity,
            grow_scale3d=config.split_above,
            prune_scale3d=config.prune_above,
            refine_start_iter=0,
            refine_every=_REFINE_EVERY,
            reset_every=_RESET_EVERY,
        )
        self.state: dict[str, Any] = self.strategy.initialize_state(scene_scale=1.0)

    def _done(self, progress: float) -> tuple[int, int]:
        """Rounds and resets that should have happened by `progress`."""
        c = self.config
        share = (min(progress, c.stop) - c.start) / max(c.stop - c.start, 1e-9)
        rounds = 0 if share < 0 else 1 + int(share * (c.rounds - 1) + 1e-9)
        return rounds, sum(progress >= r for r in c.resets)

    def after_backward(
        self,
        params: Parameters,
        optimizers: Optimizers,
        aux: dict,
        before: float,
        now: float,
        seed: int,
        step: int,
    ) -> bool:
        """Take in this step's gradients; refine if a round became due between progress `before` and `now`. True if it did.

        Call after the optimizer's step, so that moments and parameters change together. Random draws depend on (seed, step) alone.
        """
        if now > self.config.stop and self._done(before) == self._done(now):
            return False
        info = {**aux, "gaussian_ids": None}
        rounds, resets = (a > b for a, b in zip(self._done(now), self._done(before), strict=True))
        self._tell(params, optimizers, _WATCH, info)
        with torch.random.fork_rng(
            devices=[aux["means2d"].device] if aux["means2d"].is_cuda else []
        ):
            torch.manual_seed(derive_seed(seed, "densify", step))
            if rounds:
                self._set_thresholds(params)
                # Nothing was seen since the line above, so this step is not counted twice.
                unseen = {**info, "radii": torch.zeros_like(aux["radii"])}
                self._tell(params, optimizers, _REFINE, unseen)
            if resets:
                # Called directly: in gsplat 1.5.3 the strategy's own condition, `step % n == 0 & step > 0`, is never true.
                from gsplat.strategy.ops import reset_opa

                opacity = 2 * self.config.prune_opacity
                reset_opa(params, optimizers, self.state, value=opacity)
        return rounds or resets

    def _tell(self, params: Parameters, optimizers: Optimizers, number: int, info: dict) -> None:
        self.strategy.step_post_backward(params, optimizers, self.state, number, info, packed=False)

    @torch.no_grad()
    def _set_thresholds(self, params: Parameters) -> None:
        """What grows: the largest `grow_share` of gradients, held to the room under the cap. What goes: never more than nine in ten."""
        mean = self.state["grad2d"] / self.state["count"].clamp_min(1)
        room = min(int(self.config.grow_share * len(mean)), self.config.max_count - len(mean))
        largest = mean.topk(min(room + 1, len(mean))).values if room > 0 else None
        self.strategy.grow_grad2d = float(largest[-1]) if largest is not None else float("inf")
        keep = max(min(64, len(mean)), len(mean) // 10)
        opacities = params["opacities"].sigmoid()
        sizes = params["scales"].exp().amax(dim=1)
        self.strategy.prune_opa = min(
            self.config.prune_opacity, float(opacities.topk(keep).values[-1])
        )
        sizes = sizes[
            opacities >= self.strategy.prune_opa
        ]  # of those that stay so far: the two bounds must not share out the cloud
        self.strategy.prune_scale3d = max(
            self.config.prune_above, float(sizes.topk(keep, largest=False).values[-1])
        )

    def state_tensors(self) -> dict[str, Tensor]:
        """The running statistics, for a checkpoint."""
        return {f"densify.{k}": v for k, v in self.state.items() if torch.is_tensor(v)}

    def load_state(self, tensors: dict[str, Tensor], device: str = "cpu") -> None:
        """The inverse of `state_tensors`."""
        for k in ("grad2d", "count"):
            if f"densify.{k}" in tensors:
                self.state[k] = tensors[f"densify.{k}"].to(device).clone()
