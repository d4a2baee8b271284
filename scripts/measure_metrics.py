"""Show what each metric says of objects with one known fault.

`python scripts/measure_metrics.py`

Reference splats of the tuning prompts are graded as they are, and with one fault each: blurred,
with grain, without a small part, with other colors. A good metric changes for its own fault, and by
less than its interval for the others. The first row is the best that a metric can be expected to
say: what it says of a right object that is none of those it compares with.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import tyro

from gs3d.core.rng import generator
from gs3d.core.types import SH_C0, Splats
from gs3d.evaluation.classifier import Classifier
from gs3d.evaluation.grade import Grade, grade
from gs3d.evaluation.prompts import read_prompts
from gs3d.evaluation.reference import around, reference_for, reference_splats, visible_parts
from gs3d.evaluation.report import COLUMNS, interval, shown
from gs3d.representations.gaussians.smoothing import smoothed
from gs3d.world.captions import Meaning
from gs3d.world.render import render
from gs3d.world.sample import Sample, reference_objects

PIXEL = 2 / (128 * 0.95 * np.cos(np.radians(19)))
"""World units of a pixel of the graded renders."""
SMALL = 0.003, 0.1
"""Range of the share of the visible surface that the part to remove has."""


@dataclass(frozen=True)
class Args:
    list: str = "tuning"
    """List of prompts."""
    limit: int | None = None
    """Only the first prompts of the list."""
    skip: int = 24
    """Index of the reference object to grade; the first 24 are those that it is compared with."""


def blurred(pixels: float) -> Callable[[Splats], Splats]:
    return lambda splats: smoothed(splats, pixels * PIXEL)


def grainy(strength: float) -> Callable[[Splats], Splats]:
    def change(splats: Splats) -> Splats:
        noise = torch.randn(splats.sh.shape, generator=generator(0, "grain"))
        return replace(splats, sh=splats.sh + strength / SH_C0 * noise)

    return change


def recolored(splats: Splats) -> Splats:
    """Mix 15 % of the next channel into every color channel."""
    color = 0.5 + SH_C0 * splats.sh
    return replace(splats, sh=(0.85 * color + 0.15 * color.roll(1, -1) - 0.5) / SH_C0)


FAULTS: dict[str, Callable[[Splats], Splats]] = {
    "blurred by 1 pixel": blurred(1),
    "blurred by 2 pixels": blurred(2),
    "grain of 0.1": grainy(0.1),
    "grain of 0.2": grainy(0.2),
    "grain of 0.4": grainy(0.4),
    "other colors": recolored,
}


def without_small_part(sample: Sample) -> np.ndarray | None:
    """The parts of an object without its least visible part that is not hidden; None if none is."""
    cameras = around(64)
    depth = torch.from_numpy(render([sample.parts] * len(cameras), cameras, supersample=1).depth)
    shown_parts = visible_parts(sample.parts, depth, cameras)[depth > 0]
    shares = torch.bincount(shown_parts, minlength=len(sample.parts)) / len(shown_parts)
    small = [i for i, s in enumerate(shares.tolist()) if SMALL[0] <= s <= SMALL[1]]
    if not small:
        return None
    return np.delete(sample.parts, max(small, key=lambda i: float(shares[i])), axis=0)


def graded(meaning: Meaning, skip: int, classifier: Classifier) -> dict[str, Grade]:
    """Name of a fault -> grade of the object with it."""
    reference, sample = reference_for(meaning), reference_objects(meaning, skip + 1)[skip]
    splats = reference_splats(sample.parts, 128)
    assets = {"as it is": splats, **{name: f(splats) for name, f in FAULTS.items()}}
    if (parts := without_small_part(sample)) is not None:
        assets["without a small part"] = reference_splats(parts, 128)
    return {name: grade(a, meaning, classifier, reference) for name, a in assets.items()}


def main(args: Args) -> None:
    classifier = Classifier.load()
    meanings = read_prompts(args.list).meanings
    grades: dict[str, list[tuple[str, Grade, Grade]]] = {}
    for prompt, meaning in list(meanings.items())[: args.limit]:
        found = graded(meaning, args.skip, classifier)
        for name, value in found.items():
            grades.setdefault(name, []).append((prompt, value, found["as it is"]))
        print(prompt, flush=True)
    names = list(COLUMNS)
    print("| | " + " | ".join(COLUMNS[n].title for n in names) + " |")
    print("| --- " * (len(names) + 1) + "|")
    for fault, rows in grades.items():
        cells = []
        for name in names:
            pairs = [(p, getattr(g, name), getattr(b, name)) for p, g, b in rows]
            if fault == "as it is":
                cells.append(shown(name, interval((p, x) for p, x, _ in pairs)))
                continue
            change = ((p, None if x is None or y is None else x - y) for p, x, y in pairs)
            cells.append(shown(name, interval(change), "+"))
        print(f"| {fault} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(tyro.cli(Args))
