"""Draw a contact sheet of images sampled from a prior: prompts down, views across.

`python scripts/sample_prior.py --out samples.png`
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from gs3d.core import rng
from gs3d.core.cameras import ring
from gs3d.core.views.words import VIEW_WORDS
from gs3d.io.image.png import write_sheet
from gs3d.priors import Condition, load
from gs3d.priors.prompts import unknown_words
from gs3d.priors.sampler import sample
from gs3d.world.captions import with_view
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS


@dataclass(frozen=True)
class Args:
    out: Path = Path("samples.png")
    """PNG file to write."""
    prior: str = "builtin"
    """Prior as for gs3d generate."""
    prompts: tuple[str, ...] = ()
    """Prompts; by default one per kind that the prior knows, in alternating colors."""
    views: tuple[str, ...] = ()
    """View words that end each caption: front, side, back and overhead by default. The built-in
    prior also knows those of `gs3d.core.views.words.EXACT_VIEWS`. A prior of four views needs
    groups of four, each view 90° further left than the one before. One that takes cameras has no
    words."""
    cfg: float = 3.0
    """Scale of classifier-free guidance."""
    steps: int = 20
    """Sampling steps."""
    seed: int = 0
    """Random seed."""
    each: int = 2
    """Images per prompt and view."""
    across: int = 1
    """Prompts per row of the contact sheet."""


QUARTER_TURNS = ("front 15 up", "90 degrees left 15 up", "back 15 up", "90 degrees right 15 up")


def main(args: Args) -> None:
    prior = load(args.prior)
    colors = [color for color in NAMED if not unknown_words(prior.text.tokenizer, color)]
    kinds = [kind for kind in KINDS if not unknown_words(prior.text.tokenizer, kind)]
    prompts = args.prompts or tuple(
        f"a {colors[i % len(colors)]} {kind}" for i, kind in enumerate(kinds)
    )
    with_cameras = getattr(prior, "with_cameras", None)
    if with_cameras and args.views:
        raise SystemExit("--views: this prior takes cameras in place of words; leave it out")
    several = ("",) * prior.views if with_cameras else QUARTER_TURNS
    views = args.views or (several if prior.views > 1 else VIEW_WORDS)
    if len(views) % prior.views:
        raise SystemExit(
            f"--views: expected groups of {prior.views} for this prior, got {len(views)} views;"
            " add or remove views"
        )
    texts = [with_view(p, view) for p in prompts for _ in range(args.each) for view in views]
    text, negative = prior.embed(texts), prior.embed([""]).expand(len(texts), -1, -1)
    if with_cameras:
        group = list(range(prior.views)) * (len(texts) // prior.views)
        cameras = ring(prior.views, prior.image_size)[group]
        text, negative = with_cameras(text, cameras), with_cameras(negative, cameras)
    noise = rng.normal((len(texts), *prior.latent_shape), args.seed, "sample").to(text.device)
    images = []
    for at in range(0, len(texts), 16):
        part = slice(at, at + 16)
        images.append(
            prior.decode(
                sample(
                    prior, Condition(text[part], negative[part]), noise[part], args.cfg, args.steps
                )
            ).cpu()
        )
    write_sheet(
        args.out, np.asarray(torch.cat(images)), columns=args.across * args.each * len(views)
    )
    print(f"{len(texts)} images -> {args.out}")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
