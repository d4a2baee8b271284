"""Score images sampled from a prior of the procedural world with the classifier and with KID.

`python scripts/score_prior.py --images 2000` prints the accuracy of kind, color and pattern on
attribute combinations seen and unseen in training, the accuracy of the view direction, and the KID
between samples and fresh renders in the classifier's features. The same scores of the renders are
the upper bound.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import tyro

from gs3d.core import rng
from gs3d.core.backgrounds import RANDOM_NUMBERS, random_backgrounds
from gs3d.core.cameras import Cameras, sample_cameras
from gs3d.core.views.words import exact_views, view_words
from gs3d.evaluation.classifier import PLAIN, Classification, Classifier
from gs3d.evaluation.metrics.kid import kid, standardized
from gs3d.priors import Condition, load
from gs3d.priors.base import Prior
from gs3d.priors.prompts import unknown_words
from gs3d.priors.sampler import sample as draw
from gs3d.world.captions import with_view
from gs3d.world.dataset import CAMERAS
from gs3d.world.kinds import KINDS
from gs3d.world.render import render
from gs3d.world.sample import Sample, sample

BATCH = 16
MARGIN_DEG = 15.0
"""Least angle between a scored camera and the border of two view directions. Closer to the border,
either direction would be right."""


@dataclass(frozen=True)
class Args:
    prior: str = "builtin"
    """Prior as for gs3d generate."""
    images: Annotated[int, tyro.conf.arg(aliases=["--pictures"])] = 2000
    """Number of samples, half of them of combinations seen in training."""
    steps: int = 20
    """Sampling steps of Heun's method."""
    cfg: float = 3.0
    """Scale of classifier-free guidance."""
    spread: float = 1.0
    """Spread of the renders for KID, as for scripts/render_world.py."""
    seed: int = 21
    """Random seed."""


def fresh_objects(args: Args, classifier: Classifier, tokenizer) -> list[tuple[str, Sample]]:
    """Return pairs (split, object) that both the prior and the classifier have words for."""
    gen, found = np.random.default_rng(args.seed), []
    while len(found) < args.images:
        split = "seen" if len(found) % 2 == 0 else "unseen"
        one = sample(gen, spread=args.spread, split=split, pairs=False)
        known = all(
            (getattr(one, attribute) or PLAIN) in classifier.answers[attribute]
            for attribute in ("kind", "color", "pattern")
        )
        if known and not unknown_words(tokenizer, one.caption):
            found.append((split, one))
    return found


def renders(objects: list[tuple[str, Sample]], cameras: Cameras, seed: int) -> torch.Tensor:
    """Render objects over random backgrounds, [n, 64, 64, 3]."""
    background = random_backgrounds(
        torch.rand(len(objects), RANDOM_NUMBERS, generator=rng.generator(seed, "score behind"))
    )
    return torch.from_numpy(
        render([one.parts for _, one in objects], cameras).over(background.numpy())
    ).clamp(0, 1)


def samples(args: Args, prior: Prior, texts: list[str]) -> torch.Tensor:
    """Draw an image of each text from the prior, [n, H, W, 3]; prints the progress."""
    noise = rng.normal((len(texts), *prior.latent_shape), args.seed, "score")
    drawn = []
    for at in range(0, len(texts), BATCH):
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
        print(f"\r{at + len(part)}/{len(texts)}", end="", flush=True)
    print("\r" + " " * 20)
    return torch.cat(drawn)


def percent(right: list[bool]) -> str:
    return f"{100 * sum(right) / len(right):6.1f} % of {len(right)}" if right else "     –"


def print_accuracy(
    name: str,
    classification: Classification,
    objects: list[tuple[str, Sample]],
    cameras: Cameras,
) -> None:
    """Print the accuracy of each attribute and split, and of the view direction."""
    for split in ("seen", "unseen"):
        rows = [i for i, (s, _) in enumerate(objects) if s == split]
        for attribute in ("kind", "color", "pattern"):
            predicted = classification.words(attribute)
            right = [predicted[i] == (getattr(objects[i][1], attribute) or PLAIN) for i in rows]
            print(f"{name:<8} {split:<7} {attribute:<8} {percent(right)}")
    azimuth_deg = cameras.azimuth_rad.rad2deg().numpy()
    border_deg = np.abs(np.abs(np.abs(azimuth_deg) - 90) - 45)  # from ±45° and ±135°
    words, predicted = view_words(cameras), classification.words("view")
    right = [
        predicted[i] == words[i]
        for i, (_, one) in enumerate(objects)
        if KINDS[one.kind].has_front and border_deg[i] > MARGIN_DEG and words[i] != "overhead"
    ]
    print(f"{name:<8}         side     {percent(right)}")


def main(args: Args) -> None:
    prior, classifier = load(args.prior), Classifier.load()
    distinct = fresh_objects(
        dataclasses.replace(args, images=args.images // prior.views),
        classifier,
        prior.text.tokenizer,
    )
    objects = [one for one in distinct for _ in range(prior.views)]
    cameras = sample_cameras(
        CAMERAS, len(objects), 0.0, rng.generator(args.seed, "score cameras"), prior.views
    )
    texts = [
        with_view(one.caption, view)
        for (_, one), view in zip(objects, exact_views(cameras), strict=True)
    ]
    drawn = samples(args, prior, texts)
    rendered = renders(objects, cameras, args.seed)
    for name, images in (("drawn", drawn), ("renders", rendered)):
        print_accuracy(name, classifier.classify(images), objects, cameras)
    # KID compares with renders of other captions: a sample and the render of its own caption would
    # not be independent.
    other_args = dataclasses.replace(args, seed=args.seed + 1)
    other_cameras = sample_cameras(
        CAMERAS, args.images, 0.0, rng.generator(other_args.seed, "score cameras")
    )
    others = renders(
        fresh_objects(other_args, classifier, prior.text.tokenizer), other_cameras, other_args.seed
    )
    like = classifier.features(others)
    drawn_features, render_features, other_features = (
        standardized(f, like)
        for f in (classifier.features(drawn), classifier.features(rendered), like)
    )
    print(
        f"KID, drawn and renders: {kid(drawn_features, other_features):.4f};"
        f" renders and other renders: {kid(render_features, other_features):.4f}"
    )


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
