"""World renders for training and testing the classifier and CLIP."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs3d.core.cameras import ring
from gs3d.core.rng import derive_seed
from gs3d.core.runtime.threads import cores
from gs3d.core.views.words import view_words
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.world.dataset import SHARD, Dataset, write_shards
from gs3d.world.render import has_card, render
from gs3d.world.sample import Sample, sample
from gs3d.world.version import source_digest


def rendered(folder: Path, seed: int, shards: int, device: str = "cpu") -> Dataset:
    """Return the first `shards` shards of a seed, rendering missing ones into `folder`/seed`seed`.

    Rendering uses the GPU if `device` is not "cpu" and numba finds a CUDA device. Raises
    `ValueError` if the shards come from another version of the procedural world.
    """
    folder = folder / f"seed{seed}"
    record = folder / "world"
    if folder.exists() and (not record.exists() or record.read_text() != source_digest()):
        raise ValueError(
            f"{folder}: contains images of another version of the procedural world;"
            " remove the directory to render them again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(source_digest())
    on_gpu = device != "cpu" and has_card()
    for _ in write_shards(
        folder,
        seed,
        shards,
        min(8, len(cores())) if on_gpu else 1,
        device="cuda" if on_gpu else "cpu",
    ):
        pass
    dataset = Dataset.open(folder)
    return Dataset(dataset.images[:shards], dataset.labels[: shards * SHARD])


def of_one_thing(dataset: Dataset) -> np.ndarray:
    """Return the indices of images with one object; images of two have no single right class."""
    return np.array([i for i, row in enumerate(dataset.labels) if not row["relation"]])


def on_the_ring(objects: list[Sample], size_px: int = 64) -> Tensor:
    """Render objects as `evaluation.grade` does, from 8 azimuths on light gray.

    Returns images [8 · objects, size, size, 3] in [0, 1].
    """
    cameras = ring(8, size_px)
    images = [
        render([o.parts] * len(cameras), cameras).over(np.full(3, LIGHT_GRAY)) for o in objects
    ]
    return torch.from_numpy(np.concatenate(images)).clamp(0, 1)


def ring_pictures(seed: int, objects: int, size_px: int = 64) -> tuple[Tensor, list[dict]]:
    """Render random objects with `on_the_ring`, and return the images and their labels."""
    rng = np.random.default_rng(derive_seed(seed, "ring objects"))
    samples = [sample(rng, pairs=False) for _ in range(objects)]
    views = view_words(ring(8, size_px))
    rows = [
        {"kind": o.kind, "color": o.color, "pattern": o.pattern, "view": view}
        for o in samples
        for view in views
    ]
    return on_the_ring(samples, size_px), rows
