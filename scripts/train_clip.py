"""Train the small CLIP on world renders and measure it. The same command resumes a training.

`python scripts/train_clip.py --dataset runs/dataset --out runs/clip` renders missing images,
trains, writes the model and its metrics, and prints the metrics.
"""

import json
from dataclasses import dataclass

import tyro
from training_options import DatasetFolder, Half, MetricsOnly

from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.pretraining.clip import FitConfig, fit


@dataclass(frozen=True)
class Args(FitConfig):
    """Settings of a training run on the command line."""

    dataset: DatasetFolder
    """Directory of the rendered shards, about 33 MB each; missing shards are rendered."""
    half: Half = None
    """Use bfloat16 autocast; a bare --half means True. Default: only on a GPU. On a CPU with
    bfloat16 instructions it is 1.5 times as fast."""
    metrics_only: MetricsOnly = False
    """Skip training; only measure the existing weights and write their metrics."""


if __name__ == "__main__":
    keep_freed_blocks()
    print(json.dumps(fit(tyro.cli(Args, description=__doc__)), indent=2))
