"""What a prior of the world draws, marked by the classifier: `python scripts/score_prior.py --pictures 2000`.

Kind, color and pattern on combinations that training has seen and has not, whether the side is the one asked for, and KID between what
is drawn and fresh renders, in the classifier's features.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
import tyro

from gs3d.core import rng
from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds
from gs3d.core.cameras import Cameras, sample_cameras
from gs3d.core.views import exact_views, view_words
from gs3d.evaluation.classifier import PLAIN, Classifier
from gs3d.evaluation.metrics.kid import kid, standardized
from gs3d.priors import Condition, load
from gs3d.priors.prompts import unknown_words
from gs3d.priors.sampler import sample as draw
from gs3d.world.captions import with_view
from gs3d.world.dataset import CAMERAS
from gs3d.world.kinds import KINDS
from gs3d.world.render import render
from gs3d.world.sample import Sample, sample

BATCH = 16
MARGIN_DEG = 15.0
"""Sides are marked where the camera is at least this far from the border between two: there, either word is as good."""


@dataclass(frozen=True)
class Args:
    prior: str = "builtin"
    pictures: int = 2000
    """Half of combinations that training has seen, half of others."""
    steps: int = 20
    """Of Heun's method."""
    cfg: float = 3.0
    spread: float = 1.0
    """Of the renders that KID compares with, as scripts/render_world.py takes it."""
    seed: int = 21


def fresh(args: Args, classifier: Classifier, tokenizer) -> list[tuple[str, Sample]]:
    """(split, sample) that both the prior and the classifier have words for."""
    gen, found = np.random.default_rng(args.seed), []
    while len(found) < args.pictures:
        split = "seen" if len(found) % 2 == 0 else "unseen"
        one = sample(gen, spread=args.spread, split=split, pairs=False)
        known = all(
            (getattr(one, question) or PLAIN) in classifier.answers[question]
            for question in ("kind", "color", "pattern")
        )
        if known and not unknown_words(tokenizer, one.caption):
            found.append((split, one))
    return found


def renders(made: list[tuple[str, Sample]], cameras: Cameras, seed: int) -> torch.Tensor:
    """[n, 64, 64, 3]"""
    behind = random_backgrounds(
        torch.rand(len(made), RANDOM_NUMBERS, generator=rng.generator(seed, "score behind"))
    )
    return torch.from_numpy(
        render([one.parts for _, one in made], cameras).over(behind.numpy())
    ).clamp(0, 1)


def share(right: list[bool]) -> str:
    return f"{100 * sum(right) / len(right):6.1f} % of {len(right)}" if right else "     –"


def main(args: Args) -> None:
    prior, classifier = load(args.prior), Classifier.load()
    objects = fresh(
        dataclasses.replace(args, pictures=args.pictures // prior.views),
        classifier,
        prior.text.tokenizer,
    )
    made = [one for one in objects for _ in range(prior.views)]
    cameras = sample_cameras(
        CAMERAS, len(made), 0.0, rng.generator(args.seed, "score cameras"), prior.views
    )
    texts = [
        with_view(one.caption, view)
        for (_, one), view in zip(made, exact_views(cameras), strict=True)
    ]
    noise = rng.normal((len(made), *prior.latent_shape), args.seed, "score")
    drawn = []
    for at in range(0, len(made), BATCH):
        part = texts[at : at + BATCH]
        text, negative = prior.embed(part), prior.embed([""]).expand(len(part), -1, -1)
        z = draw(
            prior,
            Condition(text, negative),
            noise[at : at + BATCH].to(text.device),
            args.cfg,
            args.steps,
        )
        drawn.append(prior.decode(z).clamp(0, 1).cpu())
        print(f"\r{at + len(part)}/{len(made)}", end="", flush=True)
    pictures = torch.cat(drawn)
    real = renders(made, cameras, args.seed)
    facing = cameras.azimuth_rad.rad2deg().numpy()
    border_deg = np.abs(np.abs(np.abs(facing) - 90) - 45)  # from ±45° and ±135°
    words = view_words(cameras)
    print("\r" + " " * 20)
    for name, images in (("drawn", pictures), ("renders", real)):
        classification = classifier.classify(images)
        for split in ("seen", "unseen"):
            rows = [i for i, (s, _) in enumerate(made) if s == split]
            for question in ("kind", "color", "pattern"):
                said = classification.words(question)
                print(
                    f"{name:<8} {split:<7} {question:<8} {share([said[i] == (getattr(made[i][1], question) or PLAIN) for i in rows])}"
                )
        said = classification.words("view")
        rows = [
            i
            for i, (_, one) in enumerate(made)
            if KINDS[one.kind].has_front and border_deg[i] > MARGIN_DEG and words[i] != "overhead"
        ]
        print(f"{name:<8}         side     {share([said[i] == words[i] for i in rows])}")
    # Of other captions: a picture and the render of its own caption would be no independent draws.
    apart = dataclasses.replace(args, seed=args.seed + 1)
    elsewhere = sample_cameras(
        CAMERAS, args.pictures, 0.0, rng.generator(apart.seed, "score cameras")
    )
    other = renders(fresh(apart, classifier, prior.text.tokenizer), elsewhere, apart.seed)
    like = classifier.features(other)
    drawn, rendered, others = (
        standardized(f, like)
        for f in (classifier.features(pictures), classifier.features(real), like)
    )
    print(
        f"KID, drawn and renders: {kid(drawn, others):.4f}; renders and other renders: {kid(rendered, others):.4f}"
    )


if __name__ == "__main__":
    main(tyro.cli(Args))
