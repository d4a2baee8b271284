"""The whole method with nothing hidden: consistency distillation sampling (arXiv 2401.09050).

python examples/cds_in_forty_lines.py --steps 300

The body of `distill` has the equations of Sec. 3; densification, regularizers, checkpoints and
the clock are left out. `gs3d.generate` has them.
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
    direction = torch.nn.functional.normalize(torch.randn(splats, 3), dim=1)
    params = {
        "means": direction * 0.55 * torch.rand(splats, 1) ** (1 / 3),
        "quats": torch.randn(splats, 4),
        "scales": torch.full((splats, 3), math.log(0.05)),
        "opacities": torch.full((splats,), -2.0),
        "colors": 0.2 * torch.randn(splats, 1, 3),
    }
    params = {name: value.requires_grad_() for name, value in params.items()}
    optimizer = torch.optim.Adam(list(params.values()), lr=0.01)
    for step in range(steps):
        azimuth = (torch.rand(()) + torch.arange(views) / views) * 2 * math.pi
        fovy = torch.full((views,), math.radians(38))
        elevation, distance = torch.full((views,), 0.25), distance_for(fovy, 0.95)
        cameras = orbit(azimuth, elevation, distance, fovy, 64, 64)
        means, quats, scales, opacities, colors = params.values()
        now = gs3d.Splats(means, quats, scales.exp(), opacities.sigmoid(), colors)
        z0 = prior.encode(gs3d.rasterize(now, cameras, torch.rand(views, 3)).rgb)
        t2 = 0.9 - 0.8 * step / steps  # Eq. 12, annealed linearly
        t1 = min(t2 + 0.1 + 0.1 * float(torch.rand(())), 0.999)
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
    with torch.no_grad():
        means, quats, scales, opacities, colors = (p.detach() for p in params.values())
        return gs3d.Splats(means, quats, scales.exp(), opacities.sigmoid(), colors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", default="a red mushroom with white spots")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", default="cds.ply")
    args = parser.parse_args()
    from gs3d.api import Scene

    scene = Scene(distill(args.prompt, args.steps))
    scene.save(args.out)
    print(scene, "->", args.out)


if __name__ == "__main__":
    main()
