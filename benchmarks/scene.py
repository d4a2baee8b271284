"""Fit splats of scenes to true pictures of places: what the representation can do at best.

    python benchmarks/scene.py [--steps 300] [--sheet sheet.png] [PROMPT ...]

A perfect prior would give these gradients. Cameras of 64², start, rates and densification are those
of the preset builtin-scene. Printed are PSNR from eight directions at 128², holes (the share of the
whole sphere with an alpha below 0.9) and the time of an iteration of four views without that of a
prior, once warm.
"""

import argparse
import math
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from gs3d.core.rng import generator
from gs3d.core.views.inside import around, faces, sample_inside
from gs3d.distill.settings.config import load_config
from gs3d.io.image.png import write_sheet
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.world.places.layout import reference_places
from gs3d.world.places.parser import parse_place
from gs3d.world.places.render import render_places

PROMPTS = (
    "a blue room with a red chair, a yellow lamp, a green cat and a white table",
    "a pink room with a brown bed, a black television and two green cacti in the evening",
    "a meadow with two green trees, a red house, a white rabbit and a blue car",
    "a desert with three green palms, a yellow tent and a grey elephant in the evening",
)
PICTURES, BATCH, TEST_PX = 240, 4, 128
SKIP = 50
"""Iterations that are not timed."""


def fit(prompt: str, steps: int) -> tuple[float, float, float, list[np.ndarray]]:
    """Return PSNR in dB, the share of holes, ms an iteration, and pictures beside the true ones."""
    meaning = parse_place(prompt)
    if meaning is None:
        raise SystemExit(f"{prompt!r} is no caption of a place")
    (place,) = reference_places(meaning, 1)
    (stage,) = load_config("builtin-scene").stages
    scene = Gaussians.blob(stage.gaussians, 0, "cpu", stage.densify)
    cameras = sample_inside(stage.cameras, PICTURES, 0.0, generator(0, "pictures"))
    pictures = torch.from_numpy(render_places([place] * PICTURES, cameras).rgb)
    rng, times = np.random.default_rng(0), []
    for step in range(steps):
        began, progress = time.perf_counter(), step / steps
        chosen = torch.from_numpy(rng.choice(PICTURES, BATCH, replace=False))
        out = scene.render(cameras[chosen], torch.ones(BATCH, 3), progress)
        (out.rgb - pictures[chosen]).square().mean().backward()
        scene.optimize(progress, 1 / steps)
        scene.after_step(out, progress, (step + 1) / steps, 0, step)
        times.append(time.perf_counter() - began)
    with torch.no_grad():
        views = around(8, TEST_PX)
        true = render_places([place] * 8, views).rgb
        found = scene.render(views, torch.zeros(8, 3)).rgb.clamp(0, 1).numpy()
        holes = float((scene.render(faces(TEST_PX), None).alpha < 0.9).float().mean())
    psnr = -10 * math.log10(float(((found - true) ** 2).mean()))
    return psnr, holes, 1e3 * statistics.median(times[SKIP:]), [*found, *true]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sheet", type=Path, help="write pictures and, below, the true ones")
    args = parser.parse_args()
    images = []
    print("  PSNR   holes   ms/iteration")
    for prompt in args.prompts:
        psnr, holes, ms, both = fit(prompt, args.steps)
        images += both
        print(f"{psnr:6.1f}  {holes:6.2%}  {ms:8.1f}   {prompt}", flush=True)
    if args.sheet:
        write_sheet(args.sheet, images, columns=8)


if __name__ == "__main__":
    main()
