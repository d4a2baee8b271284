"""A guidance loss of your own: SDS with the gradient normalized to unit root mean square.

python examples/own_loss.py "a red mushroom" --steps 300

Commands take it from this file too:
gs3d generate "a red mushroom" --steps 300 --guidance examples/own_loss.py:NormalizedSds
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor

import gs3d
from gs3d.core import rng
from gs3d.priors import Condition, epsilon, guided


@dataclass(frozen=True)
class NormalizedSds:
    """The gradient (ε̂ − ε) / rms(ε̂ − ε) at a random noise level."""

    scale: float = 7.0
    """Classifier-free guidance scale."""

    def __call__(
        self,
        prior: gs3d.Prior,
        condition: Condition,
        z0: Tensor,
        progress: float,
        seed: int,
        step: int,
    ) -> gs3d.GuidanceOut:
        # All randomness is a function of (seed, step), so that a run can be repeated and resumed.
        u = float(torch.rand((), generator=rng.generator(seed, "own loss", step)))
        t = 0.1 + 0.8 * u
        sigma = prior.sigma(t)
        noise = rng.normal(tuple(z0.shape), seed, "own noise", step).to(z0.device)
        x = z0.detach() + sigma * noise
        denoised = guided(prior, x, sigma, condition, self.scale)
        grad = epsilon(x, denoised, sigma) - noise
        grad = grad / grad.square().mean().sqrt().clamp_min(1e-8)
        return gs3d.GuidanceOut(grad, denoised, {"t": t, "cfg": self.scale})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompt")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", default=None)
    options = vars(parser.parse_args())
    print(gs3d.generate(**options, prior="builtin", guidance=NormalizedSds()))


if __name__ == "__main__":
    main()
