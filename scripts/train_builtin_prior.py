"""Train the built-in prior on world renders. The same command resumes a stopped training.

`python scripts/train_builtin_prior.py --dataset runs/dataset --out runs/prior` trains on shards
from scripts/render_world.py. The directory runs/prior/model is then a `--prior` for gs3d.
"""

from dataclasses import dataclass

import tyro
from training_options import DatasetFolder, Half

from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.pretraining.prior import FitConfig, fit


@dataclass(frozen=True)
class Args(FitConfig):
    """Settings of a training run on the command line."""

    dataset: DatasetFolder
    """Directory of shards rendered by scripts/render_world.py."""
    half: Half = None
    """Use bfloat16 autocast; a bare --half means True. Default: only on a GPU. On a CPU it helps
    with AVX-512 BF16 or AMX, together with --compile."""


if __name__ == "__main__":
    keep_freed_blocks()
    fit(tyro.cli(Args, description=__doc__))
