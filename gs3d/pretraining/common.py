"""What the trainings of the two judges, classifier and CLIP, have in common: settings, and a loop that logs, saves and resumes."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gs3d.pretraining import resume
from gs3d.world.dataset import SHARD


@dataclass(frozen=True)
class TrainingConfig:
    """Settings that both have."""

    dataset: Path
    """Folder for the rendered shards, about 33 MB each; those already there are used."""
    out: Path
    """Folder for the checkpoint and the log."""
    shards: int = 24
    """Shards of 2,048 pictures to train on."""
    seed: int = 1001
    """Seed of the training pictures. The built-in prior's are of other seeds, so the two never see the same object."""
    images: int = 400_000
    """Pictures to train on in all, repeats counted."""
    batch: int = 64
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    half: bool | None = None
    """Multiply in bfloat16: half as fast again on a CPU that can. By default on a GPU."""
    metrics_only: bool = False
    """Train nothing: give the weights that are there their marks."""
    save_every_s: float = 120.0
    log_every: int = 50
    """Steps between rows of log.jsonl."""


def provenance(config: TrainingConfig, marks: Path) -> dict:
    """What the marks say of the training: of this one, or, where there was none, what the file `marks` says of the weights' own."""
    trained = {
        "images_trained_on": config.images,
        "distinct_images": config.shards * SHARD,
        "seed": config.seed,
    }
    if not config.metrics_only:
        return trained
    earlier = json.loads(marks.read_text()) if marks.exists() else {}
    return {name: earlier.get(name) for name in trained}


def train(
    config: TrainingConfig,
    networks: resume.Networks,
    optimizers: Sequence[torch.optim.Optimizer],
    step: Callable[[int], Tensor],
) -> None:
    """`step(seen)` trains on the batch after `seen` pictures and returns its loss; goes on from the checkpoint in `config.out`."""
    seen = resume.resume(config.out, networks, optimizers)
    started = saved = time.monotonic()
    recent: list[Tensor] = []
    with open(config.out / "log.jsonl", "a") as log:
        while seen < config.images:
            recent.append(step(seen).detach())
            seen += config.batch
            now = time.monotonic()
            if len(recent) == config.log_every or seen >= config.images:
                row = {
                    "images": seen,
                    "loss": round(float(torch.stack(recent).mean()), 5),
                    "elapsed_s": round(now - started, 1),
                }
                log.write(json.dumps(row) + "\n")
                log.flush()
                recent = []
            if now - saved > config.save_every_s or seen >= config.images:
                resume.save(config.out, seen, networks, optimizers)
                saved = now
