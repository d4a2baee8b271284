"""Settings and training loop shared by the classifier and CLIP: logs, checkpoints and resumes."""

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
    """Settings shared by both trainings."""

    dataset: Path
    """Directory of the rendered shards, about 33 MB each; missing shards are rendered."""
    out: Path
    """Output directory of the checkpoint and the log."""
    shards: int = 24
    """Number of training shards, of 2,048 images each."""
    seed: int = 1001
    """Seed of the training images. The built-in prior is trained on other seeds, so the two never
    see the same object."""
    images: int = 400_000
    """Total training images, counting repeats."""
    batch: int = 64
    """Images per step."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Device to train on."""
    half: bool | None = None
    """Use bfloat16 autocast. Default: only on a GPU. On a CPU with bfloat16 instructions it is
    1.5 times as fast."""
    metrics_only: bool = False
    """Skip training; only measure the existing weights and write their metrics."""
    save_every_s: float = 120.0
    """Seconds between checkpoints."""
    log_every: int = 50
    """Steps between rows of log.jsonl."""


def provenance(config: TrainingConfig, metrics_file: Path) -> dict:
    """Return the training facts that go into `metrics_file`.

    These are the facts of this training, or with `metrics_only` those already in the file.
    """
    trained = {
        "images_trained_on": config.images,
        "distinct_images": config.shards * SHARD,
        "seed": config.seed,
    }
    if not config.metrics_only:
        return trained
    earlier = json.loads(metrics_file.read_text()) if metrics_file.exists() else {}
    return {name: earlier.get(name) for name in trained}


def train(
    config: TrainingConfig,
    networks: resume.Networks,
    optimizers: Sequence[torch.optim.Optimizer],
    step: Callable[[int], Tensor],
) -> None:
    """Train until `config.images`, starting from the checkpoint in `config.out` if there is one.

    `step(seen)` trains on the batch after `seen` images and returns its loss.
    """
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
