"""Measure how near a preset brings splats to an object that the prior knows exactly.

`python benchmarks/oracle.py [--config PRESET] [--steps N] [--set KEY=VALUE ...] [--record]`. The
prior is the exact denoiser of a Gaussian around the object's views, in the latents of Stable
Diffusion's geometry (`priors.builtin_512`). Guidance has no effect on it. So what is missing at the
end is the doing of everything else: rates, densification, regularizers, noise and schedule.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import tyro
from record import append, machine
from torch import Tensor

from gs3d.core.cameras import Cameras, ring
from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.distill.budget import Budget
from gs3d.distill.settings.config import load_config
from gs3d.distill.settings.stages import RunConfig
from gs3d.distill.state import Task, TrainState
from gs3d.distill.step import background_colors, iterate
from gs3d.priors.base import Condition
from gs3d.priors.builtin_512 import TABLE, encode
from gs3d.representations.asset import draw
from gs3d.runs.loop import enter_stage, start
from gs3d.world.prompt_parser import parse_prompt
from gs3d.world.render import render
from gs3d.world.sample import reference_objects

GRAY = 0.7
MAX_VIEW_PX = 128
"""Largest side of the object's views. Latents have 64², so more would take time for nothing."""


@dataclass(frozen=True)
class Args:
    prompts: tuple[str, ...] = ("a red mushroom with white spots", "a black car")
    """An object each."""
    config: str = "splats-15min"
    """Preset or YAML file."""
    guidance: str | None = None
    """Loss, by default the preset's."""
    set: tuple[str, ...] = ()
    """Changed settings, as for gs3d generate."""
    steps: int = 240
    """Iterations."""
    spread: float = 0.05
    """Standard deviation of the Gaussian around the views, in latents."""
    seed: int = 0
    record: bool = False
    """Append the result to results.jsonl."""


@dataclass(frozen=True)
class Oracle:
    """D(z, σ) = (s²·z + σ²·μ) / (s² + σ²), the denoiser of N(μ, s²). Text is μ, a row an image."""

    spread: float
    name = "oracle"
    image_size = 512
    latent_shape = (4, 64, 64)
    views = 1
    device = torch.device("cpu")

    def sigma(self, t: float) -> float:
        return TABLE.sigma(t)

    def encode(self, rgb: Tensor) -> Tensor:
        return encode(rgb)

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        variance, noise = self.spread**2, sigma.square()[:, None, None, None]
        return (variance * z + noise * text.reshape(z.shape)) / (variance + noise)


@dataclass
class ObjectViews:
    """In place of prompts: the latents of the object as each camera sees it."""

    parts: np.ndarray
    config: RunConfig
    seed: int
    state: TrainState | None = None
    """Set before the first iteration; its step has the backgrounds."""

    def at(self, cameras: Cameras) -> Condition:
        assert self.state is not None
        side = min(cameras.width, MAX_VIEW_PX)
        intrinsics = cameras.intrinsics.clone()
        intrinsics[:, :2] *= side / cameras.width
        same = replace(cameras, intrinsics=intrinsics, width=side, height=side)
        seen = render([self.parts] * len(same), same)
        stage = self.config.stages[self.state.stage]
        colors = background_colors(stage.background, stage.batch, self.seed, self.state.step)
        z = encode(torch.from_numpy(seen.over(colors.numpy())))
        text = z.flatten(1)[:, None]
        return Condition(text, text)


class Score(NamedTuple):
    psnr_db: float
    """Of views from all sides over light gray."""
    haze: float
    """Mean alpha where the object is not, in percent."""
    saturation: float
    """Mean of largest minus smallest channel on the object, minus the true one, times 100."""
    splats: int


def optimized(prompt: str, args: Args) -> Score:
    parts = reference_objects(parse_prompt(prompt), 1)[0].parts
    config = load_config(args.config, args.guidance, args.set)
    views = ObjectViews(parts, config, args.seed)
    state = views.state = start(config, args.seed, "cpu", progress=config.begin or 0.0)
    task = Task(Oracle(args.spread), views, config, args.seed, views)
    budget = Budget(args.steps, first=config.begin or 0.0)
    while (progress := budget.progress(state.step)) < 1:
        enter_stage(state, config, progress)
        iterate(state, task, progress, budget.share(progress, state.progress))
    return score(state, parts)


@torch.no_grad()
def score(state: TrainState, parts: np.ndarray) -> Score:
    errors, haze, saturations = [], [], []
    for elevation in (0.0, 30.0):
        cameras = ring(8, 256, elevation)
        out = draw(state.representation.splats(), cameras, (GRAY,) * 3)
        seen = render([parts] * len(cameras), cameras)
        true = torch.from_numpy(seen.over([GRAY] * 3))
        solid = torch.from_numpy(seen.alpha)
        errors.append((out.rgb.clamp(0, 1) - true).square().mean())
        haze.append(out.alpha[..., 0][solid == 0].mean())
        inside = solid == 1
        saturations.append([_saturation(image[inside]) for image in (out.rgb.clamp(0, 1), true)])
    found, true = torch.tensor(saturations).mean(0).tolist()
    error = float(torch.stack(errors).mean())
    return Score(
        -10 * float(torch.tensor(error).log10()),
        100 * float(torch.stack(haze).mean()),
        100 * (found - true),
        len(state.representation),
    )


def _saturation(colors: Tensor) -> float:
    return float((colors.amax(1) - colors.amin(1)).mean())


def main(args: Args) -> None:
    shared = machine()
    keep_freed_blocks()  # as a run does
    rows = {}
    print(f"{'':<34} {'PSNR dB':>8} {'haze %':>7} {'saturation':>11} {'splats':>7}")
    for prompt in args.prompts:
        found = optimized(prompt, args)
        rows[prompt] = found._asdict()
        print(
            f"{prompt:<34} {found.psnr_db:8.2f} {found.haze:7.2f} {found.saturation:11.1f} "
            f"{found.splats:7}",
            flush=True,
        )
    if args.record:
        keys = ("config", "guidance", "set", "steps", "spread", "seed")
        append("oracle", {"objects": rows} | {key: getattr(args, key) for key in keys}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
