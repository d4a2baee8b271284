"""Measure how accurately a guidance method points at the right image, and how noisy it is.

`python scripts/measure_guidance.py --methods cds sds`

Reference objects of the tuning prompts are rendered from four sides and blurred. They stand for a
run that has the right shape but lacks detail. The script evaluates the gradients of each method at
points along its own schedule, and reports:

- cosine: how far the mean gradient points to the sharp image;
- signal/noise: the size of that component relative to the spread of single gradients, at a pixel
  and under a blur of 1.5 pixels, which is about what moves a splat;
- grain: the cosine for images that are sharp and have grain. They stand for a surface that should
  be plain and is not; at 0, the loss leaves the grain;
- squared/call: the square of signal/noise per network evaluation. Signal/noise grows with the
  square root of the number of gradients, so this number compares methods of different cost.

Each gradient has its own seed, so the error of a noise that is fixed over a run counts as noise.
The script also prints how much the reference images of one caption differ: on a Gaussian of
standard deviation s, fresh noise favors SDS where σ·σ₁ > s²
(tests/guidance/test_closed_form.py).
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.cameras import ring, unprojected
from gs3d.core.views.words import exact_views
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.prompts import read_prompts
from gs3d.experiments.methods import Method
from gs3d.guidance import Guidance
from gs3d.guidance.distillation import Distillation
from gs3d.guidance.noise import SurfacePoints
from gs3d.priors import Condition, load
from gs3d.priors.base import Prior
from gs3d.world.captions import with_view
from gs3d.world.render import render
from gs3d.world.sample import reference_objects

PROGRESS = (0.1, 0.3, 0.5, 0.7, 0.9)
VIEWS = 4
BLUR_PX, SPLAT_PX = 2.0, 1.5
"""Standard deviations of the blur that hides the detail, and of a splat. A splat moves by the mean
gradient over the pixels that it covers."""
GRAIN, GRAIN_PX = 0.2, 0.7
"""Standard deviation of the grain in units of z, and its blur, the size of a small splat."""


@dataclass(frozen=True)
class Args:
    methods: tuple[str, ...] = ("cds", "sds")
    """Methods as for gs3d evaluate."""
    prior: str = "builtin"
    """Prior as for gs3d generate."""
    config: str = "builtin"
    """Preset or YAML file with the base settings of all methods."""
    objects: int = 6
    """Number of tuning prompts, evenly spaced in the list."""
    draws: int = 16
    """Gradients per image."""
    references: Annotated[int, tyro.conf.arg(aliases=["--alike"])] = 12
    """Reference objects per prompt for the spread of images."""


class CountingPrior:
    """A prior that counts its network evaluations: 1 for each pair of images that it denoises.

    With guidance, an image takes one pair, with and without the prompt."""

    def __init__(self, prior: Prior):
        self._prior, self.calls = prior, 0.0

    def __getattr__(self, name: str):
        return getattr(self._prior, name)

    def denoise(self, *args: Tensor) -> Tensor:
        self.calls += len(args[0]) / (2 * VIEWS)
        return self._prior.denoise(*args)


def blurred(images: Tensor, sigma_px: float) -> Tensor:
    """Blur images [B, C, h, w] with a Gaussian."""
    radius = int(4 * sigma_px)
    x = torch.arange(-radius, radius + 1)
    line = torch.exp(-0.5 * (x / sigma_px) ** 2)
    kernel = (line[:, None] * line / line.sum() ** 2).expand(images.shape[1], 1, -1, -1)
    return functional.conv2d(
        functional.pad(images, [radius] * 4, mode="replicate"), kernel, groups=images.shape[1]
    )


@dataclass(frozen=True)
class Scene:
    """Four views of an object of one prompt."""

    condition: Condition
    sharp: Tensor
    """[4, C, h, w], like the next two."""
    blurred: Tensor
    grainy: Tensor
    surface: SurfacePoints


def gradients_of(
    guidance: Guidance, prior: CountingPrior, scene: Scene, start: Tensor, progress: float, n: int
) -> tuple[float, Tensor]:
    """Return t, and the steps [n, 4, C, h, w] that n seeds take from `start`."""
    extra: dict[str, Any] = {}
    if isinstance(guidance, Distillation) and guidance.noise == "surface":
        extra["surface"] = scene.surface
    outs = [
        guidance(prior, scene.condition, start, progress, seed, 0, **extra) for seed in range(n)
    ]
    return outs[0].log.get("t", math.nan), torch.stack([-out.grad for out in outs])


def cosine_of(gradients: Tensor, target: Tensor) -> float:
    """Cosine between the mean of `gradients` and `target`; NaN where noise hides it."""
    one, other = gradients[::2].mean(0), gradients[1::2].mean(0)
    # The squared norm of the mean gradient. The product of two independent halves has no bias from
    # the noise that remains in a mean of few gradients.
    squared_norm = (one * other).mean()
    component = (gradients.mean(0) * target).mean() / target.square().mean().sqrt()
    return float(component / squared_norm.sqrt()) if squared_norm > 0 else float("nan")


def measure(
    guidance: Guidance, prior: CountingPrior, scene: Scene, progress: float, draws: int
) -> list[float]:
    """Return t, the cosine, that of the grain, and signal/noise of one gradient, at a pixel and as
    a splat sees it."""
    _, grain = gradients_of(guidance, prior, scene, scene.grainy, progress, draws)
    prior.calls = 0.0
    t, gradients = gradients_of(guidance, prior, scene, scene.blurred, progress, draws)
    target = scene.sharp - scene.blurred
    measured = [t, cosine_of(gradients, target), cosine_of(grain, scene.sharp - scene.grainy)]
    for seen in (lambda x: x, lambda x: blurred(x, SPLAT_PX)):
        direction = seen(target)
        seen_gradients = torch.stack([seen(g) for g in gradients])
        signal = (seen_gradients.mean(0) * direction).mean() / direction.square().mean().sqrt()
        measured.append(float(signal / seen_gradients.var(0).mean().sqrt()))
    return measured


def main(args: Args) -> None:
    prior = CountingPrior(load(args.prior, "cpu"))
    meanings = [pair for pair in read_prompts("tuning").meanings.items() if pair[1]]
    chosen = meanings[:: max(1, len(meanings) // args.objects)][: args.objects]
    cameras = ring(VIEWS, prior.image_size)
    scenes, variances = [], []
    for prompt, meaning in chosen:
        objects = reference_objects(meaning, args.references)
        renders = [render([o.parts] * VIEWS, cameras) for o in objects]
        images = [torch.from_numpy(r.over(np.full(3, LIGHT_GRAY))).clamp(0, 1) for r in renders]
        encoded = torch.stack([prior.encode(i) for i in images])
        variances.append(encoded.var(0).mean())
        sharp, alpha = encoded[0], torch.from_numpy(renders[0].alpha)
        noise = blurred(rng.normal(tuple(sharp.shape), 0, "grain"), GRAIN_PX)
        on_object = functional.interpolate(alpha[:, None], sharp.shape[-2:], mode="area") > 0.99
        text = prior.embed([with_view(prompt, view) for view in exact_views(cameras)])
        points = unprojected(torch.from_numpy(renders[0].depth), cameras)
        scenes.append(
            Scene(
                Condition(text, prior.embed([""]).expand(VIEWS, -1, -1)),
                sharp,
                blurred(sharp, BLUR_PX),
                sharp + GRAIN * noise / noise.std() * on_object,
                SurfacePoints(points, alpha > 0.5),
            )
        )
    spread = float(torch.stack(variances).mean().sqrt())
    print(f"standard deviation of the reference images of a caption: {spread:.2f}")
    print(
        f"{'method':<40} progress     t  cosine   grain  signal/noise, at a splat"
        "  calls  squared/call, at a splat"
    )
    for method in map(Method.parse, args.methods):
        config = method.config(args.config)
        guidance = config.stages[0].guidance
        for progress in PROGRESS:
            rows = [measure(guidance, prior, scene, progress, args.draws) for scene in scenes]
            t, cosine, grain, pixel, splat = np.nanmean(rows, 0)
            calls = prior.calls / args.draws
            efficiency = f"{pixel**2 / calls:>13.2f} {splat**2 / calls:>11.2f}"
            ratios = f"{pixel:>12.2f} {splat:>11.2f} {calls:>6.1f} {efficiency}"
            numbers = f"{progress:>8} {t:>5.2f} {cosine:>7.2f} {grain:>7.2f} {ratios}"
            print(f"{method.name:<40} {numbers}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
