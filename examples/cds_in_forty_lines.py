"""The whole method with nothing hidden: consistency distillation sampling (arXiv 2401.09050).

python examples/cds_in_forty_lines.py --steps 300

Left out are densification, regularizers, checkpoints and the clock. `gs3d.generate` has them.
"""

import argparse
import math

import torch

import gs3d
from gs3d.core.cameras import distance_for, orbit
from gs3d.priors import ViewPrompts, epsilon, guided, load


def distill(prompt: str, steps: int, splats: int = 1500, views: int = 4, scale: float = 8.0):
    """Splats for `prompt` from the built-in prior, after `steps` iterations."""
    torch.manual_seed(0)
    prior = load("builtin", device="cpu")
    prompts = ViewPrompts.of(prior, prompt)
    means, quats, colors = (0.3 * torch.randn(splats, n) for n in (3, 4, 3))
    scales, opacities = torch.full((splats, 3), math.log(0.05)), torch.full((splats,), -2.0)
    params = [p.requires_grad_() for p in (means, quats, scales, opacities, colors)]
    optimizer = torch.optim.Adam(params, lr=0.01)
    for step in range(steps):
        azimuth = (torch.rand(()) + torch.arange(views) / views) * 2 * math.pi
        fovy = torch.full((views,), math.radians(38))
        elevation, distance = torch.full((views,), 0.25), distance_for(fovy, 0.95)
        cameras = orbit(azimuth, elevation, distance, fovy, 64, 64)
        now = gs3d.Splats(means, quats, scales.exp(), opacities.sigmoid(), colors[:, None])
        z0 = prior.encode(gs3d.rasterize(now, cameras, torch.rand(views, 3)).rgb)
        t2 = 0.9 - 0.8 * step / steps  # Eq. 12, annealed linearly
        t1 = min(t2 + 0.1 + 0.1 * float(torch.rand(())), 0.999)  # Algorithm 1
        sigma1, sigma2 = prior.sigma(t1), prior.sigma(t2)
        with torch.no_grad():
            condition = prompts.at(cameras)
            x1 = z0 + sigma1 * torch.randn_like(z0)  # Eq. 16
            eps1 = epsilon(x1, guided(prior, x1, sigma1, condition, scale), sigma1)
            x2 = x1 + (sigma2 - sigma1) * eps1  # Eq. 17: one Euler step down the ODE
            eps2 = epsilon(x2, guided(prior, x2, sigma2, condition, scale), sigma2)
        (z0 * (eps1 - eps2)).mean().backward()  # Eq. 10
        optimizer.step()
        optimizer.zero_grad()
    now = gs3d.Splats(means, quats, scales.exp(), opacities.sigmoid(), colors[:, None])
    return gs3d.Splats(*(part.detach() for part in vars(now).values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", default="a red mushroom with white spots")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", default="cds.ply")
    args = parser.parse_args()
    gs3d.Scene(distill(args.prompt, args.steps)).save(args.out)


if __name__ == "__main__":
    main()
