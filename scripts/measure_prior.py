"""Measure what captions are worth to the built-in prior: denoising loss by caption and noise level.

`python scripts/measure_prior.py` denoises fresh renders with six captions: the caption with the
exact view, with the rough direction, without a view, with an exact view a quarter turn away, the
caption of another image, and no caption.
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from gs3d.core import rng
from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds
from gs3d.core.views.words import DIRECTIONS, EXACT_VIEWS
from gs3d.priors import load
from gs3d.priors.builtin import DATA_STD
from gs3d.priors.prompts import unknown_words
from gs3d.world.captions import with_view
from gs3d.world.dataset import CAMERAS, SHARD, Dataset, write_shard
from gs3d.world.splits import Split

SIGMAS = (0.05, 0.2, 0.6, 2.0, 5.0, 12.0)
BATCH = 32


@dataclass(frozen=True)
class Args:
    prior: str = "builtin"
    """Prior as for gs3d generate."""
    images: Annotated[int, tyro.conf.arg(aliases=["--pictures"])] = 192
    """Images to draw from one shard; those with words unknown to the prior are skipped."""
    seed: int = 9
    """Seed of the renders; priors are trained on others."""
    spread: float = 1.0
    """As for scripts/render_world.py, like the next two."""
    fovy_deg: tuple[float, float] = CAMERAS.fovy_deg
    """Range of the vertical field of view."""
    fill: tuple[float, float] = CAMERAS.fill
    """Range of the share of the image height that the unit sphere fills."""
    split: Split | None = None
    """Only attribute combinations of this split: "seen" or "unseen" in training."""


def captions(labels: list[dict]) -> dict[str, list[str]]:
    """Return name → captions of all images, for each of the six ways to caption them."""
    other = labels[1:] + labels[:1]
    return {
        "exact view": [with_view(row["caption"], row["exact_view"]) for row in labels],
        "rough view": [with_view(row["caption"], row["view"]) for row in labels],
        "no view": [row["caption"] for row in labels],
        "wrong view": [
            with_view(row["caption"], quarter_turn(row["exact_view"])) for row in labels
        ],
        "wrong caption": [
            with_view(wrong["caption"], row["exact_view"])
            for row, wrong in zip(labels, other, strict=True)
        ],
        "no caption": [""] * len(labels),
    }


def quarter_turn(view: str) -> str:
    """Return the exact view at the same elevation, 90° further around."""
    height, direction = divmod(EXACT_VIEWS.index(view), DIRECTIONS)
    return EXACT_VIEWS[height * DIRECTIONS + (direction + DIRECTIONS // 4) % DIRECTIONS]


def main(args: Args) -> None:
    if not 2 <= args.images <= SHARD:
        raise SystemExit(f"--images: expected 2 to {SHARD}, got {args.images}")
    prior = load(args.prior, "cpu")
    if prior.views > 1:
        raise SystemExit(
            f"--prior {args.prior}: expected a prior of single images,"
            f" got one of {prior.views} views per object; choose another prior"
        )
    with tempfile.TemporaryDirectory() as folder:
        cameras = dataclasses.replace(CAMERAS, fovy_deg=args.fovy_deg, fill=args.fill)
        write_shard(Path(folder), args.seed, 0, cameras, args.spread, args.split)
        dataset = Dataset.open(Path(folder))
        # Shuffled, because a shard starts with few camera directions (core.cameras.sample_cameras).
        shuffled = np.random.default_rng(args.seed).permutation(len(dataset))
        # The world may have more words than when the prior was trained. Captions with words that it
        # does not know would not measure what it learned.
        chosen = [
            i
            for i in shuffled
            if not unknown_words(prior.text.tokenizer, dataset.labels[i]["caption"])
        ][: args.images]
        rgba, labels = torch.from_numpy(dataset.rgba(chosen)), [dataset.labels[i] for i in chosen]
    background = random_backgrounds(
        torch.rand(len(chosen), RANDOM_NUMBERS, generator=rng.generator(args.seed, "measure"))
    )
    z0 = prior.encode(rgba[..., :3] + (1 - rgba[..., 3:]) * background[:, None, None, :])
    noise = rng.normal(tuple(z0.shape), args.seed, "measure noise")
    print(f"{len(chosen)} images")
    print(f"{'σ':<14}" + "".join(f"{sigma:>8g}" for sigma in SIGMAS))
    for name, texts in captions(labels).items():
        text = prior.embed(texts)
        losses = [loss(prior, z0, sigma, noise, text) for sigma in SIGMAS]
        print(f"{name:<14}" + "".join(f"{value:>8.3f}" for value in losses), flush=True)


def loss(prior, z0, sigma: float, noise, text) -> float:
    """Return EDM's weighted error (Karras et al. 2022, Eq. 2), with the data's deviation as σ_data.

    It is 1 for an untrained network.
    """
    errors = []
    for part in torch.arange(len(z0)).split(BATCH):
        denoised = prior.denoise(
            z0[part] + sigma * noise[part], torch.full((len(part),), sigma), text[part]
        )
        errors.append((denoised - z0[part]).square().mean(dim=(1, 2, 3)))
    return float(torch.cat(errors).mean()) * (sigma**2 + DATA_STD**2) / (sigma * DATA_STD) ** 2


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
