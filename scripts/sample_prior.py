"""A sheet of pictures drawn from a prior: `python scripts/sample_prior.py --out sheet.png`. A row a prompt, a column a view."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from gs3d.core import rng
from gs3d.core.views import VIEW_WORDS
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
    prior: str = "builtin"
    prompts: tuple[str, ...] = ()
    """What to draw; one prompt a kind that the prior knows, in changing colors, when not given."""
    views: tuple[str, ...] = ()
    """What each picture's caption ends in: front, side, back and overhead when not given; the built-in prior also knows those of
    `gs3d.core.views.EXACT_VIEWS`. A prior of four views takes them in fours, each a quarter further left than the one before."""
    cfg: float = 3.0
    steps: int = 20
    seed: int = 0
    each: int = 2
    """Pictures of each prompt and view."""
    across: int = 1
    """Prompts in a row of the sheet."""


QUARTERS = ("front 15 up", "90 degrees left 15 up", "back 15 up", "90 degrees right 15 up")


def main(args: Args) -> None:
    prior = load(args.prior)
    colors = [color for color in NAMED if not unknown_words(prior.text.tokenizer, color)]
    kinds = [kind for kind in KINDS if not unknown_words(prior.text.tokenizer, kind)]
    prompts = args.prompts or tuple(
        f"a {colors[i % len(colors)]} {kind}" for i, kind in enumerate(kinds)
    )
    views = args.views or (QUARTERS if prior.views > 1 else VIEW_WORDS)
    if len(views) % prior.views:
        raise SystemExit(
            f"--views: expected whole groups of {prior.views} for this prior, got {len(views)}"
        )
    texts = [with_view(p, view) for p in prompts for _ in range(args.each) for view in views]
    text, negative = prior.embed(texts), prior.embed([""]).expand(len(texts), -1, -1)
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
    print(f"{len(texts)} pictures -> {args.out}")


if __name__ == "__main__":
    main(tyro.cli(Args))
