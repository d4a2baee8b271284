"""Densify and prune splats during a run (Kerbl et al. 2023, Sec. 5), with gsplat's strategy.

gsplat's `DefaultStrategy` schedules by step number and compares gradients with an absolute
threshold. A run limited by minutes does not know its number of steps, and the magnitude of a score
distillation gradient depends on the prior, the weight and the guidance scale. Therefore times are
given as progress, and each refinement sets the threshold so that a chosen share of the splats
grows, up to the maximum count.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from gs3d.core.checks import require, within
from gs3d.core.rng import seeded
from gs3d.representations.adam import Adam

# Step numbers passed to the strategy. It refines when the number is a multiple of `refine_every`,
# and prunes splats that are too big only after `reset_every`.
_ACCUMULATE_STEP, _REFINE_STEP, _REFINE_EVERY, _RESET_EVERY = 3, 4, 2, 1


Parameters = torch.nn.ParameterDict
Optimizers = dict[str, Adam]


@dataclass(frozen=True)
class DensifyConfig:
    """When and how far the number of splats grows. Sizes are those without the smoothing filter."""

    start: float = 0.1
    """Progress at the first refinement."""
    stop: float = 0.75
    """Progress after which the number of splats is constant."""
    rounds: int = 12
    """Number of refinements from `start` to `stop`."""
    grow_share: float = 0.12
    """Share of the splats cloned or split per round: those with the largest mean 2D gradient."""
    max_count: int = 8000
    """Maximum number of splats."""
    prune_opacity: float = 0.02
    """Splats with a lower opacity are removed."""
    split_above: float = 0.03
    """Longest axis (world units) above which a growing splat is split rather than cloned."""
    prune_above: float = 0.35
    """Longest axis (world units) above which a splat is removed."""
    resets: tuple[float, ...] = ()
    """Progress values at which opacities are reset to twice `prune_opacity`. Floaters that no view
    supports stay faint after a reset and are pruned."""

    def __post_init__(self) -> None:
        # Times above 1 are valid: they turn densification off.
        within("start", self.start, "[0, inf)")
        within("stop", self.stop, "[0, inf)")
        require("start, stop", (self.start, self.stop), self.start < self.stop, "start below stop")
        within("rounds", self.rounds, "[1, inf)")
        within("grow_share", self.grow_share, "[0, 1]")
        within("max_count", self.max_count, "[1, inf)")
        # A reset sets opacities to twice this value, which must be below 1.
        within("prune_opacity", self.prune_opacity, "(0, 0.5)")
        within("split_above", self.split_above, "(0, inf)")
        within("prune_above", self.prune_above, "(0, inf)")
        within("resets", self.resets, "[0, inf)")


class Densifier:
    """Accumulates the gradients of all views in every step and refines when a round is due."""

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

    def _due(self, progress: float) -> tuple[int, int]:
        """Return the numbers of rounds and of resets that are due by `progress`."""
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
        """Accumulate the gradients of this step, and refine if a round or a reset is due.

        Returns True if a round or a reset became due between progress `before` and `now`. Call it
        after the optimizer step, so that moments and parameters change together. Random draws
        depend only on (seed, step).
        """
        if now > self.config.stop and self._due(before) == self._due(now):
            return False
        info = {**aux, "gaussian_ids": None}
        rounds, resets = (a > b for a, b in zip(self._due(now), self._due(before), strict=True))
        self._run_strategy(params, optimizers, _ACCUMULATE_STEP, info)
        with seeded(seed, "densify", step):
            if rounds:
                self._set_thresholds(params)
                # Radii of zero mark all splats as unseen, so this step is not counted twice.
                unseen = {**info, "radii": torch.zeros_like(aux["radii"])}
                self._run_strategy(params, optimizers, _REFINE_STEP, unseen)
            if resets:
                # The strategy of gsplat 1.5.3 never resets: its condition
                # `step % n == 0 & step > 0` is never true. So the reset is called directly.
                from gsplat.strategy.ops import reset_opa

                opacity = 2 * self.config.prune_opacity
                reset_opa(params, cast(Any, optimizers), self.state, value=opacity)
        return rounds or resets

    def _run_strategy(
        self, params: Parameters, optimizers: Optimizers, number: int, info: dict
    ) -> None:
        # gsplat's types name torch's optimizers, of which `Adam` has what it uses.
        theirs = cast(Any, optimizers)
        self.strategy.step_post_backward(params, theirs, self.state, number, info, packed=False)

    @torch.no_grad()
    def _set_thresholds(self, params: Parameters) -> None:
        """Set the strategy's thresholds for one refinement.

        The `grow_share` of splats with the largest gradients grows, fewer if `max_count` is near.
        Pruning by opacity and then by size never removes all splats: each keeps at least a tenth,
        and at least 64 if there are that many.
        """
        mean = self.state["grad2d"] / self.state["count"].clamp_min(1)
        share = self.config.grow_share
        growing = min(max(int(share * len(mean)), share > 0), self.config.max_count - len(mean))
        largest = mean.topk(min(growing + 1, len(mean))).values if growing > 0 else None
        self.strategy.grow_grad2d = float(largest[-1]) if largest is not None else float("inf")
        keep = max(min(64, len(mean)), len(mean) // 10)
        opacities = params["opacities"].sigmoid()
        sizes = params["scales"].exp().amax(dim=1)
        self.strategy.prune_opa = min(
            self.config.prune_opacity, float(opacities.topk(keep).values[-1])
        )
        # Only the sizes of splats that survive the opacity threshold count here. Otherwise each
        # threshold could remove the splats that the other one keeps, and none would be left.
        sizes = sizes[opacities >= self.strategy.prune_opa]
        self.strategy.prune_scale3d = max(
            self.config.prune_above, float(sizes.topk(keep, largest=False).values[-1])
        )

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the running statistics, for a checkpoint."""
        return {f"densify.{k}": v for k, v in self.state.items() if torch.is_tensor(v)}

    def load_state(self, tensors: dict[str, Tensor], device: str = "cpu") -> None:
        """Restore the statistics that `state_tensors` returned."""
        for k in ("grad2d", "count"):
            if f"densify.{k}" in tensors:
                self.state[k] = tensors[f"densify.{k}"].to(device).clone()
