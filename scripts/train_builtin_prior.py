"""Train the built-in prior: `python scripts/train_builtin_prior.py --pool runs/pool --out runs/prior`. The same command resumes."""

import tyro

from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.pretraining.prior import FitConfig, fit

if __name__ == "__main__":
    keep_freed_blocks()
    fit(tyro.cli(FitConfig))
