"""Metrics of all runs of a method together: KID, and the spread over seeds."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gs3d.core.cameras import ring
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.classifier import Classifier, resize
from gs3d.evaluation.grade import ELEVATION_DEG, RENDER_PX, VIEWS, views_of
from gs3d.evaluation.metrics.kid import pair_table, standardized
from gs3d.evaluation.report import Result
from gs3d.representations.asset import Asset
from gs3d.world.prompt_parser import parse_prompt
from gs3d.world.render import render
from gs3d.world.sample import reference_objects

REFERENCES = 4
"""Reference objects of each prompt, half of which the other half is compared with."""
MIN_KID_PROMPTS = 24
"""Fewest prompts for a KID: it orders smaller sets by chance."""
PIXELS_PX = 16
"""Side of the images that are compared as they are."""


@dataclass(frozen=True)
class Seen:
    """Views of one object in two forms, [8, F] each."""

    pixels: Tensor
    features: Tensor
    """Features of the classifier."""

    @staticmethod
    def of(images: Tensor, classifier: Classifier) -> "Seen":
        """From images [8, H, W, 3] in [0, 1]."""
        return Seen(resize(images, PIXELS_PX).flatten(1), classifier.features(images))


Interval = tuple[float, float, float]
"""A mean and the ends of its 95 % bootstrap interval."""


@dataclass(frozen=True)
class Pooled:
    """Metrics of all runs of one method together."""

    method: str
    """"reference objects" for those in place of runs, the ceiling."""
    kid_pixels: Interval | None
    """None with fewer than `MIN_KID_PROMPTS` prompts, like the next one."""
    kid_features: Interval | None
    spread: float | None
    """Relative to that of two reference objects; None if no prompt has two runs."""
    runs: int


def pooled_metrics(
    results: Sequence[Result], load: Callable[[Result], Asset], classifier: Classifier
) -> list[Pooled]:
    """Pooled metrics of each method, then of reference objects in place of runs.

    Empty if no prompt is of the world.
    """
    prompts = [p for p in dict.fromkeys(r.prompt for r in results) if parse_prompt(p)]
    if not prompts:
        return []
    references = {p: _references(p, classifier) for p in prompts}
    every = [one for group in references.values() for one in group]
    scale = {name: torch.cat([getattr(s, name) for s in every]) for name in ("pixels", "features")}

    # One scale for all pixels: those beside every object hardly vary, and would count the most.
    brightness = scale["pixels"].std(0).square().mean().sqrt()

    def standard(seen: Seen) -> Seen:
        pixels = (seen.pixels - scale["pixels"].mean(0)) / brightness
        return Seen(pixels, standardized(seen.features, scale["features"]))

    references = {p: [standard(s) for s in group] for p, group in references.items()}
    half = REFERENCES // 2
    others = {p: group[half:] for p, group in references.items()}
    apart = _spread(references)
    methods = dict.fromkeys(r.method for r in results)
    sets = {m: defaultdict[str, list[Seen]](list) for m in methods}
    for result in results:
        if result.prompt in references:
            seen = standard(Seen.of(views_of(load(result))[0], classifier))
            sets[result.method][result.prompt].append(seen)
    ceiling = {p: group[:half] for p, group in references.items()}
    pooled = []
    for name, runs in {**sets, "reference objects": ceiling}.items():
        pixels, features = (_kid(runs, others, form) for form in ("pixels", "features"))
        spread = _spread(runs)
        share = spread / apart if spread is not None and apart else None
        pooled.append(Pooled(name, pixels, features, share, sum(map(len, runs.values()))))
    return pooled


def pooled_table(pooled: Sequence[Pooled]) -> list[list[str]]:
    """Rows of text, the header first."""

    def kid(value: Interval | None) -> str:
        if value is None:
            return "–"
        mean, low, high = (round(100 * v, 1) + 0.0 for v in value)
        return f"{mean:.1f} ({low:.1f} to {high:.1f})"

    rows = [["pooled", "KID of pixels ×100", "KID of features ×100", "spread over seeds %", "n"]]
    for p in pooled:
        share = "–" if p.spread is None else f"{100 * p.spread:.0f}"
        rows.append([p.method, kid(p.kid_pixels), kid(p.kid_features), share, str(p.runs)])
    return rows


def _references(prompt: str, classifier: Classifier) -> list[Seen]:
    cameras = ring(VIEWS, RENDER_PX, ELEVATION_DEG)
    meaning = parse_prompt(prompt)
    assert meaning is not None
    seen = []
    for one in reference_objects(meaning, REFERENCES):
        images = render([one.parts] * VIEWS, cameras).over(np.full(3, LIGHT_GRAY))
        seen.append(Seen.of(torch.from_numpy(images).clamp(0, 1), classifier))
    return seen


def _kid(runs: dict[str, list[Seen]], others: dict[str, list[Seen]], form: str) -> Interval | None:
    """KID with its interval; prompts are resampled."""
    prompts = [p for p in others if runs.get(p)]
    if len(prompts) < MIN_KID_PROMPTS:
        return None
    ours, theirs = (
        [torch.cat([getattr(s, form) for s in group[p]]) for p in prompts]
        for group in (runs, others)
    )
    return bootstrap_pairs(pair_table(ours, theirs))


def bootstrap_pairs(table: Tensor, rounds: int = 2000) -> Interval:
    """Mean of the entries off the diagonal of `table` [P, P], and its 95 % bootstrap interval.

    Rows and columns are resampled together; pairs of a prompt with itself never count.
    """
    count = len(table)
    off = table.numpy() * (1 - np.eye(count))
    gen = np.random.default_rng(0)
    means = []
    for _ in range(rounds):
        weight = np.bincount(gen.integers(0, count, count), minlength=count).astype(float)
        pairs = weight.sum() ** 2 - (weight**2).sum()
        means.append(weight @ off @ weight / pairs)
    mean = off.sum() / (count * (count - 1))
    return float(mean), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _spread(objects: dict[str, list[Seen]]) -> float | None:
    """Root mean square distance of the features of two objects of one prompt, view by view.

    Objects are runs with different seeds, or reference objects. None if no prompt has two.
    """
    values = [
        (a.features - b.features).square().mean().item()
        for group in objects.values()
        for a, b in itertools.combinations(group, 2)
    ]
    return float(np.sqrt(np.mean(values))) if values else None
