"""How well a loss aims, and through how much noise: `python scripts/measure_guidance.py --methods cds sds`.

True objects of the tuning prompts, seen from four sides and blurred, stand for a run that has the shape and lacks the detail. Where does a
loss push them? At points along its own schedule: how far its mean gradient points to the sharp picture (cosine), and the size of that part
beside the spread of single gradients, at a pixel and under a blur of 1.5 pixels, about what moves a splat. Every gradient has a seed of
its own, so that the error of a noise that is fixed over a run counts as noise. Signal over noise grows with the square root of the number
of gradients, so two losses of unlike cost compare by its square over the evaluations of the network. Beside it, how much true pictures of
one caption differ: on a Gaussian of spread s, fresh noise favors SDS where σ·σ₁ > s² (tests/guidance/test_closed_form.py).
"""

from dataclasses import dataclass

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import ring
from gs3d.core.views import exact_views
from gs3d.distill.config import parse_config
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.prompts import read_prompts
from gs3d.experiments.methods import Method
from gs3d.guidance import Guidance
from gs3d.priors import Condition, load
from gs3d.priors.base import Prior
from gs3d.world.captions import with_view
from gs3d.world.render import render
from gs3d.world.sample import reference_objects

PROGRESS = (0.1, 0.3, 0.5, 0.7, 0.9)
BLUR_PX, SPLAT_PX = 2.0, 1.5
"""Standard deviations: of the blur that hides the detail; of a splat, which is moved by the mean over the pixels that it covers."""


@dataclass(frozen=True)
class Args:
    methods: tuple[str, ...] = ("cds", "sds")
    """As gs3d evaluate takes them."""
    prior: str = "builtin"
    config: str = "builtin"
    """A preset or a YAML file that all methods begin from."""
    objects: int = 6
    """Of the tuning prompts, evenly chosen."""
    draws: int = 16
    """Gradients on each picture."""
    alike: int = 12
    """True objects of a caption whose spread is measured."""


class Counted:
    """A prior that counts how often its network is asked."""

    def __init__(self, prior: Prior):
        self._prior, self.calls = prior, 0

    def __getattr__(self, name: str):
        return getattr(self._prior, name)

    def denoise(self, *given: Tensor) -> Tensor:
        self.calls += 1
        return self._prior.denoise(*given)


def blurred(pictures: Tensor, sigma_px: float) -> Tensor:
    """[B, C, h, w] under a Gaussian."""
    radius = int(4 * sigma_px)
    x = torch.arange(-radius, radius + 1)
    line = torch.exp(-0.5 * (x / sigma_px) ** 2)
    kernel = (line[:, None] * line / line.sum() ** 2).expand(pictures.shape[1], 1, -1, -1)
    return functional.conv2d(
        functional.pad(pictures, [radius] * 4, mode="replicate"), kernel, groups=pictures.shape[1]
    )


def marks(
    loss: Guidance,
    prior: Counted,
    condition: Condition,
    start: Tensor,
    goal: Tensor,
    progress: float,
    draws: int,
) -> list[float]:
    """Of four pictures: t, cosine, and signal over noise of one gradient, at a pixel and as a splat sees it; NaN where chance hides it."""
    outs = [loss(prior, condition, start, progress, seed, 0) for seed in range(draws)]
    away, gradients = goal - start, torch.stack([-out.grad for out in outs])
    one, other = gradients[::2].mean(0), gradients[1::2].mean(0)
    size = (
        one * other
    ).mean()  # the square of the mean gradient, without what chance leaves of the noise in the mean of a few
    aim = (gradients.mean(0) * away).mean() / away.square().mean().sqrt()
    found = [outs[0].log["t"], float(aim / size.sqrt()) if size > 0 else float("nan")]
    for seen in (lambda x: x, lambda x: blurred(x, SPLAT_PX)):
        way = seen(away)
        narrow = torch.stack([seen(g) for g in gradients])
        along = (narrow.mean(0) * way).mean() / way.square().mean().sqrt()
        found.append(float(along / narrow.var(0).mean().sqrt()))
    return found


def main(args: Args) -> None:
    prior = Counted(load(args.prior, "cpu"))
    meanings = [pair for pair in read_prompts("tuning").meanings.items() if pair[1]]
    chosen = meanings[:: max(1, len(meanings) // args.objects)][: args.objects]
    cameras = ring(4, prior.image_size)
    scenes, spreads = [], []
    for prompt, meaning in chosen:
        objects = reference_objects(meaning, args.alike)
        pictures = np.stack(
            [render([o.parts] * 4, cameras).over(np.full(3, LIGHT_GRAY)) for o in objects]
        )
        alike = torch.stack([prior.encode(torch.from_numpy(p).clamp(0, 1)) for p in pictures])
        spreads.append(alike.var(0).mean())
        sharp = alike[0]
        text = prior.embed([with_view(prompt, view) for view in exact_views(cameras)])
        scenes.append(
            (Condition(text, prior.embed([""]).expand(4, -1, -1)), blurred(sharp, BLUR_PX), sharp)
        )
    print(
        f"spread of the pictures that a caption is true of: {float(torch.stack(spreads).mean().sqrt()):.2f}"
    )
    print(
        f"{'method':<40} progress     t  cosine  signal/noise, at a splat  calls  squared/call, at a splat"
    )
    for method in map(Method.parse, args.methods):
        loss = parse_config(method.settings(args.config), method.name).stages[0].guidance
        for progress in PROGRESS:
            prior.calls = 0
            rows = [
                marks(loss, prior, condition, start, goal, progress, args.draws)
                for condition, start, goal in scenes
            ]
            t, cosine, pixel, splat = np.nanmean(rows, 0)
            calls = prior.calls / (len(scenes) * args.draws)
            ratios = f"{pixel:>12.2f} {splat:>11.2f} {calls:>6.0f} {pixel**2 / calls:>13.2f} {splat**2 / calls:>11.2f}"
            numbers = f"{progress:>8} {t:>5.2f} {cosine:>7.2f} {ratios}"
            print(f"{method.name:<40} {numbers}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
