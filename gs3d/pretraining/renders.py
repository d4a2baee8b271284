"""Renders of the world that judges are trained and marked on."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gs3d.core.cameras import ring
from gs3d.core.rng import derive_seed
from gs3d.core.runtime.threads import cores
from gs3d.core.views import view_words
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.world.dataset import SHARD, Dataset, write_shards
from gs3d.world.render import has_card, render
from gs3d.world.sample import Sample, sample
from gs3d.world.version import source_digest


def rendered(folder: Path, seed: int, shards: int, device: str = "cpu") -> Dataset:
    """The first `shards` shards of a seed, rendered if they are not there: on the card for a training on "cuda" where numba has it too."""
    folder = folder / f"seed{seed}"
    record = folder / "world"
    if folder.exists() and (not record.exists() or record.read_text() != source_digest()):
        raise ValueError(
            f"{folder}: pictures of another version of the world; remove the folder, and they are rendered anew"
        )
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(source_digest())
    on_card = device != "cpu" and has_card()
    for _ in write_shards(
        folder,
        seed,
        shards,
        min(8, len(cores())) if on_card else 1,
        device="cuda" if on_card else "cpu",
    ):
        pass
    dataset = Dataset.open(folder)
    return Dataset(dataset.images[:shards], dataset.labels[: shards * SHARD])


def of_one_thing(dataset: Dataset) -> np.ndarray:
    """Indices of the pictures of one thing: of two, no answer would be the right one."""
    return np.array([i for i, row in enumerate(dataset.labels) if not row["relation"]])


def on_the_ring(objects: list[Sample], size_px: int = 64) -> Tensor:
    """Objects seen as `evaluation.grade` sees them, from 8 sides on light gray: [8 · objects, size, size, 3]."""
    cameras = ring(8, size_px)
    pictures = [
        render([o.parts] * len(cameras), cameras).over(np.full(3, LIGHT_GRAY)) for o in objects
    ]
    return torch.from_numpy(np.concatenate(pictures)).clamp(0, 1)


def ring_pictures(seed: int, objects: int, size_px: int = 64) -> tuple[Tensor, list[dict]]:
    """Random objects on the ring, and their labels: [8 · objects, size, size, 3]."""
    rng = np.random.default_rng(derive_seed(seed, "ring objects"))
    made = [sample(rng, pairs=False) for _ in range(objects)]
    views = view_words(ring(8, size_px))
    rows = [
        {"kind": o.kind, "color": o.color, "pattern": o.pattern, "view": view}
        for o in made
        for view in views
    ]
    return on_the_ring(made, size_px), rows
